"""Statements of a load that are neither COPY INTO (`copy`) nor about the ledger (`ledger`).

Only the functions of `quoting` put names and values into them.
"""

from __future__ import annotations

from collections.abc import Sequence

from mz_orchestration.snowflake.quoting import Name, Sql, compose, identifier, join, literal
from mz_orchestration.snowflake.schema import WantedColumn, definition


def current_names() -> Sql:
    """Asks for the session's database and schema, which complete a short name, and its warehouse."""
    return compose(
        "SELECT CURRENT_DATABASE() AS DATABASE_NAME, CURRENT_SCHEMA() AS SCHEMA_NAME, "
        "CURRENT_WAREHOUSE() AS WAREHOUSE_NAME"
    )


def show_warehouse(name: str) -> Sql:
    """Asks for a warehouse's size; ``%`` and ``_`` in its name stand for more than themselves, so look at the names."""
    return compose("SHOW WAREHOUSES LIKE {}", literal(name))


def describe_stage(stage: Name) -> Sql:
    """Asks for the stage's properties, its URL among them."""
    return compose("DESC STAGE {}", identifier(*stage))


def describe_tables(schema: tuple[str, str], names: Sequence[str]) -> Sql:
    """Asks which of the tables exist, what kind they are, and for what a copy of them has to keep."""
    return compose(
        "SELECT TABLE_NAME, TABLE_TYPE, IS_TRANSIENT, COMMENT, CREATED, LAST_DDL, AUTO_CLUSTERING_ON FROM {} "
        "WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({})",
        identifier(schema[0], "INFORMATION_SCHEMA", "TABLES"),
        literal(schema[1]),
        join(literal(name) for name in names),
    )


def list_staging(schema: tuple[str, str]) -> Sql:
    """Asks for tables whose names may be those of staging tables."""
    return compose(
        "SELECT TABLE_NAME, ROW_COUNT, BYTES, LAST_ALTERED FROM {} WHERE TABLE_SCHEMA = {} "
        "AND CONTAINS(TABLE_NAME, '__MZ_') ORDER BY TABLE_NAME",
        identifier(schema[0], "INFORMATION_SCHEMA", "TABLES"),
        literal(schema[1]),
    )


def describe_columns(table: Name) -> Sql:
    """Asks for the table's columns in order."""
    database, schema, name = table
    return compose(
        "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, COLUMN_DEFAULT, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, "
        "NUMERIC_SCALE, DATETIME_PRECISION FROM {} WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} "
        "ORDER BY ORDINAL_POSITION",
        identifier(database, "INFORMATION_SCHEMA", "COLUMNS"),
        literal(schema),
        literal(name),
    )


def create_staging(staging: Name, columns: Sequence[WantedColumn]) -> Sql:
    """A table with the types that fit the export."""
    return compose("CREATE TABLE {} ({})", identifier(*staging), definition(columns))


def create_transient_staging(staging: Name, columns: Sequence[WantedColumn]) -> Sql:
    """The same for rows that are only passed on: nothing of it is kept for Time Travel."""
    return compose(
        "CREATE TRANSIENT TABLE {} ({}) DATA_RETENTION_TIME_IN_DAYS = 0", identifier(*staging), definition(columns)
    )


def clone(staging: Name, table: Name, *, transient: bool) -> Sql:
    """A table that can take the other's place, with its grants, policies, tags, clustering key and comment."""
    template = "CREATE TRANSIENT TABLE {} CLONE {} COPY GRANTS" if transient else "CREATE TABLE {} CLONE {} COPY GRANTS"
    return compose(template, identifier(*staging), identifier(*table))


def truncate(table: Name) -> Sql:
    """Empties a table; in a transaction it can be rolled back."""
    return compose("TRUNCATE TABLE {}", identifier(*table))


def delete_all(table: Name) -> Sql:
    """Empties a table and keeps its load history."""
    return compose("DELETE FROM {}", identifier(*table))


def add_columns(table: Name, columns: Sequence[WantedColumn]) -> Sql:
    """Adds the columns that an export has and the table lacks; rows that are there get NULL."""
    return compose("ALTER TABLE {} ADD COLUMN {}", identifier(*table), definition(columns))


def resume_clustering(table: Name) -> Sql:
    """Automatic clustering is suspended in a clone, though its key is kept."""
    return compose("ALTER TABLE {} RESUME RECLUSTER", identifier(*table))


