"""What Airflow learns about the provider; read early and often, so nothing of Airflow is imported here."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    from mz_orchestration import __version__

    home = "mz_orchestration.airflow"
    return {
        "package-name": "mz-orchestration",
        "name": "Materialize",
        "description": "Verified exports from Materialize to object stores and Snowflake.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Materialize",
                "external-doc-url": "https://materialize.com/docs/",
                "tags": ["service"],
            },
            {
                "integration-name": "Snowflake",
                "external-doc-url": "https://docs.snowflake.com/",
                "tags": ["service"],
            },
        ],
        "hooks": [{"integration-name": "Materialize", "python-modules": [f"{home}.hooks.materialize"]}],
        "operators": [{"integration-name": "Materialize", "python-modules": [f"{home}.pipelines"]}],
        "transfers": [
            {
                "source-integration-name": "Materialize",
                "target-integration-name": "Snowflake",
                "python-module": f"{home}.transfers.materialize_to_snowflake",
            }
        ],
        "connection-types": [
            {
                "connection-type": "materialize",
                "hook-class-name": f"{home}.hooks.materialize.MaterializeHook",
                "hook-name": "Materialize",
                "ui-field-behaviour": {
                    "hidden-fields": [],
                    "relabeling": {"schema": "Database", "login": "User"},
                    "placeholders": {"port": "6875", "schema": "materialize", "login": "materialize"},
                },
                "conn-fields": {
                    "cluster": {
                        "label": "Cluster",
                        "description": "Cluster that statements run on.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "sslmode": {
                        "label": "SSL mode",
                        "description": "As in libpq; require or stricter for Materialize Cloud.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["disable", "prefer", "require", "verify-ca", "verify-full"],
                        },
                    },
                    "sslrootcert": {
                        "label": "Root certificate",
                        "description": "Path of the certificate authorities' file.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "connect_timeout": {
                        "label": "Connect timeout",
                        "description": "Seconds.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                },
            }
        ],
    }
