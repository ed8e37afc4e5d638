"""Audits a vocabulary: tokens that no text gives, doubled tokens, special tokens that aren't special, and the like."""

from __future__ import annotations

import collections
import dataclasses
import html
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gputok import normalizers
from gputok.checks import short
from gputok.decoders import is_byte_token
from gputok.lazy import public
from gputok.models import Model
from gputok.models.bpe.model import BPE
from gputok.models.unigram.model import Unigram
from gputok.models.wordpiece.model import WordPiece
from gputok.pipeline.decode_ids import bytes_by_id
from gputok.pipeline.encode.units import engine_of
from gputok.pipeline.pipeline import Pipeline
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import Pieces, TextBatch, spell_out

__all__ = ["Audit", "Found"]

CHECKS = {
    "unreachable": "no text gives them: of its own text, the model makes other tokens",
    "cut": "not found in any text that was tried: the steps before the model cut or change their text",
    "partial": "no UTF-8 by themselves: parts of characters",
    "like special": "look like special tokens, but are ordinary tokens of the model, which any text can contain",
    "not special": "look special, but are added without `special`: decode shows them, and text can forge them",
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
        style = (pathlib.Path(__file__).parent / "report" / "style.css").read_text(encoding="utf-8")
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
"""The most tokens of each check that the text shows."""
_LONG = 16
"""The fewest characters of white space that is long."""
_SPECIAL = re.compile(
    r"<[|｜].+[|｜]>|\[(CLS|SEP|PAD|UNK|MASK|BOS|EOS|INST|/INST)\]|</?(s|unk|pad|mask|bos|eos|sep|cls)>"
)
"""Matches tokens such as `<|endoftext|>`, `[CLS]` or `</s>`, which no ordinary text has."""
_ADDED_AS_SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Z][A-Z0-9_]*\]")
"""Matches added tokens such as `<tool>` or `[INST]`: of this form are those that control a model."""


def audit(pipeline: Pipeline, embeddings: Any = None, tensor: str | None = None) -> Audit:
    """Audits a vocabulary, as `Tokenizer.audit` says."""
    names, added = dict(pipeline.model.vocabulary.names), pipeline.added.tokens
    names |= {id: token.content for id, token in added.items()}
    raw = bytes_by_id(pipeline)
    data = {id: raw[id] or b"" for id in sorted(names)}
    if embeddings is None and tensor is not None:
        raise ValueError(f"tensor={tensor!r}: give embeddings, the file with this tensor")
    matrix = None if embeddings is None else read_embeddings(embeddings, tensor, max(names, default=-1) + 1)

    def found(ids: Iterable[int], note: Callable[[int], Any] = lambda _: "") -> list[Found]:
        return [Found(id, names[id], note(id), _text(data[id])) for id in sorted(ids)]

    unmade, kinds = not_made(pipeline, data), _kinds(pipeline, names, data)
    normalized = _normalized(pipeline, names, data, kinds)
    ordinary = [id for id in data if id not in added]
    judged = [id for id in ordinary if id not in unmade and id not in normalized]
    cut = encoded(pipeline, {id: data[id] for id in judged if id != pipeline.unknown_id})
    ids_of: dict[Any, list[int]] = collections.defaultdict(list)
    for id, kind in kinds.items():
        ids_of[kind].append(id)
    doubled = {id: ids for ids in ids_of.values() if len(ids) > 1 for id in ids if id not in unmade}
    white = [id for id, text in data.items() if len(text) >= _LONG and not text.decode(errors="replace").strip()]
    gaps = [*_ranges(sorted(names), 0 if matrix is None else len(matrix))]
    checks = {
        "unreachable": found(unmade, unmade.get),
        "cut": found(cut, cut.get),
        "partial": found(id for id in judged if _text(data[id]) is None),
        "like special": found(id for id in ordinary if _SPECIAL.fullmatch(names[id]) and id != pipeline.unknown_id),
        "not special": found(id for id in added if not added[id].special and _ADDED_AS_SPECIAL.fullmatch(names[id])),
        "doubled": found(doubled, lambda id: f"as id {', '.join(str(one) for one in doubled[id] if one != id)}"),
        "normalized": found(normalized, normalized.get),
        "white space": found(white, lambda id: f"{len(data[id].decode(errors='replace'))} characters"),
        "gaps": [Found(a, "", f"to {b - 1}, {b - a:,} ids" if b - a > 1 else "") for a, b in gaps],
    }
    if matrix is not None:
        known = {*unmade, *(id for first, last in gaps for id in range(first, last))}
        rows = {id: note for id, note in unseen(matrix, known).items() if id in names and id not in unmade}
        checks["unseen"] = found(rows, rows.get)
    return Audit(len(names), checks)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _normalized(
    pipeline: Pipeline, names: dict[int, str], data: dict[int, bytes], kinds: dict[int, tuple[bytes, bool, bool]]
) -> dict[int, str]:
    """Finds the tokens whose text the normalizer changes to the text of another token: id -> a note with this token."""
    # Left out: steps that change the ends of a text, or write spaces as ▁. A token alone doesn't show what they do
    left_out = normalizers.Prepend | normalizers.Replace | normalizers.Strip
    steps = [] if pipeline.normalizer is None else pipeline.normalizer.leaves()
    ids = {kind: id for id, kind in kinds.items()}
    asked = [id for id, text in data.items() if id not in pipeline.added.tokens and text and _text(text) is not None]
    pieces = Pieces.from_batch(TextBatch.from_strings([data[id].decode() for id in asked]))
    for step in steps:
        pieces = pieces if isinstance(step, left_out) else step.apply(pieces)
    found: dict[int, str] = {}
    for id, text in zip(asked, spell_out(pieces).strings(), strict=True):
        other = ids.get((text.encode(), *kinds[id][1:])) if text.encode() != data[id] else None
        if other is not None:
            found[id] = f"becomes {short(names[other])} (id {other})"
    return found


