"""The picture of the README: ``fluxport demo --check | python docs/picture.py`` writes docs/demo.svg.

Drawn here rather than by a terminal recorder: every column is anchored, so it is aligned in any font, and nothing is
loaded from other hosts. The dark window is legible on light and dark pages.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

TARGET = Path(__file__).resolve().parent / "demo.svg"
WIDTH, TOP, LINE = 840, 76, 25
# Position, anchor and colour of each column of the table.
COLUMNS = (
    (28, "start", "#79c0ff"),
    (270, "end", "#c9d1d9"),
    (410, "end", "#c9d1d9"),
    (505, "end", "#c9d1d9"),
    (645, "end", "#f0b72f"),
    (685, "start", "#8b949e"),
)


def text(x: int, y: int, content: str, colour: str, anchor: str = "start", weight: str = "normal") -> str:
    style = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(content)}</text>'


def picture(printed: str) -> str:
    head, *rows, last = printed.splitlines()
    y = TOP + LINE + 8
    drawn = [text(28, TOP, "$", "#8b949e"), text(46, TOP, "make demo ARGS=--check", "#f0f6fc", weight="bold")]
    names = [*head.split()[:5], "read back by"]
    drawn += [text(x, y, name, "#8b949e", anchor) for (x, anchor, _), name in zip(COLUMNS, names, strict=True)]
    for row in rows:
        y += LINE
        drawn += [text(x, y, cell, c, a) for (x, a, c), cell in zip(COLUMNS, row.rsplit(maxsplit=5), strict=True)]
    y += LINE + 8
    drawn.append(text(28, y, last, "#7ee787"))
    height = y + 24
    lights = "".join(
        f'<circle cx="{28 + 20 * i}" cy="24" r="6" fill="{c}"/>'
        for i, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            ' role="img" aria-labelledby="what">',
            f'<title id="what">{escape(printed)}</title>',
            f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10" fill="#161b22" stroke="#30363d"/>',
            lights,
            "<g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\""
            ' font-size="15" xml:space="preserve">',
            *drawn,
            "</g>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(picture(sys.stdin.read()))
