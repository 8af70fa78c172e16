"""How many responses a client of a push gets: its own metadata, its key, its network, the setting, in that order."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fluxport.errors import Refused
from fluxport.grpc.answers import AnswerRules, Answers

RULES = AnswerRules("auto", {"old-shop": "final", "abcdefghijkl": "stream", "10.1.0.0/16": "final", "::1/128": "final"})


@pytest.mark.parametrize(
    ("sent", "key", "address", "chosen"),
    [
        ("", ("shop", "id"), "127.0.0.1", "auto"),
        ("", ("old-shop", "id"), "127.0.0.1", "final"),
        ("", ("shop", "abcdefghijkl"), "10.1.2.3", "stream"),
        ("", ("", ""), "10.1.2.3", "final"),
        ("", ("", ""), "10.2.2.3", "auto"),
        ("", ("", ""), "::1", "final"),
        ("", ("", ""), None, "auto"),
        ("stream", ("old-shop", "id"), "10.1.2.3", "stream"),
        ("auto", ("old-shop", "id"), "10.1.2.3", "auto"),
        ("final", ("shop", "abcdefghijkl"), "127.0.0.1", "final"),
    ],
)
def test_the_nearest_statement_decides(sent: str, key: tuple[str, str], address: str | None, chosen: Answers) -> None:
    assert RULES.choose(sent, key, None if address is None else ip_address(address)) == chosen


def test_another_word_is_refused() -> None:
    with pytest.raises(Refused, match="auto, final, stream"):
        RULES.choose("last", ("", ""), None)
