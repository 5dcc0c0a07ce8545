-- read s3://bucket/exports/orders/20261121T020000Z-0a1b2c3d-01/_manifest.json and compare it with the store
SELECT CURRENT_DATABASE() AS DATABASE_NAME, CURRENT_SCHEMA() AS SCHEMA_NAME, CURRENT_WAREHOUSE() AS WAREHOUSE_NAME;
DESC STAGE "MZ"."RAW"."STAGE";
LIST @"MZ"."RAW"."STAGE"/exports/orders/20261121T020000Z-0a1b2c3d-01/_manifest.json;
SELECT TABLE_NAME, TABLE_TYPE, IS_TRANSIENT, COMMENT, CREATED, LAST_DDL, AUTO_CLUSTERING_ON FROM "MZ"."INFORMATION_SCHEMA"."TABLES" WHERE TABLE_SCHEMA = 'RAW' AND TABLE_NAME IN ('it''s "odd"', 'MZ_ORCHESTRATION_LOADS');
SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, COLUMN_DEFAULT, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION FROM "MZ"."INFORMATION_SCHEMA"."COLUMNS" WHERE TABLE_SCHEMA = 'RAW' AND TABLE_NAME = 'it''s "odd"' ORDER BY ORDINAL_POSITION;
-- has "MZ"."RAW"."it's ""odd""" had this manifest, by "MZ"."RAW"."MZ_ORCHESTRATION_LOADS"?
-- a staging table: the first if the table exists, the last if not
CREATE TRANSIENT TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" ("COL" VARIANT, "_MZ_FILE" VARCHAR, "_MZ_FILE_ROW" NUMBER(38,0), "_MZ_RUN_KEY" VARCHAR, "_MZ_MANIFEST" VARCHAR(64), "_MZ_LOADED_AT" TIMESTAMP_LTZ(6)) DATA_RETENTION_TIME_IN_DAYS = 0;
CREATE TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" ("COL" VARIANT, "_MZ_FILE" VARCHAR, "_MZ_FILE_ROW" NUMBER(38,0), "_MZ_RUN_KEY" VARCHAR, "_MZ_MANIFEST" VARCHAR(64), "_MZ_LOADED_AT" TIMESTAMP_LTZ(6));
COPY INTO "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" ("COL", "_MZ_FILE", "_MZ_FILE_ROW", "_MZ_RUN_KEY", "_MZ_MANIFEST", "_MZ_LOADED_AT") FROM (SELECT $1, METADATA$FILENAME, METADATA$FILE_ROW_NUMBER, 'nightly/it''s', 'abababababababababababababababababababababababababababababababab', METADATA$START_SCAN_TIME FROM @"MZ"."RAW"."STAGE"/exports/orders/20261121T020000Z-0a1b2c3d-01/) FILES = ('mz-t7-batch-0000-0000.parquet', 'mz-t7-batch-0000-0001.parquet') FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE USE_VECTORIZED_SCANNER = TRUE) ON_ERROR = ABORT_STATEMENT;
SELECT COUNT(*) AS N FROM "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
-- only if all counts agree, and the table exists
INSERT INTO "MZ"."RAW"."MZ_ORCHESTRATION_LOADS" (TARGET, MANIFEST) SELECT '"MZ"."RAW"."it''s ""odd"""', '' WHERE NOT EXISTS (SELECT 1 FROM "MZ"."RAW"."MZ_ORCHESTRATION_LOADS" WHERE TARGET = '"MZ"."RAW"."it''s ""odd"""' AND MANIFEST = '');
ALTER SESSION SET AUTOCOMMIT = FALSE;
BEGIN TRANSACTION NAME "MZ_<12 hex digits>";
INSERT INTO "MZ"."RAW"."it's ""odd""" ("COL", "_MZ_FILE", "_MZ_FILE_ROW", "_MZ_RUN_KEY", "_MZ_MANIFEST", "_MZ_LOADED_AT") SELECT "COL", "_MZ_FILE", "_MZ_FILE_ROW", "_MZ_RUN_KEY", "_MZ_MANIFEST", "_MZ_LOADED_AT" FROM "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
-- rolled back unless all counts agree
UPDATE "MZ"."RAW"."MZ_ORCHESTRATION_LOADS" SET LOADED_AT = CURRENT_TIMESTAMP() WHERE TARGET = '"MZ"."RAW"."it''s ""odd"""' AND MANIFEST = '';
-- has "MZ"."RAW"."it's ""odd""" had this manifest meanwhile? a row in the ledger
COMMIT;
-- only if all counts agree, and the table does not exist
COMMENT ON TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" IS '<mark of the load>';
ALTER TABLE "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>" RENAME TO "MZ"."RAW"."it's ""odd""";
-- then a row in the ledger, where none was written yet
DROP TABLE IF EXISTS "MZ"."RAW"."it's ""odd""__MZ_<12 hex digits>";
