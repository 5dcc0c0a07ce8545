-- The life of sinks and sources: one call of mz_local.tick() moves all of them on.
--
-- All statements work on sets and write what changes only, so that a thousand connectors with nothing to do cost
-- nothing but reading. The tick runs in one transaction of one snapshot: a change it sees is one it counts, once. What
-- it writes to is its own, with the exceptions said, so that nobody waits for it or is refused because of it.

-- How far a connector has come. For a sink that is its place in mz_local.inputs, for a source what it has made.
CREATE UNLOGGED TABLE mz_local.progress (
    connector oid PRIMARY KEY,
    kind text NOT NULL,
    input oid,
    messages bigint NOT NULL DEFAULT 0,
    updates bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    -- Whether the snapshot is still to be sent.
    snapshot boolean NOT NULL,
    -- Where its frontier stands; NULL while it moves with the clock.
    stands_at timestamptz,
    paused boolean NOT NULL DEFAULT false
);

-- A connector on a replica. What a replica that is gone has counted is kept for a day.
CREATE UNLOGGED TABLE mz_local.runs (
    connector oid NOT NULL,
    kind text NOT NULL,
    replica_id text NOT NULL,
    status text NOT NULL,
    since timestamptz NOT NULL,
    -- It is to start once more.
    again boolean NOT NULL DEFAULT false,
    -- Its replica is down.
    silent boolean NOT NULL DEFAULT false,
    hydrated boolean NOT NULL DEFAULT false,
    working boolean NOT NULL DEFAULT false,
    faults jsonb,
    gone_at timestamptz,
    staged bigint NOT NULL DEFAULT 0,
    committed bigint NOT NULL DEFAULT 0,
    staged_bytes bigint NOT NULL DEFAULT 0,
    committed_bytes bigint NOT NULL DEFAULT 0,
    committed_at timestamptz,
    -- The statistics as they were published last.
    shown jsonb,
    PRIMARY KEY (connector, replica_id)
);

CREATE UNLOGGED TABLE mz_local.status_history (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    connector oid NOT NULL,
    occurred_at timestamptz NOT NULL,
    status text NOT NULL,
    error text,
    details jsonb,
    replica_id text
);
CREATE INDEX ON mz_local.status_history (connector, replica_id, occurred_at DESC, id DESC);

CREATE UNLOGGED TABLE mz_local.replica_statuses (
    replica_id text PRIMARY KEY,
    online boolean NOT NULL,
    reason text,
    updated_at timestamptz NOT NULL
);

CREATE UNLOGGED TABLE mz_local.published (at timestamptz NOT NULL);
INSERT INTO mz_local.published VALUES (clock_timestamp());

-- What is to go wrong with sinks and sources on purpose: the latest row counts. Only ever added to by clients, so that
-- nobody waits for anybody or is refused because of the tick.
CREATE TABLE mz_local.sink_faults (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    settings jsonb NOT NULL
);
CREATE VIEW mz_local.sink_settings AS SELECT settings FROM mz_local.sink_faults ORDER BY id DESC LIMIT 1;

-- What is to happen once: drop, counters_reset, reboot.
CREATE TABLE mz_local.sink_acts (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    act text NOT NULL,
    names text NOT NULL
);
GRANT SELECT, INSERT ON mz_local.sink_faults, mz_local.sink_acts TO materialize;

CREATE VIEW mz_local.connector_names AS
    SELECT k.oid, k.kind, n.nspname || '.' || coalesce(k.name, c.relname) AS name
      FROM mz_local.connectors k
      LEFT JOIN pg_class c ON c.oid = k.oid AND k.kind = 'source'
      JOIN pg_namespace n ON n.oid = coalesce(k.schema, c.relnamespace);

