"""The request for a stored export: the body of ``POST /v1/exports`` and of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fluxport.errors import Refused
from fluxport.spec import ExportSpec

Priority = Literal["high", "normal", "low"]
# As stored, and as the queue sorts the waiting exports of one owner: lower numbers first.
PRIORITIES: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}


@dataclass(frozen=True)
class ExportRequest:
    """``notify`` is unchecked, as received; ``count``: count the rows before reading them."""

    spec: ExportSpec
    notify: Any = None
    priority: int = PRIORITIES["normal"]
    count: bool = False

    @property
    def may_split(self) -> bool:
        """Whether it may become several files: an upload URL takes only one."""
        return not (isinstance(self.notify, Mapping) and self.notify.get("upload") is not None)

    @classmethod
    def from_json(cls, body: Any) -> ExportRequest:
        rest = dict(body) if isinstance(body, Mapping) else body
        own = {
            name: rest.pop(name) for name in ("notify", "priority", "count") if isinstance(rest, dict) and name in rest
        }
        return cls.of(ExportSpec.from_json(rest), own)

    @classmethod
    def of(cls, spec: ExportSpec, own: Mapping[str, Any]) -> ExportRequest:
        """The request for ``spec``; ``own`` has what else a body says: ``notify``, ``priority`` and ``count``."""
        priority, count = own.get("priority", "normal"), own.get("count", False)
        if priority not in PRIORITIES:
            raise Refused(f"'priority' is one of: {', '.join(PRIORITIES)}.", code="bad_priority")
        if not isinstance(count, bool):
            raise Refused("'count' is true or false.", code="bad_body")
        return cls(spec, own.get("notify"), PRIORITIES[priority], count)
