"""Reads and writes SentencePiece's `.model` files.

Such a file is a ModelProto (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto). The
protobuf module of the package `sentencepiece` reads and writes it.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gputok import decoders, models, normalizers, pre_tokenizers
from gputok.automaton.pattern import Regex
from gputok.checks import in_file, short
from gputok.files.atomic import replacing
from gputok.files.sentencepiece_proto import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    protobuf,
)
from gputok.formats.ranks import difference_to_ranks, tokens_without_merges
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken

SPACE = "▁"
_EITHER = f"[ {SPACE}]"
_SPACES = (" ", _EITHER)
_ENDS = tuple(rf"{start}{space}+\z" for start in ("", r"\A +|") for space in _SPACES)
_SUFFIX = tuple(rf"{space}*\z" for space in _SPACES)
_WHITE_SPACE = "\t\n\v\f\r\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""The white space of Unicode except the space, and except U+0085, which SentencePiece's nmt rules don't change."""


def from_sentencepiece(source: str | os.PathLike[str] | bytes) -> Tokenizer:
    """Reads a SentencePiece model (unigram or bpe) as a tokenizer that gives the same ids.

    Control symbols such as `<s>` become special tokens. Text that equals a control symbol is encoded as text, as in
    SentencePiece: `encode_special_tokens` is set to True (which a saved tokenizer.json doesn't contain). User-defined
    symbols become added tokens. Nothing is added to a text; set `post_processor` for that. This needs the package
    `sentencepiece`.

    White space as a suffix (`treat_whitespace_as_suffix`) works, too, but such a tokenizer encodes slowly: one step of its
    normalizer runs in the `regex` package, as a warning says.

    Ids differ from SentencePiece's in two cases: the model has user-defined symbols, and a text begins with one of them or
    with spaces (its first `▁` is missing); or several marks follow one character (`Precompiled` normalizes them as
    `tokenizers` does).

    Args:
        source: the path of a `.model` file, or its bytes.

    Returns:
        The tokenizer.

    Raises:
        ValueError: if the file is not a SentencePiece model, or gputok can't express it: models of words or characters,
            white space as a suffix together with user-defined symbols, unused pieces.
        ImportError: if the package `sentencepiece` is missing.
    """
    proto, name = protobuf().ModelProto(), "these bytes"
    if not isinstance(source, bytes):
        name = os.fspath(source)
        with open(source, "rb") as file:
            source = file.read()
    try:
        proto.ParseFromString(source)
    except Exception as error:
        raise ValueError(f"{name}: expected a SentencePiece model: {error}") from None
    with in_file(name):
        return tokenizer_of(proto)


def tokenizer_of(proto: Any, *, added: bool = True) -> Tokenizer:
    """Makes a tokenizer from a ModelProto or an object with the same attributes; see `from_sentencepiece`.

    added: adds the control and user-defined symbols as added tokens.
    """
    _check(proto)
    spec, as_suffix = proto.normalizer_spec, proto.trainer_spec.treat_whitespace_as_suffix
    collapse = spec.remove_extra_whitespaces
    tokenizer = Tokenizer(_unigram(proto) if proto.trainer_spec.model_type == UNIGRAM else _bpe(proto))

    # A Unigram sums scores over a whole text, and the rounding of sums can decide. Merges stay inside words.
    inside = any(SPACE in (piece.piece[:-1] if as_suffix else piece.piece[1:]) for piece in proto.pieces)
    split = proto.trainer_spec.model_type == BPE and not inside
    # "first" inserts no ▁ after an added token, but also none in a text whose first characters were removed
    symbols = any(piece.type == USER_DEFINED for piece in proto.pieces)
    steps = _normalizing_steps(spec, as_suffix=as_suffix, symbols=symbols)
    if as_suffix and split:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_previous")
    elif collapse and not as_suffix:
        scheme = ("first" if symbols else "always") if spec.add_dummy_prefix else "never"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=split)
    tokenizer.normalizer = normalizers.Sequence(steps)

    pieces = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    pieces += [decoders.Strip(" ", 1, 0)] * spec.add_dummy_prefix
    tokenizer.decoder = decoders.Sequence(pieces)
    if not added:
        return tokenizer
    named = {kind: [piece.piece for piece in proto.pieces if piece.type == kind] for kind in range(1, 7)}
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (*named[UNKNOWN], *named[CONTROL])]
    )
    tokenizer.encode_special_tokens = True
    tokenizer.add_tokens([AddedToken(token, normalized=collapse) for token in named[USER_DEFINED]])
    return tokenizer


