-- read s3://bucket/exports/orders/20261121T020000Z-0a1b2c3d-01/_manifest.json and compare it with the store
SELECT CURRENT_DATABASE() AS DATABASE_NAME, CURRENT_SCHEMA() AS SCHEMA_NAME, CURRENT_WAREHOUSE() AS WAREHOUSE_NAME;
DESC STAGE "MZ"."RAW"."STAGE";
LIST @"MZ"."RAW"."STAGE"/exports/orders/20261121T020000Z-0a1b2c3d-01/_manifest.json;
SELECT TABLE_NAME, TABLE_TYPE, IS_TRANSIENT, COMMENT, CREATED, LAST_DDL, AUTO_CLUSTERING_ON FROM "MZ"."INFORMATION_SCHEMA"."TABLES" WHERE TABLE_SCHEMA = 'RAW' AND TABLE_NAME IN ('it''s "odd"', 'MZ_ORCHESTRATION_LOADS');
SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, COLUMN_DEFAULT, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION FROM "MZ"."INFORMATION_SCHEMA"."COLUMNS" WHERE TABLE_SCHEMA = 'RAW' AND TABLE_NAME = 'it''s "odd"' ORDER BY ORDINAL_POSITION;
-- has "MZ"."RAW"."it's ""odd""" had this manifest, by "MZ"."RAW"."MZ_ORCHESTRATION_LOADS"?
-- a staging table: the first if the table exists, the last if not
CREATE TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" CLONE "MZ"."RAW"."it's ""odd""" COPY GRANTS;
TRUNCATE TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
CREATE TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" ("ID" NUMBER(38,0), "PUBLIC ID" VARCHAR(36), "TOTAL" NUMBER(38,2), "A ""B""" VARIANT, "TAGS" ARRAY, "AT" TIMESTAMP_LTZ(6), "RAW" BINARY);
COPY INTO "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" ("ID", "PUBLIC ID", "TOTAL", "A ""B""", "TAGS", "AT", "RAW") FROM (SELECT $1:"id"::NUMBER(38,0), $1:"public id"::VARCHAR, $1:"total"::NUMBER(38,2), PARSE_JSON($1:"a ""b"""::VARCHAR), PARSE_JSON($1:"tags"::VARCHAR)::ARRAY, $1:"at"::TIMESTAMP_LTZ(6), $1:"raw"::BINARY FROM @"MZ"."RAW"."STAGE"/exports/orders/20261121T020000Z-0a1b2c3d-01/) FILES = ('mz-t7-batch-0000-0000.parquet', 'mz-t7-batch-0000-0001.parquet') FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE USE_VECTORIZED_SCANNER = TRUE) ON_ERROR = ABORT_STATEMENT;
SELECT COUNT(*) AS N FROM "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
-- only if all counts agree, and the table exists
COMMENT ON TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" IS '<comment of the table and mark of the load>';
ALTER TABLE "MZ"."RAW"."it's ""odd""" SWAP WITH "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
-- only if all counts agree, and the table does not exist
COMMENT ON TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" IS '<mark of the load>';
ALTER TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" RENAME TO "MZ"."RAW"."it's ""odd""";
-- then a row in the ledger, where none was written yet
DROP TABLE IF EXISTS "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
