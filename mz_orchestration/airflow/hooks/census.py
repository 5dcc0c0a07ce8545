"""The hook for Census."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from mz_orchestration.airflow.hooks.forms import field_behaviour, form_widgets

if TYPE_CHECKING:
    from mz_orchestration.census.client import AsyncCensusClient, CensusClient
    from mz_orchestration.census.config import CensusConfig

_NO_SUCH_RUN = (400, 404, 422)


class CensusHook(BaseHook):
    """
    Reach Census' API.

    :param census_conn_id: the connection to use; its password is the token.
    """

    conn_name_attr = "census_conn_id"
    default_conn_name = "census_default"
    conn_type = "census"
    hook_name = "Census"

    def __init__(self, census_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.census_conn_id = census_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields, for Airflow before 3.2."""
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form makes of the standard fields, for Airflow before 3.2."""
        return field_behaviour(cls.conn_type)

    def get_config(self) -> CensusConfig:
        """Return the connection as the core's settings."""
        from mz_orchestration.airflow.connections import census_config, get_connection

        return census_config(get_connection(self.census_conn_id))

    def get_conn(self) -> CensusClient:
        """Return :meth:`get_client`'s."""
        return self.get_client()

    def get_client(self) -> CensusClient:
        """Return a client of the API, to be used in a ``with`` statement."""
        from mz_orchestration.census.client import CensusClient

        return CensusClient(self.get_config())

    async def aget_client(self) -> AsyncCensusClient:
        """Return a client of the API for event loops, to be used in an ``async with`` statement."""
        from mz_orchestration.airflow.connections import aget_connection, census_config
        from mz_orchestration.flow import in_daemon_thread

        connection = await aget_connection(self.census_conn_id)

        def client() -> AsyncCensusClient:
            from mz_orchestration.census.client import AsyncCensusClient

            return AsyncCensusClient(census_config(connection))

        # It imports the HTTP client and reads the certificates of the machine.
        return await in_daemon_thread(client)

    def test_connection(self) -> tuple[bool, str]:
        """Sign in, and list syncs where the group is known; what the *Test* button calls."""
        from mz_orchestration.errors import ConfigurationError, MzOrchestrationError
        from mz_orchestration.flow import run

        try:
            with self.get_client() as client:
                # There is no such run, but only who is signed in is told so; a button does not wait for retries.
                try:
                    run(client.api.run("0", within=0))
                except ConfigurationError as error:
                    if error.details.get("status") not in _NO_SUCH_RUN:
                        raise
                if client.api.config.api == "v2" and client.api.config.group_id is None:
                    return True, "The token was not refused. Without a group_id there is no listing of syncs to try."
                page = run(client.api.syncs())
        except MzOrchestrationError as error:
            return False, str(error)
        return True, f"Signed in to Census; syncs: {len(page.items) if page.total is None else page.total}."