def _normalizing_steps(spec: Any, *, as_suffix: bool, symbols: bool) -> list[Any]:
    """Returns the steps of the normalizer.

    as_suffix: `▁` stands after words; symbols: there are user-defined symbols.
    """
    charsmap, dummy = spec.precompiled_charsmap, spec.add_dummy_prefix
    steps: list[Any] = [normalizers.Precompiled(charsmap)] if charsmap else []
    # Where the map keeps a ▁ of the text, SentencePiece takes it for a space at the end, and for no space at the start
    keeps_mark = not charsmap or steps[0].normalize_str(SPACE) == SPACE
    space = _EITHER if keeps_mark else " "
    if spec.remove_extra_whitespaces:
        # With a dummy prefix, a space at the start becomes this ▁. Strip would also remove U+0085, which the nmt rules keep.
        if dummy and not as_suffix:
            steps += [normalizers.Prepend(" ")] * (keeps_mark and not symbols)
            ends = rf"{space}+\z"
        else:
            ends = r"\A +" if dummy else rf"\A +|{space}+\z"
        steps.append(normalizers.Replace(Regex(ends), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if as_suffix and dummy:
        end = rf"{space}*\z" if spec.remove_extra_whitespaces else r"\z"
        steps.append(normalizers.Replace(Regex(end), SPACE))
    if not spec.remove_extra_whitespaces:
        steps += [normalizers.Prepend(SPACE)] * (dummy and not as_suffix)
    if as_suffix or not spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(" ", SPACE))
    return steps


def _check(proto: Any) -> None:
    trainer, kinds = proto.trainer_spec, {piece.type for piece in proto.pieces}
    unsupported = {
        f"model_type {trainer.model_type}, neither unigram nor bpe": trainer.model_type not in (UNIGRAM, BPE),
        "user-defined symbols and white space as a suffix": trainer.treat_whitespace_as_suffix
        and USER_DEFINED in kinds,
        "unescaped white space": not proto.normalizer_spec.escape_whitespaces,
        "unused pieces": UNUSED in kinds,
        "no pieces": not kinds,
        "no unknown piece": UNKNOWN not in kinds,
    }
    for feature, present in unsupported.items():
        if present:
            raise ValueError(f"gputok can't express a SentencePiece model with {feature}")


def _unigram(proto: Any) -> models.Unigram:
    unk = next(id for id, piece in enumerate(proto.pieces) if piece.type == UNKNOWN)
    pairs = [(piece.piece, piece.score) for piece in proto.pieces]
    model = models.Unigram(pairs, unk, proto.trainer_spec.byte_fallback)
    model.sentencepiece = [id for id, piece in enumerate(proto.pieces) if piece.type != NORMAL]
    return model


def _bpe(proto: Any) -> models.BPE:
    """Makes a BPE with a merge for each pair of pieces that form a piece.

    SentencePiece merges any two neighbours that form a piece, the piece with the highest score first. So all pairs that
    form the same piece get the same rank.
    """
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}
    ids = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    by_score = sorted(scores, key=lambda piece: (-scores[piece], ids[piece]))
    # Few, so that a piece of a megabyte is not cut at each character
    lengths = {len(piece) for piece in scores}
    at = sorted(lengths)
    merges = [
        (left, right)
        for piece in by_score
        for i in at
        if len(piece) - i in lengths and (left := piece[:i]) in scores and (right := piece[i:]) in scores
    ]
    unk = next(piece.piece for piece in proto.pieces if piece.type == UNKNOWN)
    model = models.BPE(
        ids, merges, unk_token=unk, fuse_unk=True, byte_fallback=proto.trainer_spec.byte_fallback
    )
    model.sentencepiece = True
    return model


class Normalization(NamedTuple):
    """The fields of a NormalizerSpec, and whether words end before each `▁`."""

    name: str
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    splits: bool  # words end before each ▁, so no piece may contain a ▁ after its first character,
    as_suffix: bool  # or after each ▁, so no piece may contain a ▁ before its last character


