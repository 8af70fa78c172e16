"""The states of an export: which may follow which, and which are final."""

from __future__ import annotations

from typing import get_args

import pytest

from export_states import FOLLOWS
from fluxport.jobs.states import ACTIVE, FINAL, TRANSITIONS, Status, leading_to


def test_the_states_follow_each_other_as_they_may_and_not_otherwise() -> None:
    assert {before: set(after) for before, after in TRANSITIONS.items()} == FOLLOWS


@pytest.mark.parametrize("status", get_args(Status))
def test_what_leads_to_a_state_is_every_state_that_it_may_follow(status: Status) -> None:
    assert set(leading_to(status)) == {before for before, after in FOLLOWS.items() if status in after}


def test_an_export_is_active_until_nothing_can_run_it_any_more() -> None:
    assert set(ACTIVE) == {"queued", "running"}
    assert set(FINAL) == {"completed", "failed", "canceled", "expired"}
