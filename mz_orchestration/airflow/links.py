"""Links from a task to what it runs elsewhere: shown while it runs, and kept with it.

An address is pushed as the link's own XCom as soon as it is known, because Airflow asks for links only when an attempt
ends; asked then, a link answers with what was pushed.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.objectstore.client import ObjectStoreConfig


log = logging.getLogger(__name__)


class _PushedLink(BaseOperatorLink):
    """A link whose address the task itself pushes."""

    @classmethod
    def persist(cls, context: Context, url: str) -> None:
        """
        Make the address known.

        :param context: the task's context.
        :param url: the address; nothing happens if it is empty.
        """
        if not url:
            return
        try:
            context["ti"].xcom_push(key=f"_link_{cls.__name__}", value=url)
        except Exception as error:
            # A link is a comfort: nothing that is exported or loaded fails because of it.
            log.warning("The link %s could not be stored: %s", cls.name, error)

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """
        Return the address that the task has pushed; empty if it has not.

        :param operator: the task.
        :param ti_key: the task's run.
        """
        from airflow.sdk.execution_time.xcom import XCom

        url = XCom.get_value(ti_key=ti_key, key=self.xcom_key)
        return str(url or "")


class MaterializeConsoleLink(_PushedLink):
    """To Materialize's console."""

    name = "Materialize console"


class ExportFolderLink(_PushedLink):
    """To the exported files, in the console of whose store it is."""

    name = "Exported files"


class SnowflakeQueryLink(_PushedLink):
    """To the last statement of the load, in Snowsight."""

    name = "Snowflake query"


class CensusSyncLink(_PushedLink):
    """To the runs of the sync in Census."""

    name = "Census sync"


LINKS = {link.__name__: link for link in (MaterializeConsoleLink, ExportFolderLink, SnowflakeQueryLink, CensusSyncLink)}


def console_url(config: MaterializeConfig | None, url: str) -> str:
    """Materialize's console: the one that is named, or that of Materialize Cloud, or none.

    :param config: how Materialize is reached.
    :param url: what the connection or Airflow's configuration says.
    """
    if url or config is None:
        return url
    return "https://console.materialize.com/" if (config.host or "").endswith(".materialize.cloud") else ""


def folder_url(folder: str, config: ObjectStoreConfig | None) -> str:
    """Where a person can look into a folder; empty for stores without a console that we know.

    :param folder: ``s3://bucket/folder/``.
    :param config: how the store is reached.
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

    :param query_id: Snowflake's id of it.
    :param account: ``organization-account``, or a locator with its region, ``locator.region``.
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
