"""The two login methods of MySQL, as pure functions over digests: the password itself is not stored.

``mysql_native_password``: the client sends SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password))).
``caching_sha2_password``: SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce), and, until the server has
seen one full login, the password itself over TLS or encrypted with the server's RSA key.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from hmac import compare_digest
from itertools import cycle
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

AuthPlugin = Literal["mysql_native_password", "caching_sha2_password"]
NONCE_BYTES = 20


def nonce() -> bytes:
    """Printable random bytes: some clients stop reading at a NUL or ``$``."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return bytes(secrets.choice(alphabet) for _ in range(NONCE_BYTES))


@dataclass(frozen=True)
class Account:
    """One user and the digests that prove its password; an account without a password accepts only an empty proof."""

    user: str
    plugin: AuthPlugin
    has_password: bool
    sha1_twice: bytes
    sha256_twice: bytes

    @classmethod
    def of(cls, user: str, password: str, plugin: AuthPlugin) -> Account:
        secret = password.encode()
        return cls(user, plugin, bool(secret), _sha1(_sha1(secret)), _sha256(_sha256(secret)))

    def known_as(self, user: str) -> bool:
        return compare_digest(user.encode(), self.user.encode())

    def native_proof(self, salt: bytes, response: bytes) -> bool:
        if not self.has_password:
            return response == b""
        if len(response) != 20:
            return False
        return compare_digest(_sha1(_xor(response, _sha1(salt + self.sha1_twice))), self.sha1_twice)

    def sha2_proof(self, salt: bytes, response: bytes) -> bool:
        if not self.has_password:
            return response in (b"", b"\0")
        if len(response) != 32:
            return False
        return compare_digest(_sha256(_xor(response, _sha256(self.sha256_twice + salt))), self.sha256_twice)

    def password_proof(self, password: bytes) -> bool:
        return compare_digest(_sha256(_sha256(password)), self.sha256_twice)


class PasswordKey:
    """The RSA key with which clients encrypt a password on a connection without TLS; generated on first use."""

    def __init__(self) -> None:
        self._key: RSAPrivateKey | None = None
        self._lock = threading.Lock()  # concurrent clients must get the same key

    def _private(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        with self._lock:
            if self._key is None:
                self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            return self._key

    def public_pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._private().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def decrypt(self, sealed: bytes, salt: bytes) -> bytes | None:
        """The decrypted password of a client; None if it was not encrypted with this key."""
        from cryptography.hazmat.primitives.asymmetric import padding
        from cryptography.hazmat.primitives.hashes import SHA1

        oaep = padding.OAEP(mgf=padding.MGF1(SHA1()), algorithm=SHA1(), label=None)  # noqa: S303 - the protocol's
        try:
            plain = self._private().decrypt(sealed, oaep)
        except ValueError:
            return None
        return _xor(plain, salt).removesuffix(b"\0")


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _xor(data: bytes, key: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, cycle(key), strict=False))