-- Names are parts of a name with the schema's, several with commas, * for all; a replica may follow after a slash.
CREATE FUNCTION mz_local.named_by(names text, name text, OUT replica text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT split_part(part, '/', 2) FROM regexp_split_to_table(names, ',') part
     WHERE part <> '' AND (split_part(part, '/', 1) = '*' OR strpos(name, split_part(part, '/', 1)) > 0)
$$;

-- The faults of each connector that has any.
CREATE VIEW mz_local.faults_of_connectors AS
    SELECT n.oid AS connector, jsonb_object_agg(f.key, r.replica) AS faults
      FROM mz_local.connector_names n
     CROSS JOIN mz_local.sink_settings s
     CROSS JOIN LATERAL jsonb_each_text(s.settings) f
     CROSS JOIN LATERAL mz_local.named_by(f.value, n.name) r
     WHERE f.key IN ('stall', 'stay_stalled', 'stall_replica', 'flap', 'stuck_starting', 'commit_stall', 'freeze',
                     'every_replica', 'reset_on_restart')
     GROUP BY n.oid;

CREATE FUNCTION mz_local.sink_setting(setting text, usual float8) RETURNS float8
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT coalesce((SELECT (settings ->> setting)::float8 FROM mz_local.sink_settings), usual)
$$;

-- The rows of a source that counts.
CREATE FUNCTION mz_local.counter(source oid) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT generate_series(1, messages) FROM mz_local.progress WHERE connector = source
$$;

-- As when Materialize itself is started anew: little history is kept, and all start again.
CREATE FUNCTION mz_local.reboot() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DELETE FROM mz_local.status_history
     WHERE id IN (SELECT id FROM (
         SELECT id, row_number() OVER (PARTITION BY connector ORDER BY occurred_at DESC, id DESC) AS place
           FROM mz_local.status_history) h WHERE place > 5);
    UPDATE mz_local.runs SET again = true WHERE gone_at IS NULL;
$$;

CREATE FUNCTION mz_local.act() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    told record;
BEGIN
    FOR told IN DELETE FROM mz_local.sink_acts RETURNING act, names LOOP
        IF told.act = 'reboot' THEN
            PERFORM mz_local.reboot();
        ELSIF told.act = 'counters_reset' THEN
            UPDATE mz_local.runs r SET staged = 0, committed = 0, staged_bytes = 0, committed_bytes = 0
              FROM mz_local.connector_names n
             WHERE n.oid = r.connector AND EXISTS (SELECT FROM mz_local.named_by(told.names, n.name));
        ELSIF told.act = 'drop' THEN
            PERFORM mz_local.drop_connector(n.oid) FROM mz_local.connector_names n
              WHERE n.kind = 'sink' AND EXISTS (SELECT FROM mz_local.named_by(told.names, n.name));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION mz_local.lose_replicas(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    lost text[];
BEGIN
    IF NOT EXISTS (SELECT FROM mz_local.sink_settings WHERE settings ? 'replica_loss')
       AND NOT EXISTS (SELECT FROM mz_local.replica_statuses WHERE NOT online) THEN
        RETURN;
    END IF;
    lost := ARRAY(
        SELECT r.id
          FROM mz_local.sink_settings s
         CROSS JOIN LATERAL regexp_split_to_table(s.settings ->> 'replica_loss', ',') place
          JOIN mz_local.clusters c ON c.name = split_part(place, '/', 1)
          JOIN mz_local.cluster_replicas r ON r.cluster_id = c.id AND r.name = split_part(place, '/', 2));
    INSERT INTO mz_local.replica_statuses AS s
    SELECT replica_id, false, 'oom-killed', moment FROM unnest(lost) replica_id
    ON CONFLICT (replica_id) DO UPDATE SET online = false, reason = 'oom-killed', updated_at = moment WHERE s.online;
    UPDATE mz_local.replica_statuses SET online = true, reason = NULL, updated_at = moment
     WHERE NOT online AND replica_id <> ALL (lost);
    -- Nobody tells of what ran there: its status stays what it was. Once it is back, all starts again.
    UPDATE mz_local.runs SET silent = NOT silent, again = silent
     WHERE gone_at IS NULL AND silent <> (replica_id = ANY (lost));
END $$;

-- Connectors and replicas that are new or gone.
CREATE FUNCTION mz_local.begin_and_end(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    WITH dropped AS (
        DELETE FROM mz_local.progress p
         WHERE NOT EXISTS (SELECT FROM mz_local.connectors k WHERE k.oid = p.connector)
        RETURNING connector, kind
    ), cleared AS (
        DELETE FROM mz_local.runs r USING dropped d WHERE r.connector = d.connector
    )
    INSERT INTO mz_local.status_history (kind, connector, occurred_at, status)
    SELECT kind, connector, moment, 'dropped' FROM dropped;

    INSERT INTO mz_local.progress (connector, kind, input, messages, updates, bytes, snapshot, stands_at)
    SELECT k.oid, k.kind, k.input, coalesce(i.messages, 0), coalesce(i.updates, 0), coalesce(i.bytes, 0),
           k.kind = 'sink' AND coalesce((k.options ->> 'snapshot')::boolean, true), k.created_at
      FROM mz_local.connectors k LEFT JOIN mz_local.inputs i ON i.oid = k.input
     WHERE NOT EXISTS (SELECT FROM mz_local.progress p WHERE p.connector = k.oid);

    -- A sink that was altered to read something else goes on there without a snapshot.
    WITH altered AS (
        UPDATE mz_local.progress p
           SET input = k.input, messages = i.messages, updates = i.updates, bytes = i.bytes, snapshot = false
          FROM mz_local.connectors k JOIN mz_local.inputs i ON i.oid = k.input
         WHERE p.connector = k.oid AND p.input <> k.input
        RETURNING p.connector
    )
    UPDATE mz_local.runs r SET again = true FROM altered a WHERE r.connector = a.connector AND r.gone_at IS NULL;

    WITH idle AS (
        UPDATE mz_local.progress p SET paused = NOT paused
          FROM mz_local.connectors k
         WHERE k.oid = p.connector
           AND paused = EXISTS (SELECT FROM mz_local.cluster_replicas r WHERE r.cluster_id = k.cluster_id)
        RETURNING p.connector, p.kind, paused
    )
    INSERT INTO mz_local.status_history (kind, connector, occurred_at, status, details)
    SELECT kind, connector, moment, 'paused',
           mz_local.hinted('There is currently no replica running this ' || kind)
      FROM idle WHERE paused;

    WITH gone AS (
        UPDATE mz_local.runs r
           SET status = 'paused', since = moment, gone_at = moment, working = false, hydrated = false
         WHERE gone_at IS NULL AND NOT EXISTS (SELECT FROM mz_local.cluster_replicas c WHERE c.id = r.replica_id)
        RETURNING connector, kind, replica_id
    )
    INSERT INTO mz_local.status_history (kind, connector, occurred_at, status, details, replica_id)
    -- The later of two that come together is the one that shows.
    SELECT kind, connector, moment + interval '1 ms', 'paused',
           mz_local.hinted(format('The replica running this %s has been dropped', kind)), replica_id
      FROM gone;

    -- Materialize runs a sink on one replica, the first, for as long as that is there; sources like these on all.
    WITH firsts AS MATERIALIZED (
        SELECT DISTINCT ON (cluster_id) cluster_id, id FROM mz_local.cluster_replicas
         ORDER BY cluster_id, length(id), id
    ), everywhere AS MATERIALIZED (
        SELECT connector FROM mz_local.faults_of_connectors WHERE faults ? 'every_replica'
    ), placed AS MATERIALIZED (
        SELECT k.oid, k.kind, f.id AS replica_id
          FROM mz_local.connectors k JOIN firsts f USING (cluster_id)
         WHERE NOT EXISTS (SELECT FROM mz_local.runs r WHERE r.connector = k.oid AND r.gone_at IS NULL)
        UNION
        SELECT k.oid, k.kind, c.id
          FROM mz_local.connectors k JOIN mz_local.cluster_replicas c USING (cluster_id)
         WHERE k.kind = 'source' OR k.oid IN (SELECT connector FROM everywhere)
    ), begun AS (
        INSERT INTO mz_local.runs (connector, kind, replica_id, status, since)
        SELECT p.oid, p.kind, p.replica_id, 'starting', moment
          FROM placed p
         WHERE NOT EXISTS (SELECT FROM mz_local.runs r WHERE r.connector = p.oid AND r.replica_id = p.replica_id)
        RETURNING connector, kind, replica_id
    )
    INSERT INTO mz_local.status_history (kind, connector, occurred_at, status, replica_id)
    SELECT kind, connector, moment + interval '2 ms', 'starting', replica_id FROM begun;
END $$;

CREATE FUNCTION mz_local.hinted(hint text) RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT jsonb_build_object('hints', jsonb_build_array(hint))
$$;

-- The error of a connector that stalls, as told or such as is usual.
CREATE FUNCTION mz_local.stall_error(type text, settings jsonb, OUT error text, OUT details jsonb)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
DECLARE
    namespace text := CASE WHEN type IN ('kafka', 'iceberg') THEN type ELSE 'internal' END;
    message text := coalesce(settings ->> 'error', CASE namespace
        WHEN 'kafka' THEN 'BrokerTransportFailure (Local: Broker transport failure)'
        WHEN 'iceberg' THEN 'DataInvalid => Failed to load the table'
        ELSE 'the dataflow was shut down' END);
    hint text := coalesce(settings ->> 'hint', CASE WHEN type = 'kafka' AND NOT coalesce(settings ? 'error', false) THEN
        'If you''re running a single Kafka broker, ensure that the configs transaction.state.log.replication.factor,'
        ' transaction.state.log.min.isr, and offsets.topic.replication.factor are set to 1 on the broker' END);
BEGIN
    error := namespace || ': ' || message;
    details := jsonb_build_object('namespaced', jsonb_build_object(namespace, message));
    IF hint <> '' THEN
        details := details || mz_local.hinted(hint);
    END IF;
END $$;

CREATE FUNCTION mz_local.move_statuses(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    told jsonb := (SELECT settings FROM mz_local.sink_settings);
    starting float8 := mz_local.sink_setting('starting_seconds', 1);
    broken float8 := mz_local.sink_setting('broken_seconds', 5);
BEGIN
    IF told <> '{}' OR EXISTS (SELECT FROM mz_local.runs WHERE faults IS NOT NULL) THEN
        UPDATE mz_local.runs r SET faults = f.faults
          FROM mz_local.connectors k LEFT JOIN mz_local.faults_of_connectors f ON f.connector = k.oid
         WHERE r.connector = k.oid AND r.gone_at IS NULL AND r.faults IS DISTINCT FROM f.faults;
    END IF;

    WITH moving AS (
        SELECT r.*, k.type, coalesce(r.faults ? 'stuck_starting', false) AS stuck,
               coalesce(r.faults ? 'stall', false) AS breaks, coalesce(r.faults ? 'flap', false) AS flaps,
               coalesce(r.faults ? 'stay_stalled' OR r.faults ->> 'stall_replica' = c.name, false) AS stays,
               EXTRACT(epoch FROM moment - r.since)::float8 AS age
          FROM mz_local.runs r
          JOIN mz_local.connectors k ON k.oid = r.connector
          JOIN mz_local.cluster_replicas c ON c.id = r.replica_id
         WHERE r.gone_at IS NULL AND NOT r.silent
           AND (r.again OR r.faults IS NOT NULL OR r.status <> 'running')
    ), decided AS (
        SELECT m.*, CASE
                   WHEN again OR stuck THEN 'starting'
                   WHEN status = 'starting' AND age > 0 AND age >= starting THEN 'running'
                   WHEN status = 'starting' THEN 'starting'
                   WHEN status = 'running' AND (stays OR (breaks AND age >= starting) OR (flaps AND age >= broken))
                   THEN 'stalled'
                   WHEN status = 'running' THEN 'running'
                   WHEN stays OR (breaks AND age < broken) OR (flaps AND age < starting) THEN 'stalled'
                   ELSE 'starting'
               END AS next
          FROM moving m
    ), moved AS (
        UPDATE mz_local.runs r
           SET status = d.next, since = moment, again = false,
               hydrated = r.hydrated AND d.next <> 'starting',
               staged = CASE WHEN zeroed THEN 0 ELSE r.staged END,
               committed = CASE WHEN zeroed THEN 0 ELSE r.committed END,
               staged_bytes = CASE WHEN zeroed THEN 0 ELSE r.staged_bytes END,
               committed_bytes = CASE WHEN zeroed THEN 0 ELSE r.committed_bytes END
          FROM decided d
         CROSS JOIN LATERAL (
             SELECT d.next = 'starting' AND coalesce(d.faults ? 'reset_on_restart', false)
         ) z (zeroed)
         WHERE r.connector = d.connector AND r.replica_id = d.replica_id AND (d.again OR d.next <> d.status)
        RETURNING r.connector, r.kind, r.replica_id, r.status, d.type
    )
    INSERT INTO mz_local.status_history (kind, connector, occurred_at, status, error, details, replica_id)
    SELECT kind, connector, moment, status, e.error, e.details, replica_id
      FROM moved LEFT JOIN LATERAL mz_local.stall_error(type, told) e ON status = 'stalled';
END $$;

CREATE FUNCTION mz_local.count_changes(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    -- A source that counts makes up for the time it did not run.
    WITH due AS (
        SELECT p.connector, n.made - p.messages AS made
          FROM mz_local.progress p
          JOIN mz_local.connectors k ON k.oid = p.connector AND k.kind = 'source'
         CROSS JOIN LATERAL (SELECT mz_local.made_by(k.created_at, k.options, moment)) n (made)
         WHERE n.made > p.messages
           AND EXISTS (SELECT FROM mz_local.runs r WHERE r.connector = k.oid AND r.working)
    ), counted AS (
        UPDATE mz_local.progress p SET messages = p.messages + d.made FROM due d WHERE p.connector = d.connector
    ), staged AS (
        UPDATE mz_local.runs r SET staged = staged + d.made, staged_bytes = staged_bytes + 8 * d.made
          FROM due d WHERE r.connector = d.connector AND r.working
    )
    INSERT INTO mz_local.changes
    SELECT connector, made, 0, 8 * made FROM due
     WHERE EXISTS (SELECT FROM mz_local.input_bases b WHERE b.base = due.connector);

    WITH taken AS (
        DELETE FROM mz_local.changes RETURNING *
    ), sums AS (
        SELECT b.input, sum(messages) AS messages, sum(updates) AS updates, sum(bytes) AS bytes
          FROM taken JOIN mz_local.input_bases b USING (base) GROUP BY b.input
    )
    UPDATE mz_local.inputs i
       SET messages = i.messages + s.messages, updates = i.updates + s.updates, bytes = i.bytes + s.bytes
      FROM sums s WHERE i.oid = s.input;
END $$;

CREATE FUNCTION mz_local.made_by(created_at timestamptz, options jsonb, moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT greatest(0, floor(EXTRACT(epoch FROM moment - created_at)
                             / EXTRACT(epoch FROM (options ->> 'tick')::interval)))::bigint
$$;

-- What runs and was not hydrated is; a sink's first time sends the snapshot.
CREATE FUNCTION mz_local.hydrate(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    relation regclass;
    n bigint;
    size bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM mz_local.runs WHERE status = 'running' AND NOT hydrated) THEN
        RETURN;
    END IF;
    FOR relation IN
        SELECT DISTINCT p.input
          FROM mz_local.progress p
          JOIN mz_local.runs r ON r.connector = p.connector AND r.status = 'running' AND NOT r.hydrated
                              AND r.since < moment
         WHERE p.snapshot
    LOOP
        BEGIN
            EXECUTE format('SELECT count(*), coalesce(sum(pg_column_size(i)), 0) FROM %s i', relation) INTO n, size;
        EXCEPTION WHEN OTHERS THEN
            -- A view whose query fails holds up those who read it, not all the others.
            CONTINUE;
        END;
        WITH sent AS (
            UPDATE mz_local.progress p
               SET snapshot = false, messages = i.messages, updates = i.updates, bytes = i.bytes
              FROM mz_local.inputs i
             WHERE i.oid = relation AND p.input = relation AND p.snapshot
               AND EXISTS (SELECT FROM mz_local.runs r WHERE r.connector = p.connector AND r.status = 'running'
                              AND NOT r.hydrated AND r.since < moment AND mz_local.may_work(r))
            RETURNING p.connector
        )
        UPDATE mz_local.runs r SET staged = staged + n, staged_bytes = staged_bytes + size
          FROM sent s WHERE r.connector = s.connector AND r.status = 'running' AND mz_local.may_work(r);
    END LOOP;
    UPDATE mz_local.runs r SET hydrated = true
      FROM mz_local.progress p
     WHERE p.connector = r.connector AND NOT p.snapshot AND r.status = 'running' AND NOT r.hydrated
       AND r.since < moment AND mz_local.may_work(r);
END $$;

-- Whether it would do its work if it runs; a fault may show in nothing but that.
CREATE FUNCTION mz_local.may_work(run mz_local.runs) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT run.gone_at IS NULL AND NOT run.silent
       AND (run.faults IS NULL OR NOT run.faults ?| '{stall,stay_stalled,freeze}')
$$;

-- Messages are staged and committed, and frontiers stand or move.
CREATE FUNCTION mz_local.move_messages(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE mz_local.runs r SET working = NOT working
     WHERE working <> (r.status = 'running' AND r.hydrated AND mz_local.may_work(r));

    WITH due AS (
        SELECT p.connector, i.messages, i.updates, i.bytes, i.bytes - p.bytes AS size,
               i.messages - p.messages
               + CASE k.options ->> 'mode' WHEN 'append' THEN i.updates - p.updates ELSE 0 END AS n
          FROM mz_local.progress p
          JOIN mz_local.inputs i ON i.oid = p.input
          JOIN mz_local.connectors k ON k.oid = p.connector
         WHERE i.messages > p.messages AND NOT p.snapshot
           AND EXISTS (SELECT FROM mz_local.runs r WHERE r.connector = p.connector AND r.working)
    ), staged AS (
        UPDATE mz_local.runs r SET staged = staged + d.n, staged_bytes = staged_bytes + d.size
          FROM due d WHERE r.connector = d.connector AND r.working
    )
    UPDATE mz_local.progress p SET messages = d.messages, updates = d.updates, bytes = d.bytes
      FROM due d WHERE p.connector = d.connector;

    UPDATE mz_local.runs r SET committed = staged, committed_bytes = staged_bytes, committed_at = moment
      FROM mz_local.connectors k
     WHERE k.oid = r.connector AND k.type <> 'iceberg' AND r.working AND r.committed <> r.staged
       AND NOT coalesce(r.faults ? 'commit_stall', false);

    WITH committed AS (
        UPDATE mz_local.runs r SET committed = staged, committed_bytes = staged_bytes, committed_at = moment
          FROM mz_local.connectors k
         WHERE k.oid = r.connector AND k.type = 'iceberg' AND r.working
           AND moment >= greatest(r.committed_at, r.since) + (k.options ->> 'commit_interval')::interval
           AND NOT coalesce(r.faults ? 'commit_stall', false)
        RETURNING r.connector
    )
    UPDATE mz_local.progress p SET stands_at = moment FROM committed c WHERE p.connector = c.connector;

    -- That of an Iceberg sink moves from commit to commit.
    UPDATE mz_local.progress p SET stands_at = CASE WHEN m.moves THEN NULL ELSE moment END
      FROM (SELECT r.connector,
                   bool_or(r.working AND NOT coalesce(r.faults ? 'commit_stall', false)) AS moves
              FROM mz_local.runs r GROUP BY r.connector) m
      JOIN mz_local.connectors k ON k.oid = m.connector AND k.type <> 'iceberg'
     WHERE p.connector = m.connector AND m.moves <> (p.stands_at IS NULL);
END $$;

CREATE FUNCTION mz_local.publish(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE mz_local.published SET at = moment
     WHERE EXTRACT(epoch FROM moment - at) >= mz_local.sink_setting('publish_every', 60);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE mz_local.runs r SET shown = n.shown
      FROM (SELECT u.connector, u.replica_id, jsonb_build_object(
                       'staged', u.staged, 'committed', u.committed,
                       'staged_bytes', u.staged_bytes, 'committed_bytes', u.committed_bytes,
                       'offset_committed', p.messages - (u.staged - u.committed),
                       'offset_known', CASE WHEN k.kind = 'source'
                                            THEN mz_local.made_by(k.created_at, k.options, moment) END) AS shown
              FROM mz_local.runs u
              JOIN mz_local.progress p ON p.connector = u.connector
              JOIN mz_local.connectors k ON k.oid = u.connector
             WHERE u.hydrated OR u.shown IS NOT NULL) n
     WHERE n.connector = r.connector AND n.replica_id = r.replica_id AND r.shown IS DISTINCT FROM n.shown;
    DELETE FROM mz_local.runs WHERE gone_at < moment - interval '1 day';
END $$;

-- Returns the seconds until the next call.
CREATE FUNCTION mz_local.tick() RETURNS float8 LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    moment timestamptz := date_trunc('milliseconds', clock_timestamp());
BEGIN
    IF EXISTS (SELECT FROM mz_local.connectors) OR EXISTS (SELECT FROM mz_local.progress) THEN
        PERFORM mz_local.act();
        PERFORM mz_local.lose_replicas(moment);
        PERFORM mz_local.begin_and_end(moment);
        PERFORM mz_local.move_statuses(moment);
        PERFORM mz_local.count_changes(moment);
        PERFORM mz_local.hydrate(moment);
        PERFORM mz_local.move_messages(moment);
        PERFORM mz_local.publish(moment);
    END IF;
    RETURN mz_local.sink_setting('tick', 0.5);
END $$;
