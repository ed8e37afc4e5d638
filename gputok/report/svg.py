"""A line chart as SVG, without matplotlib: bytes a token by vocabulary size."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from gputok.report.curves import compression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gputok.report.curves import CompressionCurve

_COLOURS = ("#2a78d6", "#d9541e", "#14885d", "#7a4fc4", "#b88400", "#b03a7a")
_STYLE = (
    "svg { background: #fff } text { font: 13px system-ui, sans-serif; fill: #1b1b19 } .grid { stroke: #dddcd5 } "
    "polyline { fill: none; stroke-width: 2 } "
    "@media (prefers-color-scheme: dark) { svg { background: #1f1f1d } text { fill: #efeee8 } .grid { stroke: #3a3935 } }"
)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _LINE = 640, 400, 56, 52, 20  # pixels
_TICKS = 6


def compression_by_size(curves: Mapping[str, CompressionCurve]) -> str:
    """Draws bytes a token by vocabulary size, on a logarithmic scale of sizes, for light and dark pages.

    Args:
        curves: of each text, by its name.

    Returns:
        The picture, a whole SVG file.
    """
    lines = {name: compression(*one) for name, one in curves.items()}
    top = 12 + _LINE * len(lines)
    points = [point for line in lines.values() for point in line] or [[1, 1]]
    least, most = min(x for x, _ in points), max(max(x for x, _ in points), min(x for x, _ in points) + 1)
    highest = max(max(y for _, y in points), 1e-9)

    def x(size: float) -> float:
        share = math.log(size / least) / math.log(most / least)
        return round(_LEFT + (_WIDTH - _LEFT - 24) * share, 1)

    def y(each: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - top) * each / highest, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img" aria-label="Bytes a token by vocabulary size"><style>{_STYLE}</style>'
    ]
    power = 10 ** math.floor(math.log10(highest / _TICKS))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= highest / _TICKS)
    for i in range(int(highest / step) + 1):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 24}" y1="{y(i * step)}" y2="{y(i * step)}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(i * step) + 4}" text-anchor="end">{i * step:.3g}</text>')
    sizes = [k * 10**exponent for exponent in range(12) for k in (1, 2, 5) if least <= k * 10**exponent <= most]
    parts += [
        f'<text x="{x(size)}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{size:,}</text>'
        for size in sizes or [least, most]
    ]
    middle = (_WIDTH + _LEFT) // 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">tokens of the vocabulary</text>')
    parts.append(f'<text x="{_WIDTH - 24}" y="17" text-anchor="end">bytes a token</text>')
    for i, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        shown = " ".join(f"{x(size)},{y(each)}" for size, each in line)
        parts.append(f'<polyline points="{shown}" stroke="{colour}"/>')
        parts.append(f'<rect x="{_LEFT}" y="{6 + i * _LINE}" width="12" height="12" rx="3" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 18}" y="{17 + i * _LINE}">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
