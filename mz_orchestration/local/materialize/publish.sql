-- Lets everybody read the catalog, and find it without a schema.

GRANT SELECT ON ALL TABLES IN SCHEMA mz_catalog, mz_internal TO PUBLIC;

-- Unqualified names find mz_catalog whatever the search path says. PostgreSQL has one such schema, pg_catalog, and
-- what lies in it stays out of psql's \d and of reflection.
SET allow_system_table_mods = on;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'mz_catalog'::regnamespace LOOP
        EXECUTE format('CREATE VIEW pg_catalog.%I AS SELECT * FROM mz_catalog.%I', name, name);
        EXECUTE format('GRANT SELECT ON pg_catalog.%I TO PUBLIC', name);
    END LOOP;
END $$;

CREATE FUNCTION pg_catalog.mz_version() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'v26.24.0 (local)' $$;

-- Another one for every stand-in, as for every Materialize.
CREATE FUNCTION pg_catalog.mz_environment_id() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog AS $$
    SELECT 'local-az1-' || md5(system_identifier::text)::uuid || '-0' FROM pg_control_system()
$$;

-- An export sets mz.timestamp, so that the query it runs in another session sees the statement's own time.
CREATE FUNCTION pg_catalog.mz_now() RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('mz.timestamp', true), '')::numeric,
        trunc(extract(epoch FROM transaction_timestamp()) * 1000))
$$;
