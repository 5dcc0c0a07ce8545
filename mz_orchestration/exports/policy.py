"""How an export is to behave where there is a choice."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mz_orchestration.exports.verify_level import VerifyLevel


class ExportPolicy(BaseModel):
    """How an export behaves where there is a choice; none of it changes which rows and files come out.

    Attributes:
        verify: How closely the files are looked at before the manifest is written.
        count: Count the rows at the export's own timestamp before the COPY, so that files can be told to be whole
            even if Materialize's answer is lost. Costs a second read of the object.
        statistics: Ask for NULLs, smallest and largest values and sums of every column in that same read, for loads
            to be compared with; it counts the rows too.
        if_running: What to do while another run of the same export is in progress: wait for it to end, or leave with
            `AlreadyRunningError`. None looks at this run's own earlier attempts only, and waits.
        left_behind: What to do with an earlier attempt of this run whose COPY still runs without its process: wait
            for it and take its files, cancel it, or leave it alone; the latter two start the next attempt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verify: VerifyLevel = VerifyLevel.FOOTERS
    count: bool = False
    statistics: bool = False
    if_running: Literal["wait", "skip", "fail"] | None = None
    left_behind: Literal["wait", "cancel", "leave"] = "wait"

    def for_own_attempt(self) -> ExportPolicy:
        """The same, for whoever takes up an attempt of the same call: that one is waited for."""
        # Other runs of the export are looked at only if they were to be.
        return self.model_copy(update={"left_behind": "wait", "if_running": "wait" if self.if_running else None})
