"""What Airflow learns about the provider; read early and often, so nothing of Airflow is imported here."""

from __future__ import annotations

from typing import Any

_HOME = "mz_orchestration.airflow"
_ASSETS = f"{_HOME}.assets.materialize"
_CLOUD_CONSOLE = "https://console.materialize.com/"


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    from mz_orchestration import __version__

    return {
        "package-name": "mz-orchestration",
        "name": "Materialize",
        "description": "Verified exports from Materialize to object stores and Snowflake, runs of Census syncs, and "
        "the health of streaming sinks.",
        "versions": [__version__],
        "integrations": [
            _integration("Materialize", "https://materialize.com/docs/"),
            _integration("Amazon S3", "https://docs.aws.amazon.com/s3/", "aws"),
            _integration("Snowflake", "https://docs.snowflake.com/"),
            _integration("Census", "https://docs.getcensus.com/"),
        ],
        "hooks": [_modules("Materialize", "hooks.materialize"), _modules("Census", "hooks.census")],
        "operators": [
            _modules("Materialize", "pipelines"),
            _modules("Amazon S3", "operators.delete_export"),
            _modules("Census", "operators.census"),
        ],
        "sensors": [_modules("Amazon S3", "sensors.s3"), _modules("Materialize", "sensors.sink")],
        "triggers": [
            _modules("Materialize", "triggers.job", "triggers.sink_health", "triggers.sink_events"),
            _modules("Amazon S3", "triggers.sentinel", "triggers.sentinel_events", "triggers.sentinel_queue"),
        ],
        "transfers": [
            _transfer("Materialize", "Amazon S3", "materialize_to_s3"),
            _transfer("Amazon S3", "Snowflake", "export_to_snowflake"),
            _transfer("Materialize", "Snowflake", "materialize_to_snowflake"),
        ],
        "notifications": [f"{_HOME}.notifications.webhook.MaterializeWebhookNotifier"],
        "connection-types": [
            _connection_type("materialize", "Materialize", "hooks.materialize.MaterializeHook"),
            _connection_type("census", "Census", "hooks.census.CensusHook"),
        ],
        "extra-links": [
            f"{_HOME}.links.{link}"
            for link in ("MaterializeConsoleLink", "ExportFolderLink", "SnowflakeQueryLink", "CensusSyncLink")
        ],
        "asset-uris": [
            {
                "schemes": ["materialize"],
                "handler": f"{_ASSETS}.sanitize_uri",
                "factory": f"{_ASSETS}.create_asset",
                "to_openlineage_converter": f"{_ASSETS}.convert_asset_to_openlineage",
            }
        ],
        "config": {
            "materialize": {
                "description": "Settings of the provider for Materialize.",
                "options": {
                    "console_url": {
                        "description": "Address of Materialize's console, which tasks link to where their connection "
                        f"names none. Without it only tasks of Materialize Cloud link, to {_CLOUD_CONSOLE}",
                        "version_added": __version__,
                        "type": "string",
                        "example": "https://console.example.com/",
                        "default": "",
                    },
                    "cancel_grace": {
                        "description": "Seconds that a deferred task which a user has ended gets to cancel what it "
                        "runs. Keep it below [triggerer] on_kill_timeout.",
                        "version_added": __version__,
                        "type": "float",
                        "example": None,
                        "default": "25",
                    },
                },
            }
        },
    }


def _integration(name: str, url: str, tag: str = "service") -> dict[str, Any]:
    return {"integration-name": name, "external-doc-url": url, "tags": [tag]}


def _modules(integration: str, *modules: str) -> dict[str, Any]:
    return {"integration-name": integration, "python-modules": [f"{_HOME}.{module}" for module in modules]}


def _transfer(source: str, target: str, module: str) -> dict[str, Any]:
    return {
        "source-integration-name": source,
        "target-integration-name": target,
        "python-module": f"{_HOME}.transfers.{module}",
    }


def _connection_type(connection_type: str, name: str, hook: str) -> dict[str, Any]:
    from mz_orchestration.airflow.hooks.forms import FORMS

    return {
        "connection-type": connection_type,
        "hook-class-name": f"{_HOME}.{hook}",
        "hook-name": name,
        **FORMS[connection_type],
    }
