"""N `S3KeyTrigger` of Airflow's Amazon provider, as tasks of one event loop, the way a triggerer runs them.

It waits for a key to appear; there is no trigger that waits for one to go.

Usage: s3keytrigger.py N PREFIX POLL, PREFIX as s3://bucket/prefix/; a wait for PREFIX/<number of five digits>
"""

from __future__ import annotations

import asyncio
import os
import sys

from airflow.providers.amazon.aws.triggers.s3 import S3KeyTrigger
from waits_worker import noticed, serve


async def wait(name: str, bucket: str, key: str, poll: float) -> None:
    trigger = S3KeyTrigger(
        bucket_name=bucket,
        bucket_key=key,
        wildcard_match=False,
        aws_conn_id="aws_default",
        poke_interval=poll,
    )
    async for event in trigger.run():
        if event.payload["status"] != "success":
            sys.exit(f"{key}: {event.payload}")
        noticed(name)
        return


async def main(n: int, bucket: str, prefix: str, poll: float) -> None:
    async def start() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(wait(name, bucket, prefix + name, poll)) for name in (f"{i:05}" for i in range(n))]

    await serve(start)
    os._exit(0)  # a thousand clients take long to close


if __name__ == "__main__":
    bucket, _, prefix = sys.argv[2].removeprefix("s3://").partition("/")
    asyncio.run(main(int(sys.argv[1]), bucket, prefix, float(sys.argv[3])))
