"""Audits a vocabulary: tokens that no text gives, doubled tokens, special tokens that aren't special, and the like."""

from __future__ import annotations

import collections
import dataclasses
import html
import itertools
import pathlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gputok import normalizers
from gputok.audit.embeddings import read_embeddings, unseen
from gputok.audit.unreachable import encoded, not_made
from gputok.checks import short
from gputok.pipeline.decode_ids import bytes_by_id
from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gputok.pipeline.pipeline import Pipeline

__all__ = ["Audit", "Found"]

CHECKS = {
    "unreachable": "no text gives them: of its own text, the model makes other tokens",
    "cut": "not found in any text that was tried: the steps before the model cut or change their text",
    "partial": "no UTF-8 by themselves: parts of characters",
    "like special": "look like special tokens, but are ordinary tokens of the model, which any text can contain",
    "not special": "look like special tokens, but are added without `special`: decode shows them, and text can forge them",
    "doubled": "several tokens stand for the same bytes",
    "normalized": "the normalizer changes them to the text of another token",
    "white space": "long white space",
    "gaps": "ids without a token",
    "unseen": "their embeddings are as those of tokens that no training text had (Land and Bartolo 2024)",
}
"""Name -> what is wrong with the tokens that the check finds."""


@public("gputok.audit")
class Found(NamedTuple):
    """A token that a check found.

    Attributes:
        id: its id, or the first id of a gap.
        token: its text in the vocabulary; "" in a gap.
        note: more for people, such as the tokens that its text becomes.
        text: the text that it stands for; None: its bytes are no UTF-8.
    """

    id: int
    token: str
    note: str = ""
    text: str | None = None

    @property
    def shown(self) -> str:
        """The text as a literal of Python; for bytes that are no UTF-8, the token."""
        return short(self.token if self.text is None else self.text) if self.token else ""


