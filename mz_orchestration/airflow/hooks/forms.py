"""The forms of our connection types: declared for Airflow 3.2 and later, built from the same declaration before."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": ["string", "null"]}

# In the shape of "connection-types" in Airflow's provider.yaml.schema.json.
FORMS: dict[str, dict[str, Any]] = {
    "materialize": {
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {"schema": "Database", "login": "User"},
            "placeholders": {
                "host": "my-region.materialize.cloud",
                "port": "6875",
                "schema": "materialize",
                "login": "me@example.com",
                "cluster": "quickstart",
                "sslmode": "require",
                "console_url": "https://console.materialize.com/",
            },
        },
        "conn-fields": {
            "cluster": {"label": "Cluster", "description": "Cluster that statements run on.", "schema": _TEXT},
            "sslmode": {
                "label": "SSL mode",
                "description": "As in libpq; require or stricter for Materialize Cloud.",
                "schema": {**_TEXT, "enum": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]},
            },
            "sslrootcert": {
                "label": "Root certificate",
                "description": "Path of the certificate authorities' file on workers and triggerers.",
                "schema": _TEXT,
            },
            "connect_timeout": {
                "label": "Connect timeout",
                "description": "Seconds.",
                "schema": {"type": ["integer", "null"], "minimum": 1},
            },
            "console_url": {
                "label": "Console",
                "description": "Address of the console that tasks link to; known for Materialize Cloud.",
                "schema": {**_TEXT, "format": "url"},
            },
        },
    },
    "census": {
        "ui-field-behaviour": {
            "hidden-fields": ["login"],
            "relabeling": {"password": "Token", "schema": "Scheme"},
            "placeholders": {
                "host": "left empty, app.getcensus.com",
                "schema": "https",
                "password": "personal access token (V1: the workspace's API key)",
            },
        },
        "conn-fields": {
            "api_version": {
                "label": "API version",
                "description": "V1 ends on 15 January 2027.",
                "schema": {**_TEXT, "enum": ["v2", "v1"]},
            },
            "group_id": {
                "label": "Group",
                "description": "V2: id of the Fivetran group whose syncs are listed.",
                "schema": _TEXT,
            },
            "region": {
                "label": "Region",
                "description": "Where the account lives.",
                "schema": {**_TEXT, "enum": ["us", "eu"]},
            },
        },
    },
}


def form_widgets(connection_type: str) -> dict[str, Any]:
    """
    Return the fields of a form as Airflow before 3.2 wants them.

    :param connection_type: one of ours.
    """
    from wtforms import IntegerField, StringField  # type: ignore[import-untyped]
    from wtforms.validators import Optional, any_of  # type: ignore[import-untyped]

    def widget(label: str, description: str, schema: dict[str, Any]) -> Any:
        kind = IntegerField if "integer" in schema["type"] else StringField
        choices = [any_of(schema["enum"])] if "enum" in schema else []
        return kind(label, validators=[Optional(), *choices], description=description)

    return {name: widget(**field) for name, field in FORMS[connection_type]["conn-fields"].items()}


def field_behaviour(connection_type: str) -> dict[str, Any]:
    """
    Return what a form makes of the standard fields as Airflow before 3.2 wants it.

    :param connection_type: one of ours.
    """
    behaviour = FORMS[connection_type]["ui-field-behaviour"]
    return {name.replace("-", "_"): value for name, value in behaviour.items()}
