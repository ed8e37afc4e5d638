"""Tells by its bytes which format a file of a tokenizer has, and what opens it; JSON is told only by the whole file."""

from __future__ import annotations

import json
import pathlib
import re

_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")

_FOLDER = "the folder that it is in, gputok.AutoTokenizer.from_pretrained"
OPENED_BY = {
    "gguf": "a GGUF file, which gputok.from_gguf opens",
    "sentencepiece": "a SentencePiece model, which gputok.from_sentencepiece opens",
    "tiktoken": "a tiktoken file, which gputok.from_tiktoken opens (tell it the pattern)",
    "tekken": "a tekken.json, which gputok.from_tekken opens",
    "vocabulary": "a vocabulary alone: with its merges.txt, gputok.models.BPE.from_file opens it, "
    f"without one gputok.models.WordLevel.from_file; {_FOLDER}",
    "merges": f"a list of merges: with its vocab.json, gputok.models.BPE.from_file opens it; {_FOLDER}",
    "tokens": f"a list of tokens, which gputok.models.WordPiece.from_file opens; {_FOLDER}",
    "settings": "the settings beside a tokenizer.json: gputok.AutoTokenizer.from_pretrained opens its folder",
}
"""Kind of file -> what it is, and what opens it."""


def kind_of(data: bytes, name: str = "") -> str | None:
    r"""The kind of a file, a key of OPENED_BY; None for any other, a tokenizer.json included.

    name: the name of the file, which counts where its data can't tell.

    >>> kind_of(b"IQ== 0\nIg== 1\n"), kind_of(b'{"version": "1.0", "model": {}}')
    ('tiktoken', None)
    """
    if data.startswith(b"GGUF"):
        return "gguf"
    if data.startswith(b"#version"):
        return "merges"
    if _TIKTOKEN.match(data):
        return "tiktoken"
    if data[:1] == b"{":
        return _kind_of_json(data)
    if _is_sentencepiece(data):
        return "sentencepiece"
    if pathlib.PurePath(name).name.endswith("vocab.txt"):
        return "tokens"
    return None


def _is_sentencepiece(data: bytes) -> bool:
    """Returns True if data begin with a piece (field 1) that has a text (its field 1) and a score (field 2)."""
    if len(data) < 4 or data[0] != 0x0A or data[2] != 0x0A:
        return False
    score = 4 + data[3]
    return data[score : score + 1] == b"\x15"


def _kind_of_json(data: bytes) -> str | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value.get("config"), dict) and "pattern" in value["config"]:
        return "tekken"
    if value and all(type(item) is int for item in value.values()):
        return "vocabulary"
    if "model" not in value and ("tokenizer_class" in value or "added_tokens_decoder" in value):
        return "settings"
    return None
