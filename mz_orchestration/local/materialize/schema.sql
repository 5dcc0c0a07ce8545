-- What Materialize knows and PostgreSQL does not: clusters, secrets, connections and materialized views.
--
-- The proxy rewrites the DDL of these objects into calls of the functions here, so that they are as transactional
-- as the rest. Clients reach the tables through these functions and the views of catalog.sql only.

CREATE SCHEMA mz_local;
GRANT USAGE ON SCHEMA mz_local TO PUBLIC;
ALTER SCHEMA public OWNER TO materialize;

ALTER DATABASE materialize SET "mz.cluster" = 'quickstart';
ALTER DATABASE materialize SET "mz.cluster_replica" = '';
ALTER DATABASE materialize SET "mz.database" = 'materialize';
ALTER DATABASE materialize SET "mz.transaction_isolation" = 'strict serializable';
ALTER DATABASE materialize SET "mz.real_time_recency" = 'off';
ALTER DATABASE materialize SET "mz.auto_route_catalog_queries" = 'on';
-- One transaction reads at one timestamp in Materialize.
ALTER DATABASE materialize SET default_transaction_isolation = 'repeatable read';
ALTER DATABASE materialize SET search_path = public;

-- Far above the oids of a short-lived server, so that 'u' || oid is unique over all kinds of objects.
CREATE SEQUENCE mz_local.oids MINVALUE 1000000;
CREATE SEQUENCE mz_local.cluster_ids;

CREATE TABLE mz_local.clusters (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    owner oid NOT NULL,
    managed boolean NOT NULL,
    size text
);

CREATE TABLE mz_local.cluster_replicas (
    id text PRIMARY KEY,
    cluster_id text NOT NULL REFERENCES mz_local.clusters ON DELETE CASCADE,
    name text NOT NULL,
    size text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (cluster_id, name)
);

CREATE TABLE mz_local.secrets (
    oid oid PRIMARY KEY,
    schema oid NOT NULL,
    name text NOT NULL,
    owner oid NOT NULL,
    value bytea NOT NULL,
    UNIQUE (schema, name)
);

CREATE TABLE mz_local.connections (
    oid oid PRIMARY KEY,
    schema oid NOT NULL,
    name text NOT NULL,
    owner oid NOT NULL,
    type text NOT NULL,
    -- {"REGION": {"text": "us-east-1"}, "SECRET ACCESS KEY": {"secret": "u1000000"}}
    options jsonb NOT NULL,
    UNIQUE (schema, name)
);

CREATE TABLE mz_local.materialized_views (
    oid oid PRIMARY KEY,
    cluster_id text NOT NULL,
    definition text NOT NULL
);

-- Sinks and sources. A source is a view, which has its name and its owner. A sink has a hidden one over what it
-- reads, its anchor, so that PostgreSQL minds what depends on what.
CREATE TABLE mz_local.connectors (
    oid oid PRIMARY KEY,
    kind text NOT NULL,
    type text NOT NULL,
    schema oid,
    name text,
    owner oid,
    cluster_id text NOT NULL,
    input oid,
    connection oid,
    other_connection oid,
    anchor oid,
    options jsonb NOT NULL,
    -- The end of the statement that made it, where no names change.
    tail text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (schema, name)
);

CREATE FUNCTION mz_local.fail(message text, code text DEFAULT 'XX000', detail text DEFAULT '', hint text DEFAULT '')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = message, ERRCODE = code, DETAIL = detail, HINT = hint;
END $$;

