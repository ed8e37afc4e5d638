"""The special tokens around each text: which ones a post-processor and a user ask for, and putting them there."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.encoding.rows import DTYPES, NO_SPELLING, Columns, Rows, merge
from gputok.files.json_text import read_object
from gputok.kernels.signatures import NamedTuple
from gputok.processors import process_rows

if TYPE_CHECKING:
    import os

    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array


class Ends(NamedTuple):
    """Ids to put around each document, besides those of the post-processor."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    skips_empty: bool = False  # True: a document without ids gets none of these

    def around(self, around: list[list[int]]) -> list[list[int]]:
        """Adds the ids to those of `ids_around`, unless the post-processor adds the same ids there.

        >>> Ends((7,), (9,)).around([[7], []])
        [[7], [9]]
        """
        wider = [list(ids) for ids in around]
        if tuple(wider[0][: len(self.first)]) != self.first:
            wider[0] = [*self.first, *wider[0]]
        if self.last and tuple(wider[-1][-len(self.last) :]) != self.last:
            wider[-1] = [*wider[-1], *self.last]
        return wider


class Frame:
    """The special tokens that a post-processor puts around every text, or around the texts of every pair.

    Attributes:
        around: for the special tokens before the first text, then for those after each text: a dictionary, attribute of
            `Encoding` -> their values.
        n_special: the number of special tokens.
        packed: column of `Encoding` -> the values of the special tokens before the first text; and, for each text, the
            value of each of its tokens and the values of the special tokens after it. All are uint32 in bytes.
    """

    def __init__(self, around: list[dict[str, list[Any]]], texts: list[dict[str, Any]]) -> None:
        self.around = around
        self.packed: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {}
        self.before, self.after = around[0], around[-1]
        self.n_before = len(self.before["ids"])
        self.n_special = sum(len(some["ids"]) for some in around)
        for column, name in {"ids": "ids", "type_ids": "type_ids", "special": "special_tokens_mask"}.items():
            before, *after = (np.array(some[name], np.uint32).tobytes() for some in around)
            values = (np.uint32(text[name]).tobytes() for text in texts)
            self.packed[column] = before, [*zip(values, after, strict=True)]

    @classmethod
    def of(cls, pipeline: Pipeline, add_special_tokens: bool, type_ids: tuple[int, ...] = (0,)) -> Self | None:
        """Makes the frame; type_ids: of each text before post-processing; None: a text is lost, repeated or moved."""
        name = "frame", add_special_tokens, type_ids
        return pipeline.engines.once(name, lambda: cls._of(pipeline, add_special_tokens, type_ids))

    @classmethod
    def _of(cls, pipeline: Pipeline, add_special_tokens: bool, type_ids: tuple[int, ...]) -> Self | None:
        try:
            finished = _around_one_token(pipeline, add_special_tokens, type_ids)
        except ValueError:  # the post-processor refuses every text
            return None
        words = finished.word_ids
        if [word for word in words if word is not None] != [*range(len(type_ids))]:
            return None
        names = ("ids", "type_ids", "tokens", "special_tokens_mask", "attention_mask")
        found: dict[str, list[Any]] = {name: getattr(finished, name) for name in names}
        if found["attention_mask"] != [1] * len(words):
            return None
        at = [words.index(number) for number in range(len(type_ids))]
        edges = zip([0, *(i + 1 for i in at)], [*at, len(words)], strict=True)
        around = [{name: column[first:last] for name, column in found.items()} for first, last in edges]
        return cls(around, [{name: column[i] for name, column in found.items()} for i in at])


def ids_around(pipeline: Pipeline, add_special_tokens: bool) -> list[list[int]]:
    """Returns the ids that the post-processor adds: before the text, between its copies, and after the last copy.

    Most templates have the text once, so that the result has two lists; some leave it out, or repeat it.
    """
    finished = _around_one_token(pipeline, add_special_tokens)
    ids, words = finished.ids, finished.word_ids
    at = [-1, *(i for i, word in enumerate(words) if word is not None), len(ids)]
    return [ids[first + 1 : last] for first, last in itertools.pairwise(at)]


