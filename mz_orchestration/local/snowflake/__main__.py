"""The process: ``python -m mz_orchestration.local.snowflake --dir … --statements … --s3-endpoint …``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mz_orchestration.local.serving import listen, serve
from mz_orchestration.local.snowflake.account import Account
from mz_orchestration.local.snowflake.app import Endpoints
from mz_orchestration.local.snowflake.running import Queries
from mz_orchestration.local.snowflake.storage import Storage
from mz_orchestration.local.snowflake.store import Store
from mz_orchestration.local.snowflake.users import USER, new_key_pair
from mz_orchestration.local.statement_log import StatementLog

PASSWORD = "MZ_LOCAL_SNOWFLAKE_PASSWORD"
# A private key of user LOCAL, for clients to sign in with; new with every start.
KEY_FILE = "rsa_key.p8"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mz_orchestration.local.snowflake", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--dir", type=Path, required=True, help="folder for spilled and fetched data")
    parser.add_argument("--statements", type=Path, required=True, help="file every statement is appended to")
    parser.add_argument("--s3-endpoint", required=True, help="address of the S3 server")
    return parser.parse_args()


def main() -> int:
    """Serve until a signal or the end of standard input."""
    arguments = _arguments()
    password = os.environ.pop(PASSWORD, "")
    if not password:
        print(f"{PASSWORD} is not set: the password of user LOCAL", file=sys.stderr)
        return 2
    folder: Path = arguments.dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(
        arguments.s3_endpoint,
        os.environ.get("AWS_REGION", "us-east-1"),
        os.environ.get("AWS_ACCESS_KEY_ID", ""),
        os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
    )
    storage = Storage(folder)
    account = Account(storage, store, password)
    key_file = folder / KEY_FILE
    account.users.find(USER).public_keys["RSA_PUBLIC_KEY"] = new_key_pair(key_file)
    log = StatementLog(arguments.statements, "snowflake")
    queries = Queries(account, log)
    try:
        listener = listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    serve(Endpoints(account, queries).application(), listener)
    queries.close()
    key_file.unlink(missing_ok=True)
    storage.close()
    log.close()
    return 0


if __name__ == "__main__":
    # Connections that are still open must not keep the process.
    sys.stdout.flush()
    os._exit(main())
