"""Makes the drawings of docs/architecture.md: the rooms, and the life of a pair.

    python scripts/make_drawings.py [--to docs/drawings]

The rooms are those of the page's own table. Both are SVG that is light or dark, and loads nothing.
"""

from __future__ import annotations

import argparse
import html
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 760
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1d2329; } .code { font-family: monospace; }
  .small { font-size: 12px; fill: #5a6672; } .head { font-weight: 600; }
  rect { fill: #f3f5f7; stroke: #9aa7b3; } .a { fill: #e3f1ec; } .b { fill: #e2eef7; }
  .c { fill: #f7efdf; } .d { fill: #f6e6e5; } .lane { fill: none; stroke-dasharray: 4 4; }
  path { fill: none; stroke: #5a6672; stroke-width: 1.5; }
  marker path { fill: #5a6672; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e9ee; } .small { fill: #9aa7b3; } rect { fill: #1e242a; stroke: #5a6672; }
    .a { fill: #173a2f; } .b { fill: #17324a; } .c { fill: #42351a; } .d { fill: #452624; }
    .lane { fill: none; } path { stroke: #9aa7b3; } marker path { fill: #9aa7b3; stroke: none; }
  }"""
# The lowest floor of each colour, from the top, and what its floors are.
BANDS = (
    (10, "d", "the way in"),
    (6, "c", "a run"),
    (2, "b", "data, tasks, pages"),
    (0, "a", "the maths"),
)
# Steps of the page's table "The way of a pair" on a worker, and after it.
LAID_OUT = (
    ("3", "Setup", "the pair is planned: frames 3 and 7"),
    ("6", "a task, with its batch", "row numbers, and where frames lie"),
)
ON_A_WORKER = (
    ("8", "both frames are read", "masked, filtered"),
    ("9", "Terms", "six sums over lags"),
    ("10", "Surface", "the NCC over lags"),
    ("11", "Registration", "peak, shift, error, status"),
    ("12", "PartScores", "what nine parts say"),
)
AFTERWARDS = (
    ("13", "the row is filled in", "shift, or NaN with a status"),
    ("14", "the journal", "on the disk: never measured twice"),
    ("15", "checks", "what is looked at again"),
    ("16", "FrameTable", "all pairs solved together"),
    ("17", "the shifts dataset", "with its verdict"),
)


def write(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    where = f'x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}"'
    return f"<text {where}>{html.escape(words)}</text>"


def frame(x: float, y: float, width: float, height: float, kind: str = "") -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" class="{kind}"/>'
    )


def arrow(*points: tuple[float, float]) -> str:
    way = " L ".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path d="M {way}" marker-end="url(#tip)"/>'


def finish(title: str, height: float, shapes: list[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}\n</style>",
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M 0 0 L 8 4 L 0 8 z"/></marker>',
            *shapes,
            "</svg>\n",
        ]
    )


def read_floors() -> dict[int, list[str]]:
    """The rooms of each floor, from the top, as the table of docs/architecture.md has them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (`[^|]+`) \|", text.split("## Words")[0], re.MULTILINE)
    return {int(floor): re.findall(r"`(\w+)`", rooms) for floor, rooms in rows}


def draw_rooms() -> str:
    """Floors from the top; the rooms of one that do not fit beside each other go on below."""
    shapes, y, band = [write(20, 24, "imports point down only", "small")], 40.0, ""
    for floor, rooms in read_floors().items():
        _, kind, words = next(one for one in BANDS if floor >= one[0])
        if kind != band:
            band, y = kind, y + 8
            shapes.append(write(WIDTH - 12, y + 20, words, "small", "end"))
        x = 56.0
        shapes.append(write(40, y + 20, str(floor), "head", "end"))
        for room in rooms:
            width = 8.4 * len(room) + 18
            if x + width > WIDTH - 150:
                x, y = 56.0, y + 36
            shapes += [
                frame(x, y, width, 30, kind),
                write(x + width / 2, y + 20, room, "code", "middle"),
            ]
            x += width + 8
        y += 38
    shapes.append(arrow((14, 40), (14, y - 12)))
    return finish("The rooms of steadystack, floor by floor", y, shapes)


def draw_pair() -> str:
    """Down on the left, over to a worker and down there, back, and on; numbers are steps."""
    left, right, width, step = 40, 440, 280, 62
    shapes: list[str] = []

    def column(x: float, top: float, boxes: tuple[tuple[str, str, str], ...], kind: str) -> float:
        for index, (number, name, words) in enumerate(boxes):
            y = top + index * step
            shapes.append(frame(x, y, width, 44, kind))
            shapes.append(write(x + 10, y + 27, number, "small"))
            shapes.append(write(x + 38, y + 18, name, "head"))
            shapes.append(write(x + 38, y + 35, words, "small"))
            if index:
                shapes.append(arrow((x + width / 2, y - step + 44), (x + width / 2, y)))
        return top + len(boxes) * step

    shapes += [
        write(left, 24, "the process that runs", "head"),
        write(right, 24, "a worker", "head"),
    ]
    below = column(left, 44, LAID_OUT, "c")
    first = 44 + step * (len(LAID_OUT) - 1)
    end = column(right, first, ON_A_WORKER, "a")
    back = end - step + 22
    bottom = column(left, end - step, AFTERWARDS, "b")
    shapes.append(arrow((left + width, first + 22), (right, first + 22)))
    shapes.append(arrow((right, back), (left + width, back)))
    shapes.append(write(left + width + 60, first + 14, "numbers", "small", "middle"))
    shapes.append(write(left + width + 60, back - 8, "numbers", "small", "middle"))
    shapes.append(write(left, below + 20, "Images never travel: a worker opens", "small"))
    shapes.append(write(left, below + 36, "its own data, and returns numbers.", "small"))
    shapes.append(frame(right - 14, first - 14, width + 28, end - first + 10, "lane"))
    return finish("The life of a pair, from its row to the shifts dataset", bottom, shapes)


DRAWINGS = {"rooms.svg": draw_rooms, "pair.svg": draw_pair}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "drawings")
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (folder / name).write_text(draw(), encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
