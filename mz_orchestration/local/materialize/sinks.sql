-- Sinks, and the life they lead: statuses, counters and frontiers that a tick moves on, all sinks at a time.
--
-- Nothing is written to Kafka or Iceberg. A sink counts the changes that PostgreSQL's own statistics tell of in the
-- tables it reads from; updates and rolled-back rows count, too.

CREATE TABLE mz_local.sinks (
    oid oid PRIMARY KEY,
    schema oid NOT NULL,
    name text NOT NULL,
    owner oid NOT NULL,
    type text NOT NULL,
    relation oid NOT NULL,
    connection oid NOT NULL,
    cluster_id text NOT NULL REFERENCES mz_local.clusters ON DELETE CASCADE,
    -- topic, namespace, table, envelope, key_format, value_format
    options jsonb NOT NULL,
    commit_interval interval,
    create_sql text NOT NULL,
    UNIQUE (schema, name)
);

-- The tables that what a sink reads is made of.
CREATE TABLE mz_local.sink_tables (
    sink oid NOT NULL REFERENCES mz_local.sinks ON DELETE CASCADE,
    relation oid NOT NULL,
    PRIMARY KEY (sink, relation)
);

CREATE TABLE mz_local.sink_events (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    sink oid NOT NULL,
    occurred_at timestamptz NOT NULL,
    status text NOT NULL,
    error text,
    details jsonb,
    replica_id text
);
CREATE INDEX ON mz_local.sink_events (sink, replica_id, occurred_at DESC, id DESC);

-- A sink on a replica.
CREATE TABLE mz_local.sink_work (
    sink oid NOT NULL REFERENCES mz_local.sinks ON DELETE CASCADE,
    replica_id text NOT NULL,
    status text NOT NULL,
    since timestamptz NOT NULL,
    -- Changes of its tables that it has seen.
    seen bigint NOT NULL,
    staged bigint NOT NULL DEFAULT 0,
    committed bigint NOT NULL DEFAULT 0,
    committed_at timestamptz NOT NULL,
    -- Milliseconds since 1970: its frontier.
    position bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (sink, replica_id)
);

CREATE TABLE mz_local.sink_statistics (
    sink oid NOT NULL REFERENCES mz_local.sinks ON DELETE CASCADE,
    replica_id text NOT NULL,
    staged bigint NOT NULL,
    committed bigint NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (sink, replica_id)
);

-- What is to go wrong with sinks on purpose: the latest row counts.
CREATE TABLE mz_local.sink_faults (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settings jsonb NOT NULL
);
GRANT SELECT, INSERT ON mz_local.sink_faults TO materialize;
INSERT INTO mz_local.sink_faults (settings) VALUES ('{}');

CREATE OR REPLACE VIEW mz_local.items AS
    SELECT c.oid, c.relnamespace AS schema, c.relname::text AS name, c.relowner AS owner,
           CASE WHEN m.oid IS NOT NULL THEN 'materialized-view'
                WHEN c.relkind IN ('r', 'p', 'f') THEN 'table'
                WHEN c.relkind = 'i' THEN 'index'
                WHEN c.relkind = 'm' THEN 'materialized-view'
                ELSE 'view' END AS type,
           m.cluster_id
      FROM pg_class c LEFT JOIN mz_local.materialized_views m ON m.oid = c.oid
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'i') AND c.relpersistence <> 't'
    UNION ALL
    SELECT oid, schema, name, owner, 'secret', NULL FROM mz_local.secrets
    UNION ALL
    SELECT oid, schema, name, owner, 'connection', NULL FROM mz_local.connections
    UNION ALL
    SELECT oid, schema, name, owner, 'sink', cluster_id FROM mz_local.sinks;

