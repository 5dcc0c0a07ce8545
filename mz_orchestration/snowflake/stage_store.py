"""Whether Snowflake's cloud can get at the store behind a stage.

Snowflake chooses the store by the scheme of a stage's URL: ``s3://`` is Amazon's, ``gcs://`` Google's, and every other
store that speaks S3 is ``s3compat://`` with an ENDPOINT. An export knows a bucket and a path only, so a stage can look
right and lead to another store, or to one that only a private network reaches.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake.stages import StageFacts

_GOOGLE = re.compile(r"(?:.+\.)?storage(?:[.-].+)?\.googleapis\.com")
_AMAZON = re.compile(r"(?:.+\.)?amazonaws\.com(?:\.cn)?")
# Names that no public DNS resolves: RFC 6761 and 6762, RFC 8375, ICANN's .internal, and what private networks use.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".svc", ".test")

Provider = Literal["Amazon S3", "Google Cloud Storage", "an S3-compatible store"]


def check_store(stage: StageFacts, *, store_endpoint: str | None, snowflake_host: str | None) -> list[str]:
    """Judge whether Snowflake, by this stage, can get at the store that the export was written to.

    Args:
        stage: The stage, not internal.
        store_endpoint: URL by which we reach the store; None is Amazon's.
        snowflake_host: Snowflake's host where it is set. A Snowflake on this machine reaches what this machine
            reaches, and its ``s3://`` is not Amazon's, so of such a one only the stage's own form is judged.

    Returns:
        What could not be judged and may be wrong, in words.

    Raises:
        ConfigurationError: It cannot.
    """
    local = _is_loopback(snowflake_host or "")
    _check_form(stage, local=local)
    if local:
        return []
    store = _Store.at(store_endpoint)
    if stage.scheme == "s3compat":
        return _check_compatible(stage, store)
    if stage.scheme != "gcs":
        return _check_amazon(stage, store)
    if store.provider != "Google Cloud Storage":
        raise _elsewhere(stage, store, "Google Cloud Storage")
    return []


@dataclass(frozen=True, slots=True)
class _Store:
    """The object store as we reach it."""

    shown: str
    host: str
    provider: Provider

    @classmethod
    def at(cls, endpoint: str | None) -> _Store:
        if endpoint is None:
            return cls("https://s3.amazonaws.com", "s3.amazonaws.com", "Amazon S3")
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        host = (parts.hostname or "").rstrip(".")
        provider: Provider = "an S3-compatible store"
        if _AMAZON.fullmatch(host):
            provider = "Amazon S3"
        elif _GOOGLE.fullmatch(host):
            provider = "Google Cloud Storage"
        # An URL can hold a user and a password, which errors must not repeat.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return cls(shown, host, provider)


def _check_form(stage: StageFacts, *, local: bool) -> None:
    """What is wrong with a stage whatever the store."""
    if stage.scheme == "gcs" and stage.integration is None:
        raise ConfigurationError(
            f"stage: {stage.name} on {stage.url} has no storage integration, which Google Cloud Storage needs.",
            hint="Create it with STORAGE_INTEGRATION = an integration whose STORAGE_PROVIDER is 'GCS'.",
        )
    if stage.scheme != "s3compat":
        return
    if stage.integration is not None:
        raise ConfigurationError(
            f"stage: {stage.name} on {stage.url} has the storage integration {stage.integration}, which is for the "
            "clouds' own stores.",
            hint="Create it with CREDENTIALS = (AWS_KEY_ID = ... AWS_SECRET_KEY = ...) instead.",
        )
    problem = _endpoint_problem(stage.endpoint, local=local) if stage.endpoint else ""
    if problem:
        raise ConfigurationError(
            f"stage: the ENDPOINT {stage.endpoint!r} of {stage.name} {problem}.",
            hint="Snowflake calls https://<bucket>.<ENDPOINT>/: name a host of public DNS that serves HTTPS on the "
            "usual port with a valid certificate. A store in a private network cannot be read by a stage.",
        )


def _endpoint_problem(endpoint: str, *, local: bool) -> str:
    if "://" in endpoint:
        return "has a scheme, where Snowflake wants a bare host and always uses HTTPS"
    if "/" in endpoint:
        return "has a path, where Snowflake wants a bare host"
    host, _, port = endpoint.partition(":") if endpoint.count(":") < 2 else (endpoint, "", "")
    if port:
        return f"has the port {port}, and Snowflake knows no ports"
    return "" if local else _unreachable(host)


def _unreachable(host: str) -> str:
    """Why Snowflake's cloud cannot call a host, as far as its name shows."""
    host = host.rstrip(".").lower()
    if _address(host) is not None:
        return "is an address, and a bucket's name cannot be put in front of one"
    if "." not in host or host.endswith(_PRIVATE_SUFFIXES):
        return "is a name that only a private network knows"
    return ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _check_amazon(stage: StageFacts, store: _Store) -> list[str]:
    if store.provider != "Amazon S3":
        raise _elsewhere(stage, store, "Amazon S3")
    region = "s3china" if store.host.endswith(".cn") else "s3gov" if "us-gov-" in store.host else "s3"
    # Which of the three a region insists on is not documented for all, so the probe has the last word.
    if region == stage.scheme:
        return []
    return [
        f"the store is {store.shown}, for which Snowflake documents {region}://, but {stage.name} is on {stage.url}"
    ]


def _check_compatible(stage: StageFacts, store: _Store) -> list[str]:
    endpoint = (stage.endpoint or "").lower()
    if store.provider == "Google Cloud Storage":
        raise _elsewhere(stage, store, "an S3-compatible store")
    # S3 in China can be read by either scheme.
    if store.provider == "Amazon S3" and endpoint and not _AMAZON.fullmatch(endpoint):
        raise _elsewhere(stage, store, f"the store at {stage.endpoint}")
    notes = []
    if not endpoint:
        notes.append(f"Snowflake does not show the ENDPOINT of {stage.name}, so it could not be checked")
    elif endpoint != store.host and not store.host.endswith(f".{endpoint}"):
        notes.append(f"{stage.name} reads from {stage.endpoint}, the files were reached through {store.shown}")
    bucket = stage.place.partition("/")[0]
    if "." in bucket:
        notes.append(f"the bucket {bucket} has a dot in its name, which the certificate of its host may not cover")
    return notes


def _elsewhere(stage: StageFacts, store: _Store, read: str) -> ConfigurationError:
    """The stage leads to one store, and the files lie in another."""
    place = stage.place
    match store.provider:
        case "Amazon S3":
            hint = f"Use a stage on s3://{place} with a storage integration for S3."
        case "Google Cloud Storage":
            hint = f"Use a stage on gcs://{place} with a storage integration for GCS."
        case _:
            host = store.host
            problem = _endpoint_problem(store.shown.partition("://")[2], local=False)
            hint = f"Use a stage on s3compat://{place} with ENDPOINT = '{host}' and CREDENTIALS."
            if problem or store.shown.startswith("http://"):
                why = problem or "is plain HTTP, and Snowflake always uses HTTPS"
                hint = (
                    f"Snowflake's cloud cannot read that store as it is: {store.shown} {why}. Give it a public HTTPS "
                    f"endpoint for a stage on s3compat://{place}, or export to S3 or Google Cloud Storage."
                )
    return ConfigurationError(
        f"stage: {stage.name} on {stage.url} reads {read}, but the files were written to {store.shown}.", hint=hint
    )
