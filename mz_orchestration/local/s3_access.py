"""Who may do what on the local S3 server: users with keys, a role for the warehouse, and the check turned on.

The keys come from the supervisor, so that every server of the stack can start at once with its own. moto then
answers as AWS does: ``InvalidAccessKeyId`` for an unknown key, ``SignatureDoesNotMatch`` for a wrong secret,
``AccessDenied`` for a missing grant. Checking costs about a twentieth of a request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mz_orchestration.local.state import AccessKey

#: The person at the keyboard, and the two servers that reach the bucket with keys of their own.
USERS = ("developer", "materialize", "snowflake")
ROLE = "snowflake-integration"
PARTITION = "aws"
ACCOUNT_ID = "123456789012"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/{ROLE}"

_READ = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:GetBucketLocation"]
_WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
_ACTIONS: dict[str, list[str]] = {
    "developer": ["*"],
    "materialize": [*_READ, *_WRITE, "sts:GetCallerIdentity"],
    "snowflake": [*_READ, "s3:DeleteObject", "sts:AssumeRole", "sts:GetCallerIdentity"],
}


def _policy(actions: list[str], resource: str = "*") -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}],
        }
    )


def create_bucket(name: str, region: str) -> None:
    """Create a bucket inside this process's moto.

    Args:
        name: Name of the bucket.
        region: Region the bucket belongs to.
    """
    from moto.s3.models import s3_backends

    s3_backends[ACCOUNT_ID][PARTITION].create_bucket(name, region)


def enforce(keys: Mapping[str, AccessKey], region: str) -> None:
    """Create the users and the role inside this process's moto and check every later request.

    Args:
        keys: One access key per name in `USERS`.
        region: Region the users are created from.
    """
    from moto import settings
    from moto.iam.models import iam_backends

    iam: Any = iam_backends[ACCOUNT_ID][PARTITION]
    for user, actions in _ACTIONS.items():
        iam.create_user(region_name=region, user_name=user)
        iam.put_user_policy(user, "local-stack", _policy(actions))
        key = iam.create_access_key(user)
        # moto draws its own keys; its signature check reads these two attributes of the user's key.
        key.access_key_id = keys[user].access_key_id
        key.secret_access_key = keys[user].secret_access_key
        iam.access_keys[key.access_key_id] = key
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:user/snowflake"},
            }
        ],
    }
    iam.create_role(
        role_name=ROLE,
        assume_role_policy_document=json.dumps(trust),
        path="/",
        permissions_boundary=None,
        description="Read access for the warehouse's storage integration",
        tags=[],
        max_session_duration="3600",
    )
    iam.put_role_policy(ROLE, "local-stack", _policy([*_READ, "s3:DeleteObject"]))
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
