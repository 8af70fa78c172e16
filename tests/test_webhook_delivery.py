"""Delivery of webhooks: what arrives, and the effect of every kind of receiver."""

from __future__ import annotations

import base64
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from fluxport.config import load
from fluxport.delivery.webhook import (
    WebhookEvent,
    WebhookOptions,
    check_secret,
    retry_delays,
    send_webhook,
    signed_headers,
)
from fluxport.errors import Gone, Refused, Unavailable
from fluxport.outbound import RECEIVED_BYTES_MAX
from own_certificates import Certificates, make_certificates
from webhook_receiver import Answer, Receiver, broken, drip, flood, hang, receiving, resolved, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = WebhookEvent("evt_0b5c", "export.completed", 1_767_225_600.25, {"id": "0b5c", "file": "Übersicht ☃"})
LOCAL = WebhookOptions(allow=("127.0.0.0/8",), http_allowed=True, timeout_s=10)
ANY = st.characters()  # lone surrogates, too
IMPATIENT = WebhookOptions(allow=("127.0.0.0/8",), http_allowed=True, timeout_s=0.3)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("ca"), "hooks.example.com", "127.0.0.1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(status(204, body=b"")) as made:
        yield made


def send(receiver: Receiver, options: WebhookOptions = LOCAL, path: str = "/hook", **changes: Any) -> None:
    arguments: dict[str, Any] = {"secrets": (SECRET,), "event": EVENT, "now": time.time()} | changes
    arguments.setdefault("resolve", receiver.resolve)
    send_webhook(options, f"http://hooks.example.com:{receiver.port}{path}", **arguments)


def test_an_independent_library_verifies_what_arrives(receiver: Receiver) -> None:
    send(receiver, path="/hook?tenant=7")
    (received,) = receiver.requests
    assert Webhook(SECRET).verify(received.body, received.headers) == {
        "type": "export.completed",
        "timestamp": "2026-01-01T00:00:00.250Z",
        "data": {"id": "0b5c", "file": "Übersicht ☃"},
    }
    assert received.path == "/hook?tenant=7"
    assert received.headers["host"] == f"hooks.example.com:{receiver.port}"
    assert received.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(received.body + b" ", received.headers)


def test_a_repeated_delivery_has_the_same_id_and_body_and_a_new_timestamp(receiver: Receiver) -> None:
    send(receiver, now=1000.9)
    send(receiver, now=2000.0)
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "evt_0b5c"
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1000", "2000")


def test_while_a_secret_is_rotated_both_verify(receiver: Receiver) -> None:
    plain = "a plain secret, not in base64 at all"
    send(receiver, secrets=(SECRET, plain))
    (received,) = receiver.requests
    for key in (SECRET, plain.encode()):
        Webhook(key).verify(received.body, received.headers)


def test_the_signature_is_the_one_of_the_published_example() -> None:
    headers = signed_headers((SECRET,), "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret", ["", "short", "whsec_", "whsec_AAAA", "whsec_not base64, though long enough", "é" * 11]
)
def test_a_secret_that_protects_nothing_is_refused(secret: str) -> None:
    with pytest.raises(Refused) as caught:
        check_secret(secret)
    assert caught.value.code == "bad_webhook_secret"
    assert len(secret) < 10 or secret not in caught.value.message


def test_such_a_secret_is_refused_when_the_configuration_is_read(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"webhooks\.secrets.*at least 24 bytes"):
        load(environ={}, folder=tmp_path, flags={"webhooks.secrets": ["whsec_AAAA"]})
    assert load(environ={}, folder=tmp_path, flags={"webhooks.secrets": [SECRET]}).webhooks.secrets


@pytest.mark.parametrize("kind", [{"id": "a.b"}, {"id": "a\r\nb"}, {"id": ""}, {"type": "export.exploded"}])
def test_an_event_that_no_receiver_could_trust_is_not_made(kind: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="event"):
        WebhookEvent(**({"id": "a", "type": "export.failed", "occurred_at": 0.0, "data": {}} | kind))  # type: ignore[arg-type]  # wrong kinds are what is tried


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_any_2xx_response_accepts_the_event(code: int) -> None:
    with receiving(status(code, body=b"")) as receiver:
        send(receiver)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [400, 401, 404, 409, 429, 500, 502, 503, 504])
def test_any_other_response_is_retried(code: int) -> None:
    with receiving(status(code)) as receiver:
        with pytest.raises(Unavailable, match=rf"hooks\.example\.com responded with {code}") as caught:
            send(receiver)
    assert caught.value.retry_after_s is None


