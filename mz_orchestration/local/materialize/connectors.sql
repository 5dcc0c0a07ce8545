-- Sinks and sources: how they are made, changed and dropped, and how what sinks read tells of its changes.

CREATE FUNCTION mz_local.schema_name(schema oid) RETURNS name LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT nspname FROM pg_namespace WHERE oid = schema
$$;

-- How much has changed in what sinks read since the first of them was made: counted up, never reset.
CREATE TABLE mz_local.inputs (
    oid oid PRIMARY KEY,
    messages bigint NOT NULL DEFAULT 0,
    -- Of the messages those that are updates: to some sinks these are two.
    updates bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0
);

-- The tables and sources below an input. A change there counts as one of the input.
CREATE TABLE mz_local.input_bases (
    base oid NOT NULL,
    input oid NOT NULL,
    PRIMARY KEY (base, input)
);

-- Only ever added to by those who write, so that nobody waits for anybody.
CREATE UNLOGGED TABLE mz_local.changes (
    base oid NOT NULL,
    messages bigint NOT NULL,
    updates bigint NOT NULL,
    bytes bigint NOT NULL
);

-- In the transaction of the change: what is rolled back never counts.
CREATE FUNCTION mz_local.note_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO mz_local.changes
    SELECT TG_RELID, count(*), CASE WHEN TG_OP = 'UPDATE' THEN count(*) ELSE 0 END, sum(pg_column_size(c))
      FROM changed c HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION mz_local.watch_input(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    base regclass;
BEGIN
    INSERT INTO mz_local.inputs (oid) VALUES (relation) ON CONFLICT DO NOTHING;
    INSERT INTO mz_local.input_bases
    WITH RECURSIVE used AS (
        SELECT relation AS oid
        UNION
        SELECT d.refobjid
          FROM used u
          JOIN pg_rewrite r ON r.ev_class = u.oid
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> u.oid
    )
    SELECT u.oid, relation
      FROM used u JOIN pg_class c ON c.oid = u.oid
     WHERE (c.relkind IN ('r', 'p') AND NOT mz_local.is_system(mz_local.schema_name(c.relnamespace)))
        OR EXISTS (SELECT FROM mz_local.connectors k WHERE k.oid = u.oid)
    ON CONFLICT DO NOTHING;
    FOR base IN
        SELECT b.base FROM mz_local.input_bases b JOIN pg_class c ON c.oid = b.base AND c.relkind IN ('r', 'p')
         WHERE b.input = relation
           AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = b.base AND t.tgname = 'mz_local_insert')
    LOOP
        EXECUTE format('CREATE TRIGGER mz_local_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS changed'
                       ' EXECUTE FUNCTION mz_local.note_changes()', base);
        EXECUTE format('CREATE TRIGGER mz_local_update AFTER UPDATE ON %s REFERENCING NEW TABLE AS changed'
                       ' EXECUTE FUNCTION mz_local.note_changes()', base);
        EXECUTE format('CREATE TRIGGER mz_local_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS changed'
                       ' EXECUTE FUNCTION mz_local.note_changes()', base);
    END LOOP;
END $$;

-- What a sink may be made of.
CREATE FUNCTION mz_local.sink_input(parts text[], path name[], owner oid) RETURNS oid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items := mz_local.find_item(parts, path);
    full_name text;
BEGIN
    IF found.oid IS NULL THEN
        PERFORM mz_local.fail(format('unknown catalog item ''%s''', array_to_string(parts, '.')));
    END IF;
    IF found.type NOT IN ('table', 'source', 'materialized-view')
       OR mz_local.is_system(mz_local.schema_name(found.schema)) THEN
        PERFORM mz_local.fail(format(
            '%s is a %s, which cannot be exported as a sink', found.name, replace(found.type, '-', ' ')));
    END IF;
    IF NOT has_table_privilege(owner, found.oid, 'SELECT') THEN
        full_name := format('%s "%s.%s.%s"', upper(replace(found.type, '-', ' ')), current_database(),
                            mz_local.schema_name(found.schema), found.name);
        PERFORM mz_local.fail(
            'permission denied for ' || full_name, '42501',
            format('The ''%s'' role needs SELECT privileges on %s', owner::regrole, full_name));
    END IF;
    RETURN found.oid;
