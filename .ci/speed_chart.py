"""Draws the chart of the README from the first two tables of its section "How fast".

    python .ci/speed_chart.py

Writes speed-light.svg and speed-dark.svg into .github/images, and narrow ones, in one column, for phones. A group of
bars is a row of a table, a bar a package.
"""

from __future__ import annotations

import html
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "images"
THEMES = {
    "light": {"text": "#1f2328", "soft": "#59636e", "line": "#d1d9e0", "ours": "#0969da", "others": "#afb8c1"},
    "dark": {"text": "#f0f6fc", "soft": "#9198a1", "line": "#3d444d", "ours": "#4493f8", "others": "#656c76"},
}
TITLES = {"train": "Train: byte-level BPE, 32,000 tokens", "encode": "Encode: text to arrays of ids"}
PANEL, LABELS, BAR, GAP = 430, 108, 13, 16  # pixels


def tables(readme: str) -> dict[str, dict[str, dict[str, float]]]:
    """MB/s by task, text and package. A row with a size has seconds, any other MB/s."""
    section = readme.split("## How fast\n")[1]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for task, table in zip(TITLES, re.findall(r"(?:^\|.*\n)+", section, re.M), strict=False):
        peers, _, *rows = ([cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.splitlines())
        found[task] = {}
        for text, *cells in rows:
            name, _, size = text.partition(", ")
            numbers = [float(size.split()[0]) / float(cell) if size else float(cell) for cell in cells]
            found[task][name] = dict(zip(peers[1:], numbers, strict=True))
    return found


def panel(task: str, groups: dict[str, dict[str, float]], colours: dict[str, str]) -> tuple[list[str], int]:
    """The bars of one task, and the height that they take."""
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
            shown = f"{rate:.0f}" if rate >= 9.5 else f"{rate:.2g}"
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


def chart(by_task: dict[str, dict[str, dict[str, float]]], colours: dict[str, str], *, narrow: bool) -> str:
    """The whole picture; narrow: the tasks stand below each other."""
    panels = [panel(task, groups, colours) for task, groups in by_task.items()]
    heights = [height for _, height in panels]
    width = PANEL + 20 if narrow else len(panels) * (PANEL + 12)
    height = (sum(heights) if narrow else max(heights)) + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="MB of text per second, longer is better">',
        "<style>text { font: 11px -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif } "
        ".title { font-size: 13px; font-weight: 600 }</style>",
    ]
    for i, (parts, _) in enumerate(panels):
        place = f"8 {sum(heights[:i])}" if narrow else f"{8 + i * (PANEL + 12)} 0"
        lines += [f'<g transform="translate({place})">', *parts, "</g>"]
    said = "MB of text per second, 2 threads; longer is better"
    lines += [f'<text x="8" y="{height - 6}" fill="{colours["soft"]}">{said}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def charts() -> dict[pathlib.Path, str]:
    """The pictures by their paths."""
    found = tables((ROOT / "README.md").read_text(encoding="utf-8"))
    return {
        FOLDER / f"speed-{'narrow-' if narrow else ''}{theme}.svg": chart(found, colours, narrow=narrow)
        for theme, colours in THEMES.items()
        for narrow in (False, True)
    }


if __name__ == "__main__":
    for path, picture in charts().items():
        path.write_text(picture, encoding="utf-8")
