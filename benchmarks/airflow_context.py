"""What an operator's ``execute`` is given here in place of a task instance of Airflow's; for either environment."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any


def context(run_id: str) -> dict[str, Any]:
    """As much of Airflow's context as the operators of both sides use."""
    ti = SimpleNamespace(
        dag_id="bench",
        run_id=run_id,
        task_id="task",
        map_index=-1,
        try_number=1,
        xcoms={},
    )
    ti.xcom_push = ti.xcoms.__setitem__
    return {
        "ti": ti,
        "dag_run": SimpleNamespace(run_type="manual"),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra={})),
    }