def _kinds(pipeline: Pipeline, names: dict[int, str], data: dict[int, bytes]) -> dict[int, tuple[bytes, bool, bool]]:
    """Returns id -> (bytes, if its name has the prefix of tokens inside words, if the suffix of last tokens)."""
    prefix = getattr(pipeline.model, "continuing_subword_prefix", None) or "\0"
    suffix = getattr(pipeline.model, "end_of_word_suffix", None) or "\0"
    return {id: (text, names[id].startswith(prefix), names[id].endswith(suffix)) for id, text in data.items() if text}


def _ranges(ids: list[int], n_rows: int) -> Iterator[tuple[int, int]]:
    """Yields the ranges first:last of ids without a token: between sorted ids, and after them up to `n_rows`."""
    for before, after in itertools.pairwise([-1, *ids, max(n_rows, ids[-1] + 1 if ids else 0)]):
        if before + 1 < after:
            yield before + 1, after


def not_made(pipeline: Pipeline, data: dict[int, bytes]) -> dict[int, str]:
    """Finds the tokens that no text gives: id -> why. Added tokens and the unknown token are never among them.

    A token is in the tokens of some word only if the model makes this token of the token's text alone: in BPE, no merge
    crosses its borders in the word, so the same pairs are merged inside as without the rest of the word; in Unigram, a
    part of a best path is a best path; in WordPiece, the longest match at its start is the token. So the model encodes
    the text of each token, without the steps before the model: this is exact, whatever those steps do.
    """
    model: Any = pipeline.model
    found: dict[int, str] = {}
    asked: dict[int, str] = {}
    # BPE without an unknown token removes bytes that are no tokens. So bytes meet that no text has side by side
    removes = isinstance(model, BPE) and model.unk_token is None
    removes = removes and any(model.token_to_id(byte) is None for byte in BYTE_CHARACTERS)
    for id, token in model.vocabulary.names.items():
        if id in pipeline.added.tokens or id == pipeline.unknown_id:
            continue
        if getattr(model, "byte_fallback", False) and is_byte_token(token):
            character = chr(int(token[3:5], 16))
            if not can_be_text(data[id]):
                found[id] = "no text in UTF-8 has this byte"
            elif character.isascii() and model.token_to_id(character) is not None:
                found[id] = f"the character {character!r} is a token itself"
        elif not all(map(can_be_text, [bytes([byte]) for byte in data[id]] if removes else [data[id]])):
            found[id] = "no text in UTF-8 has these bytes"
        else:
            asked[id] = token
    for id, tokens in _others(model, asked).items():
        found[id] = f"its text becomes {tokens}"
    return found


