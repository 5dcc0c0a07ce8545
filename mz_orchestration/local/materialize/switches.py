"""Which faults a COPY of this server meets: what is set, where and how often it holds."""

from __future__ import annotations

from collections import Counter

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.materialize.copy_checks import Admin
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.faults import LATEST, Faults


class Switches:
    """Reads the table of faults."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._taken: Counter[object] = Counter()

    async def take(self, target: str) -> Faults:
        """The faults of a COPY that begins; it counts as one of their times.

        Raises:
            StatementError: what was written into the table is none.
        """
        number, faults = await self._latest(target)
        if faults.times is not None:
            if self._taken[number] >= faults.times:
                return Faults()
            self._taken[number] += 1
        return faults

    async def current(self, target: str) -> Faults:
        """What is set now for a COPY that runs, however often it was met."""
        return (await self._latest(target))[1]

    async def _latest(self, target: str) -> tuple[object, Faults]:
        rows = await self._admin.rows(LATEST)
        if not rows:
            return 0, Faults()
        [[number, settings]] = rows
        try:
            faults = Faults.parse(settings if isinstance(settings, dict) else {})
        except LocalStackError as error:
            raise StatementError(error.message, hint=error.hint) from None
        return number, faults if faults.target in target else Faults()
