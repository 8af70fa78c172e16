"""Password proofs, one function per authentication plugin; pure. The exchange itself is in handshake.py."""

from __future__ import annotations

import hashlib

from fluxport.errors import QueryFailed


def native(password: bytes, nonce: bytes) -> bytes:
    """mysql_native_password: SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password)))."""
    if not password:
        return b""
    once = hashlib.sha1(password, usedforsecurity=False).digest()
    twice = hashlib.sha1(once, usedforsecurity=False).digest()
    return _xor(once, hashlib.sha1(nonce + twice, usedforsecurity=False).digest())


def caching_sha2(password: bytes, nonce: bytes) -> bytes:
    """caching_sha2_password, fast path: SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce)."""
    if not password:
        return b""
    once = hashlib.sha256(password).digest()
    twice = hashlib.sha256(once).digest()
    return _xor(once, hashlib.sha256(twice + nonce).digest())


def rsa_encrypted(password: bytes, nonce: bytes, public_key_pem: bytes) -> bytes:
    """caching_sha2_password, full path without TLS: the password, encrypted for the server's RSA key (OAEP, SHA-1)."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = serialization.load_pem_public_key(public_key_pem)
    except ValueError as error:
        raise QueryFailed("The server's public key cannot be read; connect with TLS.", code="login_refused") from error
    if not isinstance(key, RSAPublicKey):
        raise QueryFailed("The server's public key is not an RSA key; connect with TLS.", code="login_refused")
    plain = password + b"\0"
    masked = _xor(plain, (nonce * (len(plain) // len(nonce) + 1))[: len(plain)])
    sha1 = hashes.SHA1()  # noqa: S303  fixed by the protocol
    return key.encrypt(masked, padding.OAEP(mgf=padding.MGF1(algorithm=sha1), algorithm=sha1, label=None))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


# Ed25519 (RFC 8032) as MariaDB's client_ed25519 uses it: the secret is SHA512 of a password of any length, which
# libraries that start from a 32-byte seed do not accept. A signature takes a few milliseconds, once per connection.
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_Point = tuple[int, int, int, int]
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def ed25519(password: bytes, nonce: bytes) -> bytes:
    """client_ed25519: the nonce signed with the key derived from the password (empty for no password)."""
    if not password:
        return b""
    digest = hashlib.sha512(password).digest()
    secret = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    public = _encoded(_times(secret))
    once = int.from_bytes(hashlib.sha512(digest[32:] + nonce).digest(), "little") % _ORDER
    commitment = _encoded(_times(once))
    challenge = int.from_bytes(hashlib.sha512(commitment + public + nonce).digest(), "little") % _ORDER
    return commitment + ((once + challenge * secret) % _ORDER).to_bytes(32, "little")


def _times(scalar: int) -> _Point:
    """``scalar`` times the base point, doubling at every bit and always computing the sum, taken or not."""
    result: _Point = (0, 1, 1, 0)
    for bit in range(254, -1, -1):
        result = _add(result, result)
        summed = _add(result, _BASE)
        result = (result, summed)[scalar >> bit & 1]
    return result


def _add(p: _Point, q: _Point) -> _Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _encoded(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")