def _others(model: Model, asked: dict[int, str]) -> dict[int, str]:
    """Finds the tokens whose text the model encodes as other tokens: id -> these tokens, as text."""
    match model:
        case BPE():
            # ignore_merges: a word that is a token becomes it. `encoded` tries if the steps before make such words
            if model.ignore_merges:
                return {}
            # A prefix or a suffix depends on where a token stands in a word, so its text alone tells nothing
            if model.continuing_subword_prefix or model.end_of_word_suffix:
                return {}
            merging = model.with_first_merges(len(model.merges))
            merging.sentencepiece = model.sentencepiece
            return _differing(merging, asked)
        case WordPiece():
            prefix = model.continuing_subword_prefix
            inside = {id: token for id, token in asked.items() if prefix and token.startswith(prefix)}
            whole = {id: token for id, token in asked.items() if id not in inside}
            found = _differing(model, whole)
            left = inside
            starts = sorted(whole.values(), key=len)[:_STARTS] if left else []
            more = sorted((token[len(prefix) :] for token in inside.values()), key=len)[:_AFTER]
            for start in [*starts, *(start + one for start in starts[:_AFTER] for one in more)]:
                words = {id: start + token[len(prefix) :] for id, token in left.items()}
                differing = _differing(model, words, part=True)
                left = {id: token for id, token in left.items() if id in differing}
            return found | dict.fromkeys(left, "other tokens after any token that begins a word")
        case Unigram():
            hidden = {*(model.sentencepiece or ())}
            return _differing(model, {id: token for id, token in asked.items() if id not in hidden})
    return {}


_STARTS = 1000
"""How many tokens that begin words, the shortest, are tried before a token that stands inside words, such as `##s`."""
_AFTER = 20
"""How many of these are also tried with another token in between: with each of this many short tokens."""


def _differing(model: Model, words: dict[int, str], *, part: bool = False) -> dict[int, str]:
    """Finds the words (id -> text) that don't become the token of their id (`part`: among others): id -> the tokens."""
    batch = TextBatch.from_strings(words.values())
    ids, rows = model.encode_words(batch.data, batch.offsets[:-1], batch.offsets[1:], byte_level=False)
    return _without(ids, rows, [*words], model.vocabulary.names, part=part)


def _without(ids: Any, rows: Any, wanted: list[int], names: Any, *, part: bool) -> dict[int, str]:
    """Finds rows that lack their wanted id or, without `part`, have others beside it: wanted id -> the row as text."""
    owner = np.repeat(np.arange(len(wanted)), np.diff(rows))
    has = np.zeros(len(wanted), bool)
    has[owner[np.asarray(ids) == np.array(wanted, np.int64)[owner]]] = True
    if not part:
        has &= np.diff(rows) == 1
    found: dict[int, str] = {}
    for i in np.flatnonzero(~has).tolist():
        tokens = [names.get(id, "") for id in ids[rows[i] : rows[i + 1]].tolist()]
        found[wanted[i]] = " + ".join(tokens[:_SHOWN]) + (" + …" if len(tokens) > _SHOWN else "") or "nothing"
    return found


_SHOWN = 6
"""The most tokens that a note shows."""


def encoded(pipeline: Pipeline, data: dict[int, bytes]) -> dict[int, str]:
    """Encodes the text of each token (`data`) between others (`_AROUND`): id -> a note, if no result has the token."""
    texts = {id: text for id, raw in data.items() if (text := _text(raw)) is not None}
    found: dict[int, str] = dict.fromkeys(texts, "")
    engine, names = engine_of(pipeline), pipeline.names.texts
    for before, after in _AROUND:
        some = {id: before + texts[id].removeprefix("" if before else " ") + after for id in found}
        try:
            ids, rows = engine.encode(TextBatch.from_strings(some.values()))
        except ValueError:  # the model has no token for a character before or after
            continue
        missing = _without(ids, rows, [*some], names, part=True)
        found = {id: said or missing[id] for id, said in found.items() if id in missing}
    return {id: f"its text becomes {said}" for id, said in found.items()}


_AROUND = [("", ""), *((side, "") for side in "x\n aeZ0"), *((side, side) for side in "x.\n 1"), ("", "\n\n")]
"""(before, after): what is put around the text of a token. If `before` is empty, a space at its start is left out."""


# All ways in which a part of a text may begin within a character: first bytes of characters of 2, 3 and 4 bytes
_HEADS = (b"", b"\xc2", b"\xe1", b"\xe1\x80", b"\xf1", b"\xf1\x80", b"\xf1\x80\x80")


def can_be_text(data: bytes) -> bool:
    r"""Can bytes be a part of a text in UTF-8?

    >>> [can_be_text(data) for data in (b"a", b"\x80\x80", b"\xe4\xbd", b"\xff", b"\xed\xa0", b"\x80" * 4)]
    [True, True, True, False, False, False]
    """
    for head in _HEADS:
        whole = head + data
        try:
            whole.decode()
            return True
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data" and error.end == len(whole):
                return True
    return False


