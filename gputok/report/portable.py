"""Tokenizers as JSON, for tokenizer.js, which tokenizes text that is typed in the page of a report.

The JSON has the steps of a tokenizer as data: patterns as the tables of their automata, and character maps as rules for
code points, so that results do not depend on the browser's Unicode. Normalization forms such as NFC are the browser's.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from gputok import models, normalizers, pre_tokenizers
from gputok.automaton import PATTERNS, compile_pattern
from gputok.automaton.pattern import matcher
from gputok.automaton.patterns import SPLITS
from gputok.checks import short
from gputok.normalizers import Normalizer
from gputok.pipeline.pipeline import Pipeline
from gputok.pre_tokenizers import BEHAVIORS, PreTokenizer, cut_rule
from gputok.text.unicode_maps import SPACED, character_map, grapheme_classes
from gputok.types import Array

MOST_BYTES = 5_000_000
"""A tokenizer whose JSON is longer stays out of the page."""

_MAPS = ("lowercase", "strip_accents", "nmt", "bert_clean", "bert_chinese", "bert_clean_chinese", "bert_marks")
_MAPS += ("bert_marks_lowercase",)
_OTHER_PATTERNS = (" {2,}", *SPLITS[0])  # of T5 and XLM-RoBERTa; and the three of DeepSeek V3

Step = list[Any]
"""The name of a step in tokenizer.js, and its arguments."""


class NotPortable(Exception):
    """Raised if a tokenizer cannot be in the page; the message says why."""


def portable(pipeline: Pipeline, most_bytes: int | None = MOST_BYTES) -> dict[str, Any]:
    """Makes the JSON form of a tokenizer for the page, without post-processor, truncation and padding.

    Raises NotPortable if tokenizer.js lacks one of its steps, or the JSON form has more than `most_bytes` bytes.
    """
    kit: dict[str, Any] = {"added": _added(pipeline), "normalizer": _normalizer(pipeline.normalizer)}
    kit |= {"splits": _splits(pipeline.pre_tokenizer), "model": _model(pipeline.model)}
    size = len(json.dumps(kit, ensure_ascii=False, separators=(",", ":")).encode())
    if most_bytes is not None and size > most_bytes:
        most = f"{most_bytes / 1e6:.1f} MB of most_bytes= (--most-bytes)"
        raise NotPortable(f"it takes {size / 1e6:.1f} MB, more than the {most}")
    return kit


def parts() -> dict[str, Any]:
    """Makes the parts from which opening.js builds the steps of a tokenizer.json: maps, known patterns, cut rules."""
    p = pre_tokenizers
    words = {"Whitespace": p.Whitespace(), "WhitespaceSplit": p.WhitespaceSplit(), "Punctuation": p.Punctuation()}
    words |= {"BertPreTokenizer": p.BertPreTokenizer(), "UnicodeScripts": p.UnicodeScripts()}
    words |= {"Digits true": p.Digits(True), "Digits false": p.Digits(False)}
    return {
        "maps": {name: _character_map(name) for name in _MAPS},
        "graphemes": [*map(_runs, grapheme_classes())],
        "gpt2": PATTERNS["gpt2"],
        "patterns": {text: _automaton(compile_pattern(text)) for text in (*PATTERNS.values(), *_OTHER_PATTERNS)},
        "words": {name: _cut(step) for name, step in words.items()},
        "rules": {
            f"{name} {str(invert).lower()}": [part.astype(int).tolist() for part in cut_rule(behavior, invert)]
            for behavior, name in BEHAVIORS.items()
            for invert in (False, True)
        },
    }


def _added(pipeline: Pipeline) -> list[list[Any]]:
    """Lists the added tokens found in raw text, and those found in normalized text: [text, id, lstrip, rstrip] each."""
    found: list[list[Any]] = [[], []]
    added = pipeline.added
    verbatim = added.special if added.encode_special_tokens else set[str]()
    if 0 < len(verbatim & {*added.ids}) < len(added.ids):
        raise NotPortable("it encodes special tokens as text, and has other added tokens, which these may hide")
    for token_id, token in added.tokens.items():
        if token.content in verbatim:
            continue
        if token.single_word:
            raise NotPortable(f"its added token {short(token.content)} is looked for as a whole word")
        text = added.pattern(token_id)
        if text:
            found[token.normalized].append([text, token_id, token.lstrip, token.rstrip])
    return found


def _normalizer(step: Normalizer | None) -> list[Step]:
    n = normalizers
    match step:
        case None:
            return []
        case n.Sequence():
            return [part for one in step.normalizers for part in _normalizer(one)]
        case n.NFC() | n.NFD() | n.NFKC() | n.NFKD():
            return [["form", type(step).__name__]]
        case n.Lowercase() | n.StripAccents() | n.Nmt():
            names = {n.Lowercase: "lowercase", n.StripAccents: "strip_accents", n.Nmt: "nmt"}
            return [_character_map(names[type(step)])]
        case n.BertNormalizer():
            return [["form", "NFD"] if name == "nfd" else _character_map(name) for name in step.maps()]
        case n.Prepend():
            return [["prepend", step.prepend]]
        case n.Replace():
            return [["replace", _automaton(matcher(step.pattern)), step.content]]
        case n.Strip():
            return [["strip", step.strip_left, step.strip_right]]
        case n.Precompiled():
            return [["precompiled", step.to_dict()["precompiled_charsmap"], *map(_runs, grapheme_classes())]]
    raise NotPortable(f"its normalizer has a {type(step).__name__}")


def _character_map(name: str) -> Step:
    """Writes a character map: runs of equal rules (see tokenizer.js) over all code points; texts of rules 3, 4, ..."""
    table = character_map(name)
    raw, offsets = table.text.tobytes(), table.offsets.tolist()
    texts = [raw[a:b].decode() for a, b in itertools.pairwise(offsets)][SPACED + 1 :]
    return ["map", _runs(table.member[table.page]), texts]


def _splits(step: PreTokenizer | None) -> list[Step]:
    p = pre_tokenizers
    match step:
        case None:
            return []
        case p.Sequence():
            return [part for one in step.pretokenizers for part in _splits(one)]
        case p.ByteLevel():
            space = [["space"]] if step.add_prefix_space else []
            return [*space, *([_cut(step)] if step.use_regex else []), ["bytes"]]
        case p.Metaspace():
            return [["metaspace", step.replacement, step.prepend_scheme, step.split]]
    return [_cut(step)]


def _cut(step: PreTokenizer) -> Step:
    cut = step.cut()
    if cut is None:
        raise NotPortable(f"its pre-tokenizer has a {type(step).__name__}")
    cuts, drop = cut_rule(cut.behavior, cut.invert)
    return ["cut", _automaton(cut.matcher), [cuts.astype(int).tolist(), drop.astype(int).tolist()]]


def _automaton(machine: Any) -> dict[str, Any]:
    if not isinstance(machine, tuple):
        raise NotPortable(f"its pattern {short(machine.pattern)} has no automaton")
    page, member, delta, accept = (np.asarray(part) for part in machine[1:5])
    member = member.copy()
    ascii_page = np.append(member, [machine[0]], axis=0)  # machine[0] is the table of ASCII
    page = page.copy()
    page[0] = len(member)
    tables = {"page": page, "member": ascii_page, "delta": delta, "accept": accept}
    return {"classes": delta.shape[1] - 1, **{name: _runs(table) for name, table in tables.items()}}


def _runs(values: Array) -> list[int]:
    """Writes an array, row by row, as [length, value, length, value, ...]."""
    flat = np.asarray(values, np.int64).ravel()
    starts = np.append(0, np.flatnonzero(np.diff(flat)) + 1)
    lengths = np.diff(np.append(starts, len(flat)))
    return np.column_stack([lengths, flat[starts]]).ravel().tolist()


def _model(model: Any) -> dict[str, Any]:
    if len(model.vocabulary.shared):
        raise NotPortable("two of its tokens have the same id")
    ids = model.vocabulary.ids
    tokens: dict[str, Any] = {"tokens": list(model.vocabulary.tokens)}
    if not np.array_equal(ids, np.arange(len(ids))):
        tokens["ids"] = ids.tolist()
    match model:
        case models.BPE():
            return tokens | _bpe(model)
        case models.Unigram():
            if model.sentencepiece is not None:
                raise NotPortable("it has SentencePiece's own arithmetic")
            if model.unk_id is None:
                raise NotPortable("it has no unknown token")
            scores = np.asarray(model.scores, np.float64).tolist()
            fallback = {"byteFallback": model.byte_fallback}
            return tokens | {"type": "unigram", "scores": scores, "unk": model.unk_id} | fallback
        case models.WordPiece():
            limits = {"maxChars": model.max_input_chars_per_word, "unk": _known(model)}
            return tokens | {"type": "wordpiece", "prefix": model.continuing_subword_prefix} | limits
        case models.WordLevel():
            return tokens | {"type": "wordlevel", "unk": _known(model)}
    raise NotPortable(f"its model is a {type(model).__name__}")


def _bpe(model: models.BPE) -> dict[str, Any]:
    if model.dropout:
        raise NotPortable("its dropout is random")
    if model.sentencepiece:
        raise NotPortable("it has SentencePiece's own ranks")
    merges, unknown = np.asarray(model.merges)[:, :2].ravel(), None if model.unk_token is None else _known(model)
    affixes = {"prefix": model.continuing_subword_prefix or "", "suffix": model.end_of_word_suffix or ""}
    flags = {"fuseUnk": model.fuse_unk, "byteFallback": model.byte_fallback, "ignoreMerges": model.ignore_merges}
    return {"type": "bpe", "merges": merges.tolist(), "unk": unknown, **affixes, **flags}


def _known(model: Any) -> str:
    """Returns the unknown token; raises NotPortable if the vocabulary lacks it."""
    if model.unk_token is None or model.token_to_id(model.unk_token) is None:
        raise NotPortable(f"its unknown token {short(model.unk_token)} is not in the vocabulary")
    return model.unk_token