-- All relations and objects of the stack by name, in the order of the search path.
CREATE VIEW mz_local.items AS
    SELECT c.oid, c.relnamespace AS schema, c.relname::text AS name, c.relowner AS owner,
           CASE WHEN m.oid IS NOT NULL THEN 'materialized-view'
                WHEN k.oid IS NOT NULL THEN 'source'
                WHEN c.relkind IN ('r', 'p', 'f') THEN 'table'
                WHEN c.relkind = 'i' THEN 'index'
                WHEN c.relkind = 'm' THEN 'materialized-view'
                ELSE 'view' END AS type,
           coalesce(m.cluster_id, k.cluster_id) AS cluster_id
      FROM pg_class c
      LEFT JOIN mz_local.materialized_views m ON m.oid = c.oid
      LEFT JOIN mz_local.connectors k ON k.oid = c.oid AND k.kind = 'source'
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'i') AND c.relpersistence <> 't'
    UNION ALL
    SELECT oid, schema, name, owner, 'secret', NULL FROM mz_local.secrets
    UNION ALL
    SELECT oid, schema, name, owner, 'connection', NULL FROM mz_local.connections
    UNION ALL
    SELECT oid, schema, name, owner, 'sink', cluster_id FROM mz_local.connectors WHERE kind = 'sink';

CREATE FUNCTION mz_local.schema_for(parts text[], path name[]) RETURNS oid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    n int := cardinality(parts);
    found oid;
BEGIN
    IF n = 3 AND parts[1] <> current_database() THEN
        PERFORM mz_local.fail(format('unknown database ''%s''', parts[1]));
    END IF;
    IF n > 1 THEN
        SELECT oid INTO found FROM pg_namespace WHERE nspname = parts[n - 1];
        IF found IS NULL THEN
            PERFORM mz_local.fail(format('unknown schema ''%s''', parts[n - 1]));
        END IF;
        RETURN found;
    END IF;
    SELECT oid INTO found FROM pg_namespace WHERE nspname = path[1];
    IF found IS NULL THEN
        PERFORM mz_local.fail('no valid schema selected', '3F000');
    END IF;
    RETURN found;
END $$;

CREATE FUNCTION mz_local.find_item(parts text[], path name[]) RETURNS mz_local.items
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    n int := cardinality(parts);
    found mz_local.items;
BEGIN
    IF n > 1 THEN
        SELECT * INTO found FROM mz_local.items
         WHERE schema = mz_local.schema_for(parts, path) AND name = parts[n];
    ELSE
        SELECT i.* INTO found
          FROM unnest(path || '{mz_catalog}'::name[]) WITH ORDINALITY p (nspname, place)
          JOIN pg_namespace s USING (nspname)
          JOIN mz_local.items i ON i.schema = s.oid AND i.name = parts[1]
         ORDER BY place LIMIT 1;
    END IF;
    RETURN found;
END $$;

CREATE FUNCTION mz_local.item(parts text[], path name[], wanted text) RETURNS mz_local.items
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items := mz_local.find_item(parts, path);
BEGIN
    IF found.oid IS NULL THEN
        PERFORM mz_local.fail(format('unknown catalog item ''%s''', array_to_string(parts, '.')));
    ELSIF found.type <> wanted THEN
        PERFORM mz_local.fail(format(
            '%s.%s is not a %s', found.schema::regnamespace, found.name, replace(wanted, '-', ' ')));
    END IF;
    RETURN found;
END $$;

