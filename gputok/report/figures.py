"""The figures of a report: long series as few points, tables as text, charts by matplotlib."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.files.arrow import needing
from gputok.lazy import public
from gputok.models.bpe.tables import positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gputok.models.bpe.model import BPE
    from gputok.report import Report
    from gputok.types import Counts, Positions

_POINTS = 120  # points of a curve: few enough to average out the noise, many enough for every bend
_SINGLE = 5  # each of the first values has its own point


@public("gputok.report")
class CompressionCurve(NamedTuple):
    """How many tokens a text has by vocabulary size.

    Attributes:
        vocab_sizes: int64[n], from the size without merges to that of the tokenizer.
        n_tokens: int64[n], the tokens of the text with each size.
        n_bytes: the bytes of the text.
    """

    vocab_sizes: Positions
    n_tokens: Counts
    n_bytes: int

    def bytes_per_token(self, vocab_size: int) -> float:
        """Returns the bytes of the text for each token, with a vocabulary of this size."""
        at = int(np.searchsorted(self.vocab_sizes, vocab_size))
        if at == len(self.vocab_sizes) or self.vocab_sizes[at] != vocab_size:
            raise ValueError(f"{vocab_size:,} is not a size from {self.vocab_sizes[0]:,} to {self.vocab_sizes[-1]:,}")
        return self.n_bytes / max(int(self.n_tokens[at]), 1)


def tokens_by_merge(model: BPE) -> tuple[Positions, Positions]:
    """Returns the tokens (positions in the vocabulary) that merges make, by rising rank, and their first ranks."""
    tokens, first = np.unique(positions(model)[2], return_index=True)
    order = np.argsort(first)
    return tokens[order], first[order]


def curve(values: np.ndarray) -> list[list[float]]:
    """Smooths a series to about a hundred points [number, mean value]; the values are numbered from 1.

    Points are spaced evenly on a logarithmic scale; each point has the mean of the values from its number up to the
    next point. On such a scale, ten thousand merges share a few millimetres of the chart, and their differences are
    noise.

    >>> curve(np.array([9, 5, 4]))
    [[1, 9], [2, 5], [3, 4]]
    """
    n = len(values)
    if not n:
        return []
    numbers = np.unique(np.geomspace(1, n, min(n, _POINTS)).round().astype(np.int64))
    numbers = np.union1d(numbers, np.arange(1, min(n, _SINGLE) + 1))
    sums = np.add.reduceat(values.astype(np.float64), numbers - 1)
    means = sums / np.diff(np.append(numbers, n + 1))
    return [[number, _short(mean)] for number, mean in zip(numbers.tolist(), means.tolist(), strict=True)]


def compression(sizes: np.ndarray, n_tokens: np.ndarray, n_bytes: int) -> list[list[float]]:
    """Takes about a hundred points [size, bytes a token] of a `CompressionCurve`, for a logarithmic scale of sizes.

    >>> compression(np.array([2, 3, 4]), np.array([8, 5, 4]), 8)
    [[2, 1], [3, 1.6], [4, 2]]
    """
    n = len(sizes)
    at = np.unique(np.searchsorted(sizes, np.geomspace(max(sizes[0], 1), max(sizes[-1], 1), _POINTS)).clip(0, n - 1))
    each = n_bytes / np.maximum(n_tokens[at], 1)
    return [[size, _short(value)] for size, value in zip(sizes[at].tolist(), each.tolist(), strict=True)]


def _short(value: float) -> float:
    """Converts a whole number to int, and rounds any other number to five digits."""
    return int(value) if value.is_integer() else float(f"{value:.5g}")


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Makes a line of each row of a table, with its columns under each other; left: columns that begin at the left.

    >>> aligned([("name", "n"), ("a", "12")])
    ['name   n', 'a     12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return ["  ".join(side(cell, n) for side, cell, n in zip(sides, row, widths, strict=True)) for row in rows]


_COLOURS = ("#2a78d6", "#d9541e", "#14885d", "#7a4fc4", "#b88400", "#b03a7a")
_LONGEST = 32  # bytes of the tokens at which the histograms end; longer tokens are rare


def draw(report: Report) -> dict[str, Any]:
    """Draws the figures of a report: name -> Figure. They are not registered with pyplot, so they need no `close`."""
    figures = {"compression": _figure(8, 1.2 + 0.4 * len(report.tokenizers)), "lengths": _figure(8, 3.2)}
    _compression(report, figures["compression"])
    _lengths(report, figures["lengths"])
    if curves := {one.name: one.merge_counts for one in report.tokenizers if one.merge_counts is not None}:
        figures["merges"] = _figure(5, 3.4)
        _curves(report, figures["merges"], curves, "merges along training", "times applied to the text")
    figures["usage"] = _figure(5, 3.4)
    ranked = {one.name: np.sort(one.usage)[::-1] for one in report.tokenizers}
    _curves(report, figures["usage"], ranked, "tokens, most frequent first", "times in the text")
    figures["scripts"] = _figure(8, 1.2 + 0.3 * len(report.text.scripts))
    _scripts(report, figures["scripts"])
    if curves:
        by_size = {one.name: one.compression_curve() for one in report.tokenizers if one.name in curves}
        figures["sizes"] = compression_by_size(by_size, _colours(report))
    return figures


def compression_by_size(curves: Mapping[str, Any], colours: Mapping[str, str] | None = None) -> Any:
    """Draws bytes a token by vocabulary size; curves: the `CompressionCurve` of each text or tokenizer."""
    figure = _figure(6, 3.6)
    axes = _plain(figure.subplots(), "both")
    for i, (name, curve_of) in enumerate(curves.items()):
        colour = colours[name] if colours else _COLOURS[i % len(_COLOURS)]
        sizes, each = zip(*compression(*curve_of), strict=True)
        axes.semilogx(sizes, each, color=colour, label=name)
    axes.set(xlabel="tokens of the vocabulary", ylabel="bytes a token", ylim=0)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _figure(width: float, height: float) -> Any:
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_matplotlib() -> None:
    """Raises ImportError, with the extra to install, if figures can't be drawn."""
    with needing("figures need matplotlib: pip install 'gputok[plot]'"):
        import matplotlib.figure  # noqa: F401