_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_NAMES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight", "embed_in.weight")


def read_embeddings(given: Any, tensor: str | None, n_ids: int) -> Any:
    """Reads embeddings, float32[n_rows, n_dimensions]; tensor: a name in a .safetensors file, None: one of `_NAMES`."""
    shown = str(given) if isinstance(given, str | os.PathLike) else "embeddings"
    if tensor is not None and not shown.endswith(".safetensors"):
        raise ValueError(f"tensor={tensor!r}: only a .safetensors file has tensors with names, not {shown}")
    if isinstance(given, str | os.PathLike):
        path = pathlib.Path(given)
        found = _safetensors(path, tensor) if path.suffix == ".safetensors" else _npy(path)
    else:
        found = np.asarray(given)
    if found.ndim != 2 or found.dtype.kind != "f":
        kind = f"{found.dtype}{list(found.shape)}"
        raise ValueError(f"{shown}: embeddings are an array of two dimensions, of floats, not {kind}")
    if len(found) < n_ids:
        why = f"ids of the tokenizer go up to {n_ids - 1:,}: it is of another model"
        raise ValueError(f"{shown}: has {len(found):,} rows, but {why}")
    return found.astype(np.float32, copy=False)


def _npy(path: pathlib.Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: expected a .npy or a .safetensors file") from None


def _safetensors(path: pathlib.Path, tensor: str | None) -> Any:
    """Reads a tensor of a .safetensors file, which is a length in 8 bytes, JSON of that length, and the numbers."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            head = json.loads(file.read(length) if length <= size else b"")
            tables = {name: one for name, one in head.items() if name != "__metadata__" and len(one["shape"]) == 2}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"{path}: is no .safetensors file") from None
        usual = [name for name in tables if name.endswith(_NAMES)] or ([*tables] if len(tables) == 1 else [])
        chosen = tensor if tensor is not None else usual[0] if len(usual) == 1 else None
        if chosen not in tables or tables[chosen].get("dtype") not in _DTYPES:
            listed = ", ".join([*tables][:8])
            raise ValueError(f"{path}: name the tensor of the embeddings by tensor= (--tensor), of {listed or 'none'}")
        (rows, columns), (first, last) = tables[chosen]["shape"], tables[chosen]["data_offsets"]
        dtype = np.dtype(_DTYPES[tables[chosen]["dtype"]])
        if last - first != rows * columns * dtype.itemsize or 8 + length + last > size:
            raise ValueError(f"{path}: the tensor {chosen} is cut off")
        file.seek(8 + length + first)
        found = np.frombuffer(file.read(last - first), dtype).reshape(rows, columns)
    if tables[chosen]["dtype"] == "BF16":  # the upper half of a float32
        return (found.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return found


def unseen(matrix: Any, known: set[int]) -> dict[int, str]:
    """Finds the rows that training never saw: row -> its distance to the reference, as text.

    Land and Bartolo 2024 (arXiv 2405.05417): the rows of tokens that no training text had lie close together, since
    only weight decay, or the same push away from every prediction, moved them. The reference is the mean of rows that
    surely were never seen (`known`: ids without a token, tokens that no text gives). Rows within a limit are found: the
    distance within which 95 % of the known rows lie, but at most the median distance of all rows. With fewer than three
    known rows, the reference is 0, and the limit is six median deviations below the median.
    """
    rows = np.array(sorted(known), np.int64)
    has_reference = len(rows) >= _FEWEST
    center = matrix[rows].mean(axis=0) if has_reference else np.zeros(matrix.shape[1], np.float32)
    # In parts: the difference of all rows would take as much memory as they do
    starts = range(0, len(matrix), _ROWS)
    distance = np.concatenate([np.linalg.norm(matrix[at : at + _ROWS] - center, axis=1) for at in starts])
    middle = float(np.median(distance))
    if has_reference:
        limit = min(float(np.quantile(distance[rows], 0.95)), middle)
    else:
        limit = middle - 6 * float(np.median(np.abs(distance - middle)))
    what = f"the mean of {len(rows):,} rows never seen" if has_reference else "0"
    near = np.flatnonzero(distance <= limit).tolist()
    return {i: f"{distance[i]:.4g} from {what}; the median row: {middle:.4g}" for i in near}


_FEWEST, _ROWS = 3, 4096
