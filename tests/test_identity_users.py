"""Users, their sessions, and signing in."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from fluxport.auth.scopes import EVERYTHING, USUAL
from fluxport.auth.sessions import Sessions
from fluxport.auth.signin import ANY, SignIn
from fluxport.auth.users import Users
from fluxport.errors import Conflict, FluxportError, NotFound, Refused, TooMany, Unauthorized
from fluxport.jobs.store import JobStore
from fluxport.tables import login_attempts, sessions
from fluxport.tables import users as users_table
from identity_support import Clock

IDLE_S, WHOLE_S = 12 * 3600, 7 * 86400  # a session without requests, and any
PASSWORD_MAX = 1024
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0625, 900  # after failures of one name at one address
FORGOTTEN_S = 24 * 3600  # how long after its pause a failure counts
ALONE_LONGEST_PAUSE_S, ALONE_FORGOTTEN_S = 60, 900  # of a name over all addresses, or an address over all names

PASSWORD = "correct horse battery"


@pytest.fixture
def users(store: JobStore, clock: Clock) -> Users:
    made = Users(store.engine, clock=clock)
    made.add("alice", PASSWORD, USUAL)
    return made


@pytest.fixture
def sign_in(store: JobStore, users: Users, clock: Clock) -> SignIn:
    open_sessions = Sessions(store.engine, development=False, clock=clock)
    return SignIn(store.engine, users, open_sessions, store.note, clock=clock)


def enter(sign_in: SignIn, name: str = "alice", password: str = PASSWORD, address: str = "192.0.2.1") -> str:
    return sign_in.with_password(name, password, address, instead_of=None)[1]


def refusal(sign_in: SignIn, name: str, password: str, address: str = "192.0.2.1") -> FluxportError:
    with pytest.raises(FluxportError) as refused:
        enter(sign_in, name, password, address)
    return refused.value


# -- users -------------------------------------------------------------------------------------------------------------


def test_a_password_is_stored_as_argon2id_and_checked(users: Users, store: JobStore) -> None:
    with store.engine.begin() as connection:
        retained = connection.execute(sa.select(users_table.c.password_hash)).scalar_one()
    assert retained.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    found = users.check("alice", PASSWORD)
    assert found is not None
    assert (found.name, found.scopes) == ("alice", USUAL)
    assert users.check("alice", PASSWORD + " ") is None
    assert users.check("alice", "") is None
    assert users.check("bob", PASSWORD) is None


def test_the_same_password_composed_otherwise_is_the_same(users: Users) -> None:
    users.add("zoé".replace("é", "e"), "mot de passe très sûr", USUAL)
    assert users.check("zoe", unicodedata.normalize("NFD", "mot de passe très sûr")) is not None


def test_a_password_is_neither_short_nor_endless_and_nothing_is_cut_off(users: Users) -> None:
    for password in ("", "elevenchars", "x" * (PASSWORD_MAX + 1)):
        with pytest.raises(Refused, match="12 to 1024"):
            users.add("bob", password, USUAL)
    users.add("bob", "x" * PASSWORD_MAX, USUAL)
    assert users.check("bob", "x" * PASSWORD_MAX) is not None
    assert users.check("bob", "x" * (PASSWORD_MAX + 1)) is None


def test_a_password_of_12_characters_and_a_name_of_128_are_enough_and_not_too_much(users: Users) -> None:
    users.add("b" * 128, "twelvechars!", USUAL)
    assert users.check("b" * 128, "twelvechars!") is not None
    users.add("b", "é" * 1024, USUAL)  # counted in characters, not in bytes


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "-a", "x" * 129, "a/b"])
def test_an_invalid_name_is_refused(users: Users, name: str) -> None:
    with pytest.raises(Refused):
        users.add(name, PASSWORD, USUAL)


def test_a_name_is_given_once_and_what_is_not_there_cannot_be_changed(users: Users) -> None:
    with pytest.raises(Conflict):
        users.add("alice", PASSWORD, USUAL)
    with pytest.raises(NotFound):
        users.remove("bob")
    with pytest.raises(NotFound):
        users.set_password("bob", PASSWORD)
    assert [user.name for user in users.list()] == ["alice"]


def test_another_password_and_removal_end_every_session(users: Users, sign_in: SignIn, clock: Clock) -> None:
    first = enter(sign_in)
    users.set_password("alice", "another long password")
    assert sign_in.sessions.find(first) is None
    second = enter(sign_in, password="another long password")
    users.remove("alice")
    assert sign_in.sessions.find(second) is None
    users.add("alice", PASSWORD, EVERYTHING)
    assert sign_in.sessions.find(second) is None


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_a_session_yields_its_user_and_only_its_hash_is_stored(sign_in: SignIn, store: JobStore) -> None:
    token = enter(sign_in)
    found = sign_in.sessions.find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("alice", USUAL)
    with store.engine.begin() as connection:
        assert token not in repr(connection.execute(sa.select(sessions)).all())
    for other in ("", token[:-1], token + "a", token.swapcase(), "\udcff"):
        assert sign_in.sessions.find(other) is None


def test_an_unused_session_ends(sign_in: SignIn, clock: Clock) -> None:
    token = enter(sign_in)
    for _ in range(3):
        clock.now += IDLE_S - 1
        assert sign_in.sessions.find(token) is not None
    clock.now += IDLE_S
    assert sign_in.sessions.find(token) is None


def test_a_session_ends_after_a_week_however_much_it_is_used(sign_in: SignIn, clock: Clock) -> None:
    token = enter(sign_in)
    ends = clock.now + WHOLE_S
    while clock.now + 3600 < ends:
        clock.now += 3600
        assert sign_in.sessions.find(token) is not None
    clock.now = ends
    assert sign_in.sessions.find(token) is None


def test_the_last_use_of_a_session_is_written_once_a_minute(sign_in: SignIn, clock: Clock, store: JobStore) -> None:
    token = enter(sign_in)
    began = clock.now
    for moment, written in ((0, 0), (59, 0), (60, 60), (119, 60), (120, 120)):
        clock.now = began + moment
        assert sign_in.sessions.find(token) is not None
        with store.engine.begin() as connection:
            assert connection.execute(sa.select(sessions.c.used_at)).scalar_one() == began + written


def test_sessions_that_are_over_leave_the_table(sign_in: SignIn, clock: Clock, store: JobStore) -> None:
    for _ in range(3):
        enter(sign_in)
    clock.now += IDLE_S
    enter(sign_in)
    with store.engine.begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar_one() == 1


def test_signing_in_makes_a_new_token_and_ends_the_one_that_came(sign_in: SignIn) -> None:
    planted = enter(sign_in)
    _, token = sign_in.with_password("alice", PASSWORD, "192.0.2.1", instead_of=planted)
    assert token != planted
    assert sign_in.sessions.find(planted) is None
    assert sign_in.sessions.find(token) is not None
    sign_in.sessions.end(token)
    assert sign_in.sessions.find(token) is None


def test_an_invented_token_is_never_adopted(sign_in: SignIn) -> None:
    _, token = sign_in.with_password("alice", PASSWORD, "192.0.2.1", instead_of="chosen-by-somebody")
    assert token != "chosen-by-somebody"
    assert sign_in.sessions.find("chosen-by-somebody") is None


def test_a_session_without_a_password_holds_in_development_alone(store: JobStore, users: Users, clock: Clock) -> None:
    """Even where production has a user of the same name."""
    users.add("dev", PASSWORD, USUAL)
    developing = Sessions(store.engine, development=True, clock=clock)
    sign_in = SignIn(store.engine, users, developing, store.note, clock=clock)
    user, token = sign_in.as_developer("127.0.0.1", instead_of=None)
    assert (user.name, user.scopes) == ("dev", EVERYTHING)
    assert developing.find(token) is not None
    assert Sessions(store.engine, development=False, clock=clock).find(token) is None


# -- signing in --------------------------------------------------------------------------------------------------------


def test_an_unknown_user_and_a_wrong_password_get_the_same_response(sign_in: SignIn) -> None:
    names = ("alice", "mallory", "", "a\x00b", "x" * 4000)
    reported = [refusal(sign_in, name, "wrong password", f"192.0.2.{n}") for n, name in enumerate(names)]
    assert {type(error) for error in reported} == {Unauthorized}
    assert len({(error.code, error.message, error.retry_after_s) for error in reported}) == 1


def test_an_unknown_user_costs_the_same_work(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: one hash of the same cost is computed for every name."""
    from argon2 import PasswordHasher, extract_parameters

    verified = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, hashed: str, password: bytes) -> bool:
        verified.append(extract_parameters(hashed))
        return verify(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    for name in ("alice", "mallory"):
        users.check(name, "wrong password")
    assert len(verified) == 2
    assert verified[0] == verified[1]


def test_each_failure_doubles_the_pause_and_even_the_right_password_waits(sign_in: SignIn, clock: Clock) -> None:
    pause = FIRST_PAUSE_S
    while pause < LONGEST_PAUSE_S:
        assert isinstance(refusal(sign_in, "alice", "wrong password"), Unauthorized)
        waiting = refusal(sign_in, "alice", PASSWORD)
        assert isinstance(waiting, TooMany)
        assert waiting.retry_after_s == pytest.approx(pause)
        clock.now += pause
        pause = min(2 * pause, LONGEST_PAUSE_S)
    assert isinstance(refusal(sign_in, "alice", "wrong password"), Unauthorized)
    clock.now += LONGEST_PAUSE_S
    enter(sign_in)


def test_a_success_ends_the_pauses_and_a_day_forgets_them(sign_in: SignIn, clock: Clock, store: JobStore) -> None:
    for _ in range(2):
        for _ in range(6):
            refusal(sign_in, "alice", "wrong password")
            clock.now += 60
        enter(sign_in)
    for name in ("mallory", "trent"):
        refusal(sign_in, name, "wrong password")
    clock.now += FORGOTTEN_S + 1
    refusal(sign_in, "alice", "wrong password")
    with store.engine.begin() as connection:
        assert set(connection.execute(sa.select(login_attempts.c.owner)).scalars()) == {"alice", ANY}


def test_a_failure_is_forgotten_a_day_after_its_pause_and_not_before(sign_in: SignIn, clock: Clock) -> None:
    """A forgotten failure no longer doubles the next pause."""
    for waited, pause in ((FORGOTTEN_S - 1, 2 * FIRST_PAUSE_S), (FORGOTTEN_S, FIRST_PAUSE_S)):
        address = f"192.0.2.{waited % 200}"
        refusal(sign_in, "alice", "wrong password", address)
        clock.now += FIRST_PAUSE_S + waited
        refusal(sign_in, "alice", "wrong password", address)
        assert refusal(sign_in, "alice", PASSWORD, address).retry_after_s == pytest.approx(pause)


def test_guesses_from_another_address_do_not_lock_a_user_out(sign_in: SignIn) -> None:
    refusal(sign_in, "alice", "wrong password", "198.51.100.7")
    enter(sign_in, address="192.0.2.1")


def test_a_name_that_is_guessed_from_ever_new_addresses_gets_pauses_too(sign_in: SignIn, clock: Clock) -> None:
    """But not at addresses where the user has signed in, and none longer than a minute."""
    enter(sign_in, address="192.0.2.1")
    tried = 0
    for host in range(1000):
        tried += isinstance(
            refusal(sign_in, "alice", "wrong password", f"198.51.{host // 250}.{host % 250}"), Unauthorized
        )
    assert tried == 11
    enter(sign_in, address="192.0.2.1")
    assert isinstance(refusal(sign_in, "alice", "wrong password", "192.0.2.2"), Unauthorized)  # it reset the name's
    for host in range(20):
        refusal(sign_in, "alice", "wrong password", f"203.0.113.{host}")
        clock.now += ALONE_LONGEST_PAUSE_S
    refusal(sign_in, "alice", "wrong password", "203.0.113.100")
    assert isinstance(refusal(sign_in, "alice", PASSWORD, "203.0.113.200"), TooMany)
    clock.now += ALONE_LONGEST_PAUSE_S
    enter(sign_in, address="203.0.113.200")


@pytest.mark.parametrize("network", ["192.0.2.1", "2001:db8:1:2::{}"])
def test_an_address_that_tries_ever_new_names_gets_pauses_too(sign_in: SignIn, clock: Clock, network: str) -> None:
    """IPv6 addresses count by network; signing in with one's own name ends no pause."""
    reported = [refusal(sign_in, f"user{n}", "wrong password", network.format(n)) for n in range(30)]
    assert [type(error) for error in reported] == [Unauthorized] * 11 + [TooMany] * 19
    clock.now += 1
    enter(sign_in, "alice", PASSWORD, network.format(77))
    refusal(sign_in, "mallory", "wrong password", network.format(78))
    assert isinstance(refusal(sign_in, "trent", "wrong password", network.format(79)), TooMany)
    refusal(sign_in, "mallory", "wrong password", "198.51.100.1")  # no pause at other addresses
    clock.now += ALONE_LONGEST_PAUSE_S + ALONE_FORGOTTEN_S
    assert isinstance(refusal(sign_in, "trent", "wrong password", network.format(80)), Unauthorized)


def test_many_sign_ins_from_one_address_delay_no_one_else(sign_in: SignIn, users: Users) -> None:
    for number in range(30):
        users.add(f"user{number}", PASSWORD, USUAL)
        enter(sign_in, f"user{number}")


def test_of_many_concurrent_guesses_one_is_checked(sign_in: SignIn) -> None:
    with ThreadPoolExecutor(20) as pool:
        reported = list(pool.map(lambda n: refusal(sign_in, "alice", f"wrong password {n}"), range(20)))
    assert sorted(type(error).__name__ for error in reported) == ["TooMany"] * 19 + ["Unauthorized"]


def test_every_sign_in_that_was_tried_is_in_the_audit_without_what_was_typed(sign_in: SignIn, store: JobStore) -> None:
    refusal(sign_in, "my-secret-password", "alice")
    refusal(sign_in, "alice", "my-secret-password")
    refusal(sign_in, "alice", "again at once")
    enter(sign_in, address="192.0.2.2")
    lines = [(line["action"], line["owner"], line["outcome"], line["address"]) for line in store.audit_page()]
    assert lines == [
        ("login", "alice", "ok", "192.0.2.2"),
        ("login", "alice", "refused", "192.0.2.1"),
        ("login", "unknown", "refused", "192.0.2.1"),
    ]
    assert "my-secret-password" not in repr(store.audit_page())
