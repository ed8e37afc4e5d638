"""SentencePiece's `.model` files, read and written through the `sentencepiece` package's own protobuf module."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import decoders, models, normalizers, pre_tokenizers
from .added_tokens import AddedToken
from .pattern import Regex
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from .models import Unigram

SPACE = "▁"
_UNIGRAM, _BPE = 1, 2  # TrainerSpec.model_type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)  # SentencePiece.type


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
    proto = _protobuf().ModelProto()
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
    tokenizer = Tokenizer(_unigram(proto) if proto.trainer_spec.model_type == _UNIGRAM else _bpe(proto))

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
        symbols = any(piece.type == _USER_DEFINED for piece in proto.pieces)
        scheme = ("first" if symbols else "always") if spec.add_dummy_prefix else "never"
        # Unigram sums its scores over a whole text, and their rounding can decide; merges stay within words.
        inside = any(SPACE in piece.piece[1:] for piece in proto.pieces)
        split = proto.trainer_spec.model_type == _BPE and not inside
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
        [AddedToken(token, special=True, normalized=False) for token in (*named[_UNKNOWN], *named[_CONTROL])]
    )
    tokenizer.encode_special_tokens = True
    tokenizer.add_tokens([AddedToken(token, normalized=collapse) for token in named[_USER_DEFINED]])
    return tokenizer


def unigram_bytes(model: Unigram, *, add_dummy_prefix: bool, remove_extra_whitespaces: bool) -> bytes:
    """A Unigram model as the bytes of a `.model` file."""
    if model.unk_id is None:
        raise ValueError("SentencePiece needs an unknown token, but unk_id is None")
    protobuf = _protobuf()
    proto = protobuf.ModelProto()
    tokens = model.vocabulary.tokens
    kinds = dict.fromkeys(model.sentencepiece or [], _CONTROL)
    if model.byte_fallback:
        byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
        missing = [token for token in byte_tokens if model.token_to_id(token) is None]
        if missing:
            raise ValueError(
                f"SentencePiece's byte_fallback needs all byte tokens, but {missing[0]!r} isn't there"
            )
        kinds |= dict.fromkeys(map(model.token_to_id, byte_tokens), _BYTE)
    kinds[model.unk_id] = _UNKNOWN
    for id, (token, score) in enumerate(zip(tokens, model.scores.tolist(), strict=True)):
        proto.pieces.add(piece=token, score=score, type=kinds.get(id, _NORMAL))
    proto.trainer_spec.model_type = _UNIGRAM
    proto.trainer_spec.vocab_size = len(tokens)
    proto.trainer_spec.byte_fallback = model.byte_fallback
    proto.trainer_spec.unk_id, proto.trainer_spec.unk_piece = model.unk_id, tokens[model.unk_id]
    for role, name in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        id = model.token_to_id(name)
        setattr(proto.trainer_spec, f"{role}_id", id if kinds.get(id) == _CONTROL else -1)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = add_dummy_prefix
    proto.normalizer_spec.remove_extra_whitespaces = remove_extra_whitespaces
    proto.normalizer_spec.escape_whitespaces = True
    return proto.SerializeToString()


def _protobuf() -> Any:
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise ImportError(
            f"SentencePiece files need an extra: pip install gputok[sentencepiece] ({error})"
        ) from None
    return sentencepiece_model_pb2


def _check(proto: Any) -> None:
    trainer, kinds = proto.trainer_spec, {piece.type for piece in proto.pieces}
    unsupported = {
        f"model_type {trainer.model_type}, neither unigram nor bpe": trainer.model_type
        not in (_UNIGRAM, _BPE),
        "white space as a suffix": trainer.treat_whitespace_as_suffix,
        "unescaped white space": not proto.normalizer_spec.escape_whitespaces,
        "unused pieces": _UNUSED in kinds,
        "no pieces": not kinds,
        "no unknown piece": _UNKNOWN not in kinds,
    }
    for what, there in unsupported.items():
        if there:
            raise ValueError(f"a SentencePiece model with {what} can't be expressed")


def _unigram(proto: Any) -> models.Unigram:
    unk = next(id for id, piece in enumerate(proto.pieces) if piece.type == _UNKNOWN)
    pairs = [(piece.piece, piece.score) for piece in proto.pieces]
    model = models.Unigram(pairs, unk, proto.trainer_spec.byte_fallback)
    model.sentencepiece = [id for id, piece in enumerate(proto.pieces) if piece.type != _NORMAL]
    return model


def _bpe(proto: Any) -> models.BPE:
    """SentencePiece merges whatever spells a piece, the one of the highest score first: so each way to cut a piece in
    two is a merge, and all ways have the piece's rank."""
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL}
    ids = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    by_score = sorted(scores, key=lambda piece: (-scores[piece], ids[piece]))
    cuts = ((piece[:i], piece[i:]) for piece in by_score for i in range(1, len(piece)))
    merges = [(left, right) for left, right in cuts if left in scores and right in scores]
    unk = next(piece.piece for piece in proto.pieces if piece.type == _UNKNOWN)
    model = models.BPE(
        ids, merges, unk_token=unk, fuse_unk=True, byte_fallback=proto.trainer_spec.byte_fallback
    )
    model.sentencepiece = True
    return model
