"""Which tokens no text gives.

A token is in the tokens of some word only if the model makes this token of its text alone: in BPE, no merge crosses its
borders in the word, so what is merged inside is what is merged without the rest; in Unigram, a part of a best path is a
best path; in WordPiece, the longest match at its start is the token. So the model is asked for the tokens of each token's
own text, without the steps before it: this is exact, whatever those steps do.

What those steps cut or change is tried: a token that is found in no text of a few, made of its own text, is named, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.decoders import is_byte_token
from gputok.models.bpe.model import BPE
from gputok.models.unigram.model import Unigram
from gputok.models.wordpiece.model import WordPiece
from gputok.pipeline.encode.units import engine_of
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from gputok.models import Model
    from gputok.pipeline.pipeline import Pipeline


def not_made(pipeline: Pipeline, data: dict[int, bytes]) -> dict[int, str]:
    """Finds the tokens that no text gives.

    Args:
        pipeline: the parts of the tokenizer.
        data: the bytes of each token.

    Returns:
        The id of each such token -> why. Added tokens and the unknown token are none of them.
    """
    model: Any = pipeline.model
    found: dict[int, str] = {}
    asked: dict[int, str] = {}
    # Where a model removes bytes that are no tokens, others meet that are apart in each text
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
    """The tokens whose text a model makes other tokens of, and which."""
    match model:
        case BPE():
            # Words that are tokens are these tokens (ignore_merges), but only as whole words: `encoded` tries these
            if model.ignore_merges:
                return {}
            # Affixes depend on where a token stands in a word; without unknown tokens, unknown characters are removed
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
            more = sorted((token[len(prefix) :] for token in inside.values()), key=len)[:_FEW]
            for start in [*starts, *(start + one for start in starts[:_FEW] for one in more)]:
                words = {id: start + token[len(prefix) :] for id, token in left.items()}
                differing = _differing(model, words, part=True)
                left = {id: token for id, token in left.items() if id in differing}
            return found | dict.fromkeys(left, "other tokens after any token that begins a word")
        case Unigram():
            hidden = {*(model.sentencepiece or ())}
            return _differing(model, {id: token for id, token in asked.items() if id not in hidden})
    return {}


_STARTS = 1000
"""So many tokens that begin words, the shortest ones, are tried before a token that stands inside of words."""
_FEW = 20
"""And so many of these with so many tokens after them."""


def _differing(model: Model, words: dict[int, str], *, part: bool = False) -> dict[int, str]:
    """The words whose tokens aren't the one with their id (`part`: don't have it among them), and these tokens."""
    batch = TextBatch.from_strings(words.values())
    ids, rows = model.encode_words(batch.data, batch.offsets[:-1], batch.offsets[1:], byte_level=False)
    return _without(ids, rows, [*words], model.vocabulary.names, part=part)


def _without(ids: Any, rows: Any, wanted: list[int], names: Any, *, part: bool) -> dict[int, str]:
    """The wanted ids that their row of ids lacks, or, without `part`, has others beside, and the names of the row."""
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
"""A note shows so many tokens."""


def encoded(pipeline: Pipeline, data: dict[int, bytes]) -> dict[int, str]:
    """Finds the tokens that are in none of a few texts with their own text, and what this text becomes.

    Args:
        pipeline: the parts of the tokenizer.
        data: the bytes of the tokens that are asked for; those that are no text are left out.
    """
    texts: dict[int, str] = {}
    for id, raw in data.items():
        try:
            texts[id] = raw.decode()
        except UnicodeDecodeError:
            continue
    found: dict[int, str] = dict.fromkeys(texts, "")
    engine, names = engine_of(pipeline), pipeline.names.texts
    for before, after in _AROUND:
        some = {id: before + texts[id].removeprefix("" if before else " ") + after for id in found}
        try:
            ids, rows = engine.encode(TextBatch.from_strings(some.values()))
        except ValueError:  # the model knows no token for a character around
            continue
        missing = _without(ids, rows, [*some], names, part=True)
        found = {id: said or missing[id] for id, said in found.items() if id in missing}
    return {id: f"its text becomes {said}" for id, said in found.items()}


_AROUND = [("", ""), *((side, "") for side in "x\n aeZ0"), *((side, side) for side in "x.\n 1"), ("", "\n\n")]
"""What stands around a token in the texts that are tried. Without anything before, a space at the start is left out."""


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
