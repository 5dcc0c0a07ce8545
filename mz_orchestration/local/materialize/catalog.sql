-- The catalog relations of Materialize that clients of this project read, as views over PostgreSQL's own catalog.
--
-- Ids are those of Materialize: 'u' and a number for objects of users, 's' and a number for the system's.

CREATE SCHEMA mz_catalog;
CREATE SCHEMA mz_internal;
GRANT USAGE ON SCHEMA mz_catalog, mz_internal TO PUBLIC;

CREATE VIEW mz_catalog.mz_databases AS
    SELECT 'u' || row_number() OVER (ORDER BY oid) AS id, oid, datname::text AS name, 'u' || datdba AS owner_id,
           datacl::text[] AS privileges
      FROM pg_database WHERE datname = current_database();

CREATE VIEW mz_catalog.mz_schemas AS
    SELECT CASE WHEN is_system THEN 's' ELSE 'u' END || oid AS id, oid,
           CASE WHEN NOT is_system THEN 'u1' END AS database_id, name, 'u' || owner AS owner_id, privileges
      FROM (SELECT oid, nspname::text AS name, nspowner AS owner, nspacl::text[] AS privileges,
                   nspname IN ('pg_catalog', 'information_schema', 'mz_catalog', 'mz_internal') AS is_system
              FROM pg_namespace
             WHERE nspname NOT LIKE 'pg\_t%' AND nspname <> 'mz_local') s;

