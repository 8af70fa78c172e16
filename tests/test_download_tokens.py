"""Download tokens: each is valid for one file and purpose, until its second."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from fluxport.auth.tokens import check_download_token, download_token, numbered_token, one_time_token, same_token
from fluxport.errors import FluxportError, Forbidden, Gone

SECRET, EXPORT, FILE = b"0123456789abcdef", "20170028-9e85", "a b.csv"
EXPIRES = 1_800_000_000
# HMAC-SHA256 of "fluxport link v1", purpose, export, file and second, one a line: links that were sent stay valid.
DOWNLOAD = "1800000000.download.c47AoVgb4xWqYdadaVxzmLtvX2LQMZW0Ik0yQSE5lSs"
MAIL = "1800000000.mail.ZGgA5JmOD-eZuedvtZLUXhT8bkYYeMrlq4wdkJ1N3t4"


def refusal(token: str, now: float = 0.0, secret: bytes = SECRET, file: str = FILE) -> FluxportError:
    with pytest.raises(FluxportError) as refused:
        check_download_token(secret, token, EXPORT, file, now)
    return refused.value


def test_a_token_is_its_second_its_purpose_and_a_mac() -> None:
    assert download_token(SECRET, EXPORT, FILE, EXPIRES) == DOWNLOAD
    assert download_token(SECRET, EXPORT, FILE, EXPIRES, "mail") == MAIL
    assert check_download_token(SECRET, DOWNLOAD, EXPORT, FILE, 0.0) == "download"
    assert check_download_token(SECRET, MAIL, EXPORT, FILE, 0.0) == "mail"


def test_a_token_is_valid_until_its_second_and_then_gone() -> None:
    assert check_download_token(SECRET, DOWNLOAD, EXPORT, FILE, 1_799_999_999.9) == "download"
    for now in (1_800_000_000.0, 1_800_000_000.1):
        error = refusal(DOWNLOAD, now)
        assert (type(error), error.code) == (Gone, "link_expired")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "1800000000",
        "1800000000.download",
        "1800000000.download.",
        DOWNLOAD[:-1],
        DOWNLOAD + "A",
        DOWNLOAD + ".x",
        DOWNLOAD.replace("download", "mail"),
        DOWNLOAD.replace("1800000000", "1800000001"),
        DOWNLOAD.replace("1800000000", "9" * 12),
        DOWNLOAD.replace("1800000000", "9" * 13),
        DOWNLOAD.replace("1800000000", "9" * 5000),
        DOWNLOAD.replace("1800000000", "-1800000000"),
        DOWNLOAD.replace("1800000000", "٣"),
        DOWNLOAD.replace("1800000000", "²"),
        DOWNLOAD[:-1] + "é",
    ],
)
def test_any_other_text_is_forbidden_whether_expired_or_not(token: str) -> None:
    for now in (0.0, 2e9):
        error = refusal(token, now)
        assert (type(error), error.code) == (Forbidden, "bad_token")


def test_a_token_is_for_one_file_of_one_secret() -> None:
    assert refusal(DOWNLOAD, file="other.csv").code == "bad_token"
    assert refusal(DOWNLOAD, secret=b"another secret..").code == "bad_token"
    with pytest.raises(Forbidden):
        check_download_token(SECRET, DOWNLOAD, "another", FILE, 0.0)


def test_a_one_time_token_has_a_nonce_and_one_without_is_as_valid() -> None:
    without = download_token(SECRET, EXPORT, FILE, EXPIRES, "once")
    made = {one_time_token(SECRET, EXPORT, FILE, EXPIRES) for _ in range(100)}
    assert len(made) == 100
    for token in [*made, without]:
        assert check_download_token(SECRET, token, EXPORT, FILE, 0.0) == "once"
        assert refusal(token, 1_800_000_000.0).code == "link_expired"


def test_a_nonce_is_of_its_token() -> None:
    second, purpose, nonce, mac = one_time_token(SECRET, EXPORT, FILE, EXPIRES).split(".")
    others = [f"{second}.{purpose}.{mac}", f"{second}.{purpose}.{nonce}x.{mac}", f"{second}.download.{nonce}.{mac}"]
    others += [f"{second}.{purpose}.{nonce}.x.{mac}", f"{second}.{purpose}..{mac}"]
    assert [refusal(token).code for token in others] == ["bad_token"] * len(others)


def test_a_numbered_token_is_of_one_export_one_number_and_one_secret() -> None:
    """The first half of HMAC-SHA256 of "fluxport numbered token v1", export and number, one a line."""
    token = numbered_token(SECRET, EXPORT, 0)
    message = b"fluxport numbered token v1\n20170028-9e85\n0"
    assert token == hmac.new(SECRET, message, hashlib.sha256).hexdigest()[:32]
    others = {numbered_token(SECRET, EXPORT, 1), numbered_token(SECRET, "another", 0), numbered_token(b"x", EXPORT, 0)}
    assert len(others | {token}) == 4
    assert [same_token(token, other) for other in (token, token[:-1], "", "é")] == [True, False, False, False]


def test_a_second_has_at_most_12_digits() -> None:
    for expires, valid in ((999_999_999_999, True), (1_000_000_000_000, False)):
        token = download_token(SECRET, EXPORT, FILE, expires)
        if valid:
            assert check_download_token(SECRET, token, EXPORT, FILE, 0.0) == "download"
        else:
            assert refusal(token).code == "bad_token"