def count_rows(table: Name) -> Sql:
    """Counts what has arrived."""
    return compose("SELECT COUNT(*) AS N FROM {}", identifier(*table))


def set_comment(table: Name, comment: str) -> Sql:
    """Marks the staging table with the load it holds; the comment moves along when it is published."""
    return compose("COMMENT ON TABLE {} IS {}", identifier(*table), literal(comment))


def swap(table: Name, staging: Name) -> Sql:
    """Exchanges the two tables in one atomic step."""
    return compose("ALTER TABLE {} SWAP WITH {}", identifier(*table), identifier(*staging))


def rename(table: Name, to: Name) -> Sql:
    """Gives the table a name that no other has."""
    return compose("ALTER TABLE {} RENAME TO {}", identifier(*table), identifier(*to))


def drop(table: Name) -> Sql:
    """Removes a staging table that is no longer needed."""
    return compose("DROP TABLE IF EXISTS {}", identifier(*table))


def end_autocommit() -> Sql:
    """Lets only COMMIT make anything permanent in the session, whatever becomes of a transaction that was begun."""
    return compose("ALTER SESSION SET AUTOCOMMIT = FALSE")


def current_transaction() -> Sql:
    """Asks for the id of the session's transaction; NULL if none is open."""
    return compose("SELECT CURRENT_TRANSACTION() AS ID")


def begin(name: str) -> Sql:
    """Opens a transaction that other sessions can find by its name."""
    return compose("BEGIN TRANSACTION NAME {}", identifier(name))


def commit() -> Sql:
    """Makes the transaction's work visible, all at once."""
    return compose("COMMIT")


def rollback() -> Sql:
    """Undoes the transaction's work."""
    return compose("ROLLBACK")


def show_transactions() -> Sql:
    """Asks for the open transactions of the user, in any session."""
    return compose("SHOW TRANSACTIONS")


def abort_transaction(id: int) -> Sql:
    """Undoes a transaction of another session."""
    return compose("SELECT SYSTEM$ABORT_TRANSACTION({})", id)


def insert_rows(table: Name, staging: Name, columns: Sequence[WantedColumn], *, overwrite: bool) -> Sql:
    """Copies the staging table's rows into the target; ``overwrite`` replaces those that are there."""
    template = (
        "INSERT OVERWRITE INTO {} ({}) SELECT {} FROM {}" if overwrite else "INSERT INTO {} ({}) SELECT {} FROM {}"
    )
    names = join(identifier(column.name) for column in columns)
    return compose(template, identifier(*table), names, names, identifier(*staging))


def find_bad_keys(staging: Name, keys: Sequence[str]) -> Sql:
    """Counts rows with a NULL in their key and keys that several rows share."""
    names = [identifier(key) for key in keys]
    return compose(
        "SELECT COALESCE(SUM(IFF({}, 1, 0)), 0) AS NULLS, COUNT(*) AS N, "
        "(SELECT COUNT(*) FROM (SELECT DISTINCT {} FROM {})) AS DIFFERENT FROM {}",
        join((compose("{} IS NULL", name) for name in names), " OR "),
        join(names),
        identifier(*staging),
        identifier(*staging),
    )


def merge(table: Name, staging: Name, columns: Sequence[WantedColumn], keys: Sequence[str]) -> Sql:
    """Updates the rows whose key is there and inserts the others."""
    names = [identifier(column.name) for column in columns]
    others = [identifier(column.name) for column in columns if column.name not in keys]
    update = compose("")
    if others:
        update = compose(
            " WHEN MATCHED THEN UPDATE SET {}", join(compose("{} = S.{}", other, other) for other in others)
        )
    return compose(
        "MERGE INTO {} T USING {} S ON {}{} WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
        identifier(*table),
        identifier(*staging),
        _same_key(compose("T"), keys),
        update,
        join(names),
        join(compose("S.{}", name) for name in names),
    )


def delete_missing(table: Name, staging: Name, keys: Sequence[str]) -> Sql:
    """Deletes the target's rows whose key the staging table lacks."""
    return compose(
        "DELETE FROM {} WHERE NOT EXISTS (SELECT 1 FROM {} S WHERE {})",
        identifier(*table),
        identifier(*staging),
        # DELETE takes no alias.
        _same_key(identifier(*table), keys),
    )


def _same_key(target: Sql, keys: Sequence[str]) -> Sql:
    return join((compose("{}.{} = S.{}", target, identifier(key), identifier(key)) for key in keys), " AND ")
