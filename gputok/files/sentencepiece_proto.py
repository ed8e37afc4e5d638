"""SentencePiece's `.model` files are messages of protobuf, which the package `sentencepiece` reads and writes."""

from __future__ import annotations

from typing import Any

UNIGRAM, BPE = 1, 2  # TrainerSpec.model_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # SentencePiece.type


def message(data: bytes = b"") -> Any:
    """Returns the ModelProto of the bytes of a file. Raises ImportError if the package is not installed."""
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise ImportError(f"SentencePiece files need an extra: pip install gputok[sentencepiece] ({error})") from None
    return sentencepiece_model_pb2.ModelProto.FromString(data)  # pyright: ignore[reportAttributeAccessIssue]
