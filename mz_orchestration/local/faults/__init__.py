"""Faults on request: a proxy in front of a server that delays, cuts, refuses and lies as it is told.

```python
with FaultProxy(("127.0.0.1", s3_port)) as proxy:
    client = boto3.client("s3", endpoint_url=proxy.url)
    with proxy.fault(Answer(503), match=Match(method="PUT"), times=2) as fault:
        client.put_object(...)
    assert fault.hits == 2
```
"""

from __future__ import annotations

from mz_orchestration.local.faults.active import ActiveFault
from mz_orchestration.local.faults.kinds import (
    Answer,
    Delay,
    Fault,
    HalfClose,
    Match,
    Reset,
    StaleListing,
    Truncate,
)
from mz_orchestration.local.faults.proxy import FaultProxy
from mz_orchestration.local.faults.seen import SeenRequest

__all__ = [
    "ActiveFault",
    "Answer",
    "Delay",
    "Fault",
    "FaultProxy",
    "HalfClose",
    "Match",
    "Reset",
    "SeenRequest",
    "StaleListing",
    "Truncate",
]