def save_sentencepiece(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Writes a SentencePiece `.model` file, with which `sentencepiece` gives the same ids.

    Special tokens become control symbols, which SentencePiece doesn't look for in text; other added tokens become
    user-defined symbols, which it looks for. A `.model` has no field for the tokens that a post-processor adds. Scores of a
    Unigram are rounded to single precision. With a `Metaspace` and no normalizer that strips the text, SentencePiece writes
    one more `▁` for a text that begins with spaces; with `Strip` or `WhitespaceSplit`, it keeps U+0085, which these remove.

    Args:
        tokenizer: a BPE or a Unigram over characters with `▁` for spaces, or an object with the attribute
            `backend_tokenizer`. A tokenizer that `gputok.from_sentencepiece` has read is written as it was.
        path: the file to write, atomically.

    Raises:
        ValueError: if SentencePiece would give other ids; the message says why.
        ImportError: if the package `sentencepiece` is missing.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(sentencepiece_bytes(tokenizer))


def sentencepiece_bytes(tokenizer: Tokenizer) -> bytes:
    """Returns the bytes of a `.model` file; see `save_sentencepiece`."""
    tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
    model = tokenizer.model
    if not isinstance(model, models.BPE | models.Unigram):
        raise _impossible(f"its model is a {type(model).__name__}, neither a BPE nor a Unigram")
    proto = protobuf().ModelProto()
    normalization = _normalization(tokenizer)
    tokens, unknown = _tokens(tokenizer, model)
    kinds = _kinds(tokenizer, model, tokens, unknown)
    if normalization.splits:
        inner, side = (slice(-1), "after") if normalization.as_suffix else (slice(1, None), "before")
        for token, kind in zip(tokens, kinds, strict=True):
            if SPACE in token[inner] and kind == NORMAL:
                raise _impossible(
                    f"its words end {side} each {SPACE}, but the token {short(token)} contains one"
                )
    if normalization.as_suffix and USER_DEFINED in kinds:
        raise _impossible(f"it puts {SPACE} after the last word, also of text before an added token")
    scores = (
        _scores_of_unigram(model, tokens)
        if isinstance(model, models.Unigram)
        else _scores_of_bpe(model, kinds)
    )
    for token, score, kind in zip(tokens, scores, kinds, strict=True):
        piece = proto.pieces.add(piece=token, score=score)
        if kind != NORMAL:
            piece.type = kind

    trainer = proto.trainer_spec
    trainer.model_type = UNIGRAM if isinstance(model, models.Unigram) else BPE
    trainer.vocab_size = len(tokens)
    trainer.byte_fallback = bool(model.byte_fallback)
    trainer.treat_whitespace_as_suffix = normalization.as_suffix
    trainer.unk_id, trainer.unk_piece = unknown, tokens[unknown]
    for role, name in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        token_id = tokenizer.token_to_id(name)
        is_control = token_id is not None and token_id < len(kinds) and kinds[token_id] == CONTROL
        setattr(trainer, f"{role}_id", token_id if is_control else -1)
    normalizer = proto.normalizer_spec
    normalizer.name = normalization.name
    if normalization.charsmap:
        normalizer.precompiled_charsmap = normalization.charsmap
    normalizer.add_dummy_prefix = normalization.add_dummy_prefix
    normalizer.remove_extra_whitespaces = normalization.remove_extra_whitespaces
    normalizer.escape_whitespaces = True
    return proto.SerializeToString()


def _tokens(tokenizer: Tokenizer, model: models.BPE | models.Unigram) -> tuple[list[str], int]:
    """Returns all tokens by id, and the id of the unknown token."""
    tokenizer.model.vocabulary.require_own_ids("a .model")
    names = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    gap = next((i for i in range(len(names)) if i not in names), None)
    if gap is not None:
        raise _impossible(f"no token has the id {gap}, and a .model numbers its pieces without gaps")
    if isinstance(model, models.Unigram):
        unknown = model.unk_id
    else:
        unknown = None if model.unk_token is None else model.token_to_id(model.unk_token)
    if unknown is None:
        raise _impossible("it has no unknown token")
    return [names[i] for i in range(len(names))], unknown


def _kinds(
    tokenizer: Tokenizer, model: models.BPE | models.Unigram, tokens: list[str], unknown: int
) -> list[int]:
    hidden = (model.sentencepiece or []) if isinstance(model, models.Unigram) else []
    kinds = [NORMAL] * len(tokens)
    for token_id in hidden:
        kinds[token_id] = CONTROL
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        if token.single_word or token.lstrip or token.rstrip:
            raise _impossible(f"the added token {short(token)} depends on the text around it")
        kinds[token_id] = CONTROL if token.special else USER_DEFINED
    if model.byte_fallback:
        for byte in range(256):
            token_id = model.token_to_id(f"<0x{byte:02X}>")
            if token_id is None:
                raise _impossible(f"byte_fallback needs all byte tokens, but '<0x{byte:02X}>' is missing")
            kinds[token_id] = BYTE
    elif isinstance(model, models.BPE) and not model.fuse_unk:
        raise _impossible(
            "it gives each unknown character a token (fuse_unk=False), but SentencePiece joins them"
        )
    kinds[unknown] = UNKNOWN
    return kinds


def _scores_of_unigram(model: models.Unigram, tokens: list[str]) -> list[float]:
    if model.alpha:
        raise _impossible("it draws segmentations at random (alpha)")
    return [*model.scores.tolist(), *[0.0] * (len(tokens) - len(model.scores))]


def _scores_of_bpe(model: models.BPE, kinds: list[int]) -> list[float]:
    """Returns the scores 0, -1, -2, ...: first for merged tokens in the order of merges, then for characters.

    SentencePiece's trainer gives the same scores.
    """
    if model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix:
        raise _impossible("it has a dropout, a prefix or a suffix")
    vocabulary = model.vocabulary
    last = len(vocabulary)
    made, first = np.unique(vocabulary.positions(model.merges[:, 2].astype(np.int64)), return_index=True)
    # The rank of a token is the first merge that makes the token
    rank = np.full(last, len(model.merges), np.int64)
    rank[made] = first
    ordinary = np.array([kinds[token_id] == NORMAL for token_id in vocabulary.ids.tolist()], bool)
    order = np.lexsort((vocabulary.ids, rank))
    order = order[ordinary[order]]
    ranks = np.full(last, -1, np.int64)
    ranks[order] = np.arange(len(order))
    if reason := difference_to_ranks(model, ranks):
        raise _impossible(reason)
    if model.ignore_merges:
        without_merges = [vocabulary.tokens[i] for i in tokens_without_merges(model, ranks).tolist()]
        if longer := [token for token in without_merges if len(token) > 1]:
            raise _impossible(
                f"the word {short(longer[0])} is a token, but merges don't make it (ignore_merges)"
            )
    by_id = dict(zip(vocabulary.ids.tolist(), ranks.tolist(), strict=True))
    return [
        -float(max(by_id.get(token_id, 0), 0)) if kind == NORMAL else 0.0
        for token_id, kind in enumerate(kinds)
    ]


def _normalization(tokenizer: Tokenizer) -> Normalization:
    """Translates the normalizer and the pre-tokenizer; raises ValueError if SentencePiece can't do the same."""
    form = tokenizer.normalizer and tokenizer.normalizer.to_dict()
    steps = _flat(form, "normalizers")
    charsmap = b""
    if steps and steps[0]["type"] == "Precompiled":
        charsmap, steps = base64.b64decode(steps[0]["precompiled_charsmap"]), steps[1:]
    spaces = _Spaces()
    for step in steps:
        if not spaces.normalize(step):
            raise _impossible(f"a .model can't express this step of its normalizer: {short(step)}")
    form = tokenizer.pre_tokenizer and tokenizer.pre_tokenizer.to_dict()
    if not spaces.cut(_flat(form, "pretokenizers")):
        raise _impossible(f"its pre-tokenizer is not a Metaspace: {short(tokenizer.pre_tokenizer)}")
    spaces.check(charsmap)
    name = "user_defined" if charsmap else "identity"
    dummy, as_suffix = spaces.prefix or spaces.suffix, spaces.suffix or spaces.splits_after
    splits = spaces.splits or spaces.splits_after
    return Normalization(name, charsmap, dummy, spaces.collapse, splits, as_suffix)


@dataclass
class _Spaces:
    """What the steps of a tokenizer do to spaces; each step that SentencePiece has as well sets a field."""

    ends: bool = False  # spaces at the end of a text are removed,
    left: bool = True  # and those at its start, too
    start: bool = False  # those at its start, by a step of its own
    space: bool = False  # a space is put in front of a text
    collapse: bool = False  # of several spaces, one is left
    prefix: bool = False  # a space is put in front of a text
    suffix: bool = False  # a SPACE is put after a text
    escape: bool = False  # a space becomes SPACE
    splits: bool = False  # words end before a SPACE,
    splits_after: bool = False  # or after it
    all_white_space_by: str = ""  # the component that removes all white space, not only spaces

    def normalize(self, step: dict[str, Any]) -> bool:
        """Notes a step of the normalizer; returns False if SentencePiece has no such step."""
        kind, pattern, content = step["type"], step.get("pattern"), step.get("content")
        expression = pattern.get("Regex", "") if pattern else ""
        if kind == "Strip" and step["strip_right"]:
            self.ends, self.left, self.all_white_space_by = True, step["strip_left"], "Strip"
        elif kind == "Replace" and expression in _ENDS and content == "":
            self.ends, self.left = True, expression.startswith(r"\A")
        elif kind == "Replace" and expression == r"\A +" and content == "":
            self.start = True
        elif kind == "Replace" and expression in (r"\z", *_SUFFIX) and content == SPACE:
            self.ends, self.left, self.suffix = expression in _SUFFIX, self.start, True
        elif kind == "Prepend" and step["prepend"] == " " and not self.escape:
            self.space = True
        elif kind == "Replace" and pattern == {"Regex": " {2,}"} and content in (" ", SPACE):
            self.collapse = True
        elif kind == "Prepend" and step["prepend"] == SPACE and not self.escape:
            self.prefix = True
        elif kind == "Replace" and pattern == {"String": " "} and content == SPACE:
            self.escape = True
        else:
            return False
        return True

    def cut(self, steps: list[dict[str, Any]]) -> bool:
        """Notes the steps of the pre-tokenizer; returns False if SentencePiece has no such steps."""
        if [step["type"] for step in steps] == ["WhitespaceSplit", "Metaspace"]:
            self.ends = self.collapse = True
            self.all_white_space_by, steps = "WhitespaceSplit", steps[1:]
        if not steps:
            return True
        if steps == [pre_tokenizers.Split(SPACE, "merged_with_previous").to_dict()]:
            self.splits_after = True
            return not self.prefix
        (step, *others), done = steps, self.prefix or self.escape
        if others or done or step["type"] != "Metaspace" or step["replacement"] != SPACE:
            return False
        self.prefix, self.splits, self.escape = step["prepend_scheme"] != "never", step["split"], True
        return True

    def check(self, charsmap: bytes) -> None:
        """Raises ValueError if SentencePiece can't do all of this together."""
        if self.ends != self.collapse:
            raise _impossible("it removes spaces at the ends of a text but not between words, or the reverse")
        if self.ends and not self.left and not self.prefix:
            raise _impossible("it removes spaces at the end of a text but not at its start")
        if self.space and not (self.collapse and self.prefix):
            raise _impossible(f"it puts a space in front of a text, which is not the only {SPACE} there")
        if self.all_white_space_by and (kept := _white_space_kept(charsmap)):
            raise _impossible(
                f"{self.all_white_space_by} removes {short(kept)}, but SentencePiece removes only spaces"
            )
        if not self.escape:
            raise _impossible(
                f"spaces don't become {SPACE}: neither by Replace(' ', '{SPACE}') nor by Metaspace"
            )


def _white_space_kept(charsmap: bytes) -> str | None:
    """Returns a character of white space that the map keeps, apart from the space, or None, as for the nmt rules."""
    normalize = normalizers.Precompiled(charsmap).normalize_str if charsmap else str
    return next((each for each in _WHITE_SPACE if normalize(each) not in ("", " ")), None)


def _flat(form: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """Returns the JSON forms of the steps of a component; inner: the key of the elements of a Sequence."""
    if form is None:
        return []
    return (
        [step for part in form[inner] for step in _flat(part, inner)]
        if form["type"] == "Sequence"
        else [form]
    )


def _impossible(reason: str) -> ValueError:
    return ValueError(f"SentencePiece can't encode as this tokenizer does: {reason}")
