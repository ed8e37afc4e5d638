"""Reads and writes Mistral's `tekken.json`: special tokens have the first ids; byte-level tokens follow, by rank.

The format is defined by `mistral_common.tokens.tokenizers.tekken` (https://github.com/mistralai/mistral-common).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Sequence
from typing import Any

from gputok.checks import ID, WrongValue, checked, in_file, integer, listed, needed, optional, reading, short, string
from gputok.files.atomic import replacing
from gputok.formats.ranks import bytes_of
from gputok.formats.tiktoken import by_ranks, tiktoken_parts
from gputok.tokenizer import Tokenizer

_OLD_SPECIAL_TOKENS = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] "
    "[IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()
"""The special tokens of files that don't list them: those before version 11."""

_VERSIONS_WITHOUT_LIST = ("v1", "v2", "v3", "v7")
_MOST_SPECIAL = 100_000  # the largest number in Mistral's own files is 1,000


def from_tekken(source: str | os.PathLike[str] | bytes) -> Tokenizer:
    """Reads Mistral's `tekken.json` as a tokenizer that gives the same ids as `mistral_common`.

    Text that equals a special token is encoded as text, as in `mistral_common`: `encode_special_tokens` is set to True
    (which a saved tokenizer.json doesn't contain). Nothing is added to a text; set `post_processor` for that.

    Args:
        source: the path of a file, or its bytes.

    Returns:
        The tokenizer.

    Raises:
        ValueError: if the file is not a tekken.json, or contradicts itself.
    """
    data, name = bytes_of(source)
    with in_file(f"{name}: expected a tekken.json"):
        value = json.loads(data)
        pattern, n_special, n_ordinary = reading("config", _config, needed(value, "config"))
        given = reading("special_tokens", optional(listed(_special_token)), value.get("special_tokens"))
        entries = dict(reading("vocab", listed(_entry), needed(value, "vocab")))
    with in_file(name):
        special = _special_tokens(given, value["config"].get("version"), n_special)
        ranks = {token: n_special + rank for token, rank in entries.items() if rank < n_ordinary}
        if len(ranks) != n_ordinary or sorted(ranks.values()) != [*range(n_special, n_special + n_ordinary)]:
            raise ValueError(f"the vocabulary must contain each rank from 0 to {n_ordinary - 1} once")
        tokenizer = by_ranks(ranks, pattern, special, name)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _config(config: Any) -> tuple[str, int, int]:
    """The pattern, and the numbers of special and of other tokens."""
    pattern = checked("pattern", string, needed(config, "pattern"))
    n_special, size = (
        checked(name, integer(least, most), needed(config, name))
        for name, least, most in (("default_num_special_tokens", 0, _MOST_SPECIAL), ("default_vocab_size", 0, ID))
    )
    checked("version", optional(string), config.get("version"))
    if size < n_special:
        raise WrongValue(f"must be at least the {n_special} special tokens, not {size}", "default_vocab_size")
    return pattern, n_special, size - n_special


def _entry(entry: Any) -> tuple[bytes, int]:
    encoded, rank = needed(entry, "token_bytes"), needed(entry, "rank")
    try:
        token = base64.b64decode(checked("token_bytes", string, encoded), validate=True)
    except (ValueError, binascii.Error) as error:
        raise WrongValue(f"must be base64, not {short(encoded)} ({error})", "token_bytes") from None
    return token, checked("rank", integer(0, ID), rank)


def _special_token(token: Any) -> tuple[int, str]:
    rank, text = needed(token, "rank"), needed(token, "token_str")
    return checked("rank", integer(0, ID), rank), checked("token_str", string, text)


def _special_tokens(given: Sequence[tuple[int, str]] | None, version: Any, n_special: int) -> dict[str, int]:
    if given is None and version not in _VERSIONS_WITHOUT_LIST:
        raise ValueError(f"special_tokens is missing, which files of version {short(version)} must contain")
    names = dict(enumerate(_OLD_SPECIAL_TOKENS) if given is None else given)
    if not names.keys() <= set(range(n_special)) or len(set(names.values())) < len(given or names):
        raise ValueError(f"special_tokens must contain different texts of ranks from 0 to {n_special - 1}")
    return {names.get(rank, f"<SPECIAL_{rank}>"): rank for rank in range(n_special)}


def save_tekken(tokenizer: Tokenizer, path: str | os.PathLike[str], *, version: str = "v3") -> None:
    """Writes a `tekken.json`, with which `mistral_common` gives the same ids.

    Args:
        tokenizer: a byte-level BPE as for `gputok.save_tiktoken`. Its special tokens must have the first ids, and the
            256 bytes the ids after them, as in each tekken.json.
        path: the file to write, atomically; `mistral_common` expects "tekken" in its name, and `.json` at the end.
        version: the version of Mistral's tokenizers, on which the format of messages depends; ids of a text don't.

    Raises:
        ValueError: if `mistral_common` would give other ids; the message says why.
    """
    ranks, options = tiktoken_parts(tokenizer)
    special = sorted(options["special_tokens"].items(), key=lambda item: item[1])
    n = len(special)
    if [token_id for _, token_id in special] != [*range(n)] or [*ranks.values()] != [*range(n, n + len(ranks))]:
        wanted = f"a tekken.json numbers its {n} special tokens from 0, and the other tokens after them without gaps"
        has = f"the special tokens {short(dict(special[:3]))}, ..., and the other tokens from {min(ranks.values())} on"
        raise ValueError(f"{wanted}; this tokenizer has {has}")
    if [*ranks][:256] != (alphabet := [bytes([byte]) for byte in range(256)]):
        wrong = next(i for i in range(256) if [*ranks][i] != alphabet[i])
        found = f"in this tokenizer, token {wrong} after the special tokens is {short([*ranks][wrong])}"
        raise ValueError(f"in a tekken.json, the 256 bytes in order follow the special tokens; {found}")
    value = {
        "config": {
            "pattern": options["pat_str"],
            "num_vocab_tokens": len(ranks),
            "default_vocab_size": n + len(ranks),
            "default_num_special_tokens": n,
            "version": version,
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": _text(token)}
            for rank, token in enumerate(ranks)
        ],
        "special_tokens": [{"rank": rank, "token_str": token, "is_control": True} for token, rank in special],
        "version": 1,
        "type": "Tekken",
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def _text(token: bytes) -> str | None:
    """Decodes a token, or returns None if it is not UTF-8."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None
