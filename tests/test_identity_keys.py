"""Bearer keys, scopes and rates."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys
from fluxport.auth.rate import Rate
from fluxport.auth.scopes import EVERYTHING, USUAL, allows, read_scopes
from fluxport.auth.sessions import Sessions
from fluxport.auth.signing import SigningKey
from fluxport.auth.users import Users
from fluxport.errors import Conflict, Forbidden, NotFound, Refused, TooMany
from fluxport.jobs.store import JobStore
from fluxport.tables import keys as table
from fluxport.tables import transaction
from identity_support import Clock

USED_EVERY_S = 60


@pytest.fixture
def keys(store: JobStore, clock: Clock) -> Keys:
    return Keys(store.engine, clock=clock)


def test_a_key_is_identified_by_its_token_with_all_its_settings(keys: Keys, clock: Clock) -> None:
    made, token = keys.create("nightly", "alice", ["sql:main", "series"], expires_s=60, active_max=2)
    assert token.startswith(f"fxp_{made.id}_")
    assert (made.owner, made.active_max) == ("alice", 2)
    assert made.scopes == {"sql:main", "series"}
    assert made.expires_at == clock.now + 60
    found = keys.find(token)
    assert found == made


def test_authenticating_a_known_caller_waits_for_no_writer(keys: Keys, store: JobStore, clock: Clock) -> None:
    made, token = keys.create("nightly", "alice", ["series"], expires_s=None)
    users, sessions = Users(store.engine, clock=clock), Sessions(store.engine, development=False, clock=clock)
    users.add("alice", "a password of some length", frozenset({"series"}))
    session = sessions.start("alice", "password")
    assert keys.find(token) == made
    with transaction(store.engine) as writing:
        writing.execute(sa.update(table).values(name="another"))
        found, user = keys.find(token), sessions.find(session)
        assert [key.name for key in keys.list()] == ["nightly"]
        assert [one.name for one in users.list()] == ["alice"]
        assert users.check("alice", "a password of some length") is not None
    assert (found and found.name, user and user.name) == ("nightly", "alice")


def test_the_secret_is_nowhere_in_the_database(keys: Keys, store: JobStore) -> None:
    _, token = keys.create("nightly", "alice", ["series"], expires_s=None)
    secret = token.split("_", 2)[2]
    with store.engine.begin() as connection:
        row = connection.execute(sa.select(table)).one()
    assert secret not in repr(row)


def test_two_keys_share_neither_id_nor_secret(keys: Keys) -> None:
    made = [keys.create(f"key {n}", "alice", ["series"], expires_s=None) for n in range(20)]
    assert len({key.id for key, _ in made}) == 20
    assert len({token.split("_", 2)[2] for _, token in made}) == 20


def test_every_character_of_a_key_counts(keys: Keys) -> None:
    _, token = keys.create("nightly", "alice", ["series"], expires_s=None)
    for place in range(len(token)):
        other = "a" if token[place] != "a" else "b"
        assert keys.find(token[:place] + other + token[place + 1 :]) is None
    for text in ("", "fxp_", token + "a", token[:-1], token.upper(), "é" * 60, "\x00", f" {token}"):
        assert keys.find(text) is None


def test_an_expired_and_a_revoked_key_are_not_found(keys: Keys, clock: Clock) -> None:
    made, short = keys.create("short", "alice", ["series"], expires_s=60)
    clock.now += 1
    _, ended = keys.create("ended", "alice", ["series"], expires_s=None)
    keys.revoke("ended")
    assert keys.find(ended) is None
    clock.now += 58.9
    assert keys.find(short) is not None
    clock.now += 0.1
    assert keys.find(short) is None
    assert [key.state(clock.now) for key in keys.list()] == ["expired", "revoked"]
    assert made.state(clock.now - 1) == "active"


def test_the_last_use_is_written_once_a_minute(keys: Keys, clock: Clock) -> None:
    _, token = keys.create("nightly", "alice", ["series"], expires_s=None)
    began = clock.now
    for moment, written in (
        (0, 0),
        (USED_EVERY_S - 1, 0),
        (USED_EVERY_S, USED_EVERY_S),
        (USED_EVERY_S + 1, USED_EVERY_S),
    ):
        clock.now = began + moment
        keys.find(token)
        assert keys.list()[0].last_used_at == began + written


def test_a_name_is_taken_until_its_key_is_revoked(keys: Keys, clock: Clock) -> None:
    first, _ = keys.create("nightly", "alice", ["series"], expires_s=None)
    with pytest.raises(Conflict, match="nightly"):
        keys.create("nightly", "bob", ["series"], expires_s=None)
    revoked = keys.revoke(first.id)
    assert (revoked.name, revoked.state(clock.now)) == ("nightly", "revoked")
    keys.create("nightly", "bob", ["series"], expires_s=None)
    with pytest.raises(NotFound):
        keys.revoke("daily")


def test_all_keys_of_one_user_end_and_no_others(keys: Keys) -> None:
    tokens = [keys.create(f"key {n}", "alice", ["series"], expires_s=None)[1] for n in range(3)]
    _, other = keys.create("other", "bob", ["series"], expires_s=None)
    assert keys.revoke_all("alice") == 3
    assert [keys.find(token) for token in tokens] == [None] * 3
    assert keys.find(other) is not None


@pytest.mark.parametrize(
    ("name", "owner", "scopes"),
    [("", "alice", ["series"]), ("a\nb", "alice", ["series"]), ("a", "", ["series"]), ("a", "alice", [])],
)
def test_a_key_without_name_user_or_scope_is_refused(keys: Keys, name: str, owner: str, scopes: list[str]) -> None:
    with pytest.raises(Refused):
        keys.create(name, owner, scopes, expires_s=None)


def test_names_have_up_to_128_characters(keys: Keys) -> None:
    made, _ = keys.create("k" * 128, "u" * 128, ["series"], expires_s=None)
    assert (made.name, made.owner) == ("k" * 128, "u" * 128)
    for name, owner, what in (("k" * 129, "alice", "key"), ("a", "u" * 129, "user")):
        with pytest.raises(Refused, match=f"name of a {what} must have 1 to 128") as refused:
            keys.create(name, owner, ["series"], expires_s=None)
        assert refused.value.code == "bad_name"


def test_a_revoked_key_is_not_counted_nor_revoked_again(keys: Keys, clock: Clock) -> None:
    keys.create("first", "alice", ["series"], expires_s=None)
    keys.create("second", "alice", ["series"], expires_s=None)
    keys.revoke("first")
    revoked_at = clock.now
    clock.now += 10
    assert keys.revoke_all("alice") == 1
    assert {key.name: key.revoked_at for key in keys.list()} == {"first": revoked_at, "second": revoked_at + 10}


# -- scopes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["sql", "sql:", "sql:*x", "dataset:a b", "Series", "admin:*", "*", "", "sql:main\n"])
def test_an_unknown_scope_is_refused_by_name(word: str) -> None:
    with pytest.raises(Refused) as refused:
        read_scopes(["series", word])
    assert refused.value.code == "bad_scope"
    assert refused.value.message == (
        f"There is no scope {word!r}; use sql:CONNECTION, sql:*, dataset:NAME, dataset:*, series, push or admin."
    )


def test_a_scope_names_a_connection_or_dataset_of_up_to_64_characters() -> None:
    assert read_scopes([f"sql:{'a' * 64}"]) == {f"sql:{'a' * 64}"}
    for word in (f"sql:{'a' * 65}", f"dataset:{'a' * 65}"):
        with pytest.raises(Refused):
            read_scopes([word])


def test_public_and_signed_in_access_is_as_documented() -> None:
    assert set(EVERYTHING) == {"sql:*", "dataset:*", "series", "push", "admin"}
    assert set(USUAL) == {"dataset:*", "series"}


@pytest.mark.parametrize(
    ("scopes", "needed", "allowed"),
    [
        (["sql:main"], "sql:main", True),
        (["sql:main"], "sql:other", False),
        (["sql:*"], "sql:other", True),
        (["sql:*"], "dataset:other", False),
        (["dataset:trades"], "dataset:tradesmen", False),
        (["admin"], "sql:main", False),
        (["admin"], "admin", True),
        ([], "series", False),
        (["sql:main"], "sql:*", False),
        (["sql:*"], "sql:a:b", True),
        (["sql:a:*"], "sql:a:b", False),
        (["admin:*"], "admin", False),
    ],
)
def test_a_scope_allows_what_it_names_and_nothing_else(scopes: list[str], needed: str, allowed: bool) -> None:
    assert allows(scopes, needed) is allowed


def test_an_error_names_the_missing_scope_and_no_scope_is_implied() -> None:
    with pytest.raises(Forbidden, match="sql:main") as refused:
        Caller("alice").need("sql:main")
    assert refused.value.code == "missing_scope"
    Caller("alice", scopes=EVERYTHING).need("sql:main")
    assert Caller("alice", scopes=EVERYTHING).admin
    assert not Caller("alice", scopes=EVERYTHING - {"admin"}).admin


def test_a_caller_has_what_its_key_has() -> None:
    key = SigningKey("billing", ("x" * 32,), "alice", frozenset({"series"}), 3, True, ("example.com",))
    assert Caller.of_key(key) == Caller(
        "alice", "billing", frozenset({"series"}), False, 3, own_results=True, mail_domains=("example.com",)
    )
    assert Caller.of_key(SigningKey("billing", ("x" * 32,))).owner == "billing"


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        (Caller("alice", "k", frozenset({"sql:main"})), {"own", "another key's"}),
        (Caller("alice", "k", frozenset({"sql:main"}), own_results=True), {"own"}),
        (Caller("alice", "k", frozenset({"series"})), set()),
        (Caller("alice", person=True), {"own", "another key's", "another scope's"}),
        (Caller("bob", "k", EVERYTHING), set()),
        (Caller("bob", person=True), set()),
    ],
)
def test_a_caller_sees_the_exports_of_its_owner_within_its_scopes(caller: Caller, seen: set[str]) -> None:
    exports = {
        "own": ("alice", "sql:main", "k"),
        "another key's": ("alice", "sql:main", "other"),
        "another scope's": ("alice", "dataset:trades", None),
    }
    assert {name for name, export in exports.items() if caller.sees(*export)} == seen


# -- rate --------------------------------------------------------------------------------------------------------------


def test_the_rate_limit_is_per_caller() -> None:
    clock = Clock(0.0)
    rate = Rate(60, clock=clock)
    for _ in range(60):
        rate.take("alice")
    with pytest.raises(TooMany) as refused:
        rate.take("alice")
    assert refused.value.retry_after_s == pytest.approx(1.0)
    rate.take("bob")
    clock.now = 1.0
    rate.take("alice")
    with pytest.raises(TooMany):
        rate.take("alice")


def test_a_caller_learns_when_its_next_request_will_pass() -> None:
    """30 a minute: one in two seconds."""
    clock = Clock(0.0)
    rate = Rate(30, clock=clock)
    for _ in range(30):
        rate.take("alice")
    for now, wait in ((0.0, 2.0), (0.5, 1.5), (1.75, 0.25)):
        clock.now = now
        with pytest.raises(TooMany) as refused:
            rate.take("alice")
        assert refused.value.code == "too_many_requests"
        assert refused.value.retry_after_s == pytest.approx(wait)
    clock.now = 2.0
    rate.take("alice")


def test_a_long_pause_accumulates_no_tokens() -> None:
    clock = Clock(0.0)
    rate = Rate(3, clock=clock)
    rate.take("alice")
    clock.now = 1_000_000.0
    for _ in range(3):
        rate.take("alice")
    with pytest.raises(TooMany):
        rate.take("alice")


@given(st.integers(1, 20), st.lists(st.floats(0, 20), max_size=200))
def test_no_minute_sees_more_than_twice_the_rate(per_minute: int, waits: list[float]) -> None:
    """A full bucket and what is refilled while it is emptied; never more."""
    clock = Clock(0.0)
    rate = Rate(per_minute, clock=clock)
    passed = []
    for wait in waits:
        clock.now += wait
        with contextlib.suppress(TooMany):
            rate.take("alice")
            passed.append(clock.now)
    assert all(sum(start <= moment < start + 60 for moment in passed) <= 2 * per_minute for start in passed)
