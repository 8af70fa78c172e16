"""Which state of an export may follow which: a second copy, with which the product's table is compared."""

from __future__ import annotations

from fluxport.jobs.states import Status

FOLLOWS: dict[Status, set[Status]] = {
    "queued": {"running", "canceled", "failed"},
    "running": {"running", "completed", "failed", "canceled", "queued"},
    "completed": {"expired"},
    "failed": set(),
    "canceled": set(),
    "expired": set(),
}
