"""The asset watcher that polls: an event for every export below a folder whose sentinel is removed."""

from __future__ import annotations

import logging
from typing import Any

from mz_orchestration.airflow.triggers.folder import FolderProducer, Listing, watched_folder
from mz_orchestration.airflow.triggers.looks import LookingEventTrigger, positive_seconds
from mz_orchestration.exports.watch.arrivals import ArrivalPolicy, Arrivals

log = logging.getLogger(__name__)


class SentinelRemovedEventTrigger(LookingEventTrigger):
    """
    Watch a folder for exports that complete: the trigger of an ``AssetWatcher``.

    Every ``poll_interval`` seconds it lists what lies below the folder. An export is told of when its sentinel was
    there and is gone and data is; when no look fell into its short life, after two equal looks ``settle`` seconds
    apart. What is complete when the watcher looks for the first time is not told of. What failed, was swept away or has
    gone silent is not either.

    One event an export. Its payload is ``triggering_asset_events[asset][i].extra["payload"]``; one DAG run may be
    given several events::

        {
            "id": "s3://bucket/exports/shop.orders/20261122T000000Z-0a1b2c3d-01/#t3786",
            "path": "s3://bucket/exports/shop.orders/20261122T000000Z-0a1b2c3d-01/",
            "bucket": "bucket",
            "key": "exports/shop.orders/20261122T000000Z-0a1b2c3d-01/",
            "export": "shop.orders",
            "files": 2,
            "bytes": 36071654,
            "manifest": "s3://bucket/.../_manifest.json",
            "sentinel_seen": True,
            "completed_at": "2026-11-22T00:03:11+00:00",
        }

    ``export`` is the name of one of our own exports, else the path below the folder; ``manifest`` is None where there
    is none (yet); ``completed_at`` is when the newest data file was written, by the store's clock.

    An export is told of at least once: twice if the triggerer dies within the second or two between storing an event
    and storing what was seen. ``id`` is the same both times; a load from a manifest does nothing the second time.
    Before Airflow 3.3 there is no state store: a triggerer that is restarted begins anew, and does not tell of what
    completed meanwhile. Deleting and recreating the asset does the same.

    :param folder: ``s3://bucket/folder/``; everything below is watched.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    :param export: only the exports below the folder of this name.
    :param require: ``sentinel``: it is gone; of our own exports, the manifest follows when the files are verified.
        ``manifest``: our manifest is there, which is what loads take; exports by other means never get one.
    :param poll_interval: seconds between two looks.
    :param settle: how many seconds apart two equal looks must be where the sentinel was never seen.
    :param abandoned_after: seconds without a new file after which an export counts as dead.
    """

    def __init__(
        self,
        *,
        folder: str,
        aws_conn_id: str | None = "aws_default",
        export: str | None = None,
        require: str = "sentinel",
        poll_interval: float = 10.0,
        settle: float = 5.0,
        abandoned_after: float = 24 * 3600.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder = folder
        self.aws_conn_id = aws_conn_id
        self.export = export
        self.require = require
        self.poll_interval = poll_interval
        self.settle = settle
        self.abandoned_after = abandoned_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return what makes the trigger again elsewhere.

        :raises ConfigurationError: an argument cannot be used. Here, for this is called when the DAG is read, where its
            author sees it; an error of the constructor would end the triggerer.
        """
        watched_folder(self.folder, self.export)
        self._policy()
        positive_seconds("poll_interval", self.poll_interval)
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "folder": self.folder,
            "aws_conn_id": self.aws_conn_id,
            "export": self.export,
            "require": self.require,
            "poll_interval": self.poll_interval,
            "settle": self.settle,
            "abandoned_after": self.abandoned_after,
        }

    @property
    def watched(self) -> str:
        """The folder, and what is required below."""
        return f"{watched_folder(self.folder, self.export)} {self.require}"

    def producer(self) -> FolderProducer:
        """Return what lists the folder."""
        return FolderProducer(watched_folder(self.folder, self.export), self.aws_conn_id, self.poll_interval)

    def seen(self, kept: dict[str, Any] | None) -> SeenExports:
        """
        Return what was seen of exports.

        :param kept: the watermark of an earlier triggerer; None without.
        """
        return SeenExports(Arrivals(watched_folder(self.folder, self.export), self._policy(), kept))

    def _policy(self) -> ArrivalPolicy:
        return ArrivalPolicy(self.require, self.settle, self.abandoned_after)


class SeenExports:
    """
    Which exports have completed.

    :param arrivals: tells, listing by listing.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    @property
    def kept(self) -> dict[str, Any]:
        """The watermark."""
        return self._arrivals.watermark

    def events(self, found: Listing) -> list[dict[str, Any]]:
        """
        Return the payloads of the exports that have completed.

        :param found: what lies below the folder.
        """
        arrived = self._arrivals.look(found.objects, found.at, found.took)
        for each in arrived:
            log.info("The export to %s is complete, files: %d.", each.folder, each.files)
        return [each.to_payload() for each in arrived]
