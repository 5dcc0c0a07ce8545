"""Runs loads by an operator's ``execute`` one after the other and tells how each ended; for either environment.

Usage: airflow_silent_worker.py ours|stock, with a list of tasks as JSON on standard input: ``arguments`` of the
operator, how many ``times`` it runs, and a ``fault`` of the local Snowflake to ask for before, or null.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import urllib.request
from typing import Any

from airflow_context import context


def ours(arguments: dict[str, Any]) -> Any:
    from mz_orchestration.airflow.transfers.export_to_snowflake import MaterializeExportToSnowflakeOperator

    return MaterializeExportToSnowflakeOperator(task_id="task", **arguments)


def stock(arguments: dict[str, Any]) -> Any:
    import snowflake.connector
    from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator

    # The provider's hook has no way to say that the local Snowflake speaks plain HTTP.
    if not isinstance(snowflake.connector.connect, functools.partial):
        snowflake.connector.connect = functools.partial(snowflake.connector.connect, protocol="http")
    return CopyFromExternalStageToSnowflakeOperator(task_id="task", **arguments)


def ask_for(fault: dict[str, Any] | None) -> None:
    url = f"http://{os.environ['SNOWFLAKE_HOST']}:{os.environ['SNOWFLAKE_PORT']}/local/faults"
    request = urllib.request.Request(url, method="DELETE")
    if fault:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(fault).encode(), headers, method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def run(operator: Any) -> dict[str, Any]:
    try:
        return {"state": "success", "result": operator.execute(context("silent"))}
    except Exception as error:
        return {"state": "failed", "error": type(error).__name__, "message": str(error)}


def main(side: str) -> None:
    logging.disable(logging.CRITICAL)
    make = {"ours": ours, "stock": stock}[side]
    answers = []
    for task in json.load(sys.stdin):
        ask_for(task["fault"])
        answers.append([run(make(task["arguments"])) for _ in range(task["times"])])
        ask_for(None)
    print(json.dumps(answers))


main(*sys.argv[1:])