-- A function where the planner would see through a view: it takes ids put together for unique, expects one row of each
-- join and reads whole relations once for each row. So it is told of many.
CREATE FUNCTION mz_local.objects()
RETURNS TABLE (id text, oid oid, schema_id text, name text, type text, owner_id text, cluster_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    SELECT left(s.id, 1) || i.oid, i.oid, s.id, i.name, i.type, 'u' || i.owner, i.cluster_id
      FROM mz_local.items i JOIN mz_catalog.mz_schemas s ON s.oid = i.schema
     WHERE s.name NOT IN ('pg_catalog', 'information_schema')
$$;

CREATE VIEW mz_catalog.mz_objects AS
    SELECT id, oid, schema_id, name, type, owner_id, cluster_id, NULL::text[] AS privileges FROM mz_local.objects();

CREATE FUNCTION mz_local.full_names()
RETURNS TABLE (id text, name text, object_type text, schema_id text, schema_name text, database_id text,
               database_name text, cluster_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 10000 AS $$
    SELECT o.id, o.name, o.type, s.id, s.name, d.id, d.name, o.cluster_id
      FROM mz_catalog.mz_objects o
      JOIN mz_catalog.mz_schemas s ON s.id = o.schema_id
      LEFT JOIN mz_catalog.mz_databases d ON d.id = s.database_id
$$;

CREATE VIEW mz_internal.mz_object_fully_qualified_names AS SELECT * FROM mz_local.full_names();

CREATE VIEW mz_catalog.mz_columns AS
    SELECT o.id, a.attname::text AS name, a.attnum::bigint AS position, NOT a.attnotnull AS nullable,
           format_type(a.atttypid, NULL) AS type, pg_get_expr(d.adbin, d.adrelid) AS "default",
           a.atttypid AS type_oid, a.atttypmod AS type_mod
      FROM mz_catalog.mz_objects o
      JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE o.type <> 'index';

-- The type is the statement's word: COMMENT ON MATERIALIZED VIEW says materialized-view.
CREATE VIEW mz_internal.mz_comments AS
    SELECT o.id, o.type AS object_type, nullif(d.objsubid, 0) AS object_sub_id, d.description AS comment
      FROM mz_catalog.mz_objects o
      JOIN pg_description d ON d.objoid = o.oid AND d.classoid = 'pg_class'::regclass;

CREATE VIEW mz_catalog.mz_materialized_views AS
    SELECT o.id, o.oid, o.schema_id, o.name, o.cluster_id, m.definition, o.owner_id, o.privileges,
           format('CREATE MATERIALIZED VIEW %I.%I.%I IN CLUSTER %I AS %s',
                  d.name, s.name, o.name, c.name, m.definition) AS create_sql,
           NULL::text AS redacted_create_sql
      FROM mz_catalog.mz_objects o
      JOIN mz_local.materialized_views m USING (oid)
      JOIN mz_catalog.mz_schemas s ON s.id = o.schema_id
      JOIN mz_catalog.mz_databases d ON d.id = s.database_id
      JOIN mz_local.clusters c ON c.id = o.cluster_id;

CREATE VIEW mz_catalog.mz_connections AS
    SELECT 'u' || c.oid AS id, c.oid, s.id AS schema_id, c.name, c.type, 'u' || c.owner AS owner_id,
           NULL::text[] AS privileges, NULL::text AS create_sql, NULL::text AS redacted_create_sql
      FROM mz_local.connections c JOIN mz_catalog.mz_schemas s ON s.oid = c.schema;

CREATE VIEW mz_catalog.mz_secrets AS
    SELECT 'u' || c.oid AS id, c.oid, s.id AS schema_id, c.name, 'u' || c.owner AS owner_id,
           NULL::text[] AS privileges
      FROM mz_local.secrets c JOIN mz_catalog.mz_schemas s ON s.oid = c.schema;

CREATE VIEW mz_catalog.mz_clusters AS
    SELECT id, name, 'u' || owner AS owner_id, NULL::text[] AS privileges, managed, size,
           CASE WHEN managed
                THEN (SELECT count(*) FROM mz_local.cluster_replicas r WHERE r.cluster_id = c.id) END
               AS replication_factor,
           false AS disk, NULL::text[] AS availability_zones, false AS introspection_debugging,
           interval '1s' AS introspection_interval
      FROM mz_local.clusters c;

CREATE VIEW mz_catalog.mz_cluster_replicas AS
    SELECT r.id, r.name, r.cluster_id, r.size, NULL::text AS availability_zone, 'u' || c.owner AS owner_id,
           false AS disk
      FROM mz_local.cluster_replicas r JOIN mz_local.clusters c ON c.id = r.cluster_id;

-- Defined as a function because the times of other roles' sessions are hidden from a plain caller.
CREATE FUNCTION mz_local.sessions()
RETURNS TABLE (id uuid, connection_id bigint, role_id text, client_ip text, connected_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT md5(pid || '/' || backend_start)::uuid, pid, 'u' || usesysid, '127.0.0.1', backend_start
      FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND datname = current_database() AND usename <> 'mz_admin'
$$;

CREATE VIEW mz_internal.mz_sessions AS SELECT * FROM mz_local.sessions();

CREATE VIEW mz_internal.mz_aws_connections AS
    SELECT id, endpoint, region, access_key_id, access_key_id_secret_id, secret_access_key_secret_id,
           session_token, session_token_secret_id, assume_role_arn, assume_role_session_name,
           principal, external_id,
           CASE WHEN external_id IS NOT NULL THEN jsonb_build_object(
               'Version', '2012-10-17',
               'Statement', jsonb_build_array(jsonb_build_object(
                   'Effect', 'Allow',
                   'Action', 'sts:AssumeRole',
                   'Principal', jsonb_build_object('AWS', principal),
                   'Condition', jsonb_build_object(
                       'StringEquals', jsonb_build_object('sts:ExternalId', external_id))))) END
               AS example_trust_policy
      FROM (SELECT 'u' || oid AS id,
                   options -> 'ENDPOINT' ->> 'text' AS endpoint,
                   options -> 'REGION' ->> 'text' AS region,
                   options -> 'ACCESS KEY ID' ->> 'text' AS access_key_id,
                   options -> 'ACCESS KEY ID' ->> 'secret' AS access_key_id_secret_id,
                   options -> 'SECRET ACCESS KEY' ->> 'secret' AS secret_access_key_secret_id,
                   options -> 'SESSION TOKEN' ->> 'text' AS session_token,
                   options -> 'SESSION TOKEN' ->> 'secret' AS session_token_secret_id,
                   options -> 'ASSUME ROLE ARN' ->> 'text' AS assume_role_arn,
                   options -> 'ASSUME ROLE SESSION NAME' ->> 'text' AS assume_role_session_name,
                   CASE WHEN options ? 'ASSUME ROLE ARN'
                        THEN 'arn:aws:iam::000000000000:role/MaterializeConnection' END AS principal,
                   CASE WHEN options ? 'ASSUME ROLE ARN' THEN 'mz_local_u' || oid END AS external_id
              FROM mz_local.connections WHERE type = 'aws') c;

-- What the definition of an object names directly.
CREATE VIEW mz_internal.mz_object_dependencies AS
    SELECT DISTINCT reader.id AS object_id, read.id AS referenced_object_id
      FROM pg_rewrite r
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
      JOIN mz_catalog.mz_objects reader ON reader.oid = r.ev_class
      JOIN mz_catalog.mz_objects read ON read.oid = d.refobjid
     WHERE r.ev_class <> d.refobjid
    UNION
    SELECT 'u' || k.oid, 'u' || named
      FROM mz_local.connectors k, unnest(ARRAY[k.input, k.connection, k.other_connection]) named
     WHERE named IS NOT NULL
    UNION
    SELECT 'u' || c.oid, coalesce(o.value ->> 'secret', o.value ->> 'connection')
      FROM mz_local.connections c, jsonb_each(c.options) o
     WHERE o.value ? 'secret' OR o.value ? 'connection';