@public("gputok.audit")
@dataclasses.dataclass(frozen=True, repr=False)
class Audit:
    """What is odd in a vocabulary (`Tokenizer.audit`): `print` shows it, and so does a notebook.

    Attributes:
        n_tokens: the number of tokens of the tokenizer.
        found: the name of a check -> the tokens that it found, by rising id.
    """

    n_tokens: int
    found: dict[str, list[Found]]

    def ids(self, *checks: str) -> list[int]:
        """Returns the ids of tokens that some checks found; without names, all checks but "gaps"."""
        names = checks or [name for name in self.found if name != "gaps"]
        return sorted({one.id for name in names for one in self.found[name]})

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON values."""
        checks = {name: [one._asdict() for one in found] for name, found in self.found.items()}
        return {"tokens": self.n_tokens, "found": checks}

    def __str__(self) -> str:
        lines = [f"{self.n_tokens:,} tokens"]
        for name, found in self.found.items():
            lines += ["", f"{name}: {len(found):,}" + (f" {CHECKS[name]}" if found else "")]
            lines += [f"  {one.id:>7}  {one.shown}  {one.note}".rstrip() for one in found[:_FEW]]
            lines += [f"  and {len(found) - _FEW:,} more"] if len(found) > _FEW else []
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Audit: {', '.join(f'{name} {len(found):,}' for name, found in self.found.items())}>"

    def to_html(self) -> str:
        """Returns a page with all that was found, in the style of reports."""
        style = (pathlib.Path(__file__).parents[1] / "report" / "style.css").read_text(encoding="utf-8")
        style += "th, td, td code { overflow-wrap: break-word; } th, td { text-align: left; }"
        style += "summary { padding: 4px 0; cursor: pointer; }"
        head = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Audit of a tokenizer</title>'
        )
        body = f"<main><h1>Audit of a tokenizer</h1><section>{self._repr_html_()}</section></main>"
        return f"{head}<style>{style}</style>{body}</html>\n"

    def _repr_html_(self) -> str:
        parts: list[str] = []
        for name, found in self.found.items():
            rows = "".join(
                f"<tr><td>{one.id}</td><td><code>{html.escape(one.shown)}</code></td>"
                f"<td>{html.escape(one.note)}</td></tr>"
                for one in found
            )
            what = f"<summary><b>{name}</b>: {len(found):,} {html.escape(CHECKS[name]) if found else ''}</summary>"
            parts.append(f"<details>{what}<table>{rows}</table></details>")
        return f'<div class="gputok-audit"><p>{self.n_tokens:,} tokens</p>{"".join(parts)}</div>'


_FEW = 10
"""The text shows so many tokens of each check."""
_LONG = 16
"""White space of so many characters is long."""
_SPECIAL = re.compile(
    r"<[|｜].+[|｜]>|\[(CLS|SEP|PAD|UNK|MASK|BOS|EOS|INST|/INST)\]|</?(s|unk|pad|mask|bos|eos|sep|cls)>"
)
"""What no ordinary text has."""
_ADDED_AS_SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Z][A-Z0-9_]*\]")
"""What added tokens have that control a model."""


def audit(pipeline: Pipeline, embeddings: Any = None, tensor: str | None = None) -> Audit:
    """Audits a vocabulary; `Tokenizer.audit` says more.

    Args:
        pipeline: the parts of the tokenizer.
        embeddings: the input or output embeddings of a model, or None.
        tensor: which tensor of a file of several.

    Returns:
        What was found.
    """
    names, added = dict(pipeline.model.vocabulary.names), pipeline.added.tokens
    names |= {id: token.content for id, token in added.items()}
    raw = bytes_by_id(pipeline)
    data = {id: raw[id] or b"" for id in sorted(names)}
    if embeddings is None and tensor is not None:
        raise ValueError(f"tensor={tensor!r}: give embeddings, the file with this tensor")
    matrix = None if embeddings is None else read_embeddings(embeddings, tensor, max(names, default=-1) + 1)

    def found(ids: Iterable[int], note: Callable[[int], Any] = lambda _: "") -> list[Found]:
        return [Found(id, names[id], note(id), _text(data[id])) for id in sorted(ids)]

    unmade = not_made(pipeline, data)
    normalized = _normalized(pipeline, names, data)
    judged = [id for id in data if id not in added and id not in unmade and id not in normalized]
    cut = encoded(pipeline, {id: data[id] for id in judged if id != pipeline.unknown_id})
    kinds = _kinds(pipeline, names, data)
    ids_of: dict[Any, list[int]] = collections.defaultdict(list)
    for id, kind in kinds.items():
        ids_of[kind].append(id)
    doubled = {id: ids for ids in ids_of.values() if len(ids) > 1 for id in ids if id not in unmade}
    white = [id for id, text in data.items() if len(text) >= _LONG and not text.decode(errors="replace").strip()]
    checks = {
        "unreachable": found(unmade, unmade.get),
        "cut": found(cut, cut.get),
        "partial": found(id for id in judged if _text(data[id]) is None),
        "like special": found(
            id for id in data if id not in added and _SPECIAL.fullmatch(names[id]) and id != pipeline.unknown_id
        ),
        "not special": found(
            id for id, one in added.items() if _ADDED_AS_SPECIAL.fullmatch(one.content) and not one.special
        ),
        "doubled": found(doubled, lambda id: f"as id {', '.join(str(one) for one in doubled[id] if one != id)}"),
        "normalized": found(normalized, normalized.get),
        "white space": found(white, lambda id: f"{len(data[id].decode(errors='replace'))} characters"),
        "gaps": [*_gaps(sorted(names), 0 if matrix is None else len(matrix))],
    }
    if matrix is not None:
        known = {*unmade, *(id for first, last in _ranges(sorted(names), len(matrix)) for id in range(first, last))}
        rows = {id: note for id, note in unseen(matrix, known).items() if id in names and id not in unmade}
        checks["unseen"] = found(rows, rows.get)
    return Audit(len(names), checks)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _normalized(pipeline: Pipeline, names: dict[int, str], data: dict[int, bytes]) -> dict[int, str]:
    """The tokens whose text the normalizer makes that of another token, and which one."""
    # Those left out change the ends of a text, or write spaces as ▁: what they do to a token alone tells nothing
    steps = [] if pipeline.normalizer is None else pipeline.normalizer.leaves()
    steps = [
        step for step in steps if not isinstance(step, normalizers.Prepend | normalizers.Replace | normalizers.Strip)
    ]
    kinds = _kinds(pipeline, names, data)
    ids = {kind: id for id, kind in kinds.items()}
    asked = [id for id, text in data.items() if id not in pipeline.added.tokens and text and _text(text) is not None]
    pieces = Pieces.from_batch(TextBatch.from_strings([data[id].decode() for id in asked]))
    for step in steps:
        pieces = step.apply(pieces)
    found: dict[int, str] = {}
    for id, text in zip(asked, spell_out(pieces).strings(), strict=True):
        other = ids.get((text.encode(), *kinds[id][1:])) if text.encode() != data[id] else None
        if other is not None:
            found[id] = f"becomes {short(names[other])} (id {other})"
    return found


def _kinds(pipeline: Pipeline, names: dict[int, str], data: dict[int, bytes]) -> dict[int, tuple[bytes, bool, bool]]:
    """The bytes of each token that has some, and where in a word it may stand."""
    prefix = getattr(pipeline.model, "continuing_subword_prefix", None) or "\0"
    suffix = getattr(pipeline.model, "end_of_word_suffix", None) or "\0"
    return {id: (text, names[id].startswith(prefix), names[id].endswith(suffix)) for id, text in data.items() if text}


def _ranges(ids: list[int], n_rows: int) -> Iterator[tuple[int, int]]:
    """The ranges first:last of ids without a token, up to a number of rows."""
    for before, after in itertools.pairwise([-1, *ids, max(n_rows, ids[-1] + 1 if ids else 0)]):
        if before + 1 < after:
            yield before + 1, after


def _gaps(ids: list[int], n_rows: int) -> Iterator[Found]:
    for first, last in _ranges(ids, n_rows):
        yield Found(first, "", f"to {last - 1}, {last - first:,} ids" if last - first > 1 else "")