END $$;

CREATE FUNCTION mz_local.anchor_sink(sink oid, relation oid) RETURNS oid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW mz_local.%I AS SELECT 1 AS one FROM %s',
                   'sink_' || sink, relation::regclass);
    RETURN format('mz_local.%I', 'sink_' || sink)::regclass;
END $$;

CREATE FUNCTION mz_local.create_sink(
    parts text[], path name[], owner oid, lenient boolean, cluster_name text, from_parts text[], type text,
    connection_parts text[], aws_parts text[], key text[], options jsonb, tail text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    sink oid;
    relation oid;
    cluster text;
    found mz_local.connections;
    aws mz_local.connections;
    bad text;
BEGIN
    IF NOT mz_local.may_create(parts, path, lenient, owner) THEN
        RETURN;
    END IF;
    relation := mz_local.sink_input(from_parts, path, owner);
    SELECT k INTO bad FROM unnest(key) k GROUP BY k HAVING count(*) > 1 LIMIT 1;
    IF bad IS NOT NULL THEN
        PERFORM mz_local.fail(format('Repeated column name in sink key: %s', bad));
    END IF;
    SELECT k INTO bad FROM unnest(key) k
     WHERE NOT EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = relation AND a.attname = k AND a.attnum > 0 AND NOT a.attisdropped)
     LIMIT 1;
    IF bad IS NOT NULL THEN
        PERFORM mz_local.fail(format('No such column: %s', bad));
    END IF;
    SELECT * INTO found FROM mz_local.connections
     WHERE oid = (mz_local.item(connection_parts, path, 'connection')).oid;
    IF found.type <> (CASE type WHEN 'iceberg' THEN 'iceberg-catalog' ELSE type END) THEN
        PERFORM mz_local.fail(format('%s is not %s connection', array_to_string(connection_parts, '.'),
                                     CASE type WHEN 'iceberg' THEN 'an iceberg catalog' ELSE 'a ' || type END));
    END IF;
    IF aws_parts IS NOT NULL THEN
        SELECT * INTO aws FROM mz_local.connections
         WHERE oid = (mz_local.item(aws_parts, path, 'connection')).oid;
        IF aws.type <> 'aws' THEN
            PERFORM mz_local.fail(format('%s is not an AWS connection', array_to_string(aws_parts, '.')));
        END IF;
    END IF;
    cluster := mz_local.cluster_id(cluster_name);
    -- Refused here rather than later, should it be none.
    PERFORM (options ->> 'commit_interval')::interval;
    PERFORM mz_local.watch_input(relation);
    sink := nextval('mz_local.oids');
    INSERT INTO mz_local.connectors
    VALUES (sink, 'sink', type, mz_local.schema_for(parts, path), parts[cardinality(parts)], owner, cluster, relation,
            found.oid, aws.oid, mz_local.anchor_sink(sink, relation), options, tail);
END $$;

