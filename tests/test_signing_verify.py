"""Signatures: what is accepted, and that everything else gets the same response."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.auth.signing import DEFAULT_KEY_ID, SigningKey, is_signed, sign_v1, sign_v2, verify
from fluxport.errors import Refused, Unauthorized

WINDOW_S = 300  # a signature is as old, or as early, at most

VECTORS = json.loads((Path(__file__).parents[1] / "examples" / "signing_vectors.json").read_text("utf-8"))
NOW = 1_767_225_600
SECRET, OLD_SECRET = "k3Vn-8sQ1fWz_5rTgXb2LmYcHpJd7uAe0oNiRvKxBwE", "Qp7-previous-secret-of-the-same-key-4411"
NONCE = "0123456789abcdefXY-_"
KEYS = {
    DEFAULT_KEY_ID: SigningKey(DEFAULT_KEY_ID, (SECRET, OLD_SECRET)),
    "billing": SigningKey("billing", ("another-key-with-a-secret-of-its-own-88",)),
}
BODY = b'{"query":"SELECT 1"}'
Raw = list[tuple[bytes, bytes]]


def raw(headers: dict[str, str]) -> Raw:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def v1(**changes: Any) -> Raw:
    parts: dict[str, Any] = {"secret": SECRET, "method": "POST", "target": "/export", "body": BODY, "timestamp": NOW}
    return raw(sign_v1(**(parts | changes)))


def v2(**changes: Any) -> Raw:
    parts: dict[str, Any] = {"secret": SECRET, "key_id": DEFAULT_KEY_ID, "method": "POST", "target": "/v1/stream?a=1"}
    return raw(sign_v2(**(parts | {"body": BODY, "timestamp": NOW, "nonce": NONCE} | changes)))


def replaced(headers: Raw, name: bytes, value: bytes) -> Raw:
    return [(n, value if n == name else v) for n, v in headers]


def without(headers: Raw, name: bytes) -> Raw:
    return [(n, v) for n, v in headers if n != name]


def refusal(headers: Raw, target: bytes = b"/export", body: bytes = BODY, **options: Any) -> tuple[str, str]:
    with pytest.raises(Unauthorized) as caught:
        verify(KEYS, options.pop("method", "POST"), target, headers, body, options.pop("now", NOW), **options)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize("vector", VECTORS["v1"], ids=lambda v: v["name"])
def test_v1_vectors_are_what_we_sign_and_accept(vector: dict[str, Any]) -> None:
    body = base64.b64decode(vector["body_base64"])
    headers = sign_v1(vector["secret"], vector["method"], vector["target"], body, vector["timestamp"])
    assert headers == {"X-Timestamp": str(vector["timestamp"]), "X-Signature": vector["signature"]}
    keys = {DEFAULT_KEY_ID: SigningKey(DEFAULT_KEY_ID, (vector["secret"],))}
    target = vector["target"].encode()
    signed = verify(keys, vector["method"], target, raw(headers), body, vector["timestamp"])
    assert (signed.version, signed.key_id, signed.signature) == ("v1", DEFAULT_KEY_ID, vector["signature"])


@pytest.mark.parametrize("vector", VECTORS["v2"], ids=lambda v: v["name"])
def test_v2_vectors_are_what_we_sign_and_accept(vector: dict[str, Any]) -> None:
    body, key_id = base64.b64decode(vector["body_base64"]), vector["key_id"]
    request = (vector["method"], vector["target"], body, vector["timestamp"])
    headers = sign_v2(vector["secret"], key_id, *request, vector["nonce"])
    assert headers["X-Signature"] == vector["signature"]
    keys = {key_id: SigningKey(key_id, (vector["secret"],))}
    signed = verify(keys, vector["method"], vector["target"].encode(), raw(headers), body, vector["timestamp"])
    assert (signed.version, signed.key_id) == ("v2", key_id)


def test_the_vector_file_needs_no_json_reader() -> None:
    """The shell client reads it line by line: a vector is one line, and no value holds a quote or a backslash."""
    text = (Path(__file__).parents[1] / "examples" / "signing_vectors.json").read_text("utf-8")
    lines = [line.strip().rstrip(",") for line in text.splitlines() if '"signature"' in line]
    assert [json.loads(line) for line in lines] == VECTORS["v1"] + VECTORS["v2"]
    assert "\\" not in text


def test_v1_without_key_id_is_the_default_key_and_with_one_that_key() -> None:
    assert verify(KEYS, "POST", b"/export", v1(), BODY, NOW).key_id == DEFAULT_KEY_ID
    headers = v1(secret=KEYS["billing"].secrets[0], key_id="billing")
    assert verify(KEYS, "POST", b"/export", headers, BODY, NOW).key_id == "billing"


def test_v1_signs_the_path_without_its_query_and_v2_with_it() -> None:
    poll = v1(method="GET", target="/jobs?id=1", body=b"")
    assert poll == v1(method="GET", target="/jobs", body=b"")
    assert verify(KEYS, "GET", b"/jobs?id=1", poll, b"", NOW).version == "v1"
    refusal(v2(), b"/v1/stream?a=2")
    refusal(v2(), b"/v1/stream")


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET], ids=["new", "old"])
def test_both_secrets_of_a_key_are_good_while_it_is_rotated(secret: str) -> None:
    assert verify(KEYS, "POST", b"/export", v1(secret=secret), BODY, NOW)
    assert verify(KEYS, "POST", b"/v1/stream?a=1", v2(secret=secret), BODY, NOW)


@pytest.mark.parametrize("skew", [-WINDOW_S, 0, WINDOW_S, WINDOW_S + 0.9])
def test_clocks_may_differ_by_the_window_in_whole_seconds(skew: float) -> None:
    assert verify(KEYS, "POST", b"/export", v1(), BODY, NOW + skew)
    assert verify(KEYS, "POST", b"/v1/stream?a=1", v2(), BODY, NOW + skew)


@pytest.mark.parametrize("skew", [-WINDOW_S - 1, WINDOW_S + 1, -86400, 86400])
def test_a_stale_or_future_timestamp_is_refused(skew: int) -> None:
    refusal(v1(), now=NOW + skew)
    refusal(v2(), b"/v1/stream?a=1", now=NOW + skew)


BAD_VALUES = [
    (b"x-timestamp", b""),
    (b"x-timestamp", b"0%d" % NOW),
    (b"x-timestamp", b"+%d" % NOW),
    (b"x-timestamp", b" %d" % NOW),
    (b"x-timestamp", b"%d\n" % NOW),
    (b"x-timestamp", b"%d.0" % NOW),
    (b"x-timestamp", b"1_767_225_600"),
    (b"x-timestamp", str(NOW).translate({ord("0") + d: 0x660 + d for d in range(10)}).encode()),
    (b"x-timestamp", b"9" * 5000),
    (b"x-timestamp", b"-%d" % NOW),
    (b"x-signature", b""),
    (b"x-signature", b"v2="),
    (b"x-signature", b"v3=" + b"0" * 64),
    (b"x-signature", b"0" * 63),
    (b"x-signature", b"0" * 64),
    (b"x-signature", b"\xff" * 64),
    (b"x-key-id", b""),
    (b"x-key-id", b"nobody"),
    (b"x-key-id", b"default\x00"),
    (b"x-key-id", b"d" * 65),
]
BAD_V2 = [
    (b"x-nonce", b""),
    (b"x-nonce", b"short"),
    (b"x-nonce", b"0123456789abcdef\n"),
    (b"x-nonce", b"0123456789abcdef+/="),
    (b"x-nonce", b"n" * 65),
    (b"x-nonce", NONCE.upper().encode()),
]


@pytest.mark.parametrize("nonce", ["n" * 16, "n" * 64])
def test_a_nonce_of_16_to_64_characters_is_accepted(nonce: str) -> None:
    assert verify(KEYS, "POST", b"/v1/stream?a=1", v2(nonce=nonce), BODY, NOW)


@pytest.mark.parametrize("nonce", ["n" * 15, "n" * 65])
def test_a_shorter_or_longer_nonce_is_refused_though_it_is_signed(nonce: str) -> None:
    refusal(v2(nonce=nonce), b"/v1/stream?a=1")


def test_a_key_id_has_up_to_64_characters() -> None:
    keys = {"k" * 64: SigningKey("k" * 64, (SECRET,))}
    assert verify(keys, "POST", b"/export", v1(key_id="k" * 64), BODY, NOW).key_id == "k" * 64


def test_other_headers_may_stand_anywhere() -> None:
    others = [(b"host", b"example.com"), (b"x-request-id", b"1"), (b"accept", b"*/*")]
    one, two = v1()
    assert verify(KEYS, "POST", b"/export", [others[0], one, others[1], two, others[2]], BODY, NOW).version == "v1"


def test_every_cause_of_a_refusal_gives_the_same_answer() -> None:
    """The response does not reveal whether a key exists, a clock differs or a secret was nearly right."""
    stream = b"/v1/stream?a=1"
    upper = [(n, v.upper() if n == b"x-signature" else v) for n, v in v1()]
    answers = {
        refusal([]),
        refusal(v1(secret="wrong")),
        refusal(v1(key_id="nobody")),
        refusal(v1(key_id="billing")),
        refusal(upper),
        refusal(v1(), method="PUT"),
        refusal(v1(), b"/exports"),
        refusal(v1(), body=BODY + b" "),
        refusal(v1(), now=NOW + 1000),
        refusal(v1(), accept=("v2",)),
        refusal(v2(), stream, accept=("v1",)),
        refusal(v2(), stream, method="GET"),
        refusal(v2(), stream, body=b""),
        refusal(v2(nonce="short"), stream),
        *(refusal(replaced(v1(key_id=DEFAULT_KEY_ID), *bad)) for bad in BAD_VALUES),
        *(refusal(replaced(v2(), *bad), stream) for bad in BAD_VALUES + BAD_V2),
        *(refusal(without(v1(), name)) for name in (b"x-timestamp", b"x-signature")),
        *(refusal(without(v2(), name), stream) for name, _ in v2()),
        *(refusal([*v1(), header]) for header in v1()),
        *(refusal([*v2(), (name.upper(), value)], stream) for name, value in v2()),
    }
    assert len(answers) == 1
    [(code, message)] = answers
    assert code == "unauthorized"
    assert SECRET not in message


def test_a_v2_signature_does_not_pass_as_v1_nor_the_other_way_round() -> None:
    stripped = [(n, v.removeprefix(b"v2=")) for n, v in v2()]
    refusal(stripped, b"/v1/stream?a=1")
    refusal([(n, b"v2=" + v if n == b"x-signature" else v) for n, v in v1(key_id=DEFAULT_KEY_ID)])


@settings(deadline=None)
@given(digits=st.text("0123456789", min_size=1, max_size=12), secret=st.sampled_from([SECRET, OLD_SECRET]))
def test_body_and_timestamp_of_v1_cannot_trade_digits(digits: str, secret: str) -> None:
    """One signature of the undelimited v1 fits one (body, timestamp) alone."""
    body = b'{"n":1}' + digits.encode()
    headers = v1(secret=secret, body=body)
    joined = body + str(NOW).encode()
    for cut in range(len(joined)):
        if (moved := joined[:cut]) != body:
            refusal(replaced(headers, b"x-timestamp", joined[cut:]), body=moved)


@settings(deadline=None)
@given(body=st.binary(max_size=200), at=st.integers(0, 199), flip=st.integers(1, 255))
def test_one_changed_byte_of_the_body_is_noticed(body: bytes, at: int, flip: int) -> None:
    altered = bytearray(body or b"x")
    altered[at % len(altered)] ^= flip
    refusal(v1(body=body or b"x"), body=bytes(altered))
    refusal(v2(body=body or b"x"), b"/v1/stream?a=1", body=bytes(altered))


def test_only_the_signature_header_decides_whether_a_request_is_signed() -> None:
    assert is_signed(v1())
    assert is_signed([(b"X-Signature", b"nonsense")])
    assert not is_signed([(b"x-timestamp", b"1"), (b"accept", b"*/*")])


@pytest.mark.parametrize("secrets", [(), ("",), ("  ",), (SECRET, "")], ids=["none", "empty", "blank", "second empty"])
def test_a_key_that_protects_nothing_cannot_be_configured(secrets: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="empty secret"):
        SigningKey("default", secrets)


@pytest.mark.parametrize("key_id", ["", "a b", "ä", "k" * 65, "a\n"])
def test_a_key_id_that_no_header_can_carry_cannot_be_configured(key_id: str) -> None:
    with pytest.raises(Refused, match="must be 1 to 64"):
        SigningKey(key_id, (SECRET,))


def test_nothing_is_signed_with_an_empty_secret() -> None:
    with pytest.raises(Refused, match="empty secret"):
        v1(secret="")
    with pytest.raises(Refused, match="empty secret"):
        v2(secret="")


def test_a_key_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(KEYS)