def _around_one_token(pipeline: Pipeline, add_special_tokens: bool, type_ids: tuple[int, ...] = (0,)) -> Encoding:
    """Returns what the post-processor makes of texts of one token, which stands for all tokens of a text.

    Only these tokens have a word, which is the number of the text; no post-processor changes it.
    """
    first, texts = np.zeros(1, np.int64), list[Rows]()
    for number, type_id in enumerate(type_ids):
        values = {**dict.fromkeys(DTYPES, 0), "attention": 1, "type_ids": type_id, "words": number}
        texts.append(Rows(Columns(1, **values), first, first + 1, NO_SPELLING, ("",)))
    return Encoding.of(merge(process_rows(pipeline.post_processor, texts, add_special_tokens)))


def surrounded(ids: Array, rows: Array, around: list[list[int]]) -> tuple[Array, Array]:
    """Adds the ids of `ids_around` to each row; returns ids uint32[n_ids] and the rows in them."""
    ids = ids.astype(np.uint32, copy=False)
    if len(around) == 2:
        from gputok.kernels.cpu.encode_corpus.rounds import surround

        before, after = (np.array(fixed, np.uint32) for fixed in around)
        return surround(ids, rows, before, after)
    lengths, n_copies = np.diff(rows), len(around) - 1
    wider = n_copies * rows + sum(map(len, around)) * np.arange(len(rows))
    whole, at = np.empty(wider[-1], np.uint32), wider[:-1].copy()
    for copy, fixed in enumerate(around):
        for token_id in fixed:
            whole[at] = token_id
            at += 1
        if copy < n_copies:
            whole[np.repeat(at - rows[:-1], lengths) + np.arange(len(ids))] = ids
            at += lengths
    return whole, wider


def surrounded_unless_empty(ids: Array, rows: Array, around: list[list[int]]) -> tuple[Array, Array]:
    """As `surrounded`, but rows without ids stay without."""
    has_ids = rows[1:] > rows[:-1]
    ids, wider = surrounded(ids, np.append(rows[:1], rows[1:][has_ids]), around)
    return ids, wider[np.append(0, np.cumsum(has_ids))]


# The end and begin tokens of pretraining of GPT-2 and its heirs, SentencePiece, Llama 3, Gemma, DeepSeek, and others.
_OWN = {
    "eos": ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "<｜end▁of▁sentence｜>", "[EOS]", "<EOS>"),
    "bos": ("<s>", "<|begin_of_text|>", "<bos>", "<|bos|>", "<｜begin▁of▁sentence｜>", "[BOS]", "<BOS>"),
}


def end_token(pipeline: Pipeline, role: str, given: bool | str | None) -> tuple[int, str] | None:
    """Returns id and text of a token that stands at an end of each document.

    role: "eos" or "bos", the name of the option; given: the text of a token; True: the tokenizer's own; None or False:
    no token. Raises ValueError if the tokenizer has no such token, or several of those that are usual; TypeError if
    `given` is another value.
    """
    if given is None or given is False:
        return None
    if given is True:
        found = own_tokens(pipeline, role)
        if len(found) != 1:
            several = f"several: {', '.join(found)}" if found else f"none of {', '.join(_OWN[role])}"
            raise ValueError(f"{role}: the tokenizer has {several}; name the token, as in {role}='</s>'")
        given = found[0]
    if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{role}={given!r}: expected a token, True, or None, got {type(given).__name__}")
    token_id = pipeline.token_to_id(given)
    if token_id is None:
        raise ValueError(f"{role}={given!r}: the tokenizer has no such token")
    return token_id, given


def own_tokens(pipeline: Pipeline, role: str) -> list[str]:
    """Returns the tokens of a tokenizer that are usual at an end of documents; role: "eos" or "bos"."""
    return [token for token in _OWN[role] if pipeline.token_to_id(token) is not None]


def configured(path: str | os.PathLike[str], role: str) -> str | None:
    """Returns the token that tokenizer_config.json beside a file names, or None; ValueError: it is no JSON object."""
    import pathlib

    config = pathlib.Path(path).with_name("tokenizer_config.json")
    token: Any = read_object(config, may_lack=True).get(f"{role}_token")
    token = getattr(token, "get", {"content": token}.get)("content")
    return token if isinstance(token, str) else None
