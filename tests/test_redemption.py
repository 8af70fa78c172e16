"""One-time links in the service's own database, SQLite and PostgreSQL: one client redeems each, and may go on."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier

import pytest

from fluxport.auth.caller import Caller
from fluxport.errors import Gone
from fluxport.jobs.outcome import Result
from fluxport.jobs.redemption import Redemption
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record
from fluxport.spec import ExportSpec
from identity_support import Clock

LINK, OTHER_LINK = "a" * 64, "b" * 64
OPEN_S = 600
FIRST = Redemption(LINK, "the session of the first", first=True)
AGAIN = replace(FIRST, first=False)


@pytest.fixture
def record(store: JobStore) -> Record:
    request = ExportRequest(ExportSpec("SELECT 1"))
    made, _ = store.create(request, Caller("ann"), api="native", active_max=1, queue_max=1)
    store.claim(made.id, attempts_max=1)
    file = Result("a.csv", "text/csv", 1, 4, "0" * 64, location="a.csv")
    return store.move(made.id, "completed", result=file, expires_at=store.clock() + 86_400.0)


def is_open(store: JobStore, session: str | None = None, link: str = LINK) -> bool:
    """Whether a client with that session may fetch the file."""
    try:
        store.check_open(link, session)
    except Gone:
        return False
    return True


def outcome(store: JobStore, record: Record, redemption: Redemption) -> str:
    try:
        store.begin_download(record, "192.0.2.1", redemption)
    except Gone as error:
        return error.code
    return "begun"


def test_of_fifty_clients_at_once_one_redeems_the_link(store: JobStore, record: Record) -> None:
    together = Barrier(50)

    def asks(number: int) -> str:
        redemption = Redemption(LINK, f"the session of {number}", store.check_open(LINK, None))
        together.wait()  # all of them have seen that it is unused
        return outcome(store, record, redemption)

    with ThreadPoolExecutor(50) as clients:
        assert Counter(clients.map(asks, range(50))) == {"begun": 1, "link_used": 49}
    assert [line["outcome"] for line in store.audit_page(action="download")] == ["begun"]


def test_a_link_that_was_redeemed_is_open_to_its_session_alone(store: JobStore, record: Record) -> None:
    assert store.check_open(LINK, "any session")
    assert outcome(store, record, FIRST) == "begun"
    assert not store.check_open(LINK, FIRST.session)
    assert not is_open(store)
    assert not is_open(store, "another session")
    assert outcome(store, record, AGAIN) == "begun"
    assert outcome(store, record, replace(AGAIN, session="another session")) == "link_used"
    assert is_open(store, link=OTHER_LINK)


def test_a_session_lasts_while_a_download_runs_and_ten_minutes_after_it_has_ended(
    store: JobStore, record: Record, clock: Clock
) -> None:
    store.begin_download(record, "", FIRST)
    clock.now += 3 * OPEN_S  # a large file, or a connection whose end the service has not noticed
    assert is_open(store, FIRST.session)
    assert not is_open(store)
    store.end_download(record, "broken_off", "", FIRST, sent=True)
    clock.now += OPEN_S - 1
    assert outcome(store, record, AGAIN) == "begun"
    clock.now += 3 * OPEN_S
    assert is_open(store, FIRST.session)
    store.end_download(record, "sent", "", AGAIN, sent=True)
    clock.now += OPEN_S - 1
    assert is_open(store, FIRST.session)
    clock.now += 1
    assert not is_open(store, FIRST.session)
    assert outcome(store, record, AGAIN) == "link_used"
    assert not is_open(store)


def test_a_link_is_given_back_if_nothing_was_sent(store: JobStore, record: Record) -> None:
    store.begin_download(record, "", FIRST)
    store.end_download(record, "broken_off", "", FIRST, sent=False)
    assert store.check_open(LINK, None)
    assert outcome(store, record, Redemption(LINK, "the session of the next", first=True)) == "begun"


def test_a_later_download_that_sends_nothing_gives_nothing_back(store: JobStore, record: Record) -> None:
    for redemption, sent in ((FIRST, True), (AGAIN, False)):
        store.begin_download(record, "", redemption)
        store.end_download(record, "broken_off", "", redemption, sent=sent)
    assert not is_open(store)
    assert is_open(store, FIRST.session)


def test_a_process_that_is_killed_before_the_first_byte_leaves_the_link_used(store: JobStore, record: Record) -> None:
    """Its download has no end. Nobody knows whether the client has the file, so nobody else gets it."""
    store.begin_download(record, "", FIRST)
    with closing(JobStore(store.engine.url.render_as_string(hide_password=False), clock=store.clock)) as restarted:
        assert not is_open(restarted)
        assert is_open(restarted, FIRST.session)


def test_a_download_that_cannot_be_redeemed_leaves_no_line_in_the_audit(store: JobStore, record: Record) -> None:
    store.begin_download(record, "", FIRST)
    with pytest.raises(Gone):
        store.begin_download(record, "", replace(FIRST, session="another session"))
    assert len(store.audit_page(action="download")) == 1


def test_a_used_link_is_remembered_as_long_as_its_file_exists(store: JobStore, record: Record, clock: Clock) -> None:
    store.begin_download(record, "", FIRST)
    clock.now += 86_399.0
    store.expire()
    assert store.used_links([LINK, OTHER_LINK]) == {LINK}
    clock.now += 1.0
    store.expire()
    assert store.used_links([LINK]) == set()


def test_renewals_at_once_make_different_links_and_end_the_session_of_the_one_before(
    store: JobStore, record: Record
) -> None:
    store.begin_download(record, "", FIRST)

    def digest_of(present: Record) -> str:
        return LINK if present.result == record.result else f"{present.link_issued_at:064}"

    with ThreadPoolExecutor(10) as callers:
        renewed = list(callers.map(lambda _: store.renew_link(record.id, digest_of), range(10)))
    issued = sorted(each.link_issued_at for each in renewed)
    assert len({record.link_issued_at, *issued}) == 11
    assert issued[0] >= record.link_issued_at + 1
    assert not is_open(store, FIRST.session)
    assert store.used_links([f"{second:064}" for second in issued]) == {f"{second:064}" for second in issued[:-1]}
    store.end_download(record, "broken_off", "", FIRST, sent=False)
    assert not is_open(store)  # the end of a download gives no replaced link back


def test_an_export_without_a_file_has_no_link_to_renew(store: JobStore, record: Record) -> None:
    store.move(record.id, "expired")
    assert store.renew_link(record.id, lambda present: LINK).link_issued_at == record.link_issued_at
    assert store.used_links([LINK]) == set()
