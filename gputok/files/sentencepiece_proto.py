"""Reads and writes SentencePiece `.model` files with the protobuf module of the `sentencepiece` package."""

from __future__ import annotations

from typing import Any

from gputok.checks import short

UNIGRAM, BPE = 1, 2  # TrainerSpec.model_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # SentencePiece.type


def unigram_bytes(model: Any, *, add_dummy_prefix: bool, remove_extra_whitespaces: bool) -> bytes:
    """Writes a `gputok.models.Unigram` as the bytes of a `.model` file.

    add_dummy_prefix: encoders put a space before the text; remove_extra_whitespaces: they shorten runs of spaces to one
    space. Raises ValueError if the model has no unknown token, or uses `byte_fallback` without all 256 byte tokens.
    """
    if model.unk_id is None:
        raise ValueError("SentencePiece needs an unknown token, but unk_id of the model is None")
    proto = protobuf().ModelProto()
    tokens = model.vocabulary.tokens
    kinds = dict.fromkeys(model.sentencepiece or [], CONTROL)
    if model.byte_fallback:
        byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
        missing = [token for token in byte_tokens if model.token_to_id(token) is None]
        if missing:
            raise ValueError(
                f"byte_fallback of SentencePiece needs all byte tokens, but the model has no {short(missing[0])}"
            )
        kinds |= dict.fromkeys(map(model.token_to_id, byte_tokens), BYTE)
    kinds[model.unk_id] = UNKNOWN
    for id, (token, score) in enumerate(zip(tokens, model.scores.tolist(), strict=True)):
        proto.pieces.add(piece=token, score=score, type=kinds.get(id, NORMAL))
    proto.trainer_spec.model_type = UNIGRAM
    proto.trainer_spec.vocab_size = len(tokens)
    proto.trainer_spec.byte_fallback = model.byte_fallback
    proto.trainer_spec.unk_id, proto.trainer_spec.unk_piece = model.unk_id, tokens[model.unk_id]
    for role, name in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        id = model.token_to_id(name)
        setattr(proto.trainer_spec, f"{role}_id", id if kinds.get(id) == CONTROL else -1)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = add_dummy_prefix
    proto.normalizer_spec.remove_extra_whitespaces = remove_extra_whitespaces
    proto.normalizer_spec.escape_whitespaces = True
    return proto.SerializeToString()


def protobuf() -> Any:
    """Imports the protobuf messages of SentencePiece. Raises ImportError if the package is not installed."""
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise ImportError(f"SentencePiece files need an extra: pip install gputok[sentencepiece] ({error})") from None
    return sentencepiece_model_pb2