-- Whether a fault names a sink: by a part of its name with the schema's, and perhaps for one replica only.
CREATE FUNCTION mz_local.sink_fault(fault text, sink_name text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (
        SELECT FROM (SELECT settings FROM mz_local.sink_faults ORDER BY id DESC LIMIT 1) f,
                    regexp_split_to_table(f.settings ->> fault, ',') pattern
         WHERE pattern = '*' OR strpos(sink_name, pattern) > 0)
$$;

CREATE FUNCTION mz_local.sink_setting(setting text, usual float8) RETURNS float8
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT coalesce((SELECT (settings ->> setting)::float8 FROM mz_local.sink_faults ORDER BY id DESC LIMIT 1), usual)
$$;

CREATE FUNCTION mz_local.changes_of(wanted oid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT coalesce(sum(pg_stat_get_tuples_inserted(relation) + pg_stat_get_tuples_updated(relation)
                        + pg_stat_get_tuples_deleted(relation)), 0)::bigint
      FROM mz_local.sink_tables WHERE sink = wanted
$$;

-- The tables below a relation, through views of all kinds.
CREATE FUNCTION mz_local.tables_of(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    WITH RECURSIVE used AS (
        SELECT relation AS oid
        UNION
        SELECT d.refobjid
          FROM used u
          JOIN pg_rewrite r ON r.ev_class = u.oid
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> u.oid
    )
    SELECT u.oid FROM used u JOIN pg_class c USING (oid) WHERE c.relkind IN ('r', 'p')
$$;

CREATE FUNCTION mz_local.read_by_sink(relation_parts text[], path name[]) RETURNS mz_local.items
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items := mz_local.find_item(relation_parts, path);
BEGIN
    IF found.oid IS NULL THEN
        PERFORM mz_local.fail(format('unknown catalog item ''%s''', array_to_string(relation_parts, '.')));
    ELSIF found.type NOT IN ('table', 'source', 'materialized-view') THEN
        PERFORM mz_local.fail(format(
            '%s is a %s, which cannot be exported as a sink', found.name, replace(found.type, '-', ' ')));
    END IF;
    RETURN found;
END $$;

CREATE FUNCTION mz_local.create_sink(
    parts text[], path name[], owner oid, lenient boolean, cluster_name text, relation_parts text[], kind text,
    connection_parts text[], options jsonb, commit_interval interval, create_sql text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    read mz_local.items := mz_local.read_by_sink(relation_parts, path);
    connection mz_local.items := mz_local.item(connection_parts, path, 'connection');
    cluster text := mz_local.cluster_id(cluster_name);
    made oid;
BEGIN
    PERFORM FROM mz_local.connections c
      WHERE c.oid = connection.oid AND c.type = CASE kind WHEN 'kafka' THEN 'kafka' ELSE 'iceberg-catalog' END;
    IF NOT FOUND THEN
        PERFORM mz_local.fail(format('%s is not a %s CONNECTION', array_to_string(connection_parts, '.'),
                                     CASE kind WHEN 'kafka' THEN 'KAFKA' ELSE 'ICEBERG CATALOG' END));
    END IF;
    IF NOT mz_local.may_create(parts, path, lenient, owner) THEN
        RETURN;
    END IF;
    made := nextval('mz_local.oids');
    INSERT INTO mz_local.sinks
    VALUES (made, mz_local.schema_for(parts, path), parts[cardinality(parts)], owner, kind, read.oid, connection.oid,
            cluster, options, commit_interval, create_sql);
    INSERT INTO mz_local.sink_tables SELECT made, t FROM mz_local.tables_of(read.oid) t;
END $$;

CREATE FUNCTION mz_local.alter_sink(parts text[], path name[], relation_parts text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items := mz_local.item(parts, path, 'sink');
    read mz_local.items := mz_local.read_by_sink(relation_parts, path);
BEGIN
    UPDATE mz_local.sinks SET relation = read.oid WHERE oid = found.oid;
    DELETE FROM mz_local.sink_tables WHERE sink = found.oid;
    INSERT INTO mz_local.sink_tables SELECT found.oid, t FROM mz_local.tables_of(read.oid) t;
    UPDATE mz_local.sink_work SET seen = mz_local.changes_of(found.oid) WHERE sink = found.oid;
END $$;

CREATE FUNCTION mz_local.rename_sink(parts text[], path name[], new_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    UPDATE mz_local.sinks SET name = new_name WHERE oid = (mz_local.item(parts, path, 'sink')).oid
$$;

CREATE FUNCTION mz_local.drop_sink(parts text[], path name[], lenient boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items;
BEGIN
    IF lenient AND (mz_local.find_item(parts, path)).oid IS NULL THEN
        RAISE NOTICE USING MESSAGE = format('sink "%s" does not exist, skipping', array_to_string(parts, '.'));
        RETURN;
    END IF;
    found := mz_local.item(parts, path, 'sink');
    DELETE FROM mz_local.sinks WHERE oid = found.oid;
    INSERT INTO mz_local.sink_events (sink, occurred_at, status) VALUES (found.oid, clock_timestamp(), 'dropped');
END $$;

-- Moves all sinks on; called by the server, a few times a second.
CREATE FUNCTION mz_local.tick_sinks() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    now timestamptz := clock_timestamp();
    moment bigint := extract(epoch FROM now) * 1000;
    starting interval := make_interval(secs => mz_local.sink_setting('starting_seconds', 1));
    broken interval := make_interval(secs => mz_local.sink_setting('broken_seconds', 5));
    publish interval := make_interval(secs => mz_local.sink_setting('publish_every', 60));
BEGIN
    IF NOT EXISTS (SELECT FROM mz_local.sinks) THEN
        RETURN;
    END IF;

    -- Replicas that are gone.
    WITH gone AS (
        DELETE FROM mz_local.sink_work w
         WHERE NOT EXISTS (SELECT FROM mz_local.cluster_replicas r WHERE r.id = w.replica_id)
        RETURNING sink, replica_id
    )
    INSERT INTO mz_local.sink_events (sink, occurred_at, status, details, replica_id)
    SELECT sink, now, 'paused', '{"hints": ["The replica running this sink has been dropped"]}', replica_id FROM gone;
    DELETE FROM mz_local.sink_statistics s
     WHERE s.reported_at < now - interval '1 day'
       AND NOT EXISTS (SELECT FROM mz_local.sink_work w WHERE (w.sink, w.replica_id) = (s.sink, s.replica_id));

    -- Sinks without any.
    INSERT INTO mz_local.sink_events (sink, occurred_at, status, details)
    SELECT s.oid, now, 'paused', '{"hints": ["There is currently no replica running this sink"]}'
      FROM mz_local.sinks s
     WHERE NOT EXISTS (SELECT FROM mz_local.cluster_replicas r WHERE r.cluster_id = s.cluster_id)
       AND NOT EXISTS (SELECT FROM mz_local.sink_events e WHERE e.sink = s.oid AND e.replica_id IS NULL
                          AND e.occurred_at >= coalesce((SELECT max(p.occurred_at) FROM mz_local.sink_events p
                                                          WHERE p.sink = s.oid AND p.replica_id IS NOT NULL),
                                                        '-infinity'));

    -- Replicas that are new: the first of a sink stages the snapshot.
    WITH new AS (
        INSERT INTO mz_local.sink_work (sink, replica_id, status, since, seen, committed_at)
        SELECT s.oid, r.id, 'starting', now,
               CASE WHEN (s.options ->> 'snapshot')::boolean
                         AND NOT EXISTS (SELECT FROM mz_local.sink_events e WHERE e.sink = s.oid AND e.status = 'running')
                    THEN 0 ELSE mz_local.changes_of(s.oid) END,
               now
          FROM mz_local.sinks s JOIN mz_local.cluster_replicas r USING (cluster_id)
        ON CONFLICT DO NOTHING
        RETURNING sink, replica_id
    )
    INSERT INTO mz_local.sink_events (sink, occurred_at, status, replica_id)
    SELECT sink, now, 'starting', replica_id FROM new;

    -- From one status to the next.
    WITH standing AS (
        SELECT w.sink, w.replica_id, w.status, now - w.since AS passed,
               mz_local.sink_fault('stuck_starting', n.name) AS stuck,
               mz_local.sink_fault('stall', n.name) OR mz_local.sink_fault('stall_replica', n.name || '/' || r.name)
                   AS breaks,
               mz_local.sink_fault('stay_stalled', n.name) AS stays,
               mz_local.sink_fault('flap', n.name) AS flaps
          FROM mz_local.sink_work w
          JOIN mz_local.sink_names n ON n.oid = w.sink
          JOIN mz_local.cluster_replicas r ON r.id = w.replica_id
    ), next AS (
        SELECT sink, replica_id,
               CASE WHEN status = 'starting' AND NOT stuck AND passed >= starting THEN 'running'
                    WHEN status = 'running' AND (breaks OR stays) AND passed >= starting THEN 'stalled'
                    WHEN status = 'running' AND flaps AND passed >= broken THEN 'stalled'
                    WHEN status = 'running' AND stuck THEN 'starting'
                    WHEN status = 'stalled' AND NOT stays AND (passed >= broken OR (flaps AND passed >= starting))
                    THEN 'starting' END AS status
          FROM standing
    ), moved AS (
        UPDATE mz_local.sink_work w SET status = n.status, since = now
          FROM next n WHERE (w.sink, w.replica_id) = (n.sink, n.replica_id) AND n.status IS NOT NULL
        RETURNING w.sink, w.replica_id, w.status
    )
    INSERT INTO mz_local.sink_events (sink, occurred_at, status, error, details, replica_id)
    SELECT m.sink, now, m.status,
           CASE WHEN m.status = 'stalled' THEN s.type || ': ' || mz_local.sink_error(s.type) END,
           CASE WHEN m.status = 'stalled' THEN jsonb_build_object(
               'hints', '[]'::jsonb, 'namespaced', jsonb_build_object(s.type, mz_local.sink_error(s.type))) END,
           m.replica_id
      FROM moved m JOIN mz_local.sinks s ON s.oid = m.sink;

    -- What they write.
    WITH seen AS (
        SELECT w.sink, w.replica_id, mz_local.changes_of(w.sink) AS seen,
               mz_local.sink_fault('freeze', n.name) AS frozen,
               mz_local.sink_fault('commit_stall', n.name) AS open,
               s.commit_interval IS NULL OR now - w.committed_at >= s.commit_interval AS due
          FROM mz_local.sink_work w
          JOIN mz_local.sinks s ON s.oid = w.sink
          JOIN mz_local.sink_names n ON n.oid = w.sink
         WHERE w.status = 'running'
           AND NOT EXISTS (SELECT FROM mz_local.offline_replicas f WHERE f.replica_id = w.replica_id)
    )
    UPDATE mz_local.sink_work w
       SET seen = v.seen,
           staged = w.staged + greatest(v.seen - w.seen, 0),
           committed = CASE WHEN NOT v.open AND v.due THEN w.staged + greatest(v.seen - w.seen, 0)
                            ELSE w.committed END,
           committed_at = CASE WHEN NOT v.open AND v.due THEN now ELSE w.committed_at END,
           position = CASE WHEN NOT v.open AND v.due THEN moment ELSE w.position END
      FROM seen v
     WHERE (w.sink, w.replica_id) = (v.sink, v.replica_id) AND NOT v.frozen;

    -- What they tell of it.
    INSERT INTO mz_local.sink_statistics (sink, replica_id, staged, committed, reported_at)
    SELECT w.sink, w.replica_id, w.staged, w.committed, now
      FROM mz_local.sink_work w
      LEFT JOIN mz_local.sink_statistics t USING (sink, replica_id)
     WHERE w.status <> 'starting' AND (t.reported_at IS NULL AND now - w.since >= publish
           OR now - t.reported_at >= publish)
    ON CONFLICT (sink, replica_id) DO UPDATE
       SET staged = excluded.staged, committed = excluded.committed, reported_at = excluded.reported_at;
END $$;

CREATE FUNCTION mz_local.sink_error(type text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE type WHEN 'kafka' THEN 'BrokerTransportFailure (Local: Broker transport failure)'
                     ELSE 'DataInvalid => Failed to load the table' END
$$;

CREATE VIEW mz_local.sink_names AS
    SELECT s.oid, n.nspname || '.' || s.name AS name FROM mz_local.sinks s JOIN pg_namespace n ON n.oid = s.schema;

-- Replicas that a fault has taken down, as cluster/replica.
CREATE VIEW mz_local.offline_replicas AS
    SELECT r.id AS replica_id, f.set_at
      FROM mz_local.cluster_replicas r
      JOIN mz_local.clusters c ON c.id = r.cluster_id
     CROSS JOIN LATERAL (SELECT set_at, settings FROM mz_local.sink_faults ORDER BY id DESC LIMIT 1) f
     WHERE EXISTS (SELECT FROM regexp_split_to_table(f.settings ->> 'replica_loss', ',') pattern
                    WHERE pattern = c.name || '/' || r.name);

-- A component restarts: its counters begin anew.
CREATE FUNCTION mz_local.reset_sink_counters(pattern text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    UPDATE mz_local.sink_work w SET staged = 0, committed = 0, seen = mz_local.changes_of(w.sink)
      FROM mz_local.sink_names n WHERE n.oid = w.sink AND (pattern = '*' OR strpos(n.name, pattern) > 0)
$$;
