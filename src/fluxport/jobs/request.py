"""What somebody asks of a stored export: the body of ``POST /v1/exports`` and of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fluxport.errors import Refused
from fluxport.spec import ExportSpec

Priority = Literal["high", "normal", "low"]
# As they are kept, and as the queue sorts the exports of one owner that wait: lower ones first.
PRIORITIES: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}


@dataclass(frozen=True)
class ExportRequest:
    """``notify`` as it was given, not yet checked; ``count``: ask first how many rows there are."""

    spec: ExportSpec
    notify: Any = None
    priority: int = PRIORITIES["normal"]
    count: bool = False

    @property
    def may_split(self) -> bool:
        """Whether it may become several files: one URL takes one."""
        return not (isinstance(self.notify, Mapping) and self.notify.get("upload") is not None)

    @classmethod
    def from_json(cls, body: Any) -> ExportRequest:
        given = dict(body) if isinstance(body, Mapping) else body
        own = {
            name: given.pop(name)
            for name in ("notify", "priority", "count")
            if isinstance(given, dict) and name in given
        }
        spec = ExportSpec.from_json(given)
        priority, count = own.get("priority", "normal"), own.get("count", False)
        if priority not in PRIORITIES:
            raise Refused(f"'priority' is one of: {', '.join(PRIORITIES)}.", code="bad_priority")
        if not isinstance(count, bool):
            raise Refused("'count' is true or false.", code="bad_body")
        return cls(spec, own.get("notify"), PRIORITIES[priority], count)
