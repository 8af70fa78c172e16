"""The states of an export, and the table of transitions between them."""

from __future__ import annotations

from typing import Literal

Status = Literal["queued", "running", "completed", "failed", "canceled", "expired"]
# Rows are encoded and stored while they are read; ``uploading`` is what remains to be stored after the last row.
Phase = Literal["planning", "reading", "uploading"]

# A status without successors is final. ``running`` to ``running``: the next attempt takes over from a lost worker.
TRANSITIONS: dict[Status, tuple[Status, ...]] = {
    "queued": ("running", "canceled", "failed"),
    "running": ("running", "completed", "failed", "canceled", "queued"),
    "completed": ("expired",),
    "failed": (),
    "canceled": (),
    "expired": (),
}
FINAL: frozenset[Status] = frozenset(status for status, after in TRANSITIONS.items() if "running" not in after)
ACTIVE: tuple[Status, ...] = ("queued", "running")


def leading_to(status: Status) -> list[Status]:
    """The states that ``status`` may follow."""
    return [before for before, after in TRANSITIONS.items() if status in after]