def save(figure: Any, path: str | os.PathLike[str], kind: str) -> None:
    """Writes a figure as svg, png or pdf: the same bytes each time."""
    import matplotlib as mpl

    no_date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context({"svg.hashsalt": "gputok"}):
        figure.savefig(path, format=kind, metadata=no_date)


def _colours(report: Report) -> dict[str, str]:
    return {one.name: _COLOURS[i % len(_COLOURS)] for i, one in enumerate(report.tokenizers)}


def _plain(axes: Any, grid: str) -> Any:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e4e3dc", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _compression(report: Report, figure: Any) -> None:
    colours, names = _colours(report), [one.name for one in report.tokenizers][::-1]
    measured = {one.name: one for one in report.tokenizers}
    shown = {"bytes a token (more is shorter)": "bytes_per_token", "tokens a word": "tokens_per_word"}
    for axes, (title, value) in zip(figure.subplots(1, 2, sharey=True), shown.items(), strict=True):
        _plain(axes, "x")
        widths = [getattr(measured[name], value) for name in names]
        bars = axes.barh(names, widths, color=[colours[name] for name in names], height=0.6)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.margins(x=0.15)
        axes.set_title(title, fontsize=10)


def _lengths(report: Report, figure: Any) -> None:
    colours = _colours(report)
    for which, (axes, title) in enumerate(zip(figure.subplots(1, 2), ("vocabulary", "text"), strict=True)):
        _plain(axes, "y")
        for one in report.tokenizers:
            counts = one.length_histogram()[which]
            shares = 100 * counts / max(counts.sum(), 1)
            axes.plot(np.arange(len(counts))[:_LONGEST], shares[:_LONGEST], color=colours[one.name], label=one.name)
        axes.set(title=f"tokens of the {title}", xlabel="bytes", ylabel="%", ylim=0)
    _legend(report, figure.axes[0])


def _curves(report: Report, figure: Any, curves: dict[str, np.ndarray], x: str, y: str) -> None:
    colours, axes = _colours(report), _plain(figure.subplots(), "both")
    for name, values in curves.items():
        numbers, means = np.array(curve(values), np.float64).reshape(-1, 2).T
        axes.loglog(numbers[means > 0], means[means > 0], color=colours[name], label=name, linewidth=1.5)
    axes.set(xlabel=x, ylabel=y)
    _legend(report, axes)


def _scripts(report: Report, figure: Any) -> None:
    colours, axes, n = _colours(report), _plain(figure.subplots(), "x"), len(report.tokenizers)
    rows = np.arange(len(report.text.scripts))[::-1]
    for i, one in enumerate(report.tokenizers):
        shares = 100 * one.script_covered / report.text.script_characters
        axes.barh(rows - (i - (n - 1) / 2) * 0.8 / n, shares, 0.8 / n, color=colours[one.name], label=one.name)
    axes.set_yticks(rows, report.text.scripts)
    axes.set(xlabel="% of the characters that are one token by themselves", xlim=(0, 100))
    _legend(report, axes)


def _legend(report: Report, axes: Any) -> None:
    if len(report.tokenizers) > 1:
        axes.legend(frameon=False, fontsize=9)