-- False: there is one already, and the statement said IF NOT EXISTS.
CREATE FUNCTION mz_local.may_create(parts text[], path name[], lenient boolean, owner oid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    place oid := mz_local.schema_for(parts, path);
    item_name text := parts[cardinality(parts)];
BEGIN
    IF NOT has_schema_privilege(owner, place, 'CREATE') THEN
        PERFORM mz_local.fail(
            format('permission denied for SCHEMA "%s.%s"', current_database(), place::regnamespace), '42501',
            format('The ''%s'' role needs CREATE privileges on SCHEMA "%s.%s"',
                   owner::regrole, current_database(), place::regnamespace));
    END IF;
    IF EXISTS (SELECT FROM mz_local.items WHERE schema = place AND name = item_name) THEN
        IF NOT lenient THEN
            PERFORM mz_local.fail(format('catalog item ''%s'' already exists', item_name), '42710');
        END IF;
        RAISE NOTICE USING MESSAGE = format('%s already exists, skipping', item_name);
        RETURN false;
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION mz_local.create_secret(parts text[], path name[], owner oid, lenient boolean, value bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF value IS NULL THEN
        PERFORM mz_local.fail('secret value can not be null');
    END IF;
    IF mz_local.may_create(parts, path, lenient, owner) THEN
        INSERT INTO mz_local.secrets
        VALUES (nextval('mz_local.oids'), mz_local.schema_for(parts, path), parts[cardinality(parts)], owner, value);
    END IF;
END $$;

CREATE FUNCTION mz_local.create_secret(parts text[], path name[], owner oid, lenient boolean, value text)
RETURNS void LANGUAGE sql AS $$
    SELECT mz_local.create_secret(parts, path, owner, lenient, convert_to(value, 'UTF8'))
$$;

CREATE FUNCTION mz_local.alter_secret(parts text[], path name[], lenient boolean, new_value bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF lenient AND (mz_local.find_item(parts, path)).oid IS NULL THEN
        RETURN;
    END IF;
    UPDATE mz_local.secrets SET value = new_value WHERE oid = (mz_local.item(parts, path, 'secret')).oid;
END $$;

CREATE FUNCTION mz_local.alter_secret(parts text[], path name[], lenient boolean, new_value text)
RETURNS void LANGUAGE sql AS $$
    SELECT mz_local.alter_secret(parts, path, lenient, convert_to(new_value, 'UTF8'))
$$;

CREATE FUNCTION mz_local.create_connection(
    parts text[], path name[], owner oid, lenient boolean, type text, options jsonb
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    resolved jsonb := '{}';
    option record;
    secret mz_local.items;
BEGIN
    FOR option IN SELECT * FROM jsonb_each(options) LOOP
        IF option.value ? 'secret' THEN
            secret := mz_local.item(
                ARRAY(SELECT jsonb_array_elements_text(option.value -> 'secret')), path, 'secret');
            resolved := resolved || jsonb_build_object(
                option.key, jsonb_build_object('secret', 'u' || secret.oid));
        ELSIF option.value ? 'connection' THEN
            resolved := resolved || jsonb_build_object(option.key, jsonb_build_object(
                'connection', 'u' || (mz_local.item(
                    ARRAY(SELECT jsonb_array_elements_text(option.value -> 'connection')), path, 'connection')).oid));
        ELSE
            resolved := resolved || jsonb_build_object(option.key, option.value);
        END IF;
    END LOOP;
    IF mz_local.may_create(parts, path, lenient, owner) THEN
        INSERT INTO mz_local.connections
        VALUES (nextval('mz_local.oids'), mz_local.schema_for(parts, path), parts[cardinality(parts)], owner,
                type, resolved);
    END IF;
END $$;

CREATE FUNCTION mz_local.drop_item(parts text[], path name[], wanted text, lenient boolean, cascade boolean)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items;
    dependent text;
BEGIN
    IF lenient AND (mz_local.find_item(parts, path)).oid IS NULL THEN
        RAISE NOTICE USING MESSAGE = format(
            '%s "%s" does not exist, skipping', wanted, array_to_string(parts, '.'));
        RETURN;
    END IF;
    found := mz_local.item(parts, path, wanted);
    IF wanted = 'secret' THEN
        SELECT c.name INTO dependent FROM mz_local.connections c, jsonb_each(c.options) o
         WHERE o.value ->> 'secret' = 'u' || found.oid LIMIT 1;
        IF dependent IS NOT NULL AND NOT cascade THEN
            PERFORM mz_local.fail(
                format('cannot drop secret "%s": still depended upon by connection "%s"', found.name, dependent),
                '2BP01');
        END IF;
        DELETE FROM mz_local.connections c
         WHERE EXISTS (SELECT FROM jsonb_each(c.options) o WHERE o.value ->> 'secret' = 'u' || found.oid);
        DELETE FROM mz_local.secrets WHERE oid = found.oid;
    ELSIF wanted = 'sink' THEN
        PERFORM mz_local.drop_connector(found.oid);
    ELSE
        SELECT name INTO dependent FROM mz_local.connectors
         WHERE found.oid IN (connection, other_connection) LIMIT 1;
        IF dependent IS NOT NULL AND NOT cascade THEN
            PERFORM mz_local.fail(
                format('cannot drop connection "%s": still depended upon by sink "%s"', found.name, dependent),
                '2BP01');
        END IF;
        PERFORM mz_local.drop_connector(oid) FROM mz_local.connectors
          WHERE found.oid IN (connection, other_connection);
        DELETE FROM mz_local.connections WHERE oid = found.oid;
    END IF;
END $$;

CREATE FUNCTION mz_local.set_replicas(cluster text, replica_names text[], replica_size text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DELETE FROM mz_local.cluster_replicas WHERE cluster_id = cluster AND name <> ALL (replica_names);
    INSERT INTO mz_local.cluster_replicas
    SELECT left(cluster, 1) || nextval('mz_local.cluster_ids'), cluster, name, replica_size
      FROM unnest(replica_names) name
    ON CONFLICT (cluster_id, name) DO NOTHING;
$$;

CREATE FUNCTION mz_local.create_cluster(
    cluster_name text, owner oid, managed boolean, size text, replica_names text[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    cluster text := 'u' || nextval('mz_local.cluster_ids');
BEGIN
    IF EXISTS (SELECT FROM mz_local.clusters WHERE name = cluster_name) THEN
        PERFORM mz_local.fail(format('cluster ''%s'' already exists', cluster_name), '42710');
    END IF;
    INSERT INTO mz_local.clusters VALUES (cluster, cluster_name, owner, managed, size);
    PERFORM mz_local.set_replicas(cluster, replica_names, size);
END $$;

CREATE FUNCTION mz_local.cluster_id(cluster_name text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found text;
BEGIN
    SELECT id INTO found FROM mz_local.clusters WHERE name = cluster_name;
    IF found IS NULL THEN
        PERFORM mz_local.fail(format('unknown cluster ''%s''', cluster_name));
    END IF;
    RETURN found;
END $$;

CREATE FUNCTION mz_local.alter_cluster(cluster_name text, new_size text, replication int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    cluster text := mz_local.cluster_id(cluster_name);
BEGIN
    IF new_size IS NOT NULL THEN
        UPDATE mz_local.clusters SET size = new_size WHERE id = cluster;
        UPDATE mz_local.cluster_replicas SET size = new_size WHERE cluster_id = cluster;
    END IF;
    IF replication IS NOT NULL THEN
        PERFORM mz_local.set_replicas(
            cluster, ARRAY(SELECT 'r' || i FROM generate_series(1, replication) i),
            (SELECT size FROM mz_local.clusters WHERE id = cluster));
    END IF;
END $$;

CREATE FUNCTION mz_local.drop_cluster(cluster_name text, lenient boolean, cascade boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    cluster text;
    dependent text;
    dependent_type text;
BEGIN
    IF lenient AND NOT EXISTS (SELECT FROM mz_local.clusters WHERE name = cluster_name) THEN
        RAISE NOTICE USING MESSAGE = format('cluster "%s" does not exist, skipping', cluster_name);
        RETURN;
    END IF;
    cluster := mz_local.cluster_id(cluster_name);
    SELECT name, replace(type, '-', ' ') INTO dependent, dependent_type
      FROM mz_local.items WHERE cluster_id = cluster LIMIT 1;
    IF dependent IS NOT NULL AND NOT cascade THEN
        PERFORM mz_local.fail(
            format('cannot drop cluster "%s" because other objects depend on it', cluster_name), '2BP01',
            format('%s "%s" depends on it', dependent_type, dependent), 'Use DROP ... CASCADE to drop them too.');
    END IF;
    PERFORM mz_local.drop_connector(oid) FROM mz_local.connectors WHERE cluster_id = cluster AND kind = 'sink';
    FOR dependent IN SELECT oid::regclass FROM mz_local.items WHERE cluster_id = cluster LOOP
        EXECUTE format('DROP VIEW IF EXISTS %s CASCADE', dependent);
    END LOOP;
    DELETE FROM mz_local.clusters WHERE id = cluster;
END $$;

-- Called by the owner just after the view of that name was made.
CREATE FUNCTION mz_local.register_materialized_view(parts text[], path name[], cluster_name text, query text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    INSERT INTO mz_local.materialized_views
    VALUES ((mz_local.find_item(parts, path)).oid, mz_local.cluster_id(cluster_name), query)
    ON CONFLICT (oid) DO UPDATE SET cluster_id = excluded.cluster_id, definition = excluded.definition;
$$;

-- For the names in error messages: the fully qualified one Materialize prints.
CREATE FUNCTION mz_local.full_name(parts text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT concat_ws('.', current_database(),
        coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relname = parts[cardinality(parts)] AND n.nspname !~ '^pg_' LIMIT 1), 'public'),
        parts[cardinality(parts)])
$$;

INSERT INTO mz_local.clusters
SELECT id, name, 10, true, '25cc'
  FROM (VALUES ('s1', 'mz_system'), ('s2', 'mz_catalog_server'), ('u1', 'quickstart')) c (id, name);
SELECT setval('mz_local.cluster_ids', 1);
SELECT mz_local.set_replicas(id, '{r1}', '25cc') FROM mz_local.clusters;

-- What is to go wrong on purpose: the latest row counts. Only ever added to, so that nobody waits for anybody.
CREATE TABLE mz_local.faults (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    settings jsonb NOT NULL
);
GRANT SELECT, INSERT ON mz_local.faults TO materialize;

-- A row of a COPY that is to take its time; true, always.
CREATE FUNCTION mz_local.drag(seconds float8) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF clock_timestamp() < statement_timestamp() + interval '1 minute' THEN
        PERFORM pg_sleep(seconds);
    END IF;
    RETURN true;
END $$;

-- Waits for a lock of the transaction, whoever cancels it.
CREATE FUNCTION mz_local.lock_regardless(class int, number int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_advisory_xact_lock(class, number);
            RETURN;
        EXCEPTION WHEN query_canceled THEN
            NULL;
        END;
    END LOOP;
END $$;

CREATE FUNCTION mz_local.is_system(schema name) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT schema IN ('pg_catalog', 'information_schema', 'mz_catalog', 'mz_internal', 'mz_local')
$$;

-- The collections that hold the rows of these relations: tables, materialized views and the system's own relations.
CREATE FUNCTION mz_local.collections(relations oid[]) RETURNS TABLE (oid oid, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    WITH RECURSIVE items AS (
        SELECT c.oid, format('"%s.%s.%s"', current_database(), n.nspname, c.relname) AS name,
               c.relkind = 'v' AND NOT mz_local.is_system(n.nspname)
               AND NOT EXISTS (SELECT FROM mz_local.materialized_views m WHERE m.oid = c.oid)
               AND NOT EXISTS (SELECT FROM mz_local.connectors k WHERE k.oid = c.oid) AS is_view
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
    ), used AS (
        SELECT i.* FROM items i WHERE i.oid = ANY (relations)
        UNION
        SELECT i.*
          FROM used u
          JOIN pg_rewrite r ON u.is_view AND r.ev_class = u.oid
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass
          JOIN items i ON i.oid = d.refobjid
    )
    SELECT u.oid, u.name FROM used u WHERE NOT u.is_view
$$;

-- The collections of all objects in the schemas of these relations; the system's schemas count as one.
CREATE FUNCTION mz_local.timedomain(relations oid[]) RETURNS TABLE (oid oid, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT (mz_local.collections(array_agg(other.oid))).*
      FROM (SELECT DISTINCT n.oid, mz_local.is_system(n.nspname) AS is_system
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (relations)) s
      JOIN pg_namespace n ON n.oid = s.oid OR (s.is_system AND mz_local.is_system(n.nspname))
      JOIN pg_class other ON other.relnamespace = n.oid
$$;
