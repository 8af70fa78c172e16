"""Rows of a database on a terminal: a table if its columns fit, else a block of lines for each row."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

CELL_CHARS = 200  # shown of one cell
COLUMN_CELLS_MIN = 10  # a longer cell of a table may be cut to this width
GAP_CELLS = 3  # between two columns
ANY_WIDTH = 1 << 20  # of an output that is no terminal


class Cell(NamedTuple):
    """``number``: aligned to the right; ``faint``: not a value of the row."""

    text: str
    number: bool = False
    faint: bool = False


def printable(text: str) -> str:
    """``text`` on one line, with every character that a terminal would not show, or would obey, as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def show_columns(columns: Sequence[Sequence[str]]) -> None:
    """Print a line for each column of a table: its name, its type, and more words about it, below each other."""
    from rich.cells import cell_len

    lines = [[printable(word) for word in column] for column in columns]
    widths = [max(map(cell_len, words)) for words in zip(*lines, strict=True)]
    for line in lines:
        words = (word + " " * (width - cell_len(word)) for word, width in zip(line, widths, strict=True))
        click.echo(f"  {'  '.join(words)}".rstrip())


def show_rows(names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows below the names of their columns to standard output; with colours only on a terminal where NO_COLOR is
    not set."""
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # of characters that its encoding lacks
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = ANY_WIDTH
    names = [printable(name) for name in names]
    rows = [[cell._replace(text=_shown(cell.text)) for cell in row] for row in rows]
    widths = _widths(names, rows, console.width)
    if widths is not None:
        console.print(_table(names, rows, widths))
        return
    for number, row in enumerate(rows, 1):
        console.print(f"row {number}", style="dim")
        console.print(_block(names, row))


def _shown(text: str) -> str:
    return printable(text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 1]}…")


def _widths(names: Sequence[str], rows: Sequence[Sequence[Cell]], room: int) -> list[int] | None:
    """The width of each column of a table: the widest are cut, names never; None if it does not fit into ``room``."""
    from rich.cells import cell_len

    least = [cell_len(name) for name in names]
    whole = least
    for row in rows:
        whole = [max(width, cell_len(cell.text)) for width, cell in zip(whole, row, strict=True)]
    for most in range(max(*whole, COLUMN_CELLS_MIN), COLUMN_CELLS_MIN - 1, -1):
        widths = [max(name, min(width, most)) for name, width in zip(least, whole, strict=True)]
        if sum(widths) + GAP_CELLS * len(widths) <= room:
            return widths
    return None


def _table(names: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, (name, width) in enumerate(zip(names, widths, strict=True)):
        cells = [row[index] for row in rows if not row[index].faint]
        justify: Literal["left", "right"] = "right" if cells and all(cell.number for cell in cells) else "left"
        table.add_column(Text(name), justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        table.add_row(*map(_styled, row))
    return table


def _block(names: Sequence[str], row: Sequence[Cell]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(overflow="fold")
    for name, cell in zip(names, row, strict=True):
        table.add_row(Text(name, "bold"), _styled(cell))
    return table


def _styled(cell: Cell) -> Text:
    from rich.text import Text

    return Text(cell.text, "dim" if cell.faint else "")
