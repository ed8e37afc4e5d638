r"""Reads and writes tiktoken's files: a line for each token, with its bytes in base64 and its rank, which is its id.

The format is defined by `tiktoken.load.load_tiktoken_bpe` (https://github.com/openai/tiktoken). The file contains
neither the pattern that cuts text into words nor the special tokens; these are arguments.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from gputok import decoders, pre_tokenizers
from gputok.automaton import PATTERNS, compile_pattern
from gputok.automaton.pattern import Regex
from gputok.automaton.rust import from_rust, to_rust
from gputok.checks import short, unwrapped
from gputok.files.atomic import replacing
from gputok.formats.ranks import bpe_of, bytes_of, difference_to_ranks, merges_by_rank, tokens_without_merges
from gputok.kernels import Automaton
from gputok.models import BPE
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack

_CHARACTERS = dict(enumerate(BYTE_CHARACTERS))
"""Byte -> the character of the ByteLevel alphabet that stands for it."""
_BYTES = dict.fromkeys(range(256), "\uffff") | {ord(character): chr(byte) for byte, character in _CHARACTERS.items()}
"""Character of the ByteLevel alphabet -> the Latin-1 character of its byte; other Latin-1 characters -> U+FFFF."""


def from_tiktoken(
    source: Any, *, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
) -> Tokenizer:
    r"""Reads a tiktoken file, or converts a `tiktoken.Encoding`, to a tokenizer that gives the same ids.

    Special tokens are found in text, as with `allowed_special="all"`; set `encode_special_tokens` to True for
    `disallowed_special=()`. Nothing is added to a text; set `post_processor` for that.

    Args:
        source: the path of a file (`.tiktoken`, or Llama 3's `tokenizer.model`), its bytes, or a `tiktoken.Encoding`.
        pattern: the pattern that cuts text into words: a name from `gputok.automaton.PATTERNS` ("gpt2", "o200k",
            "llama3", ...), or a regular expression in the syntax of `tiktoken`. Needed for a file; an Encoding has one.
        special_tokens: a mapping of texts to ids. An Encoding has its own.

    Returns:
        The tokenizer.

    Raises:
        ValueError: if `source` is not such a file, contains a rank twice, or lacks one of the 256 bytes; if no pattern
            is given; or if `tokenizers` can't cut text as the pattern does: the message names the construct.

    Example:
        >>> ranks = "\n".join(f"{base64.b64encode(bytes([i])).decode()} {i}" for i in range(256)) + "\naGk= 256\n"
        >>> from_tiktoken(ranks.encode(), pattern="gpt2", special_tokens={"<end>": 257}).encode("hi <end>").ids
        [256, 32, 257]
    """
    if hasattr(source, "_mergeable_ranks"):  # a tiktoken.Encoding; it has no public name for its ranks
        ranks, name = source._mergeable_ranks, f"the encoding {source.name}"
        pattern = source._pat_str if pattern is None else pattern
        special_tokens = source._special_tokens if special_tokens is None else special_tokens
    else:
        data, name = bytes_of(source)
        ranks = read_ranks(data, name)
    if pattern is None:
        how = f"pass pattern=, one of {', '.join(PATTERNS)} or a regular expression"
        raise ValueError(f"{name}: a tiktoken file doesn't contain the pattern that cuts text; {how}")
    return by_ranks(ranks, pattern, special_tokens or {}, name)


def by_ranks(ranks: Mapping[bytes, int], pattern: str, special_tokens: Mapping[str, int], name: str) -> Tokenizer:
    """Makes a tokenizer from byte-level tokens and their ranks, which are their ids; errors begin with `name`."""
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(f"{name}: expected a token for each byte, but the byte 0x{missing[0]:02X} has none")
    taken: dict[int, str | bytes] = {}
    for token, rank in (*ranks.items(), *special_tokens.items()):
        if not 0 <= rank < 2**32 - 1:
            raise ValueError(f"{name}: the rank of {short(token)} must be from 0 to 2**32 - 2, not {rank}")
        if taken.setdefault(rank, token) != token:
            raise ValueError(f"{name}: {short(taken[rank])} and {short(token)} have the same rank, {rank}")
    tokens = [token.decode("latin-1").translate(_CHARACTERS) for token in ranks]
    special = sorted(special_tokens, key=special_tokens.__getitem__)
    if clash := {*tokens} & {*special}:
        raise ValueError(f"{name}: the special token {short(min(clash))} equals an ordinary token")
    ids = [*ranks.values()]
    # Added tokens get the next free ids. To have other ids, they must be tokens of the vocabulary as well.
    if [special_tokens[token] for token in special] != [*range(len(ranks), len(ranks) + len(special))]:
        tokens += special
        ids += map(special_tokens.__getitem__, special)
    vocabulary = Vocabulary(*pack(tokens), np.array(ids, np.uint32))
    ordinary = np.where(np.arange(len(ids)) < len(ranks), ids, -1)
    model = bpe_of(vocabulary, merges_by_rank(vocabulary, ordinary), ignore_merges=True)

    tokenizer = Tokenizer(model)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    regex, drops = PATTERNS.get(pattern), False
    if regex is None:
        regex = from_rust(pattern)
        drops = not _gapless(regex)  # tiktoken drops text between matches
    split = pre_tokenizers.Split(Regex(regex), "removed" if drops else "isolated", invert=drops)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def read_ranks(data: bytes, name: str) -> dict[bytes, int]:
    """Reads the tokens of a tiktoken file and their ranks; errors begin with `name`."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[binascii.a2b_base64(token, strict_mode=True)] = int(rank)
        except ValueError:  # binascii.Error is one
            wanted = "expected a tiktoken file, with a token in base64 and its rank on each line"
            raise ValueError(f"{name}: {wanted}, but line {number} is {short(line)}") from None
    if not ranks:
        raise ValueError(f"{name}: expected a tiktoken file, but the file is empty")
    return ranks


def save_tiktoken(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> dict[str, Any]:
    r"""Writes a tiktoken file, with which `tiktoken` gives the same ids.

    Args:
        tokenizer: a byte-level BPE, or an object with the attribute `backend_tokenizer`.
        path: the file to write, atomically.

    Returns:
        The options that the file cannot hold, `pat_str` and `special_tokens`, as `tiktoken.Encoding` takes them (see
        the example). The tokens that a post-processor adds to a text are not among them.

    Raises:
        ValueError: if `tiktoken` would give other ids; the message says why.

    Example:
        >>> import tempfile
        >>> import tiktoken, tiktoken.load
        >>> lines = b"".join(base64.b64encode(bytes([i])) + b" %d\n" % i for i in range(256))
        >>> tokenizer = from_tiktoken(lines, pattern="gpt2", special_tokens={"<end>": 256})
        >>> path = tempfile.mkdtemp() + "/mine.tiktoken"
        >>> options = save_tiktoken(tokenizer, path)
        >>> ranks = tiktoken.load.load_tiktoken_bpe(path)
        >>> tiktoken.Encoding("mine", mergeable_ranks=ranks, **options).encode("hi<end>", allowed_special="all")
        [104, 105, 256]
    """
    ranks, options = tiktoken_parts(tokenizer)
    lines = b"".join(base64.b64encode(token) + f" {rank}\n".encode() for token, rank in ranks.items())
    with replacing(path) as temporary:
        temporary.write_bytes(lines)
    return options


def tiktoken_parts(tokenizer: Tokenizer) -> tuple[dict[bytes, int], dict[str, Any]]:
    """Returns the tokens and their ranks, by rising rank, and the options that `save_tiktoken` returns."""
    tokenizer = unwrapped(tokenizer)
    model = tokenizer.model
    if not isinstance(model, BPE):
        raise _impossible(f"its model is a {type(model).__name__}, not a BPE")
    pattern = pattern_of(tokenizer)
    special: dict[str, int] = {}
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        if token.single_word or token.lstrip or token.rstrip:
            raise _impossible(f"the added token {short(token)} depends on the text around it")
        special[token.content] = token_id
    if model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix:
        raise _impossible("it has a dropout, a prefix or a suffix")
    tokens, ids = model.vocabulary.tokens, model.vocabulary.ids.astype(np.int64)
    ranks: dict[bytes, int] = {}
    for token, token_id in zip(tokens, ids.tolist(), strict=True):
        if token not in special:
            try:
                ranks[token.translate(_BYTES).encode("latin-1")] = token_id
            except UnicodeEncodeError:
                raise _impossible(f"{short(token)} does not consist of ByteLevel's characters") from None
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise _impossible(f"it has no token for the byte 0x{missing[0]:02X}")
    ordinary = np.array([-1 if token in special else id for token, id in zip(tokens, ids, strict=True)])
    if reason := difference_to_ranks(model, ordinary):
        raise _impossible(reason)
    if not model.ignore_merges and len(without_merges := tokens_without_merges(model, ordinary)):
        token = tokens[without_merges[0]]
        raise _impossible(f"no merges make {short(token)}, but tiktoken makes it a token if it is a word")
    return dict(sorted(ranks.items(), key=lambda item: item[1])), {"pat_str": pattern, "special_tokens": special}


def pattern_of(tokenizer: Tokenizer) -> str:
    """Returns a tokenizer's pattern in tiktoken's syntax; ValueError: it does more than one Split and ByteLevel."""
    if tokenizer.normalizer is not None:
        raise _impossible(f"it has a normalizer: {short(tokenizer.normalizer)}")
    steps = tokenizer.pre_tokenizer
    listed = [*steps.pretokenizers] if isinstance(steps, pre_tokenizers.Sequence) else [steps]
    *splits, last = listed or [None]
    if not isinstance(last, pre_tokenizers.ByteLevel):
        raise _impossible("its pre-tokenizer isn't ByteLevel, or a Sequence that ends with it")
    if last.add_prefix_space:
        raise _impossible("ByteLevel adds a space before the text (add_prefix_space=True)")
    if last.use_regex and not splits:
        return PATTERNS["gpt2"]
    split = splits[0] if len(splits) == 1 and not last.use_regex else None
    form = split.to_dict() if isinstance(split, pre_tokenizers.Split) else {}
    # tiktoken's words are the matches alone. A Split has the same words if it removes the text between matches, as in
    # GPT-4o's tokenizer.json. If it keeps that text, `to_rust` must extend the pattern to match that text, too.
    kept = form.get("behavior"), form.get("invert")
    if "Regex" not in form.get("pattern", {}) or kept not in (("Isolated", False), ("Removed", True)):
        split = "Split, isolated; or removed and inverted"
        raise _impossible(f"it does not cut text by one pattern whose matches are words ({split})")
    regex = form["pattern"]["Regex"]
    try:
        return to_rust(regex, with_gaps=kept[0] == "Isolated" and not _gapless(regex))
    except ValueError as error:
        raise _impossible(str(error)) from None


def _gapless(regex: str) -> bool:
    """Returns True if it is known that the matches of a pattern leave no gaps between them in any text."""
    automaton = compile_pattern(regex)
    return isinstance(automaton, Automaton) and automaton.gapless


def _impossible(reason: str) -> ValueError:
    return ValueError(f"tiktoken can't encode as this tokenizer does: {reason}")
