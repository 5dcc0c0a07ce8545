"""Links from a task to what it runs elsewhere: shown while it runs, and kept with it.

An address is pushed as the link's own XCom as soon as it is known, because Airflow asks for links only when an attempt
ends; asked then, a link answers with what was pushed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context


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
