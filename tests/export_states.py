"""Which state of an export may follow which, written down here once more: what the product says is compared with it."""

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
