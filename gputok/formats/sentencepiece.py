"""SentencePiece's `.model` files, read and written.

The file is a ModelProto (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto),
through the protobuf module of the `sentencepiece` package.
"""

from __future__ import annotations

import base64
import os
from typing import Any, NamedTuple

import numpy as np

from gputok import decoders, models, normalizers, pre_tokenizers
from gputok.automaton.pattern import Regex
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
from gputok.formats.ranks import made_otherwise, whole_only
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken

SPACE = "▁"
_WHITE_SPACE = "\t\n\v\f\r\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode's, but for the space, and for U+0085, which the rules named nmt leave."""


def from_sentencepiece(source: str | os.PathLike[str] | bytes) -> Tokenizer:
    """A tokenizer from a SentencePiece model (unigram or bpe), which gives the same ids.

    source: the path of a `.model` file, or its bytes. Control symbols such as `<s>` become special tokens; as
    SentencePiece does, text that spells one is text (`encode_special_tokens` is set, which a saved file doesn't keep).
    User-defined symbols become added tokens. Nothing is added to a text: set `post_processor` for that.

    Ids differ from SentencePiece's only in models with user-defined symbols, where a text begins with one or with spaces
    (its first `▁` is missing), and where several marks stand on one character (`Precompiled` normalizes as the namesake).
    Raises ValueError for what no tokenizer here can express: models of words or characters, white space as a suffix,
    unused pieces. Needs the `sentencepiece` package.
    """
    proto = protobuf().ModelProto()
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            source = file.read()
    try:
        proto.ParseFromString(source)
    except Exception as error:
        raise ValueError(f"this isn't a SentencePiece model: {error}") from None
    return tokenizer_of(proto)


def tokenizer_of(proto: Any, *, added: bool = True) -> Tokenizer:
    """A tokenizer from a ModelProto, or what has the same attributes; see `from_sentencepiece`.

    added: add its control and user-defined symbols.
    """
    _check(proto)
    spec = proto.normalizer_spec
    collapse = spec.remove_extra_whitespaces
    tokenizer = Tokenizer(_unigram(proto) if proto.trainer_spec.model_type == UNIGRAM else _bpe(proto))

    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if collapse:
        # Where a ▁ is put before the text, one space there is that ▁. No Strip: nmt's rules leave U+0085, which it takes.
        ends = r" +\z" if spec.add_dummy_prefix else r"\A +| +\z"
        steps.append(normalizers.Replace(Regex(ends), ""))
        steps += [normalizers.Replace(Regex(" {2,}"), " ")]
        # A space that the text begins with becomes the ▁, and no other is put before it. "first" gives none to what follows an added
        # token, but none either to a text whose first characters were removed.
        symbols = any(piece.type == USER_DEFINED for piece in proto.pieces)
        scheme = ("first" if symbols else "always") if spec.add_dummy_prefix else "never"
        # Unigram sums its scores over a whole text, and their rounding can decide; merges stay within words.
        inside = any(SPACE in piece.piece[1:] for piece in proto.pieces)
        split = proto.trainer_spec.model_type == BPE and not inside
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=split)
    else:
        steps += [normalizers.Prepend(SPACE)] * spec.add_dummy_prefix + [normalizers.Replace(" ", SPACE)]
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


def _check(proto: Any) -> None:
    trainer, kinds = proto.trainer_spec, {piece.type for piece in proto.pieces}
    unsupported = {
        f"model_type {trainer.model_type}, neither unigram nor bpe": trainer.model_type not in (UNIGRAM, BPE),
        "white space as a suffix": trainer.treat_whitespace_as_suffix,
        "unescaped white space": not proto.normalizer_spec.escape_whitespaces,
        "unused pieces": UNUSED in kinds,
        "no pieces": not kinds,
        "no unknown piece": UNKNOWN not in kinds,
    }
    for what, there in unsupported.items():
        if there:
            raise ValueError(f"a SentencePiece model with {what} can't be expressed")


def _unigram(proto: Any) -> models.Unigram:
    unk = next(id for id, piece in enumerate(proto.pieces) if piece.type == UNKNOWN)
    pairs = [(piece.piece, piece.score) for piece in proto.pieces]
    model = models.Unigram(pairs, unk, proto.trainer_spec.byte_fallback)
    model.sentencepiece = [id for id, piece in enumerate(proto.pieces) if piece.type != NORMAL]
    return model


