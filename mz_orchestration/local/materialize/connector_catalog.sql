-- The catalog relations about sinks and sources, and about how far things have come; what others join with is a
-- function, as mz_local.objects() is.

CREATE FUNCTION mz_local.all_sinks()
RETURNS TABLE (id text, oid oid, schema_id text, name text, type text, connection_id text, size text,
               envelope_type text, format text, key_format text, value_format text, cluster_id text, owner_id text,
               create_sql text, redacted_create_sql text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    SELECT o.id, k.oid, o.schema_id, o.name, k.type, 'u' || k.connection AS connection_id, NULL::text AS size,
           coalesce(k.options ->> 'envelope', k.options ->> 'mode') AS envelope_type,
           k.options ->> 'format' AS format, k.options ->> 'key_format' AS key_format,
           k.options ->> 'value_format' AS value_format, k.cluster_id, o.owner_id, q.create_sql,
           q.create_sql AS redacted_create_sql
      FROM mz_local.connectors k
      JOIN mz_internal.mz_object_fully_qualified_names n ON n.id = 'u' || k.oid
      JOIN mz_catalog.mz_objects o ON o.id = n.id
      LEFT JOIN mz_internal.mz_object_fully_qualified_names i ON i.id = 'u' || k.input
     CROSS JOIN LATERAL (
         SELECT format('CREATE SINK "%s"."%s"."%s" IN CLUSTER [%s] FROM [%s AS "%s"."%s"."%s"] %s', n.database_name,
                       n.schema_name, n.name, k.cluster_id, i.id, i.database_name, i.schema_name, i.name, k.tail)
     ) q (create_sql)
     WHERE k.kind = 'sink'
$$;
CREATE VIEW mz_catalog.mz_sinks AS SELECT * FROM mz_local.all_sinks();

CREATE VIEW mz_catalog.mz_kafka_sinks AS
    SELECT 'u' || oid AS id, options ->> 'topic' AS topic FROM mz_local.connectors
     WHERE kind = 'sink' AND type = 'kafka';

CREATE VIEW mz_catalog.mz_iceberg_sinks AS
    SELECT 'u' || oid AS id, options ->> 'namespace' AS namespace, options ->> 'table' AS "table"
      FROM mz_local.connectors WHERE kind = 'sink' AND type = 'iceberg';

CREATE VIEW mz_catalog.mz_kafka_connections AS
    SELECT 'u' || oid AS id,
           array_remove(ARRAY[options -> 'BROKER' ->> 'text'], NULL) AS brokers,
           coalesce(options -> 'PROGRESS TOPIC' ->> 'text',
                    '_materialize-progress-local-u' || oid) AS sink_progress_topic
      FROM mz_local.connections WHERE type = 'kafka';

CREATE VIEW mz_catalog.mz_sources AS
    SELECT o.id, k.oid, o.schema_id, o.name, k.type, 'u' || k.connection AS connection_id, NULL::text AS size,
           'none' AS envelope_type, NULL::text AS key_format, NULL::text AS value_format, k.cluster_id, o.owner_id,
           o.privileges, q.create_sql, q.create_sql AS redacted_create_sql
      FROM mz_local.connectors k
      JOIN mz_internal.mz_object_fully_qualified_names n ON n.id = 'u' || k.oid
      JOIN mz_catalog.mz_objects o ON o.id = n.id
     CROSS JOIN LATERAL (
         SELECT format('CREATE SOURCE "%s"."%s"."%s" IN CLUSTER [%s] %s', n.database_name, n.schema_name, n.name,
                       k.cluster_id, k.tail)
     ) q (create_sql)
     WHERE k.kind = 'source';

-- The newest event of each replica, and of those the best: one replica that runs hides others that do not.
CREATE FUNCTION mz_local.all_statuses()
RETURNS TABLE (id text, name text, kind text, type text, last_status_change_at timestamptz, status text, error text,
               details jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    SELECT o.id, o.name, k.kind, k.type, l.occurred_at AS last_status_change_at,
           coalesce(l.status, 'created') AS status, l.error, l.details
      FROM mz_local.connectors k
      JOIN mz_catalog.mz_objects o ON o.id = 'u' || k.oid
      LEFT JOIN (
          SELECT DISTINCT ON (connector) *
            FROM (SELECT DISTINCT ON (connector, replica_id) *
                    FROM mz_local.status_history
                   ORDER BY connector, replica_id, occurred_at DESC, id DESC) newest
           ORDER BY connector, array_position('{dropped,running,stalled,starting,paused,ceased}', status),
                    occurred_at DESC, id DESC
      ) l ON l.connector = k.oid
$$;
CREATE VIEW mz_local.statuses AS SELECT * FROM mz_local.all_statuses();

CREATE VIEW mz_internal.mz_sink_statuses AS
    SELECT id, name, type, last_status_change_at, status, error, details FROM mz_local.statuses WHERE kind = 'sink';

CREATE VIEW mz_internal.mz_source_statuses AS
    SELECT id, name, type, last_status_change_at, status, error, details FROM mz_local.statuses WHERE kind = 'source';

CREATE VIEW mz_internal.mz_sink_status_history AS
    SELECT occurred_at, 'u' || connector AS sink_id, status, error, details, replica_id
      FROM mz_local.status_history WHERE kind = 'sink';

CREATE VIEW mz_internal.mz_source_status_history AS
    SELECT occurred_at, 'u' || connector AS source_id, status, error, details, replica_id
      FROM mz_local.status_history WHERE kind = 'source';

CREATE VIEW mz_internal.mz_sink_statistics AS
    SELECT 'u' || connector AS id, replica_id, (shown ->> 'staged')::bigint AS messages_staged,
           (shown ->> 'committed')::bigint AS messages_committed, (shown ->> 'staged_bytes')::bigint AS bytes_staged,
           (shown ->> 'committed_bytes')::bigint AS bytes_committed
      FROM mz_local.runs WHERE kind = 'sink' AND shown IS NOT NULL;

CREATE VIEW mz_internal.mz_sink_statistics_raw AS
    SELECT id, replica_id, 0::bigint AS worker_id, messages_staged, messages_committed, bytes_staged, bytes_committed
      FROM mz_internal.mz_sink_statistics;

CREATE VIEW mz_internal.mz_source_statistics AS
    SELECT 'u' || connector AS id, replica_id, (shown ->> 'staged')::bigint AS messages_received,
           (shown ->> 'staged_bytes')::bigint AS bytes_received, (shown ->> 'staged')::bigint AS updates_staged,
           (shown ->> 'committed')::bigint AS updates_committed, 0::bigint AS records_indexed,
           0::bigint AS bytes_indexed, interval '0' AS rehydration_latency, 0::bigint AS snapshot_records_known,
           0::bigint AS snapshot_records_staged, true AS snapshot_committed,
           (shown ->> 'offset_known')::bigint AS offset_known,
           (shown ->> 'offset_committed')::bigint AS offset_committed
      FROM mz_local.runs WHERE kind = 'source' AND shown IS NOT NULL;

CREATE VIEW mz_internal.mz_cluster_replica_statuses AS
    SELECT r.id AS replica_id, 0::bigint AS process_id,
           CASE WHEN coalesce(s.online, true) THEN 'online' ELSE 'offline' END AS status, s.reason,
           coalesce(s.updated_at, r.created_at) AS updated_at
      FROM mz_local.cluster_replicas r LEFT JOIN mz_local.replica_statuses s ON s.replica_id = r.id;

CREATE FUNCTION mz_local.hydration()
RETURNS TABLE (object_id text, replica_id text, hydrated boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    SELECT 'u' || connector AS object_id, replica_id, hydrated FROM mz_local.runs WHERE gone_at IS NULL
    UNION ALL
    SELECT o.id, r.id, true
      FROM mz_catalog.mz_objects o
      JOIN mz_local.materialized_views m ON m.oid = o.oid
      JOIN mz_local.cluster_replicas r ON r.cluster_id = m.cluster_id
$$;
CREATE VIEW mz_internal.mz_hydration_statuses AS SELECT * FROM mz_local.hydration();

-- Timestamps below it can be read at once. All move every second, but for what the faults say and what stands.
CREATE FUNCTION mz_local.all_frontiers()
RETURNS TABLE (oid oid, frontier numeric, stands boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    WITH fault AS (SELECT settings FROM mz_local.faults ORDER BY id DESC LIMIT 1), moving AS (
        SELECT i.oid, (trunc(EXTRACT(epoch FROM transaction_timestamp()) - late) + 1) * 1000 AS frontier
          FROM mz_local.items i
          JOIN pg_namespace n ON n.oid = i.schema
          LEFT JOIN fault f ON f.settings ? 'lag' AND f.settings ->> 'lag' <> 'unknown'
                           AND strpos(n.nspname || '.' || i.name, coalesce(f.settings ->> 'lag_of', '')) > 0
         CROSS JOIN LATERAL (SELECT greatest(0, coalesce((f.settings ->> 'lag')::numeric - 1, 0))) l (late)
         WHERE i.type IN ('table', 'source', 'materialized-view', 'index')
           AND NOT mz_local.is_system(n.nspname) AND n.nspname NOT LIKE 'pg\_t%'
    )
    SELECT m.oid, least(m.frontier, s.frontier) AS frontier, s.frontier IS NOT NULL AS stands
      FROM moving m
      LEFT JOIN mz_local.progress p ON p.connector = m.oid
      LEFT JOIN LATERAL (SELECT trunc(EXTRACT(epoch FROM p.stands_at) * 1000)) s (frontier) ON true
    UNION ALL
    SELECT k.oid, least(i.frontier, s.frontier), s.frontier IS NOT NULL
      FROM mz_local.connectors k
      LEFT JOIN mz_local.progress p ON p.connector = k.oid
      LEFT JOIN moving i ON i.oid = k.input
     CROSS JOIN LATERAL (
         SELECT trunc(EXTRACT(epoch FROM CASE WHEN p.connector IS NULL THEN k.created_at ELSE p.stands_at END) * 1000)
     ) s (frontier)
     WHERE k.kind = 'sink'
$$;
CREATE VIEW mz_local.frontiers AS SELECT * FROM mz_local.all_frontiers();

CREATE VIEW mz_internal.mz_frontiers AS
    SELECT 'u' || oid AS object_id, frontier - 1000 AS read_frontier, frontier AS write_frontier
      FROM mz_local.frontiers;

CREATE FUNCTION mz_local.materialization_lag()
RETURNS TABLE (object_id text, local_lag interval, global_lag interval, slowest_local_input_id text,
               slowest_global_input_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    WITH RECURSIVE edges AS MATERIALIZED (
        SELECT DISTINCT r.ev_class AS reader, d.refobjid AS read
          FROM pg_rewrite r
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
         WHERE r.ev_class >= 16384
        UNION
        SELECT oid, input FROM mz_local.connectors WHERE kind = 'sink'
    ), objects AS MATERIALIZED (
        SELECT oid FROM mz_local.connectors WHERE kind = 'sink'
        UNION ALL
        SELECT m.oid FROM mz_local.materialized_views m JOIN pg_class c ON c.oid = m.oid
    ), collections AS MATERIALIZED (
        SELECT oid, frontier FROM mz_local.frontiers
    ), reached AS (
        SELECT o.oid, e.read, true AS directly FROM objects o JOIN edges e ON e.reader = o.oid
        UNION
        SELECT r.oid, e.read, r.directly AND c.oid IS NULL
          FROM reached r JOIN edges e ON e.reader = r.read LEFT JOIN collections c ON c.oid = r.read
    ), slowest_local AS (
        SELECT DISTINCT ON (r.oid) r.oid, r.read, c.frontier
          FROM reached r JOIN collections c ON c.oid = r.read
         WHERE r.directly ORDER BY r.oid, c.frontier, r.read
    ), slowest_global AS (
        SELECT DISTINCT ON (r.oid) r.oid, r.read, c.frontier
          FROM reached r JOIN collections c ON c.oid = r.read
         WHERE NOT EXISTS (SELECT FROM edges e WHERE e.reader = r.read) ORDER BY r.oid, c.frontier, r.read
    )
    SELECT 'u' || o.oid AS object_id,
           make_interval(secs => greatest(l.frontier - f.frontier, 0)::float8 / 1000) AS local_lag,
           make_interval(secs => greatest(g.frontier - f.frontier, 0)::float8 / 1000) AS global_lag,
           'u' || l.read AS slowest_local_input_id, 'u' || g.read AS slowest_global_input_id
      FROM objects o
      JOIN collections f ON f.oid = o.oid
      LEFT JOIN slowest_local l ON l.oid = o.oid
      LEFT JOIN slowest_global g ON g.oid = o.oid
$$;
CREATE VIEW mz_internal.mz_materialization_lag AS SELECT * FROM mz_local.materialization_lag();

-- All is a second old, but for what the faults say and what stands. A plain view holds no data, so it is not listed.
CREATE VIEW mz_internal.mz_wallclock_global_lag AS
    SELECT o.id AS object_id,
           CASE WHEN concerned THEN make_interval(secs => (f.settings ->> 'lag')::float8)
                WHEN t.stands THEN make_interval(secs => greatest(
                    1, trunc(EXTRACT(epoch FROM transaction_timestamp()) - t.frontier / 1000))::float8)
                ELSE interval '1 second' END AS lag
      FROM mz_internal.mz_object_fully_qualified_names o
      LEFT JOIN mz_local.frontiers t ON 'u' || t.oid = o.id
      LEFT JOIN (SELECT settings FROM mz_local.faults ORDER BY id DESC LIMIT 1) f ON true
     CROSS JOIN LATERAL (
         SELECT f.settings ? 'lag'
                AND strpos(o.schema_name || '.' || o.name, coalesce(f.settings ->> 'lag_of', '')) > 0
     ) c (concerned)
     WHERE o.object_type IN ('table', 'source', 'materialized-view', 'index', 'sink')
       AND NOT (coalesce(concerned, false) AND f.settings ->> 'lag' = 'unknown');
