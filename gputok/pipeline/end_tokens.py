"""The tokens at the ends of documents: those that the user names, or those that a tokenizer has for this.

A tokenizer.json doesn't say which of its tokens ends a document; tokenizer_config.json does, which `gputok encode` reads if
it lies beside. Without it, names decide that only one purpose is known for.
"""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from gputok.pipeline.pipeline import Pipeline

# The end and begin tokens of pretraining of GPT-2 and its heirs, SentencePiece, Llama 3, Gemma, DeepSeek, and others.
_OWN = {
    "eos": (
        "<|endoftext|>",
        "</s>",
        "<|end_of_text|>",
        "<eos>",
        "<|eos|>",
        "<｜end▁of▁sentence｜>",
        "[EOS]",
        "<EOS>",
    ),
    "bos": ("<s>", "<|begin_of_text|>", "<bos>", "<|bos|>", "<｜begin▁of▁sentence｜>", "[BOS]", "<BOS>"),
}


def end_token(pipeline: Pipeline, role: str, given: bool | str | None) -> tuple[int, str] | None:
    """Returns id and text of a token that stands at an end of each document.

    Args:
        pipeline: the parts of the tokenizer.
        role: "eos" or "bos", the name of the option.
        given: the text of a token; True: the tokenizer's own; None or False: no token.

    Raises:
        ValueError: if the tokenizer has no such token, or several of those that are usual.
        TypeError: if `given` is something else.
    """
    if given is None or given is False:
        return None
    if given is True:
        found = [token for token in _OWN[role] if pipeline.token_to_id(token) is not None]
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


def configured(path: str | os.PathLike[str], role: str) -> str | None:
    """Returns the token that a tokenizer_config.json beside a tokenizer.json names; None: there is none.

    Args:
        path: the tokenizer.json.
        role: "eos" or "bos".

    Raises:
        ValueError: if the file is no JSON object.
    """
    config = pathlib.Path(path).with_name("tokenizer_config.json")
    try:
        content: Any = json.loads(config.read_text(encoding="utf-8"))
        token: Any = content.get(f"{role}_token")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, AttributeError, RecursionError):
        raise ValueError(f"{config}: expected a JSON object") from None
    token = getattr(token, "get", {"content": token}.get)("content")
    return token if isinstance(token, str) else None
