"""Secrets: generation, and detection of weak ones."""

from __future__ import annotations

import re
import secrets as random

import pytest

from fluxport.auth.secrets import new_secret, weakness


def test_new_secrets_are_long_url_safe_different_and_not_weak() -> None:
    made = [new_secret() for _ in range(1000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in made)
    assert not any(map(weakness, made))


@pytest.mark.parametrize("nbytes", [16, 32])
def test_random_hex_from_elsewhere_is_not_weak(nbytes: int) -> None:
    assert not any(weakness(random.token_hex(nbytes)) for _ in range(1000))


@pytest.mark.parametrize(
    ("secret", "because"),
    [
        ("", "0 bytes"),
        ("devsecret", "placeholder"),
        ("DevSecret-DevSecret-DevSecret-2026!", "placeholder"),
        ("please-changeme-before-production-ok", "placeholder"),
        ("kJ8#mQ2$vX5&zL1", "15 bytes"),
        ("x" * 31, "31 bytes"),
        ("x" * 64, "different characters"),
        ("0101101001011010010110100101101001011010", "different characters"),
        ("correct-horse!correct-horse!correct-horse!co", "repeats"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "adjacent"),
        ("12345678901234567890123456789012", "repeats"),
    ],
)
def test_secrets_that_people_leave_in_place_are_weak(secret: str, because: str) -> None:
    assert because in (weakness(secret) or "")


def test_32_bytes_of_8_different_characters_are_enough() -> None:
    eight = "aQ7xZ3mK"
    assert weakness(eight * 3 + "KaxQ3Zm7") is None
    assert weakness(eight * 3 + "KaxQ3Zm") == "is 31 bytes long; the minimum is 32"
    seven = "aQ7xZ3m"
    assert weakness(seven * 4 + "axQ3Z") == "has fewer than 8 different characters"


def test_the_bounds_of_repeated_and_of_adjacent_characters() -> None:
    half = "aQ7xZ3mKpW5tR9cL"
    assert weakness(half * 2) == "repeats itself"
    assert weakness(half + half[:-1] + "!") is None
    assert weakness("OPqrWXwxTUWXQRIJbcEFYZpqQRdeklh6") is None  # 15 of its 31 steps
    assert weakness("FGpqyzJKghLMpqabVWnoBCrslmYZyzkl") == "is a sequence of adjacent characters"  # 16


def test_length_is_counted_in_bytes() -> None:
    assert weakness("žluťoučkýkůňúpěl") is not None
    assert weakness("žluťoučkýkůňúpělďábelské") is None
