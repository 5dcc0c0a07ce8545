"""Addresses at which a person can look at what is exported and loaded, in the consoles of the systems."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.objectstore.client import ObjectStoreConfig


def console_url(config: MaterializeConfig | None, url: str) -> str:
    """Materialize's console: the one that is named, or that of Materialize Cloud, or none.

    Args:
        config: How Materialize is reached.
        url: What a person has named; empty if nobody has.
    """
    if url or config is None:
        return url
    return "https://console.materialize.com/" if (config.host or "").endswith(".materialize.cloud") else ""


def folder_url(folder: str, config: ObjectStoreConfig | None) -> str:
    """Where a person can look into a folder; empty for stores without a console that we know.

    Args:
        folder: ``s3://bucket/folder/``.
        config: How the store is reached.
    """
    place = urlsplit(folder)
    bucket, key = place.netloc, quote(place.path.lstrip("/"))
    endpoint = config.endpoint_url if config is not None else None
    # As boto3 looks for it.
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    host = urlsplit(endpoint or "").hostname or ""
    if not host or host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return f"https://s3.console.aws.amazon.com/s3/buckets/{bucket}?prefix={key}"
    if host == "storage.googleapis.com":
        return f"https://console.cloud.google.com/storage/browser/{bucket}/{key.rstrip('/')}"
    if host.endswith(".r2.cloudflarestorage.com"):
        return f"https://dash.cloudflare.com/{host.partition('.')[0]}/r2/default/buckets/{bucket}"
    return ""


def query_url(query_id: str, account: str | None) -> str:
    """A statement in Snowsight.

    Args:
        query_id: Snowflake's id of it.
        account: ``organization-account``, or a locator with its region, ``locator.region``.
    """
    if not account:
        return ""
    locator, dot, region = account.partition(".")
    organization, dash, name = account.partition("-")
    if dot:
        home = f"{region}/{locator}"
    elif dash:
        home = f"{organization}/{name}"
    else:
        home = account
    return f"https://app.snowflake.com/{quote(home)}/#/compute/history/queries/{quote(query_id)}/detail"
