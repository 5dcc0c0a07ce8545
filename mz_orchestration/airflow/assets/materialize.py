"""Assets with addresses like ``materialize://host:port/database/schema/object``.

The module is read as soon as any asset with an address is made, so it imports nothing that is heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow.sdk import Asset

from mz_orchestration.names import split_name

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset

SCHEME = "materialize"
_PORT = 6875
_FORM = "write materialize://host:port/database/schema/object"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Bring an address into the one form it has, so that two spellings are one asset.

    :param uri: as it was written.
    :raises ValueError: it does not name one object.
    """
    shown = f"{uri.scheme}://{uri.netloc.rpartition('@')[2]}{uri.path}"
    if "@" in uri.netloc:
        raise ValueError(f"{shown} holds a user name, which does not belong into an asset; {_FORM}")
    if uri.query or uri.fragment:
        raise ValueError(f"{shown} is followed by ? or #, which would name the same object once more; {_FORM}")
    return uri._replace(netloc=_authority(uri, shown), path="".join(f"/{quote(each, safe='')}" for each in _parts(uri)))


def create_asset(
    *,
    host: str,
    database: str,
    schema: str,
    object: str,
    port: int = _PORT,
    name: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Asset:
    """
    Make the asset of an object from the parts of its name, which are taken as they are.

    :param host: host of Materialize.
    :param database: database of the object.
    :param schema: schema of the object.
    :param object: table, source, view or materialized view.
    :param port: port of Materialize.
    :param name: name of the asset; its address by default.
    :param extra: static information about it.
    """
    path = "/".join(quote(part, safe="") for part in (database, schema, object))
    uri = sanitize_uri(urlsplit(f"{SCHEME}://{f'[{host}]' if ':' in host else host}:{port}/{path}")).geturl()
    return Asset(name=uri if name is None else name, uri=uri, extra=extra)


def materialize_asset(
    object: str,
    *,
    host: str,
    port: int = _PORT,
    database: str = "materialize",
    schema: str = "public",
    name: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Asset:
    """
    Make the asset of an object from its name as SQL has it.

    :param object: ``[database.][schema.]name``, with double quotes around parts that are not words.
    :param host: host of Materialize.
    :param port: port of Materialize.
    :param database: where the name does not say it.
    :param schema: where the name does not say it.
    :param name: name of the asset; its address by default.
    :param extra: static information about it.
    :raises ValueError: it is not such a name.
    """
    given = split_name(object, str.lower)
    parts = (*(database, schema)[: 3 - len(given)], *given)
    return create_asset(
        host=host, port=port, database=parts[0], schema=parts[1], object=parts[2], name=name, extra=extra
    )


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """
    Return the dataset that OpenLineage knows an asset as.

    :param asset: with an address as :func:`sanitize_uri` leaves it.
    :param lineage_context: what Airflow passes to all converters.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{uri.netloc}", name=".".join(_parts(uri)))


def _authority(uri: SplitResult, shown: str) -> str:
    try:
        host, port = uri.hostname, uri.port
    except ValueError as error:
        raise ValueError(f"{shown}: {error}; {_FORM}") from error
    if not host:
        raise ValueError(f"{shown} names no host; {_FORM}")
    return f"{f'[{host}]' if ':' in host else host}:{port or _PORT}"


def _parts(uri: SplitResult) -> list[str]:
    parts = [unquote(part) for part in uri.path.removeprefix("/").split("/")]
    if len(parts) != 3 or not all(parts):
        found = f"{uri.scheme}://{uri.netloc}{uri.path}"
        raise ValueError(f"{found} does not name a database, a schema and an object; {_FORM}")
    return parts