CREATE FUNCTION mz_local.drop_connector(connector oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    hidden oid;
BEGIN
    DELETE FROM mz_local.connectors c WHERE c.oid = connector RETURNING anchor INTO hidden;
    IF EXISTS (SELECT FROM pg_class WHERE oid = hidden) THEN
        EXECUTE format('DROP VIEW %s', hidden::regclass);
    END IF;
END $$;

-- True: there is such a sink. False: there is not, and the statement said IF EXISTS.
CREATE FUNCTION mz_local.has_sink(parts text[], path name[], lenient boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF lenient AND (mz_local.find_item(parts, path)).oid IS NULL THEN
        RAISE NOTICE USING MESSAGE = format('sink "%s" does not exist, skipping', array_to_string(parts, '.'));
        RETURN false;
    END IF;
    RETURN (mz_local.item(parts, path, 'sink')).oid IS NOT NULL;
END $$;

CREATE FUNCTION mz_local.alter_sink_from(
    parts text[], path name[], owner oid, lenient boolean, from_parts text[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    sink oid;
    relation oid;
BEGIN
    IF NOT mz_local.has_sink(parts, path, lenient) THEN
        RETURN;
    END IF;
    sink := (mz_local.item(parts, path, 'sink')).oid;
    relation := mz_local.sink_input(from_parts, path, owner);
    PERFORM mz_local.watch_input(relation);
    PERFORM mz_local.anchor_sink(sink, relation);
    UPDATE mz_local.connectors SET input = relation WHERE oid = sink;
END $$;

CREATE FUNCTION mz_local.rename_sink(parts text[], path name[], lenient boolean, new_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found mz_local.items;
BEGIN
    IF NOT mz_local.has_sink(parts, path, lenient) THEN
        RETURN;
    END IF;
    found := mz_local.item(parts, path, 'sink');
    IF EXISTS (SELECT FROM mz_local.items WHERE schema = found.schema AND name = new_name) THEN
        PERFORM mz_local.fail(format('catalog item ''%s'' already exists', new_name), '42710');
    END IF;
    UPDATE mz_local.connectors SET name = new_name WHERE oid = found.oid;
END $$;

CREATE FUNCTION mz_local.own_sink(parts text[], path name[], lenient boolean, new_owner text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF NOT mz_local.has_sink(parts, path, lenient) THEN
        RETURN;
    END IF;
    IF to_regrole(quote_ident(new_owner)) IS NULL THEN
        PERFORM mz_local.fail(format('unknown role ''%s''', new_owner));
    END IF;
    UPDATE mz_local.connectors SET owner = to_regrole(quote_ident(new_owner))
     WHERE oid = (mz_local.item(parts, path, 'sink')).oid;
END $$;

CREATE FUNCTION mz_local.create_source(
    parts text[], path name[], new_owner oid, lenient boolean, cluster_name text, options jsonb, tail text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    cluster text := mz_local.cluster_id(cluster_name);
    view_name text;
BEGIN
    IF NOT mz_local.may_create(parts, path, lenient, new_owner) THEN
        RETURN;
    END IF;
    IF (options ->> 'tick')::interval < interval '1 ms' THEN
        PERFORM mz_local.fail('tick interval must be at least one millisecond');
    END IF;
    view_name := format('%I.%I', mz_local.schema_name(mz_local.schema_for(parts, path)), parts[cardinality(parts)]);
    -- It reads what it has made, for which it must know its own oid.
    EXECUTE format('CREATE VIEW %s AS SELECT NULL::bigint AS counter', view_name);
    EXECUTE format('CREATE OR REPLACE VIEW %s AS SELECT counter FROM mz_local.counter(%s) AS c (counter)',
                   view_name, view_name::regclass::oid);
    EXECUTE format('ALTER VIEW %s OWNER TO %s', view_name, new_owner::regrole);
    INSERT INTO mz_local.connectors (oid, kind, type, cluster_id, options, tail)
    VALUES (view_name::regclass, 'source', 'load-generator', cluster, options, tail);
END $$;

-- What goes with a schema, an input or a view goes for good.
CREATE FUNCTION mz_local.forget_dropped() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM mz_local.drop_connector(c.oid)
       FROM mz_local.connectors c, pg_event_trigger_dropped_objects() d
      WHERE (d.classid = 'pg_class'::regclass AND d.objid IN (c.oid, c.anchor))
         OR (d.classid = 'pg_namespace'::regclass AND d.objid = c.schema);
END $$;
CREATE EVENT TRIGGER mz_local_forget_dropped ON sql_drop EXECUTE FUNCTION mz_local.forget_dropped();
