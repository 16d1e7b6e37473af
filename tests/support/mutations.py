"""Seeded mutations of texts and folders, and a guard against what never ends."""

from __future__ import annotations

import shutil
import signal
from contextlib import contextmanager

LONGEST_S = 20
ODD = (
    "", "~", "[]", "{}", "[[[]]]", "{a: {b: {c: [1]}}}", "-1", "0", "0.5", "1e400", ".inf", "-.inf",
    ".nan", "9" * 400, "9" * 5000, "010", "1:30", "yes", "'\u202e\U0001f600 ö'", "\u2028", '"\\0"',
    '"\\uD800"', "&a [*a]", "*nowhere", "!!int x", "!!python/object:a.b {}", "2026-99-99", "- 1",
    "[1, 2, 3]", "'3 um'", "x" * 10000, "|", ">", "'", '"', "\t", "\0", "\x07", "? [a]\n: 1",
    "<<: 3",
)  # fmt: skip


@contextmanager
def no_hang():
    """Fail if the block takes longer than `LONGEST_S`, instead of waiting for it."""

    def stop(*_):
        raise AssertionError(f"it took longer than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _mutate_line(lines, rng):
    """Delete, double, move, retype, indent, cut or join a line."""
    place, other = (int(n) for n in rng.integers(0, len(lines), 2))
    line = lines[place]
    match rng.integers(8):
        case 0:
            del lines[place]
        case 1:
            lines.insert(other, line)
        case 2:
            lines[place], lines[other] = lines[other], line
        case 3 | 4:
            lines[place] = f"{line.split(':')[0]}: {ODD[rng.integers(len(ODD))]}"
        case 5:
            lines[place] = " " * int(rng.integers(1, 5)) + line
        case 6:
            lines[place] = line[: int(rng.integers(0, len(line) + 1))]
        case _:
            lines[place] = line + ODD[rng.integers(len(ODD))]


def _mutate_content(content, rng):
    """Flip a bit, cut out, double or overwrite some bytes."""
    place = int(rng.integers(0, max(len(content), 1)))
    length = int(rng.integers(1, 20))
    piece = content[place : place + length]
    match rng.integers(4):
        case 0 if content:
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(rng.integers(8))
            return bytes(flipped)
        case 1:
            return content[:place] + content[place + length :]
        case 2:
            return content[:place] + piece * int(rng.integers(2, 400)) + content[place:]
        case _:
            return content[:place] + rng.bytes(length) + content[place + length :]


def mutate_text(text, rng):
    """A text with one to three mutations, as bytes: most of lines, some of bytes."""
    lines = text.split("\n")
    content = None
    for _ in range(rng.integers(1, 4)):
        if content is None and rng.random() < 0.75 and lines:
            _mutate_line(lines, rng)
        else:
            joined = "\n".join(lines).encode("utf-8", "surrogatepass")
            content = _mutate_content(joined if content is None else content, rng)
    return "\n".join(lines).encode("utf-8", "surrogatepass") if content is None else content


def mutate_folder(folder, rng):
    """Damage a file in a folder: a bit, its end, all of it, or put another in its place."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file, other = (files[int(n)] for n in rng.integers(0, len(files), 2))
    match rng.integers(5):
        case 0:
            file.unlink()
        case 1:
            shutil.copyfile(other, folder / "copy")
            (folder / "copy").replace(file)
        case 2:
            content = file.read_bytes()
            file.write_bytes(content[: int(rng.integers(0, len(content) + 1))])
        case _:
            flipped = bytearray(file.read_bytes())
            if flipped:
                flipped[rng.integers(len(flipped))] ^= 1 << int(rng.integers(8))
            file.write_bytes(flipped)