def test_a_receiver_that_is_gone_is_not_tried_again() -> None:
    with receiving(status(410)) as receiver:
        with pytest.raises(Gone):
            send(receiver)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("999999999", 86400),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86400),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
    ],
)
def test_retry_after_is_honoured_up_to_a_day(code: int, value: str, seconds: float | None) -> None:
    with receiving(status(code, {"Retry-After": value})) as receiver:
        with pytest.raises(Unavailable) as caught:
            send(receiver, now=datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_private_address_is_refused_and_not_followed(code: int) -> None:
    with receiving(status(200)) as inside:
        with receiving(status(code, {"Location": f"http://127.0.0.1:{inside.port}/secret"})) as receiver:
            with pytest.raises(Refused) as caught:
                send(receiver)
    assert caught.value.code == "webhook_redirect"
    assert len(receiver.requests) == 1
    assert inside.requests == []


ENDLESS_HEAD = b"HTTP/1.1 200 OK\r\nX-Slow: "
ENDLESS_BODY = b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize("answer", [hang, drip(b""), drip(b"HTTP/1.1 2"), drip(ENDLESS_HEAD)])
def test_a_receiver_that_does_not_respond_in_time_times_out(answer: Answer) -> None:
    with receiving(answer) as receiver:
        with pytest.raises(Unavailable) as caught:
            send(receiver, IMPATIENT)
    assert caught.value.code == "webhook_timeout"


def test_the_status_decides_however_slowly_the_rest_drips() -> None:
    with receiving(drip(ENDLESS_BODY)) as receiver:
        with pytest.raises(Unavailable, match="responded with 500"):
            send(receiver, IMPATIENT)
    with receiving(drip(ENDLESS_BODY.replace(b"500 Oh", b"200 OK"))) as receiver:
        send(receiver, IMPATIENT)


def test_of_a_gigabyte_of_answer_no_more_than_the_limit_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"
    with receiving(flood(head, b"x" * 65536)) as receiver:
        send(receiver)
    assert receiver.sent_bytes < (32 << 20) + RECEIVED_BYTES_MAX  # what the kernel's buffers took, not the gigabyte


@pytest.mark.parametrize("block", [b"x" * 65536, b"X-Line: x\r\n" * 5000])
def test_endless_headers_are_not_a_response(block: bytes) -> None:
    with receiving(flood(b"HTTP/1.1 200 OK\r\nX-Line: ", block)) as receiver:
        with pytest.raises(Unavailable) as caught:
            send(receiver)
    assert caught.value.code == "webhook_unreachable"
    assert receiver.sent_bytes < 64 << 20


@pytest.mark.parametrize(
    "text", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1", b"HTTP/1.1 abc OK\r\n\r\n", b"\0" * 100]
)
def test_a_response_that_is_not_http_is_retried(text: bytes) -> None:
    with receiving(broken(text)) as receiver:
        with pytest.raises(Unavailable):
            send(receiver)


def test_a_refused_connection_is_retried(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unavailable) as caught:
        send(receiver, resolve=lambda *_, **__: resolved("127.0.0.1", port))
    assert caught.value.code == "webhook_unreachable"


def test_a_name_the_dns_does_not_know_is_tried_again(receiver: Receiver) -> None:
    def unknown(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve in (unknown, lambda *_, **__: []):
        with pytest.raises(Unavailable) as caught:
            send(receiver, resolve=resolve)
        assert caught.value.code == "webhook_unresolved"


def test_a_name_server_that_does_not_answer_takes_no_more_than_the_time_given(receiver: Receiver) -> None:
    ended = threading.Event()

    def silent(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        ended.wait()
        return []

    try:
        with pytest.raises(Unavailable) as caught:
            send(receiver, IMPATIENT, resolve=silent)
    finally:
        ended.set()
    assert caught.value.code == "webhook_timeout"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
)
def test_a_public_name_of_a_private_address_is_refused_before_any_connection(receiver: Receiver, address: str) -> None:
    for found in ([address], ["8.8.8.8", address]):
        with pytest.raises(Refused) as caught:
            send(
                receiver,
                WebhookOptions(http_allowed=True),
                resolve=lambda _, port, addresses=found, **__: [i for a in addresses for i in resolved(a, port)],
            )
        assert caught.value.code == "webhook_not_public"
    assert receiver.requests == []


def test_a_name_is_resolved_once_and_connected_to_at_that_address(receiver: Receiver) -> None:
    answers = iter([resolved("127.0.0.1", receiver.port), resolved("127.0.0.2", receiver.port)])
    with receiving(status(200), address="127.0.0.2", port=receiver.port) as other:
        send(receiver, resolve=lambda *_, **__: next(answers))
    assert (len(receiver.requests), len(other.requests)) == (1, 0)
    assert len(list(answers)) == 1


def test_the_next_address_is_tried_when_one_takes_no_connection(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.3", 0)) as free:
        closed = free.getsockname()[1]
    send(
        receiver,
        resolve=lambda _, port, **__: [*resolved("127.0.0.3", closed), *resolved("127.0.0.1", port)],
    )
    assert len(receiver.requests) == 1


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(status(200)) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        send(receiver)
    assert (len(receiver.requests), len(proxy.requests)) == (1, 0)


def test_over_tls_the_name_is_sent_and_verified_at_the_checked_address(certificates: Certificates) -> None:
    options = WebhookOptions(allow=("hooks.example.com",), ca_file=certificates.ca_file)
    with receiving(status(200), certificates.server_context) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/"
        send_webhook(options, url, (SECRET,), EVENT, time.time(), resolve=receiver.resolve)
    assert receiver.names == ["hooks.example.com"]
    Webhook(SECRET).verify(receiver.requests[0].body, receiver.requests[0].headers)


def test_over_tls_an_address_is_checked_against_the_certificate_too(certificates: Certificates) -> None:
    options = WebhookOptions(allow=("127.0.0.1",), ca_file=certificates.ca_file)
    with receiving(status(200), certificates.server_context) as receiver:
        send_webhook(options, f"https://127.0.0.1:{receiver.port}/", (SECRET,), EVENT, time.time())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("case", ["another name", "unknown authority"])
def test_a_receiver_with_an_invalid_certificate_gets_nothing(
    certificates: Certificates, tmp_path: Path, case: str
) -> None:
    ca_file = certificates.ca_file if case == "another name" else make_certificates(tmp_path, "x.example").ca_file
    host = "other.example.com" if case == "another name" else "hooks.example.com"
    options = WebhookOptions(allow=("*.example.com",), ca_file=ca_file)
    with receiving(status(200), certificates.server_context) as receiver:
        with pytest.raises(Unavailable) as caught:
            url = f"https://{host}:{receiver.port}/"
            send_webhook(options, url, (SECRET,), EVENT, time.time(), resolve=receiver.resolve)
    assert caught.value.code == "webhook_tls"
    assert receiver.requests == []


def test_a_receiver_that_hangs_in_the_tls_handshake_times_out(receiver: Receiver) -> None:
    options = WebhookOptions(allow=("127.0.0.0/8",), timeout_s=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            send_webhook(options, f"https://127.0.0.1:{port}/", (SECRET,), EVENT, time.time())
    assert caught.value.code == "webhook_timeout"


def test_an_error_names_the_host_and_neither_path_nor_secret() -> None:
    with receiving(status(500, body=b"internal words")) as receiver:
        with pytest.raises(Unavailable) as caught:
            send(receiver, path="/services/T0/token-in-the-path?key=value")
    reported = f"{caught.value.message} {caught.value.detail}"
    assert "hooks.example.com" in reported
    for hidden in ("token-in-the-path", "key=value", SECRET, "internal words"):
        assert hidden not in reported
    assert SECRET not in repr(EVENT)


@given(st.floats(0, 1))
def test_the_waits_rise_and_end_within_a_day(number: float) -> None:
    delays = retry_delays(lambda: number)
    assert list(delays) == sorted(delays)
    assert 80_000 * 0.9 < sum(delays) <= 86_400


def test_the_waits_of_many_deliveries_differ() -> None:
    source = random.Random(1)
    assert len({retry_delays(source.random) for _ in range(100)}) == 100


@given(st.binary(min_size=24, max_size=64), st.dictionaries(st.text(ANY), st.text(ANY) | st.integers() | st.none()))
def test_any_secret_and_any_data_verify(key: bytes, data: dict[str, Any]) -> None:
    body = WebhookEvent("evt", "export.failed", 0.0, data).body()
    secret = "whsec_" + base64.b64encode(key).decode()
    Webhook(secret).verify(body, signed_headers((secret,), "evt", body, time.time()))
    # Two surrogates that happen to stand side by side are one character to JSON.
    assert json.loads(body)["data"] == json.loads(json.dumps(data))
