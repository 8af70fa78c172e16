"""The protocol's bytes: payloads, frames, login proofs and parameters."""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport_emulator import parameters, wire
from fluxport_emulator.auth import Account, PasswordKey, nonce
from fluxport_emulator.faults import FatalError
from fluxport_emulator.wire import Payload


@given(st.integers(0, 2**64 - 1))
def test_a_length_encoded_integer_reads_back(number: int) -> None:
    packet = Payload(wire.lenenc(number))
    assert packet.lenenc_integer() == number
    assert packet.left == 0


@given(st.binary(max_size=40))
def test_any_bytes_as_parameters_are_read_or_refused_as_malformed(data: bytes) -> None:
    with suppress(FatalError):
        parameters.read(Payload(data), 3, [], {})


@pytest.mark.parametrize("data", [b"", b"\xfb", b"\xff", b"\xfc\x01", b"\xfe\x01\x02"])
def test_a_cut_length_is_a_malformed_packet(data: bytes) -> None:
    with pytest.raises(FatalError, match="Malformed"):
        Payload(data).lenenc_integer()


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_payload_around_16_mib_is_cut_into_frames_and_closed_by_a_short_one(extra: int) -> None:
    payload = bytes(wire.PAYLOAD_MAX + extra)
    framed, sequence = wire.frames(payload, 255)
    lengths, at = [], 0
    while at < len(framed):
        lengths.append(int.from_bytes(framed[at : at + 3], "little"))
        assert framed[at + 3] == (255 + len(lengths) - 1) & 0xFF
        at += 4 + lengths[-1]
    assert sum(lengths) == len(payload)
    assert lengths[-1] < wire.PAYLOAD_MAX
    assert sequence == (255 + len(lengths)) & 0xFF


def _native(password: bytes, salt: bytes) -> bytes:
    once = hashlib.sha1(password).digest()
    mask = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def _sha2(password: bytes, salt: bytes) -> bytes:
    once = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + salt).digest()
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_only_the_right_password_proves_itself(right: str, other: str) -> None:
    account = Account.of("user", right, "caching_sha2_password")
    salt = nonce()
    assert account.native_proof(salt, _native(right.encode(), salt))
    assert account.sha2_proof(salt, _sha2(right.encode(), salt))
    assert account.password_proof(right.encode())
    if other != right:
        assert not account.native_proof(salt, _native(other.encode(), salt))
        assert not account.sha2_proof(salt, _sha2(other.encode(), salt))
        assert not account.password_proof(other.encode())


@pytest.mark.parametrize("answer", [b"", b"\0", b"x", bytes(20), bytes(32), bytes(33)])
def test_login_responses_of_any_length_are_not_a_proof(answer: bytes) -> None:
    account = Account.of("user", "secret", "caching_sha2_password")
    assert not account.native_proof(nonce(), answer)
    assert not account.sha2_proof(nonce(), answer)


def test_an_account_without_password_takes_the_empty_answer_only() -> None:
    account = Account.of("user", "", "mysql_native_password")
    assert account.native_proof(nonce(), b"")
    assert account.sha2_proof(nonce(), b"")
    assert not account.native_proof(nonce(), bytes(20))
    assert not account.sha2_proof(nonce(), bytes(32))


def test_a_sealed_password_opens_with_its_nonce_and_foreign_bytes_do_not_open() -> None:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key, salt = PasswordKey(), nonce()
    public = load_pem_public_key(key.public_pem())
    assert isinstance(public, rsa.RSAPublicKey)
    plain = bytes(a ^ salt[i % len(salt)] for i, a in enumerate(b"a long enough secret password\0"))
    sealed = public.encrypt(plain, padding.OAEP(padding.MGF1(SHA1()), SHA1(), None))
    assert key.decrypt(sealed, salt) == b"a long enough secret password"
    assert key.decrypt(bytes(256), salt) is None


def _parameter(kind: int, data: bytes) -> object:
    packet = Payload(b"\0" + b"\x01" + struct.pack("<H", kind) + data)
    (value,) = parameters.read(packet, 1, [], {})
    return value


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (1, b"\xff", -1),
        (0x8001, b"\xff", 255),
        (2, b"\x00\x80", -32768),
        (3, b"\xff\xff\xff\x7f", 2**31 - 1),
        (0x8008, b"\xff" * 8, 2**64 - 1),
        (5, struct.pack("<d", 0.1), 0.1),
        (253, "\x05é☃".encode(), "é☃"),
        (252, b"\x02\xff\xfe", b"\xff\xfe"),
        (12, b"\x0b" + struct.pack("<HBBBBBI", 2024, 2, 29, 1, 2, 3, 4), dt.datetime(2024, 2, 29, 1, 2, 3, 4)),
        (12, b"\x07" + struct.pack("<HBBBBB", 2024, 2, 29, 1, 2, 3), dt.datetime(2024, 2, 29, 1, 2, 3)),
        (10, b"\x04" + struct.pack("<HBB", 2024, 2, 29), dt.date(2024, 2, 29)),
        (10, b"\x00", "0000-00-00"),
        (11, b"\x08\x01" + struct.pack("<IBBB", 1, 2, 3, 4), -dt.timedelta(days=1, hours=2, minutes=3, seconds=4)),
        (6, b"", None),
    ],
)
def test_a_bound_parameter_keeps_its_value(kind: int, data: bytes, value: object) -> None:
    assert _parameter(kind, data) == value


def test_types_are_remembered_when_they_are_not_sent_again() -> None:
    known: list[int] = []
    first = parameters.read(Payload(b"\0\x01" + struct.pack("<H", 1) + b"\x07"), 1, known, {})
    second = parameters.read(Payload(b"\0\x00\x08"), 1, known, {})
    assert (first, second) == ([7], [8])