def _bpe(proto: Any) -> models.BPE:
    """SentencePiece merges whatever spells a piece, the one of the highest score first: so each way to cut a piece in
    two is a merge, and all ways have the piece's rank."""
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}
    ids = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    by_score = sorted(scores, key=lambda piece: (-scores[piece], ids[piece]))
    cuts = ((piece[:i], piece[i:]) for piece in by_score for i in range(1, len(piece)))
    merges = [(left, right) for left, right in cuts if left in scores and right in scores]
    unk = next(piece.piece for piece in proto.pieces if piece.type == UNKNOWN)
    model = models.BPE(
        ids, merges, unk_token=unk, fuse_unk=True, byte_fallback=proto.trainer_spec.byte_fallback
    )
    model.sentencepiece = True
    return model


class Normalization(NamedTuple):
    """What a NormalizerSpec holds."""

    name: str
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    splits: bool  # words end before each ▁, so that no piece may reach across one


def save_sentencepiece(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Writes a SentencePiece `.model` file, with which `sentencepiece` gives the same ids.

    Args:
        tokenizer: A BPE or a Unigram over characters with `▁` for spaces, or what has one as its
            `backend_tokenizer`. What `gputok.from_sentencepiece` reads is written back as it was.
        path: Of the file, which has its name once it is whole.

    Special tokens become control symbols, which SentencePiece doesn't look for in text; other added tokens
    become user-defined symbols, which it does. What a post-processor adds isn't part of a `.model`. Scores
    of a Unigram are rounded to single precision. With a `Metaspace` that isn't preceded by a normalizer that
    strips the text, a text that begins with spaces gets one `▁` more from SentencePiece than here; with `Strip`
    or `WhitespaceSplit`, U+0085 stays where they take it away.

    Raises:
        ValueError: SentencePiece would give other ids: what the tokenizer has or lacks is named.
        ImportError: The package `sentencepiece` is missing.
    """
    with replacing(path) as beside:
        beside.write_bytes(sentencepiece_bytes(tokenizer))


def sentencepiece_bytes(tokenizer: Tokenizer) -> bytes:
    """The bytes of a `.model` file; see `save_sentencepiece`."""
    tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
    model = tokenizer.model
    if not isinstance(model, models.BPE | models.Unigram):
        raise _impossible(f"its model is a {type(model).__name__}, neither a BPE nor a Unigram")
    proto = protobuf().ModelProto()
    normalization = _normalization(tokenizer)
    tokens, unknown = _tokens(tokenizer, model)
    kinds = _kinds(tokenizer, model, tokens, unknown)
    if normalization.splits and any(
        SPACE in token[1:] and kinds[i] == NORMAL for i, token in enumerate(tokens)
    ):
        token = next(token for i, token in enumerate(tokens) if SPACE in token[1:] and kinds[i] == NORMAL)
        raise _impossible(f"its words end before each {SPACE}, but the token {token!r} reaches across one")
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
    trainer.unk_id, trainer.unk_piece = unknown, tokens[unknown]
    for role, name in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        token_id = tokenizer.token_to_id(name)
        known = token_id is not None and token_id < len(kinds) and kinds[token_id] == CONTROL
        setattr(trainer, f"{role}_id", token_id if known else -1)
    normalizer = proto.normalizer_spec
    normalizer.name = normalization.name
    if normalization.charsmap:
        normalizer.precompiled_charsmap = normalization.charsmap
    normalizer.add_dummy_prefix = normalization.add_dummy_prefix
    normalizer.remove_extra_whitespaces = normalization.remove_extra_whitespaces
    normalizer.escape_whitespaces = True
    return proto.SerializeToString()


def _tokens(tokenizer: Tokenizer, model: models.BPE | models.Unigram) -> tuple[list[str], int]:
    """All tokens by id, and the id of the unknown one."""
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
            raise _impossible(f"the added token {token!r} takes notice of what is beside it")
        kinds[token_id] = CONTROL if token.special else USER_DEFINED
    if model.byte_fallback:
        for byte in range(256):
            token_id = model.token_to_id(f"<0x{byte:02X}>")
            if token_id is None:
                raise _impossible(f"byte_fallback needs all byte tokens, but '<0x{byte:02X}>' isn't there")
            kinds[token_id] = BYTE
    elif isinstance(model, models.BPE) and not model.fuse_unk:
        raise _impossible(
            "it gives each unknown character a token (fuse_unk=False), where SentencePiece joins them"
        )
    kinds[unknown] = UNKNOWN
    return kinds


def _scores_of_unigram(model: models.Unigram, tokens: list[str]) -> list[float]:
    if model.alpha:
        raise _impossible("it draws segmentations at random (alpha)")
    return [*model.scores.tolist(), *[0.0] * (len(tokens) - len(model.scores))]


def _scores_of_bpe(model: models.BPE, kinds: list[int]) -> list[float]:
    """0, -1, -2, ... in the order of merges, then for characters, as SentencePiece's trainer has it."""
    if model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix:
        raise _impossible("it has a dropout, a prefix or a suffix")
    vocabulary = model.vocabulary
    last = len(vocabulary)
    made, first = np.unique(vocabulary.positions(model.merges[:, 2].astype(np.int64)), return_index=True)
    rank = np.full(last, len(model.merges), np.int64)  # of each position: the first merge that makes it
    rank[made] = first
    ordinary = np.array([kinds[token_id] == NORMAL for token_id in vocabulary.ids.tolist()], bool)
    order = np.lexsort((vocabulary.ids, rank))
    order = order[ordinary[order]]
    ranks = np.full(last, -1, np.int64)
    ranks[order] = np.arange(len(order))
    if reason := made_otherwise(model, ranks):
        raise _impossible(reason)
    if model.ignore_merges and len(whole := whole_only(model, ranks)):
        whole = [token for token in map(vocabulary.tokens.__getitem__, whole.tolist()) if len(token) > 1]
        if whole:
            raise _impossible(
                f"it takes {whole[0]!r}, which no merges make, where it is a word (ignore_merges)"
            )
    by_id = dict(zip(vocabulary.ids.tolist(), ranks.tolist(), strict=True))
    return [
        -float(max(by_id.get(token_id, 0), 0)) if kind == NORMAL else 0.0
        for token_id, kind in enumerate(kinds)
    ]


def _normalization(tokenizer: Tokenizer) -> Normalization:
    """What the normalizer and the pre-tokenizer do, if SentencePiece can do it."""
    form = tokenizer.normalizer and tokenizer.normalizer.to_dict()
    steps = _flat(form, "normalizers")
    charsmap = b""
    if steps and steps[0]["type"] == "Precompiled":
        charsmap, steps = base64.b64decode(steps[0]["precompiled_charsmap"]), steps[1:]
    ends = collapse = prefix = escape = splits = False
    white_space, left = "", True  # what strips or cuts at all white space; the left end is stripped, too
    name = "user_defined" if charsmap else "identity"
    for step in steps:
        kind, pattern, content = step["type"], step.get("pattern"), step.get("content")
        if kind == "Strip" and step["strip_right"]:
            ends, left, white_space = True, step["strip_left"], "Strip"
        elif kind == "Replace" and pattern in ({"Regex": r"\A +| +\z"}, {"Regex": r" +\z"}) and content == "":
            ends, left = True, pattern["Regex"].startswith(r"\A")
        elif kind == "Replace" and pattern == {"Regex": " {2,}"} and content in (" ", SPACE):
            collapse = True
        elif kind == "Prepend" and step["prepend"] == SPACE and not escape:
            prefix = True
        elif kind == "Replace" and pattern == {"String": " "} and content == SPACE:
            escape = True
        else:
            raise _impossible(f"its normalizer does what a .model can't say: {step}")

    form = tokenizer.pre_tokenizer and tokenizer.pre_tokenizer.to_dict()
    cuts = _flat(form, "pretokenizers")
    if len(cuts) == 2 and cuts[0]["type"] == "WhitespaceSplit" and cuts[1]["type"] == "Metaspace":
        ends = collapse = True  # whatever white space there is, one space is left of it
        white_space, cuts = "WhitespaceSplit", cuts[1:]
    is_metaspace = len(cuts) == 1 and cuts[0]["type"] == "Metaspace" and cuts[0]["replacement"] == SPACE
    if is_metaspace and not (prefix or escape):
        prefix, splits, escape = cuts[0]["prepend_scheme"] != "never", cuts[0]["split"], True
    elif cuts:
        raise _impossible(f"its pre-tokenizer is no Metaspace: {tokenizer.pre_tokenizer}")
    if ends != collapse:
        raise _impossible("it removes spaces at the ends of a text but not between words, or the reverse")
    if ends and not left and not prefix:
        raise _impossible("it removes spaces behind a text but not before it")
    if white_space and (kept := _white_space_kept(charsmap)):
        raise _impossible(f"{white_space} takes away {kept!r}, where SentencePiece takes away spaces only")
    if not escape:
        raise _impossible(f"spaces don't become {SPACE}: neither by Replace(' ', '{SPACE}') nor by Metaspace")
    return Normalization(name, charsmap, prefix, collapse, splits)


def _white_space_kept(charsmap: bytes) -> str | None:
    """White space that the map leaves, and that is no space; None if it leaves none, as rules named nmt do."""
    normalize = normalizers.Precompiled(charsmap).normalize_str if charsmap else str
    return next((one for one in _WHITE_SPACE if normalize(one) not in ("", " ")), None)


def _flat(form: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    if form is None:
        return []
    return (
        [step for part in form[inner] for step in _flat(part, inner)]
        if form["type"] == "Sequence"
        else [form]
    )


def _impossible(reason: str) -> ValueError:
    return ValueError(f"SentencePiece can't encode as this tokenizer does: {reason}")
