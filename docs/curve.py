"""The picture of what a cell costs by the number of columns: ``python docs/curve.py RESULT`` writes docs/width.svg.

RESULT is a saved result of bench/width.py, by default the newest; drawn are the lines of its part "Mixed", with
logarithmic axes. Nothing is loaded from other hosts, and the white ground is legible on light and dark pages.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE / "width.svg"
WIDTH, HEIGHT = 960, 470
LEFT, RIGHT, TOP, BOTTOM = 100, 700, 84, 410  # of the plot
GREY, INK = "#52606d", "#1f2933"
# The contenders drawn, if they are in the result: label, colour, dashes.
LINES = {
    "fluxport csv": ("Fluxport to CSV", "#2563eb", ""),
    "fluxport xlsx": ("Fluxport to XLSX", "#16a34a", ""),
    "fluxport parquet": ("Fluxport to Parquet", "#9333ea", ""),
    "mysql --batch --quick": ("mysql --batch --quick", "#52606d", "5 4"),
    "connectorx_arrow (csv)": ("connectorx + pyarrow to CSV", "#60a5fa", "5 4"),
    "connectorx_stream (csv)": ("connectorx stream to CSV", "#93c5fd", "2 3"),
    "rustpy_xlsxwriter (xlsx)": ("rustpy-xlsxwriter to XLSX", "#86efac", "2 3"),
    "excelize (xlsx)": ("excelize to XLSX", "#4ade80", "5 4"),
    "xlsxturbo (xlsx)": ("xlsxturbo to XLSX", "#4ade80", "2 3"),
}
ROW = re.compile(r"^ +(\d+) +[\d,]+  (\S.{0,33}?) +[\d.]+ +[\d.]+ +(-?\d+) ")

Curves = dict[str, dict[int, float]]  # nanoseconds for a cell by contender and columns


def curves(result: str) -> Curves:
    """The lines of the part "Mixed" of a result."""
    found: Curves = {}
    mixed = result.partition("\nMixed, ")[2].partition("\n\n")[0]
    for line in mixed.splitlines():
        if (match := ROW.match(line)) and (cost := int(match[3])) > 0 and match[2] in LINES:
            found.setdefault(match[2], {})[int(match[1])] = cost
    return found


def pen(points: dict[int, float], columns: Sequence[int]) -> Iterator[tuple[str, int, float]]:
    """The points of one line in SVG's commands: M begins it, also behind a width of ``columns`` that was not measured;
    L joins a point to the one before."""
    for before, column in itertools.pairwise([0, *columns]):
        if column in points:
            yield "L" if before in points else "M", column, points[column]


def text(x: float, y: float, content: str, anchor: str = "start", **style: str) -> str:
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{given}>{escape(content)}</text>'


def picture(found: Curves, about: str) -> str:
    columns = sorted({each for points in found.values() for each in points})
    costs = [cost for points in found.values() for cost in points.values()]
    lowest, highest = 10 ** math.floor(math.log10(min(costs))), 10 ** math.ceil(math.log10(max(costs)))

    def x(column: float) -> float:
        return LEFT + (RIGHT - LEFT) * math.log(column / columns[0]) / math.log(columns[-1] / columns[0])

    def y(cost: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * math.log(cost / lowest) / math.log(highest / lowest)

    def axes() -> Iterator[str]:
        cost = lowest
        while cost <= highest:
            yield f'<path d="M{LEFT} {y(cost):.1f}H{RIGHT}" stroke="#e4e7eb"/>'
            yield text(LEFT - 10, y(cost) + 5, f"{cost:,.0f} ns", "end", fill=GREY, font_size="12")
            cost *= 10
        for column in columns:
            yield f'<path d="M{x(column):.1f} {TOP}V{BOTTOM}" stroke="#f0f2f5"/>'
            yield text(x(column), BOTTOM + 20, f"{column:,}", "middle", fill=GREY, font_size="12")
        yield text((LEFT + RIGHT) / 2, BOTTOM + 42, "columns of the table", "middle", fill=GREY, font_size="13")

    def lines() -> Iterator[str]:
        ends: list[float] = []  # of the labels so far, from the top
        for name in sorted(found, key=lambda name: -found[name][max(found[name])]):
            label, colour, dashes = LINES[name]
            points = sorted(found[name].items())
            path = " ".join(f"{mark}{x(c):.1f} {y(cost):.1f}" for mark, c, cost in pen(found[name], columns))
            style = f'stroke-width="{2 if dashes else 3}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
            yield f'<path d="{path}" fill="none" stroke="{colour}" {style}/>'
            yield from (f'<circle cx="{x(c):.1f}" cy="{y(cost):.1f}" r="3.5" fill="{colour}"/>' for c, cost in points)
            ends.append(max(y(points[-1][1]) + 5, ends[-1] + 18 if ends else 0))
            yield text(RIGHT + 14, ends[-1], label, fill=INK, font_weight="400" if dashes else "600")

    title = "What a cell costs, by the number of columns"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'role="img" aria-labelledby="title what" font-family="system-ui, sans-serif" font-size="13">',
            f'<title id="title">{title}</title>',
            f'<desc id="what">{escape("; ".join(described(found)))}</desc>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#fff"/>',
            text(28, 36, title, fill=INK, font_size="18", font_weight="600"),
            text(28, 58, about, fill=GREY, font_size="12"),
            *axes(),
            *lines(),
            "</svg>",
            "",
        ]
    )


def described(found: Curves) -> Iterator[str]:
    for name, points in found.items():
        costs = ", ".join(f"{cost:,.0f} ns at {column:,}" for column, cost in sorted(points.items()))
        yield f"{LINES[name][0]}: {costs} columns"


def main() -> None:
    saved = sorted((HERE.parent / "bench" / "results").glob("*-width.txt"))
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else saved[-1]
    result = path.read_text()
    found = curves(result)
    if not found:
        raise SystemExit(f"{path} has no part Mixed; run bench/width.py --part mixed --save.")
    cells = re.search(r"\nMixed, ([\d,]+) cells", result)
    when = result.partition(",")[0]
    about = (
        f"MySQL to a file, whole processes without their start; {cells[1] if cells else ''} cells of six kinds; {when}"
    )
    TARGET.write_text(picture(found, about))


if __name__ == "__main__":
    main()
