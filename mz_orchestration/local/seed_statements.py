"""The shop's schema and the statements that fill it, in SQL that Materialize itself accepts.

Every value is computed from the row's number by integer arithmetic with multipliers drawn from the seed, so the same
seed gives the same rows wherever it runs. The columns hold what exports trip over: unicode, quotes, line breaks,
commas, NULL beside the empty string, numerics with scale, both kinds of timestamp, jsonb, uuid, arrays.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

if TYPE_CHECKING:
    from psycopg import sql

LINES_PER_TWO_ORDERS: Final = 7

TABLES: dict[str, LiteralString] = {
    "customers": """
        CREATE TABLE IF NOT EXISTS shop.customers (
            id bigint NOT NULL,
            public_id uuid NOT NULL,
            name text NOT NULL,
            email text,
            country text NOT NULL,
            birth_date date,
            newsletter boolean,
            tags text[],
            profile jsonb,
            credit_limit numeric(12, 2),
            signed_up_at timestamptz NOT NULL,
            last_seen_at timestamp
        )""",
    "orders": """
        CREATE TABLE IF NOT EXISTS shop.orders (
            id bigint NOT NULL,
            public_id uuid NOT NULL,
            customer_id bigint NOT NULL,
            status text NOT NULL,
            placed_at timestamptz NOT NULL,
            placed_at_local timestamp NOT NULL,
            shipped_on date,
            delivery_note text,
            shipping jsonb,
            coupons text[] NOT NULL,
            priority smallint NOT NULL,
            is_gift boolean NOT NULL
        )""",
    "order_lines": """
        CREATE TABLE IF NOT EXISTS shop.order_lines (
            id bigint NOT NULL,
            order_id bigint NOT NULL,
            sku text NOT NULL,
            title text NOT NULL,
            quantity int NOT NULL,
            unit_price numeric(12, 2) NOT NULL,
            discount_percent smallint,
            net_amount numeric(14, 2) NOT NULL,
            weight_kg double precision,
            attributes jsonb,
            boxes int[],
            note text,
            added_at timestamptz NOT NULL
        )""",
    "payments": """
        CREATE TABLE IF NOT EXISTS shop.payments (
            id bigint NOT NULL,
            public_id uuid NOT NULL,
            order_id bigint NOT NULL,
            method text NOT NULL,
            amount numeric(14, 2) NOT NULL,
            fee numeric(10, 4),
            currency text NOT NULL,
            captured boolean NOT NULL,
            paid_at timestamptz NOT NULL,
            settled_on date,
            reference text,
            details jsonb
        )""",
}

# One row per order. The sums are cast because an export to Parquet wants a numeric with a scale.
ORDER_TOTALS: LiteralString = """
    CREATE MATERIALIZED VIEW IF NOT EXISTS shop.order_totals AS
    SELECT
        o.id AS order_id,
        o.customer_id,
        c.country,
        o.status,
        o.placed_at,
        l.lines,
        l.quantity,
        l.net_amount,
        coalesce(p.paid, 0)::numeric(14, 2) AS paid_amount
    FROM shop.orders AS o
    JOIN shop.customers AS c ON c.id = o.customer_id
    JOIN (
        SELECT order_id, count(*) AS lines, sum(quantity)::bigint AS quantity,
            sum(net_amount)::numeric(14, 2) AS net_amount
        FROM shop.order_lines GROUP BY order_id
    ) AS l ON l.order_id = o.id
    LEFT JOIN (
        SELECT order_id, sum(amount)::numeric(14, 2) AS paid FROM shop.payments GROUP BY order_id
    ) AS p ON p.order_id = o.id"""

SINK_CLUSTER: LiteralString = "CREATE CLUSTER sinks (SIZE '25cc', REPLICATION FACTOR 1)"

# A counter that never rests, for sinks that have something to do.
SINKS: tuple[LiteralString, ...] = (
    "CREATE SOURCE IF NOT EXISTS shop.clicks IN CLUSTER sinks FROM LOAD GENERATOR COUNTER (TICK INTERVAL '100ms')",
    "CREATE CONNECTION IF NOT EXISTS shop.kafka TO KAFKA (BROKER 'redpanda:9092') WITH (VALIDATE = false)",
    "CREATE CONNECTION IF NOT EXISTS shop.lake TO ICEBERG CATALOG"
    " (CATALOG TYPE = 's3tablesrest', URL = 'https://s3tables.eu-west-1.amazonaws.com/iceberg')",
    "CREATE SINK IF NOT EXISTS shop.orders_sink IN CLUSTER sinks FROM shop.orders"
    " INTO KAFKA CONNECTION shop.kafka (TOPIC 'orders') KEY (id) FORMAT JSON ENVELOPE UPSERT",
    "CREATE SINK IF NOT EXISTS shop.clicks_sink IN CLUSTER sinks FROM shop.clicks"
    " INTO KAFKA CONNECTION shop.kafka (TOPIC 'clicks') FORMAT JSON ENVELOPE DEBEZIUM",
    "CREATE SINK IF NOT EXISTS shop.totals_lake IN CLUSTER sinks FROM shop.order_totals"
    " INTO ICEBERG CATALOG CONNECTION shop.lake (NAMESPACE = 'shop', TABLE = 'totals')"
    " USING AWS CONNECTION local_s3 KEY (order_id) NOT ENFORCED MODE UPSERT WITH (COMMIT INTERVAL = '60s')",
)

_CUSTOMERS: LiteralString = """
    INSERT INTO shop.customers
    SELECT
        i,
        md5('customer-' || {salt} || i::text)::uuid,
        (ARRAY['Zoë', 'Søren', '美咲', 'José', 'Łukasz', 'Nguyễn', 'Anna', 'Олена', 'יעל', 'Dwayne "D"'])[1 + {a} % 10]
            || ' ' ||
            (ARRAY['O''Brien', 'Müller', 'García', '渡辺', 'Smith, Jr.', 'Ångström', 'Kowalski', 'Шевченко'])
                [1 + {b} % 8],
        CASE {c} % 10 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'customer' || i::text || '@example.com' END,
        (ARRAY['DE', 'FR', 'US', 'JP', 'BR', 'IN', 'NO', 'UA'])[1 + {d} % 8],
        CASE WHEN {e} % 5 > 0 THEN DATE '1940-01-01' + ({e} % 24000)::int END,
        CASE {f} % 3 WHEN 0 THEN NULL WHEN 1 THEN false ELSE true END,
        CASE {g} % 4
            WHEN 0 THEN NULL
            WHEN 1 THEN '{{}}'::text[]
            WHEN 2 THEN ARRAY['vip', 'says "hi", twice']
            ELSE ARRAY['b2b', 'läger', '']
        END,
        CASE WHEN {b} % 6 > 0 THEN jsonb_build_object(
            'language', (ARRAY['de', 'fr', 'en', 'ja'])[1 + {d} % 4],
            'visits', {a} % 500,
            'referrer', NULL,
            'quote', 'a "quoted" word, a \\ and a 🛒'
        ) END,
        CASE WHEN {g} % 7 > 0 THEN ({c} % 1000000)::numeric / 100 END,
        TIMESTAMPTZ '2020-01-01 00:00:00+00' + ({d} % 189000000)::double precision * INTERVAL '1 second',
        CASE WHEN {f} % 4 > 0 THEN
            TIMESTAMP '2026-01-01 00:00:00' + ({e} % 25000000)::double precision * INTERVAL '1 second'
                + ({a} % 1000000)::double precision * INTERVAL '1 microsecond'
        END
    FROM generate_series(1::bigint, {rows}::bigint) AS numbers(i)"""

_ORDERS: LiteralString = """
    INSERT INTO shop.orders
    SELECT
        i,
        md5('order-' || {salt} || i::text)::uuid,
        customer_id,
        (ARRAY['placed', 'paid', 'shipped', 'delivered', 'returned', 'cancelled'])[1 + {b} % 6],
        placed_at,
        placed_at AT TIME ZONE 'Europe/Berlin',
        CASE WHEN {b} % 6 BETWEEN 2 AND 4 THEN placed_at::date + ({c} % 9)::int END,
        CASE {d} % 8
            WHEN 0 THEN ''
            WHEN 1 THEN 'Ring twice,' || chr(10) || 'then leave at "No. 7".'
            WHEN 2 THEN 'Für Frau O''Brien, 3. Stock'
            WHEN 3 THEN '置き配でお願いします 📦'
            ELSE NULL
        END,
        CASE WHEN {e} % 9 > 0 THEN jsonb_build_object(
            'carrier', (ARRAY['DHL', 'UPS', 'La Poste'])[1 + {e} % 3],
            'express', {f} % 4 = 0,
            'cost', ({g} % 2000)::numeric / 100
        ) END,
        CASE {f} % 5 WHEN 0 THEN ARRAY['WELCOME10'] WHEN 1 THEN ARRAY['SPRING', '-5,00 €'] ELSE '{{}}'::text[] END,
        ({c} % 10)::smallint,
        {g} % 12 = 0
    FROM (
        SELECT
            i,
            1 + {a} % {customers} AS customer_id,
            TIMESTAMPTZ '2026-01-01 00:00:00+00' + ({h} % 25000000)::double precision * INTERVAL '1 second'
                + ({c} % 1000000)::double precision * INTERVAL '1 microsecond' AS placed_at
        FROM generate_series(1::bigint, {rows}::bigint) AS numbers(i)
    ) AS base"""

# Each seven lines are shared by two orders; a rest below seven is one order's.
_ORDER_LINES: LiteralString = """
    INSERT INTO shop.order_lines
    SELECT
        i,
        order_id,
        'SKU-' || lpad(({a} % 5000)::text, 6, '0'),
        (ARRAY[
            'Café cup', 'Desk "Nord", oak', '折りたたみ傘', 'Cable 2 m', 'Socks, 3-pack', 'Журнал', 'Lamp; dimmable',
            '½" hose'
        ])[1 + {a} % 8],
        quantity,
        unit_price,
        discount,
        (quantity * unit_price * (100 - coalesce(discount, 0)) / 100)::numeric(14, 2),
        CASE WHEN {g} % 11 > 0 THEN ({g} % 40000)::double precision / 1024 END,
        CASE {f} % 4
            WHEN 0 THEN NULL
            WHEN 1 THEN '{{}}'::jsonb
            ELSE jsonb_build_object('colour', (ARRAY['grün', 'black', '白'])[1 + {f} % 3], 'size', {b} % 50)
        END,
        CASE {g} % 6
            WHEN 0 THEN NULL
            WHEN 1 THEN '{{}}'::int[]
            WHEN 2 THEN ARRAY[({b} % 900)::int, NULL, 7]
            ELSE ARRAY[({b} % 900)::int]
        END,
        CASE {h} % 16
            WHEN 0 THEN ''
            WHEN 1 THEN 'gift wrap, "silver"' || chr(13) || chr(10) || 'no price tag'
            WHEN 2 THEN 'NULL'
            ELSE NULL
        END,
        TIMESTAMPTZ '2026-01-01 00:00:00+00' + ({h} % 25000000)::double precision * INTERVAL '1 second'
    FROM (
        SELECT
            i,
            1 + (i - 1) / 7 * 2
                + CASE WHEN (i - 1) / 7 < {rows} / 7 AND (i - 1) % 7 > {pair} % 6 THEN 1 ELSE 0 END AS order_id,
            (1 + {c} % 9)::int AS quantity,
            ((100 + {d} % 99900)::numeric / 100)::numeric(12, 2) AS unit_price,
            CASE WHEN {e} % 5 = 0 THEN (5 + {e} % 40)::smallint END AS discount
        FROM generate_series(1::bigint, {rows}::bigint) AS numbers(i)
    ) AS base"""

# Most orders are paid at once, some in two parts, some not yet.
_PAYMENTS: LiteralString = """
    INSERT INTO shop.payments
    SELECT
        i * 2 + part - 2,
        md5('payment-' || {salt} || (i * 2 + part)::text)::uuid,
        i,
        (ARRAY['card', 'paypal', 'invoice', 'SEPA-Lastschrift'])[1 + {a} % 4],
        amount,
        CASE WHEN {a} % 4 < 2 THEN (amount * 0.0149)::numeric(10, 4) END,
        (ARRAY['EUR', 'USD', 'JPY'])[1 + {b} % 3],
        {c} % 20 > 0,
        paid_at,
        CASE WHEN {c} % 20 > 3 THEN paid_at::date + (1 + {b} % 4)::int END,
        CASE {e} % 6 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'RF' || lpad(({e} % 100000000)::text, 8, '0') END,
        CASE WHEN {f} % 3 > 0 THEN jsonb_build_object('issuer', 'Bank "Süd", AG', 'tries', {f} % 4) END
    FROM (
        SELECT
            order_id AS i,
            part,
            CASE
                WHEN {g} % 25 > 1 THEN total
                WHEN part = 1 THEN (total * 0.3)::numeric(14, 2)
                ELSE total - (total * 0.3)::numeric(14, 2)
            END AS amount,
            TIMESTAMPTZ '2026-01-01 00:00:00+00'
                + ({d} % 26000000 + part * 86400)::double precision * INTERVAL '1 second' AS paid_at
        FROM (
            SELECT order_id, order_id AS i, sum(net_amount)::numeric(14, 2) AS total
            FROM shop.order_lines GROUP BY order_id
        ) AS totals
        CROSS JOIN LATERAL generate_series(1, CASE {g} % 25 WHEN 0 THEN 0 WHEN 1 THEN 2 ELSE 1 END) AS parts(part)
    ) AS base"""


@dataclass(frozen=True)
class Sizes:
    """How many rows each table gets.

    Attributes:
        order_lines: Asked for by the caller.
        orders: Follows from the order lines.
        customers: About one for five orders.
    """

    order_lines: int
    orders: int
    customers: int

    @classmethod
    def of(cls, order_lines: int) -> Sizes:
        """Return the sizes of a shop with so many order lines."""
        pairs, rest = divmod(order_lines, LINES_PER_TWO_ORDERS)
        orders = 2 * pairs + (1 if rest else 0)
        return cls(order_lines=order_lines, orders=orders, customers=-(-orders // 5))


def inserts(sizes: Sizes, seed: int) -> dict[str, sql.Composed]:
    """Return the filling statement of each table, in the order they must run.

    Args:
        sizes: How many rows.
        seed: The same seed gives the same rows.
    """
    from psycopg import sql

    draw = random.Random(seed)

    def fill(template: LiteralString, rows: int) -> sql.Composed:
        return sql.SQL(template).format(
            rows=sql.Literal(rows),
            customers=sql.Literal(sizes.customers),
            salt=sql.Literal(f"{seed}-"),
            pair=_scatter(draw, sql.SQL("((i - 1) / 7)")),
            **{name: _scatter(draw, sql.SQL("i")) for name in "abcdefgh"},
        )

    return {
        "customers": fill(_CUSTOMERS, sizes.customers),
        "orders": fill(_ORDERS, sizes.orders),
        "order_lines": fill(_ORDER_LINES, sizes.order_lines),
        "payments": fill(_PAYMENTS, sizes.orders),
    }


def _scatter(draw: random.Random, number: sql.SQL) -> sql.Composed:
    """Return an expression that turns row numbers into scattered non-negative integers below 2**28."""
    from psycopg import sql

    # Below 2**59 for the first 2**27 rows, so bigint never overflows; the low bits of a product repeat early.
    return sql.SQL("(({} * {} + {}) % 2147483647 / 8)").format(
        number, sql.Literal(draw.getrandbits(31) | 2**31 | 1), sql.Literal(draw.getrandbits(31))
    )
