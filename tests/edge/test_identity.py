"""Authentication at the running service: keys and users created by the command line, sessions, and that no route gives
access to what belongs to another user."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from fluxport.cli import root
from fluxport.jobs.store import JobStore
from identity_support import new_key
from service_support import SECRET, Client, emulator, service

PASSWORD = "correct horse battery"
OURS = {"X-Requested-With": "fluxport"}
QUERY = {"source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 10"}}
CONFIGURATION = f"""
auth:
  keys:
    robot: {{secrets: [{SECRET}robot], user: alice, scopes: ["dataset:*"]}}
    lone: {{secrets: [{SECRET}lone]}}
    shy: {{secrets: [{SECRET}shy], user: alice, own_results: true, mail_domains: [sales.example.com]}}
datasets:
  people:
    scope: all
    query: SELECT id, name FROM users WHERE {{filters}}
    order: id
    columns: {{id: integer, name: text}}
    filters: {{limit: {{type: limit}}}}
"""
PEOPLE = {"type": "people", "format": "csv", "params": {"limit": 10}}
NO_EXPORT = "00000000-0000-4000-8000-000000000000"


def fluxport(folder: Path, *words: str, typed: str = "") -> str:
    """The output of the command on the service's database; it must succeed."""
    environ = {"FLUXPORT_DATABASE": f"sqlite:///{folder}/fluxport.db"}
    ended = CliRunner().invoke(root, words, input=typed, env=environ, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout.strip()


@dataclass
class Caller:
    """Sends a bearer key, or ``headers``."""

    base: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return httpx.request(
            method, self.base + target, content=content, headers={**self.headers, **headers}, timeout=60
        )

    def done(self, export_id: str) -> dict[str, Any]:
        while True:
            reported: dict[str, Any] = self.ask("GET", f"/v1/exports/{export_id}").json()
            if reported["status"] not in ("queued", "running"):
                return reported
            time.sleep(0.05)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[str]:
    with emulator(folder, 1000) as url:
        yield url


@pytest.fixture(scope="module")
def client(folder: Path, database: str) -> Iterator[Client]:
    (folder / "fluxport.yaml").write_text(CONFIGURATION)
    with service(folder, database) as running:
        fluxport(folder, "users", "add", "alice", "--scope", "sql:main", "--password-stdin", typed=PASSWORD + "\n")
        yield running


@pytest.fixture(scope="module")
def alice(client: Client, folder: Path) -> Caller:
    token = new_key(folder, "of alice", "alice", "sql:*", "dataset:*", "series", "push")
    return Caller(client.base, {"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def bob(client: Client, folder: Path) -> Caller:
    """Bob has every scope, for his own exports."""
    token = new_key(folder, "of bob", "bob", "sql:*", "dataset:*", "series", "push", "admin")
    return Caller(client.base, {"Authorization": f"bearer {token}"})


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[tuple[Client, Path]]:
    """A service in production behind a proxy with TLS, with low limits and no worker."""
    folder = tmp_path_factory.mktemp("strict")
    settings = {
        "APP_ENV": "production",
        "API_SECRET": "kX3vQ9w-72LmTzR0aYbN8uJdPf5hGsEc1oViWq6ClZk",
        "FLUXPORT_SERVER__PUBLIC_URL": "https://exports.example.com",
        "FLUXPORT_LIMITS__REQUESTS_PER_MINUTE": "10",
    }
    with service(folder, database, "--no-worker", **settings) as running:
        yield running, folder


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_key_exports_and_names_its_owner(alice: Caller) -> None:
    streamed = alice.ask("POST", "/v1/stream", QUERY)
    assert streamed.status_code == 200, streamed.text
    assert streamed.text.splitlines()[0] == "id,name"
    reported = alice.ask("GET", "/session").json()
    assert reported == {"user": "alice", "scopes": ["dataset:*", "push", "series", "sql:*"], "admin": False}


def test_what_a_key_may_not_do_is_403_with_the_scope_that_is_missing(client: Client, folder: Path) -> None:
    token = new_key(folder, "narrow", "carol", "dataset:trades", "sql:other")
    narrow = Caller(client.base, {"Authorization": f"Bearer {token}"})
    for method, target, body in (
        ("POST", "/v1/stream", QUERY),
        ("POST", "/v1/exports", QUERY),
        ("POST", "/export", {"query": "SELECT 1 AS a"}),
    ):
        answer = narrow.ask(method, target, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), target
        assert "sql:main" in answer.text
    assert narrow.ask("GET", "/v1/exports").json()["data"] == []


def test_a_configured_key_acts_for_its_user_within_its_scopes(client: Client, alice: Caller) -> None:
    made = alice.ask("POST", "/api/exports/jobs", PEOPLE).json()["data"]["id"]
    robot = Client(client.base, client.pid, SECRET + "robot", "robot")
    lone = Client(client.base, client.pid, SECRET + "lone", "lone")
    assert robot.get(f"/v1/exports/{made}").json()["id"] == made
    assert robot.post("/v1/exports", QUERY).json()["code"] == "missing_scope"
    assert lone.get(f"/v1/exports/{made}").status_code == 404
    assert lone.post("/v1/exports", QUERY).status_code == 202


def test_a_refusal_does_not_reveal_its_cause(client: Client, folder: Path, alice: Caller) -> None:
    good = alice.headers["Authorization"]
    revoked = new_key(folder, "revoked", "alice", "series")
    fluxport(folder, "keys", "revoke", "revoked")
    expired = new_key(folder, "expired", "alice", "series", expires_s=0.001)
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer fxp_aaaaaaaaaaaa_" + "a" * 43)],
        [("Authorization", good[:-1] + ("a" if good[-1] != "a" else "b"))],
        [("Authorization", good.replace("Bearer", "Basic"))],
        [("Authorization", good.removeprefix("Bearer "))],
        [("Authorization", good), ("Authorization", good)],
        [("Authorization", f"Bearer {revoked}")],
        [("Authorization", f"Bearer {expired}")],
        [("Cookie", "fluxport=" + "a" * 43)],
    ]
    reported = set()
    for headers in wrong:
        answer = httpx.get(client.base + "/v1/exports", headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"] == "Bearer"
        reported.add(json.dumps({k: v for k, v in answer.json().items() if k != "request_id"}))
    assert len(reported) == 1


def test_a_wrong_key_is_refused_before_a_body_is_read(client: Client) -> None:
    answer = httpx.post(client.base + "/v1/exports", content=b"x" * (2 << 20), headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401


def test_a_key_has_its_own_number_of_active_exports(strict: tuple[Client, Path]) -> None:
    running, folder = strict
    token = new_key(folder, "few", "erin", "sql:main", active_max=2)
    erin = Caller(running.base, {"Authorization": f"Bearer {token}"})
    answers = [erin.ask("POST", "/v1/exports", QUERY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "too_many_active"


def test_each_key_has_a_rate_limit_per_minute(strict: tuple[Client, Path]) -> None:
    running, folder = strict
    callers = [
        Caller(running.base, {"Authorization": "Bearer " + new_key(folder, f"fast {n}", "frank", "series")})
        for n in range(2)
    ]
    answers = [callers[0].ask("GET", "/v1/exports") for _ in range(12)]
    assert [answer.status_code for answer in answers[:10]] == [200] * 10
    assert answers[-1].status_code == 429
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 6
    assert callers[1].ask("GET", "/v1/exports").status_code == 200


def test_the_list_of_keys_shows_their_use_and_no_secret(folder: Path, alice: Caller) -> None:
    alice.ask("GET", "/session")
    secret = alice.headers["Authorization"].split("_", 2)[2]
    rows: list[dict[str, Any]] = [json.loads(line) for line in fluxport(folder, "keys", "list", "--json").splitlines()]
    mine = next(row for row in rows if row["name"] == "of alice")
    assert (mine["user"], mine["state"], mine["expires"]) == ("alice", "active", None)
    assert mine["last_used"] is not None
    assert secret not in fluxport(folder, "keys", "list") + json.dumps(rows)


# -- sessions ----------------------------------------------------------------------------------------------------------


def sign_in(base: str, user: str = "alice", password: str = PASSWORD, **headers: str) -> httpx.Response:
    body = {"user": user, "password": password}
    return httpx.post(base + "/session", json=body, headers=headers or OURS, timeout=60)


def cookie_of(answer: httpx.Response) -> Any:
    """The one cookie of the response, as a browser would parse it."""
    found = SimpleCookie(answer.headers["set-cookie"])
    assert len(answer.headers.get_list("set-cookie")) == len(found) == 1
    return next(iter(found.values()))


@pytest.fixture(scope="module")
def page(client: Client) -> Caller:
    """A browser page with alice signed in."""
    cookie = cookie_of(sign_in(client.base))
    return Caller(client.base, {"Cookie": f"{cookie.key}={cookie.value}"})


def test_signing_in_gives_a_cookie_that_no_script_reads_and_no_other_site_sends(client: Client) -> None:
    answer = sign_in(client.base)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"user": "alice", "scopes": ["sql:main"], "admin": False}
    assert answer.headers["cache-control"] == "no-store"
    cookie = cookie_of(answer)
    assert cookie.key == "fluxport"
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
    assert cookie["secure"] == ""
    assert cookie["max-age"] == str(7 * 86400)


def test_behind_tls_the_cookie_is_secure_and_bound_to_its_host(strict: tuple[Client, Path]) -> None:
    running, folder = strict
    fluxport(folder, "users", "add", "alice", "--admin", "--password-stdin", typed=PASSWORD)
    answer = sign_in(running.base)
    cookie = cookie_of(answer)
    assert (cookie.key, cookie["secure"], cookie["path"], cookie["domain"]) == ("__Host-fluxport", True, "/", "")
    assert answer.json()["admin"] is True
    browser = Caller(running.base)
    assert browser.ask("GET", "/session", Cookie=f"__Host-fluxport={cookie.value}").status_code == 200
    assert browser.ask("GET", "/session", Cookie=f"fluxport={cookie.value}").status_code == 401


def test_a_session_sees_what_its_user_s_keys_made_and_may_what_the_user_may(page: Caller, alice: Caller) -> None:
    made = alice.ask("POST", "/v1/exports", QUERY).json()["id"]
    assert page.ask("GET", f"/v1/exports/{made}").json()["id"] == made
    other = QUERY | {"source": QUERY["source"] | {"connection": "other"}}
    assert page.ask("POST", "/v1/exports", other, **OURS).json()["code"] == "missing_scope"
    assert page.ask("POST", "/v1/exports", QUERY, **OURS).status_code == 202


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Requested-With": "XMLHttpRequest"}, 403),
        ({"X-Requested-With": "fluxport"}, 202),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://{host}"}, 202),
        ({"Origin": "http://{host}.evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}", "X-Requested-With": "fluxport"}, 403),
        ({"Origin": "https://evil.example", "X-Requested-With": "fluxport"}, 403),
    ],
)
def test_a_foreign_page_changes_nothing_with_the_cookie(page: Caller, headers: dict[str, str], status: int) -> None:
    sent = {name: value.format(host=httpx.URL(page.base).netloc.decode()) for name, value in headers.items()}
    query = {"source": {"query": f"SELECT {status} AS a"}}
    answer = page.ask("POST", "/v1/exports", query, **sent)
    if answer.status_code == 429:  # earlier ones are still active
        pytest.fail(answer.text)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["code"] == "cross_site"
    else:
        page.done(answer.json()["id"])
    if "Sec-Fetch-Site" not in headers:
        assert sign_in(page.base, user="nobody", password="x", **(sent or {"X-Nothing": ""})).status_code in (
            (403,) if status == 403 else (401, 429)
        )


def test_a_key_needs_no_page(alice: Caller) -> None:
    answer = alice.ask("POST", "/v1/exports", QUERY, Origin="https://tool.example")
    assert answer.status_code == 202
    alice.done(answer.json()["id"])


def test_signing_in_again_ends_the_session_that_came_and_signing_out_ends_the_last(client: Client) -> None:
    first = cookie_of(sign_in(client.base))
    second = cookie_of(sign_in(client.base, **OURS, Cookie=f"fluxport={first.value}"))
    assert second.value != first.value
    browser = Caller(client.base)
    assert browser.ask("GET", "/session", Cookie=f"fluxport={first.value}").status_code == 401
    assert browser.ask("GET", "/session", Cookie=f"fluxport={second.value}").status_code == 200
    assert browser.ask("DELETE", "/session", Cookie=f"fluxport={second.value}").status_code == 403
    left = browser.ask("DELETE", "/session", Cookie=f"fluxport={second.value}", **OURS)
    assert left.status_code == 204
    assert cookie_of(left)["max-age"] == "0"
    assert browser.ask("GET", "/session", Cookie=f"fluxport={second.value}").status_code == 401
    assert browser.ask("DELETE", "/session", **OURS).status_code == 204


def test_a_chosen_token_does_not_become_a_session(client: Client) -> None:
    chosen = "b" * 43
    given = cookie_of(sign_in(client.base, **OURS, Cookie=f"fluxport={chosen}"))
    assert given.value != chosen
    assert Caller(client.base).ask("GET", "/session", Cookie=f"fluxport={chosen}").status_code == 401


def test_an_unknown_user_and_a_wrong_password_are_answered_alike(client: Client) -> None:
    answers = [sign_in(client.base, user, "a wrong password") for user in ("alice", "mallory")]
    assert {answer.status_code for answer in answers} == {401}
    reported = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers]
    assert reported[0] == reported[1]
    assert "set-cookie" not in answers[0].headers
    again = sign_in(client.base, "mallory", "a wrong password")
    while again.status_code == 401:  # the first pauses are shorter than a slow machine's request
        again = sign_in(client.base, "mallory", "a wrong password")
    assert (again.status_code, again.json()["code"]) == (429, "too_many_logins")
    assert int(again.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    "body", [[], {}, {"user": "a"}, {"user": 1, "password": "b"}, {"user": "a", "password": "b", "c": 1}]
)
def test_a_body_that_is_not_a_sign_in_is_400(client: Client, body: object) -> None:
    answer = httpx.post(client.base + "/session", json=body, headers=OURS)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")


def test_in_development_this_machine_signs_in_as_dev(client: Client) -> None:
    answer = httpx.post(client.base + "/session/dev", headers=OURS)
    assert answer.status_code == 201
    assert answer.json() == {"user": "dev", "scopes": ["admin", "dataset:*", "push", "series", "sql:*"], "admin": True}
    cookie = cookie_of(answer)
    reported = Caller(client.base).ask("GET", "/session", Cookie=f"{cookie.key}={cookie.value}")
    assert reported.json()["user"] == "dev"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
def test_what_came_through_a_proxy_or_a_foreign_name_is_not_this_machine(
    client: Client, headers: dict[str, str]
) -> None:
    answer = httpx.post(client.base + "/session/dev", headers=OURS | headers)
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers

    state = httpx.get(client.base + "/session/state", headers=headers)
    assert (state.status_code, state.json()) == (200, {"user": None, "ways": ["password"]})


def test_the_state_of_a_session_and_the_ways_to_sign_in_are_public(client: Client, strict: tuple[Client, Path]) -> None:
    def state(base: str, headers: Mapping[str, str] | None = None) -> Any:
        answer = httpx.get(base + "/session/state", headers=headers)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        return answer.json()

    assert state(client.base) == {"user": None, "ways": ["password", "dev"]}
    assert state(strict[0].base) == {"user": None, "ways": ["password"]}
    assert state(client.base, {"Cookie": "fluxport=" + "a" * 43})["user"] is None
    cookie = cookie_of(httpx.post(client.base + "/session/dev", headers=OURS))
    browser = Caller(client.base, {"Cookie": f"{cookie.key}={cookie.value}"})
    assert state(client.base, browser.headers)["user"] == browser.ask("GET", "/session").json()


def test_production_has_no_such_sign_in(strict: tuple[Client, Path]) -> None:
    answer = httpx.post(strict[0].base + "/session/dev", headers=OURS)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_removed_user_is_out_at_once_with_the_keys(client: Client, folder: Path) -> None:
    fluxport(folder, "users", "add", "grace", "--password-stdin", typed=PASSWORD)
    token = new_key(folder, "of grace", "grace", "series")
    cookie = cookie_of(sign_in(client.base, "grace"))
    browser = Caller(client.base)
    ways = ({"Cookie": f"fluxport={cookie.value}"}, {"Authorization": f"Bearer {token}"})
    assert [browser.ask("GET", "/session", **way).status_code for way in ways] == [200, 200]
    fluxport(folder, "users", "remove", "grace")
    assert [browser.ask("GET", "/session", **way).status_code for way in ways] == [401, 401]


# -- the audit ---------------------------------------------------------------------------------------------------------


def test_the_audit_shows_an_admin_who_exported_and_fetched_what(client: Client, alice: Caller, bob: Caller) -> None:
    job = alice.done(alice.ask("POST", "/v1/exports", QUERY).json()["id"])
    assert httpx.get(job["download"]["url"]).is_success
    target = f"/v1/audit?export_id={job['id']}"
    until(lambda: len(bob.ask("GET", target).json()["data"]) == 3)
    fetched, begun, exported = bob.ask("GET", target).json()["data"]
    assert [(line["action"], line["outcome"], line["user"]) for line in (fetched, begun, exported)] == [
        ("download", "sent", "alice"),
        ("download", "begun", "alice"),
        ("export", "completed", "alice"),
    ]
    assert (fetched["transfer"], fetched["sent_bytes"]) == (begun["transfer"], job["bytes"])
    assert exported["source"]["query"] == QUERY["source"]["query"]
    assert (exported["columns"], exported["rows"], exported["store"]) == (["id", "name"], 10, "local")
    assert exported["address"] == fetched["address"] == "127.0.0.1"
    assert alice.ask("GET", target).status_code == 403


def test_the_audit_is_read_in_pages_and_from_a_shell(bob: Caller, folder: Path) -> None:
    first = bob.ask("GET", "/v1/audit?limit=1").json()["data"]
    second = bob.ask("GET", f"/v1/audit?limit=1&before={first[-1]['id']}").json()["data"]
    ids = [line["id"] for line in first + second]
    assert len(ids) == 2
    assert ids[0] > ids[1]
    assert bob.ask("GET", "/v1/audit?limit=0").status_code == 400
    shown = [json.loads(line) for line in fluxport(folder, "audit", "--limit", "2", "--json").splitlines()]
    assert [line["id"] for line in shown] >= ids
    assert "outcome" in fluxport(folder, "audit", "--user", "alice").splitlines()[0]


# -- everything belongs to a user --------------------------------------------------------------------------------------

# Names of path parameters that are the id of an export.
NAMED = "a-name-that-alice-gave-first"  # as her Idempotency-Key and as her requestId
AN_ID = re.compile(r"\{(export_id|job_id|id)\}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def words(answer: httpx.Response, export_id: str) -> tuple[int, str]:
    """The content of a response, except what differs from request to request, and the requested id."""
    text = re.sub(r'"(request_id|requestId)": ?"[^"]*"', "", answer.text)
    return answer.status_code, text.replace(export_id, "ID")


def alike(bob: Caller, method: str, target: str, theirs: str, body: Any = None) -> httpx.Response:
    """Bob's response about alice's export, which must equal the one about an unknown export."""
    answers = [bob.ask(method, target.replace("ID", export_id), body) for export_id in (theirs, NO_EXPORT)]
    assert words(answers[0], theirs) == words(answers[1], NO_EXPORT), (method, target)
    return answers[0]


def list_is_empty(bob: Caller, theirs: str) -> None:
    assert theirs not in bob.ask("GET", "/v1/exports").text
    alike(bob, "GET", "/v1/exports?starting_after=ID", theirs)


def older_api_hides_it(bob: Caller, theirs: str) -> None:
    assert alike(bob, "GET", "/jobs?id=ID", theirs).status_code == 404


def same_key_is_another_export(bob: Caller, theirs: str) -> None:
    """Alice's export was created with this Idempotency-Key."""
    answer = bob.ask("POST", "/v1/exports", QUERY, **{"Idempotency-Key": NAMED})
    assert answer.is_success
    assert answer.json()["id"] != theirs
    bob.done(answer.json()["id"])


def makes_his_own(method: str, target: str, body: Any) -> Callable[[Caller, str], None]:
    def check(bob: Caller, theirs: str) -> None:
        answer = bob.ask(method, target, body)
        assert answer.is_success, answer.text
        assert theirs not in answer.text + repr(answer.headers)

    return check


def knows_nobody_else(bob: Caller, theirs: str) -> None:
    assert bob.ask("GET", "/session").json()["user"] == "bob"


def knows_nobody_else_either(bob: Caller, theirs: str) -> None:
    assert bob.ask("GET", "/session/state").json()["user"]["user"] == "bob"


def other_api_s_list_is_empty(bob: Caller, theirs: str) -> None:
    assert (
        theirs
        not in bob.ask("GET", "/api/exports/jobs").text + bob.ask("GET", f"/api/exports/jobs?requestId={NAMED}").text
    )


def only_for_admins(bob: Caller, theirs: str) -> None:
    """Bob is an admin and sees every user's entries; alice is not."""
    lines = bob.ask("GET", f"/v1/audit?export_id={theirs}").json()["data"]
    assert {line["user"] for line in lines} == {"alice"}


def tells_nothing(method: str, target: str) -> Callable[[Caller, str], None]:
    """The response is the same for every user."""

    def check(bob: Caller, theirs: str) -> None:
        assert theirs not in bob.ask(method, target).text

    return check


# Routes without an export's id in their path, and how each is seen to keep users apart.
OTHERS: dict[tuple[str, str], Callable[[Caller, str], None]] = {
    ("GET", "/v1/exports"): list_is_empty,
    ("POST", "/v1/exports"): same_key_is_another_export,
    ("POST", "/v1/stream"): makes_his_own("POST", "/v1/stream", QUERY),
    ("POST", "/export"): makes_his_own("POST", "/export", {"query": "SELECT 1 AS a"}),
    ("GET", "/jobs"): older_api_hides_it,
    ("POST", "/session"): tells_nothing("POST", "/session"),
    ("POST", "/session/dev"): tells_nothing("POST", "/session/dev"),
    ("DELETE", "/session"): tells_nothing("DELETE", "/session"),
    ("GET", "/session"): knows_nobody_else,
    ("GET", "/session/state"): knows_nobody_else_either,
    ("GET", "/health/live"): tells_nothing("GET", "/health/live"),
    ("GET", "/health/ready"): tells_nothing("GET", "/health/ready"),
    ("GET", "/v1/datasets"): tells_nothing("GET", "/v1/datasets"),
    ("GET", "/v1/datasets/{name}"): tells_nothing("GET", "/v1/datasets/people"),
    ("POST", "/v1/preview"): makes_his_own("POST", "/v1/preview", QUERY),
    ("GET", "/api/exports/jobs"): other_api_s_list_is_empty,
    ("POST", "/api/exports/jobs"): makes_his_own("POST", "/api/exports/jobs", PEOPLE | {"requestId": NAMED}),
    ("GET", "/api/exports/stream"): makes_his_own("GET", "/api/exports/stream?type=people&limit=10", None),
    ("GET", "/api/health"): tells_nothing("GET", "/api/health"),
    ("GET", "/metrics"): tells_nothing("GET", "/metrics"),
    ("GET", "/v1/schedules"): tells_nothing("GET", "/v1/schedules"),
    ("GET", "/v1/audit"): only_for_admins,
    # Sensors have no owner.
    ("GET", "/api/v1/export"): tells_nothing("GET", "/api/v1/export"),
    ("GET", "/api/v1/query"): tells_nothing("GET", "/api/v1/query"),
    ("GET", "/api/v1/metadata"): tells_nothing("GET", "/api/v1/metadata"),
    ("GET", "/v1/sensors"): tells_nothing("GET", "/v1/sensors"),
    ("GET", "/v1/sensors/{sensor_id}"): tells_nothing("GET", "/v1/sensors/A"),
    ("PUT", "/v1/sensors/{sensor_id}"): tells_nothing("PUT", "/v1/sensors/A"),
    ("GET", "/v1/sensors/{sensor_id}/points"): tells_nothing("GET", "/v1/sensors/A/points"),
    ("POST", "/v1/sensors/{sensor_id}/points"): tells_nothing("POST", "/v1/sensors/A/points"),
    ("GET", "/v1/connections"): tells_nothing("GET", "/v1/connections"),
    ("GET", "/v1/formats"): tells_nothing("GET", "/v1/formats"),
    ("GET", "/v1/formats/{name}"): tells_nothing("GET", "/v1/formats/csv"),
}


def test_every_route_separates_users(client: Client, alice: Caller, bob: Caller) -> None:
    """For every route with an export's id and every method, bob's response about alice's export equals the one about an
    unknown export; any other route must be in OTHERS."""
    theirs = {
        "/v1": alice.ask("POST", "/v1/exports", QUERY, **{"Idempotency-Key": NAMED}).json()["id"],
        "/api": alice.ask("POST", "/api/exports/jobs", PEOPLE | {"requestId": NAMED}).json()["data"]["id"],
    }
    before = [alice.done(export_id) for export_id in theirs.values()]
    assert [reported["status"] for reported in before] == ["completed", "completed"]
    paths = httpx.get(client.base + "/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    of_exports = {(method, path) for method, path in routes if AN_ID.search(path)}
    assert len(of_exports) >= 8
    assert sorted(routes - of_exports - set(OTHERS)) == [], "say in OTHERS how these keep users apart"
    for path in sorted({path for _, path in of_exports}):
        export_id = theirs["/api" if path.startswith("/api/") else "/v1"]
        for method in METHODS:
            answer = alike(bob, method, AN_ID.sub("ID", path), export_id)
            if (method, path) in of_exports or (method == "HEAD" and path.endswith("/file")):
                # Whoever holds a link may fetch the file, so without one the file is forbidden, not unknown.
                assert answer.status_code == (403 if path.endswith("/file") else 404), (method, path)
            else:
                assert answer.status_code in (404, 405), (method, path)
    for (method, path), check in OTHERS.items():
        assert (method, path) in routes, "there is no such route any more"
        for export_id in theirs.values():
            check(bob, export_id)
    for reported in before:
        after = alice.ask("GET", f"/v1/exports/{reported['id']}").json()
        unchanging = ("status", "rows", "bytes", "files", "finished_at")
        assert [after[key] for key in unchanging] == [reported[key] for key in unchanging]
        assert httpx.get(after["download"]["url"]).status_code == 200


def test_every_route_hides_what_a_key_s_scopes_would_not_let_it_make(
    client: Client, alice: Caller, page: Caller, folder: Path
) -> None:
    """For a key with the scope push alone, every route with an id treats its user's exports as unknown."""
    theirs = {
        "/v1": alice.ask("POST", "/v1/exports", QUERY).json()["id"],
        "/api": alice.ask("POST", "/api/exports/jobs", PEOPLE).json()["data"]["id"],
    }
    for export_id in theirs.values():
        assert alice.done(export_id)["status"] == "completed"
        assert page.ask("GET", f"/v1/exports/{export_id}").status_code == 200  # her sessions see all that is hers
    token = new_key(folder, "pushing for alice", "alice", "push", "admin")
    pushing = Caller(client.base, {"Authorization": f"Bearer {token}"})
    paths = httpx.get(client.base + "/openapi.json").json()["paths"]
    for path, method in ((path, method) for path in paths if AN_ID.search(path) for method in METHODS):
        export_id = theirs["/api" if path.startswith("/api/") else "/v1"]
        answer = alike(pushing, method, AN_ID.sub("ID", path), export_id)
        assert answer.status_code in (403, 404, 405), (method, path)
    alike(pushing, "GET", "/jobs?id=ID", theirs["/v1"])
    alike(pushing, "GET", "/v1/exports?starting_after=ID", theirs["/v1"])
    assert pushing.ask("GET", "/v1/exports").json()["data"] == []
    assert pushing.ask("GET", "/api/exports/jobs").json()["data"] == []
    assert pushing.ask("GET", "/v1/schedules").json()["data"] == []
    for export_id in theirs.values():
        assert httpx.get(alice.ask("GET", f"/v1/exports/{export_id}").json()["download"]["url"]).status_code == 200


def test_a_key_may_see_what_it_made_itself_alone(client: Client, folder: Path, alice: Caller) -> None:
    words = ("keys", "create", "modest", "--user", "alice", "--scope", "sql:*", "--own-results")
    modest = Caller(client.base, {"Authorization": "Bearer " + fluxport(folder, *words)})
    made = alice.ask("POST", "/v1/exports", QUERY).json()["id"]
    alice.done(made)
    assert modest.ask("GET", f"/v1/exports/{made}").status_code == 404
    own = modest.ask("POST", "/v1/exports", QUERY).json()["id"]
    modest.done(own)
    assert [job["id"] for job in modest.ask("GET", "/v1/exports").json()["data"]] == [own]
    assert alice.ask("GET", f"/v1/exports/{own}").status_code == 200
    assert Client(client.base, client.pid, SECRET + "shy", "shy").get(f"/v1/exports/{made}").status_code == 404
    assert Client(client.base, client.pid, SECRET + "robot", "robot").get(f"/v1/exports/{made}").status_code == 404


def test_mails_of_a_key_go_to_its_domains_alone(client: Client, folder: Path, alice: Caller) -> None:
    words = ("keys", "create", "mailing", "--user", "alice", "--scope", "sql:*", "--mail-domain", "*.example.com")
    mailing = Caller(client.base, {"Authorization": "Bearer " + fluxport(folder, *words)})
    shy = Client(client.base, client.pid, SECRET + "shy", "shy")

    def body(address: str) -> dict[str, Any]:
        return QUERY | {"notify": {"email": ["a@sales.example.com", address]}}

    for code in (
        mailing.ask("POST", "/v1/exports", body("b@example.org")).json()["code"],
        mailing.ask("POST", "/export", {"query": "SELECT 1 AS a", "email": "b@example.org"}).json()["code"],
        shy.post("/v1/exports", body("b@example.org")).json()["code"],
    ):
        assert code == "recipient_not_allowed"
    for caller, address in ((mailing, "b@x.example.com"), (alice, "b@example.org")):
        sent = caller.ask("POST", "/v1/exports", body(address))
        assert sent.status_code == 202, sent.text
        alice.done(sent.json()["id"])


def test_a_link_opens_no_file_of_another_user(alice: Caller, bob: Caller) -> None:
    ids = []
    for caller in (alice, bob):
        made = caller.ask("POST", "/v1/exports", QUERY).json()["id"]
        caller.done(made)
        ids.append(made)
    mine = bob.ask("POST", f"/v1/exports/{ids[1]}/links").json()["url"]
    assert httpx.get(mine).status_code == 200
    assert httpx.get(mine.replace(ids[1], ids[0])).json()["code"] == "bad_token"


# -- audit -------------------------------------------------------------------------------------------------------------


def test_what_was_done_to_keys_and_users_and_who_signed_in_is_in_the_audit(client: Client, folder: Path) -> None:
    given = ("--scope", "series", "--scope", "sql:main", "--expires", "30d", "--active-max", "3")
    token = fluxport(folder, "keys", "create", "noted", "--user", "heidi", *given)
    assert Caller(client.base, {"Authorization": f"Bearer {token}"}).ask("GET", "/session").json()["user"] == "heidi"
    fluxport(folder, "keys", "revoke", "noted")
    fluxport(folder, "users", "add", "heidi", "--password-stdin", typed=PASSWORD)
    fluxport(folder, "users", "password", "heidi", "--password-stdin", typed="another long password")
    sign_in(client.base, "heidi", PASSWORD)
    fluxport(folder, "users", "remove", "heidi")
    store = JobStore(f"sqlite:///{folder}/fluxport.db")
    lines = store.audit_page(owner="heidi")
    store.close()
    assert [(line["action"], line["outcome"]) for line in reversed(lines)] == [
        ("key create", "ok"),
        ("key revoke", "ok"),
        ("user add", "ok"),
        ("user password", "ok"),
        ("login", "refused"),
        ("user remove", "ok"),
    ]
    assert next(line for line in lines if line["action"] == "login")["address"] == "127.0.0.1"
    text = repr(lines)
    assert token.split("_", 2)[2] not in text
    assert PASSWORD not in text


def test_commands_need_a_database_that_stays(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fluxport", "keys", "list"],
        cwd=tmp_path,
        env=os.environ | {"FLUXPORT_DATABASE": "memory"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "database" in ended.stderr
