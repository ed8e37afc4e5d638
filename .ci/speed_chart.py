"""Draws the chart of the README from what `gputok bench ... --json` printed.

    gputok bench train "English documentation.txt" --against gigabpe rustbpe tokenizers --json > train-1.json
    gputok bench encode "English documentation.txt" --against gigatoken tiktoken tokenizers --json > encode-1.json
    python .ci/speed_chart.py train-*.json encode-*.json

Writes speed-light.svg and speed-dark.svg into .github/images. A group of bars is a text, named by its file; a bar is the
median of a package's runs.
"""

from __future__ import annotations

import html
import json
import pathlib
import statistics
import sys

FOLDER = pathlib.Path(__file__).parents[1] / ".github" / "images"
THEMES = {
    "light": {"text": "#1f2328", "soft": "#59636e", "line": "#d1d9e0", "ours": "#0969da", "others": "#afb8c1"},
    "dark": {"text": "#f0f6fc", "soft": "#9198a1", "line": "#3d444d", "ours": "#4493f8", "others": "#656c76"},
}
TITLES = {"train": "Train: byte-level BPE, 32,000 tokens", "encode": "Encode: text to arrays of ids"}
WIDTH, PANEL, LABELS, BAR, GAP = 880, 430, 88, 13, 16  # pixels


def rates(comparison: dict) -> dict[str, float]:
    """MB/s of each package, gputok first."""
    medians = {row["peer"]: statistics.median(row["seconds"]) for row in comparison["rows"] if row["seconds"]}
    return {peer: comparison["n_bytes"] / 1e6 / seconds for peer, seconds in medians.items()}


def panel(task: str, comparisons: list[dict], colours: dict[str, str]) -> tuple[list[str], int]:
    """The bars of one task, and the height that they take."""
    groups = {pathlib.PurePath(found["text"]).stem: rates(found) for found in comparisons}
    longest = max(rate for group in groups.values() for rate in group.values())
    scale = (PANEL - LABELS - 70) / longest
    parts = [f'<text x="0" y="16" class="title" fill="{colours["text"]}">{TITLES[task]}</text>']
    y = 32
    for name, group in groups.items():
        parts.append(f'<text x="0" y="{y + 11}" fill="{colours["soft"]}">{html.escape(name)}</text>')
        y += 17
        line = f'<line x1="{LABELS}" x2="{LABELS}" y1="{y - 2}" y2="{y + len(group) * (BAR + 2)}" '
        parts.append(f'{line}stroke="{colours["line"]}"/>')
        for peer, rate in group.items():
            ours = peer == "gputok"
            length = max(1.0, rate * scale)
            shown = f"{rate:.0f}" if rate >= 9.5 else f"{rate:.1f}"
            weight = ' font-weight="600"' if ours else ""
            parts += [
                f'<text x="{LABELS - 6}" y="{y + 10}" text-anchor="end"{weight} fill="{colours["text"]}">{peer}</text>',
                f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR - 2}" rx="2" '
                f'fill="{colours["ours" if ours else "others"]}"/>',
                f'<text x="{LABELS + length + 5:.1f}" y="{y + 10}"{weight} fill="{colours["text"]}">{shown}</text>',
            ]
            y += BAR + 2
        y += GAP - 4
    return parts, y


def chart(by_task: dict[str, list[dict]], colours: dict[str, str]) -> str:
    """The whole picture."""
    panels = [panel(task, found, colours) for task, found in by_task.items()]
    height = max(height for _, height in panels) + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-label="MB of text per second, longer is better">',
        "<style>text { font: 11px -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif } "
        ".title { font-size: 13px; font-weight: 600 }</style>",
    ]
    for i, (parts, _) in enumerate(panels):
        lines += [f'<g transform="translate({8 + i * (PANEL + 12)} 0)">', *parts, "</g>"]
    threads = next(iter(by_task.values()))[0]["threads"]
    said = f"MB of text per second, {threads} threads; longer is better"
    lines += [f'<text x="8" y="{height - 6}" fill="{colours["soft"]}">{said}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def main(paths: list[str]) -> None:
    """Draws the chart of these results, light and dark."""
    found = [json.loads(pathlib.Path(path).read_text()) for path in paths]
    tasks = {task: [one for one in found if one["task"] == task] for task in TITLES}
    tasks = {task: comparisons for task, comparisons in tasks.items() if comparisons}
    FOLDER.mkdir(exist_ok=True)
    for theme, colours in THEMES.items():
        (FOLDER / f"speed-{theme}.svg").write_text(chart(tasks, colours), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
