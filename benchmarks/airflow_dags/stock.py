"""The job of dags/materialize_to_snowflake.py by the stock operators."""

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator
from airflow.sdk import DAG

with DAG(
    dag_id="stock",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
) as dag:
    key = "airflow/order_totals/{{ ts_nodash }}.parquet"
    export = SqlToS3Operator(
        task_id="export",
        query="SELECT * FROM shop.order_totals",
        s3_bucket="mz-exports",
        s3_key=key,
        sql_conn_id="materialize_default",
        file_format="parquet",
    )
    there = S3KeySensor(task_id="there", bucket_name="mz-exports", bucket_key=key)
    load = CopyFromExternalStageToSnowflakeOperator(
        task_id="load",
        table="DEMO.PUBLIC.ORDER_TOTALS",
        stage="DEMO.PUBLIC.MZ_STAGE",
        prefix="airflow/order_totals/",
        file_format="(TYPE = PARQUET)",
        copy_options="MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
    )
    export >> there >> load
