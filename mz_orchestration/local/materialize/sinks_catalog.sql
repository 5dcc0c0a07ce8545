-- The catalog relations of sinks: mz_internal's as Materialize defines them, over what the tick has written.

CREATE VIEW mz_catalog.mz_sinks AS
    SELECT 'u' || s.oid AS id, s.oid, n.id AS schema_id, s.name, s.type, 'u' || s.connection AS connection_id,
           NULL::text AS size, s.options ->> 'envelope' AS envelope_type,
           s.options ->> 'value_format' AS format, s.options ->> 'key_format' AS key_format,
           s.options ->> 'value_format' AS value_format, s.cluster_id, 'u' || s.owner AS owner_id, s.create_sql,
           s.create_sql AS redacted_create_sql
      FROM mz_local.sinks s JOIN mz_catalog.mz_schemas n ON n.oid = s.schema;

CREATE VIEW mz_catalog.mz_kafka_sinks AS
    SELECT 'u' || oid AS id, options ->> 'topic' AS topic FROM mz_local.sinks WHERE type = 'kafka';

CREATE VIEW mz_catalog.mz_iceberg_sinks AS
    SELECT 'u' || oid AS id, options ->> 'namespace' AS namespace, options ->> 'table' AS "table"
      FROM mz_local.sinks WHERE type = 'iceberg';

CREATE VIEW mz_internal.mz_sink_status_history AS
    SELECT occurred_at, 'u' || sink AS sink_id, status, error, details, replica_id FROM mz_local.sink_events;

-- The newest event of each replica, and of those the best: one that runs hides others that do not.
CREATE VIEW mz_internal.mz_sink_statuses AS
    SELECT 'u' || s.oid AS id, s.name, s.type, e.occurred_at AS last_status_change_at,
           coalesce(e.status, 'created') AS status, e.error, e.details
      FROM mz_local.sinks s
      LEFT JOIN (
          SELECT DISTINCT ON (sink) *
            FROM (SELECT DISTINCT ON (sink, replica_id) * FROM mz_local.sink_events
                   ORDER BY sink, replica_id, occurred_at DESC, id DESC) newest
           ORDER BY sink, array_position(ARRAY['dropped', 'running', 'stalled', 'starting', 'paused', 'ceased'], status),
                    occurred_at DESC
      ) e ON e.sink = s.oid;

-- Nobody counts bytes here: a message has a hundred.
CREATE VIEW mz_internal.mz_sink_statistics AS
    SELECT 'u' || sink AS id, replica_id, staged::numeric AS messages_staged, committed::numeric AS messages_committed,
           staged::numeric * 100 AS bytes_staged, committed::numeric * 100 AS bytes_committed
      FROM mz_local.sink_statistics;

CREATE VIEW mz_internal.mz_cluster_replica_statuses AS
    SELECT r.id AS replica_id, 0::bigint AS process_id,
           CASE WHEN f.replica_id IS NULL THEN 'online' ELSE 'offline' END AS status,
           CASE WHEN f.replica_id IS NOT NULL THEN 'oom-killed' END AS reason,
           coalesce(f.set_at, pg_postmaster_start_time()) AS updated_at
      FROM mz_local.cluster_replicas r LEFT JOIN mz_local.offline_replicas f ON f.replica_id = r.id;

CREATE VIEW mz_internal.mz_hydration_statuses AS
    SELECT 'u' || sink AS object_id, replica_id, status = 'running' AS hydrated FROM mz_local.sink_work;

CREATE VIEW mz_internal.mz_frontiers AS
    SELECT o.id AS object_id,
           (trunc(extract(epoch FROM transaction_timestamp()) * 1000) - 1000)::numeric AS read_frontier,
           trunc(extract(epoch FROM transaction_timestamp()) * 1000)::numeric AS write_frontier
      FROM mz_catalog.mz_objects o WHERE o.type IN ('table', 'materialized-view')
    UNION ALL
    SELECT 'u' || sink, NULL, max(position)::numeric FROM mz_local.sink_work GROUP BY sink;

CREATE VIEW mz_internal.mz_materialization_lag AS
    SELECT 'u' || s.oid AS object_id, l.lag AS local_lag, l.lag AS global_lag,
           i.id AS slowest_local_input_id, i.id AS slowest_global_input_id
      FROM mz_local.sinks s
      JOIN mz_catalog.mz_objects i ON i.oid = s.relation
     CROSS JOIN LATERAL (
         SELECT CASE WHEN max(position) > 0 THEN greatest(transaction_timestamp() - to_timestamp(max(position) / 1000.0),
                                                          interval '0') END AS lag
           FROM mz_local.sink_work w WHERE w.sink = s.oid) l;

-- No source can be made here; these are for whoever looks for some.
CREATE VIEW mz_catalog.mz_sources AS
    SELECT ''::text AS id, 0::oid AS oid, ''::text AS schema_id, ''::text AS name, ''::text AS type,
           ''::text AS connection_id, NULL::text AS size, NULL::text AS envelope_type, NULL::text AS key_format,
           NULL::text AS value_format, ''::text AS cluster_id, ''::text AS owner_id WHERE false;
CREATE VIEW mz_internal.mz_source_statuses AS
    SELECT ''::text AS id, ''::text AS name, ''::text AS type, now() AS last_status_change_at, ''::text AS status,
           NULL::text AS error, NULL::jsonb AS details WHERE false;
CREATE VIEW mz_internal.mz_source_status_history AS
    SELECT now() AS occurred_at, ''::text AS source_id, ''::text AS status, NULL::text AS error,
           NULL::jsonb AS details, NULL::text AS replica_id WHERE false;
CREATE VIEW mz_internal.mz_source_statistics AS
    SELECT ''::text AS id, ''::text AS replica_id, 0::numeric AS messages_received, 0::numeric AS bytes_received,
           0::numeric AS updates_staged, 0::numeric AS updates_committed, 0::numeric AS records_indexed,
           0::numeric AS bytes_indexed, NULL::interval AS rehydration_latency, 0::numeric AS snapshot_records_known,
           0::numeric AS snapshot_records_staged, false AS snapshot_committed, 0::numeric AS offset_known,
           0::numeric AS offset_committed WHERE false;
