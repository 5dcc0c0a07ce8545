"""Which stage can read an export: the address it stands for, and what Snowflake sees there.

Everything here is judged before a load makes anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.snowflake.quoting import Name, Sql, compose, identifier, literal, stage_path

_SCHEMES = ("s3", "s3gov", "s3china", "gcs", "s3compat")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What a stage is, as Snowflake describes it.

    Attributes:
        name: Its qualified, quoted name.
        url: None for an internal stage.
        integration: Its storage integration.
        endpoint: The host of an ``s3compat://`` stage; None also where Snowflake does not show it.
        has_credentials: Whether Snowflake shows credentials of its own; it may keep quiet about them.
    """

    name: str
    url: str | None
    integration: str | None = None
    endpoint: str | None = None
    has_credentials: bool = False

    @property
    def scheme(self) -> str:
        """Lower case, without ``://``; empty for an internal stage."""
        return (self.url or "").partition("://")[0].lower()

    @property
    def place(self) -> str:
        """``bucket/folder/``, cut at a slash: a stage's path begins behind one, whatever Snowflake's URL ends with."""
        return (self.url or "").partition("://")[2].rstrip("/") + "/"


def stage_facts(rows: Iterable[Mapping[str, Any]], stage: Name) -> StageFacts:
    """Read the answer of ``DESC STAGE``.

    Args:
        rows: By lower-case column name.
        stage: The stage's name.
    """
    values = {str(row["property"]).upper(): str(row["property_value"] or "") for row in rows}
    return StageFacts(
        name=identifier(*stage),
        url=_first(values.get("URL", "")),
        integration=values.get("STORAGE_INTEGRATION") or None,
        endpoint=values.get("ENDPOINT") or None,
        has_credentials=bool(values.get("AWS_KEY_ID") or values.get("AWS_ROLE")),
    )


def _first(text: str) -> str | None:
    """The URL, which Snowflake shows as a JSON list of one."""
    try:
        urls = json.loads(text)
    except ValueError:
        return text or None
    return (str(urls[0]) or None) if isinstance(urls, list) and urls else None


def endpoint_statement(stage: Name) -> Sql:
    """Asks for the endpoint; whether ``DESC STAGE`` shows it is not documented, of ``SHOW STAGES`` it is."""
    return compose("SHOW STAGES LIKE {} IN SCHEMA {}", literal(stage[-1]), identifier(*stage[:-1]))


def with_endpoint(facts: StageFacts, rows: Iterable[Mapping[str, Any]], stage: Name) -> StageFacts:
    """The facts with the endpoint that the answer to `endpoint_statement` shows; LIKE finds other names, too."""
    found = [str(row["endpoint"]) for row in rows if row["name"] == stage[-1] and row.get("endpoint")]
    return replace(facts, endpoint=found[0]) if found and facts.endpoint is None else facts


def path_below_stage(stage: StageFacts, manifest: Manifest) -> str:
    """The manifest's folder as seen from the stage, with a slash at its end unless the stage is that very folder.

    Raises:
        ConfigurationError: The stage is internal, stands for a kind of store that the export cannot be in, or does not
            cover the folder.
    """
    folder = manifest.folder
    if stage.url is None:
        raise ConfigurationError(
            f"stage: {stage.name} is internal, and Materialize writes to object stores.",
            hint=f"Use an external stage whose URL covers {manifest.path}.",
        )
    if stage.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"stage: {stage.name} is on {stage.url}, a kind of store that Materialize does not export to.",
            hint="Use a stage on s3://, gcs:// or s3compat://, whichever the export was written to.",
        )
    if folder.scheme == "gs" and stage.scheme != "gcs":
        raise ConfigurationError(
            f"stage: {stage.name} is on {stage.url}, but {manifest.path} lies in Google Cloud Storage.",
            hint=f"Use a stage with a GCS storage integration, URL = 'gcs://{_suggested(manifest)}'.",
        )
    place = f"{folder.bucket}/{folder.key}"
    if not place.startswith(stage.place):
        raise ConfigurationError(
            f"stage: {stage.name} on {stage.url} does not cover {manifest.path}{_almost(stage, place)}.",
            hint=f"Use a stage whose URL is {stage.scheme}://{folder.bucket}/ or a folder above the manifest, "
            f"such as {stage.scheme}://{_suggested(manifest)}.",
        )
    return place.removeprefix(stage.place)


def _suggested(manifest: Manifest) -> str:
    return manifest.base.partition("://")[2]


def _almost(stage: StageFacts, place: str) -> str:
    """What makes the two addresses look alike, if anything does."""
    if place.startswith(stage.place.rstrip("/")):
        return ", which begins with the same letters but is another folder"
    if place.startswith(unquote(stage.place)):
        return ": '%' in a stage's URL is taken as it stands"
    if place.lower().startswith(stage.place.lower()):
        return ": upper and lower case differ"
    return ""


def probe_statement(stage: Name, path: str, manifest: Manifest) -> Sql:
    """Asks Snowflake for the manifest itself; what it begins with may find other objects, too.

    Raises:
        ConfigurationError: The path cannot be written behind a stage's name.
    """
    return compose("LIST {}", stage_path(stage, path + manifest.location.name))


def judge_probe(rows: Iterable[Mapping[str, Any]], stage: StageFacts, manifest: Manifest, stored: ObjectInfo) -> None:
    """Make sure that Snowflake sees the very object that we have read.

    Args:
        rows: The answer to `probe_statement`.
        stage: The stage, for errors.
        manifest: What was read.
        stored: The manifest's object as the store describes it to us.

    Raises:
        NotFoundError: Snowflake sees nothing there.
        ConfigurationError: It sees another object.
    """
    at = manifest.location
    place = f"/{at.bucket}/{at.key}"
    found = next((row for row in rows if ("/" + str(row["name"]).partition("://")[2]).endswith(place)), None)
    if found is None:
        raise NotFoundError(
            f"stage: Snowflake sees no {at} through {stage.name} on {stage.url}, where we have just read it.",
            hint="Either the stage leads to a bucket of that name in another store or account, or what it signs in "
            f"with ({_signs_in(stage)}) may not list that folder.",
        )
    md5 = str(found["md5"] or "").strip('"').lower()
    # Objects uploaded in parts have ETags that are no digests, and stores make them up in ways of their own.
    differ = _MD5.fullmatch(md5) and _MD5.fullmatch(stored.etag.lower()) and md5 != stored.etag.lower()
    if int(found["size"]) != stored.size or differ:
        raise ConfigurationError(
            f"stage: through {stage.name} on {stage.url} Snowflake sees another {at}, of {found['size']} bytes and md5 "
            f"{md5}; ours has {stored.size} bytes and md5 {stored.etag}.",
            hint="The stage leads to a bucket of that name in another store or account, or to a copy: correct its URL, "
            "ENDPOINT or credentials.",
        )


def _signs_in(stage: StageFacts) -> str:
    if stage.integration:
        return f"the role of the integration {stage.integration}"
    return "the stage's own key" if stage.has_credentials else "the stage's credentials, if it has any"
