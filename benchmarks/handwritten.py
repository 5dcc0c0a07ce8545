"""The bare commands of one export, as somebody would write them by hand.

Usage: handwritten.py QUERY RUN_KEY
"""

import io
import json
import sys
import time

import boto3
import psycopg
import pyarrow.parquet
from botocore.exceptions import ClientError

BUCKET, BASE = "mz-exports", "bench/handwritten"


def main(query: str, run_key: str) -> None:
    s3 = boto3.client("s3")
    connection = psycopg.connect(autocommit=True)
    began = time.monotonic()
    path, record = f"{BASE}/{run_key}-01/", f"{BASE}/.runs/{run_key}.json"
    try:
        s3.get_object(Bucket=BUCKET, Key=record)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey"
    names = [item.name for item in connection.execute(f"SELECT * FROM ({query}) AS q LIMIT 0").description or []]
    assert connection.execute("SELECT type FROM mz_catalog.mz_connections WHERE name = 'local_s3'").fetchone()
    pid = connection.info.backend_pid
    session = f"SELECT id::text, mz_environment_id() FROM mz_internal.mz_sessions WHERE connection_id = {pid}"
    assert connection.execute(session).fetchone()
    assert connection.execute("SHOW cluster").fetchone()
    connection.execute("BEGIN")
    reading = f"SELECT mz_now()::text FROM (SELECT 1 FROM ({query}) AS q WHERE false UNION ALL SELECT 1) AS held"
    assert connection.execute(reading).fetchone()
    s3.put_object(Bucket=BUCKET, Key=record, Body=b'{"state": "started"}', IfNoneMatch="*")
    copy = f"COPY ({query}) TO 's3://{BUCKET}/{path}' WITH (AWS CONNECTION = local_s3, FORMAT = 'parquet')"
    rows = int((connection.execute(copy).statusmessage or "").removeprefix("COPY "))
    s3.put_object(Bucket=BUCKET, Key=record, Body=b'{"state": "copied"}')
    connection.rollback()
    files = s3.list_objects_v2(Bucket=BUCKET, Prefix=path)["Contents"]
    assert not any(file["Key"].endswith("INCOMPLETE") for file in files)
    counted = 0
    for file in files:
        first = max(0, file["Size"] - 65536)
        tail = s3.get_object(Bucket=BUCKET, Key=file["Key"], Range=f"bytes={first}-{file['Size'] - 1}")["Body"].read()
        metadata = pyarrow.parquet.read_metadata(io.BytesIO(tail))
        assert metadata.schema.to_arrow_schema().names == names
        counted += metadata.num_rows
    assert counted == rows
    manifest = json.dumps({"rows": rows, "files": [file["Key"] for file in files]})
    s3.put_object(Bucket=BUCKET, Key=f"{path}_manifest.json", Body=manifest.encode())
    latest = f"{BASE}/{run_key}-latest.json"
    try:
        s3.get_object(Bucket=BUCKET, Key=latest)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey"
    s3.put_object(Bucket=BUCKET, Key=latest, Body=manifest.encode(), IfNoneMatch="*")
    s3.put_object(Bucket=BUCKET, Key=record, Body=b'{"state": "succeeded"}')
    print(json.dumps({"rows": rows, "seconds": time.monotonic() - began}))


main(*sys.argv[1:])
