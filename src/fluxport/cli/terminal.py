"""Text of a database on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` on one line, with every character that a terminal would not show, or obey, as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
