"""Elastic tab stops, as Go's text/tabwriter sets them: a column is as wide as the cells of neighbouring lines. Pure.

Called by describe, whose layout kubectl leaves to the same algorithm.
"""

from __future__ import annotations

PADDING = 2


def align(text: str) -> str:
    """`text` with its tabs turned into spaces; no line keeps blanks at its end."""
    lines = [line.split("\t") for line in text.split("\n")]
    aligned: list[str] = []
    _format(lines, 0, len(lines), [], aligned)
    return "\n".join(aligned)


def _format(lines: list[list[str]], start: int, end: int, widths: list[int], out: list[str]) -> None:
    column = len(widths)
    here = start
    while here < end:
        if column >= len(lines[here]) - 1:  # the last cell of a line belongs to no column
            here += 1
            continue
        _print(lines[start:here], widths, out)
        start = here
        while here < end and column < len(lines[here]) - 1:
            here += 1
        width = max(len(line[column]) for line in lines[start:here]) + PADDING
        _format(lines, start, here, [*widths, width], out)
        start = here
    _print(lines[start:end], widths, out)


def _print(lines: list[list[str]], widths: list[int], out: list[str]) -> None:
    for cells in lines:
        padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)]
        out.append("".join([*padded, cells[-1]]).rstrip())
