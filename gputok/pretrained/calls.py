"""The arguments of calls of a tokenizer: what they mean together, and which columns they ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gputok.encoding.encoding import Encoding

UNLIMITED = int(1e30)
"""The `model_max_length` of a model whose limit is not known."""
_KNOWN = 10**20  # a `model_max_length` above this number means as well that the limit is not known

_PADDING = {True: "longest", False: "do_not_pad", None: "do_not_pad"}
_TRUNCATION = {True: "longest_first", False: "do_not_truncate", None: "do_not_truncate"}


class Limits(NamedTuple):
    """How long the rows of a batch may be and are made: the arguments of a call, once their defaults are resolved."""

    padding: str  # "longest", "max_length" or "do_not_pad"
    truncation: str  # "longest_first", "only_first", "only_second" or "do_not_truncate"
    max_length: int | None  # tokens
    pad_to_multiple_of: int | None = None
    stride: int = 0
    padding_side: str = "right"


def limits(
    padding: Any, truncation: Any, max_length: int | None, model_max_length: int, pad_to_multiple_of: int | None = None
) -> Limits:
    """Finds the limits that the arguments of a call mean together, as in `transformers`.

    >>> limits(True, True, None, 512)[:3]
    ('longest', 'longest_first', 512)
    >>> limits(False, None, 8, 512).truncation  # max_length alone cuts
    'longest_first'
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = True
    padding = _chosen("padding", padding, _PADDING, "max_length")
    truncation = _chosen("truncation", truncation, _TRUNCATION, "only_first", "only_second")
    if max_length is None and model_max_length > _KNOWN:
        padding = "do_not_pad" if padding == "max_length" else padding
        truncation = "do_not_truncate"
    elif max_length is None and (padding == "max_length" or truncation != "do_not_truncate"):
        max_length = model_max_length
    both = truncation != "do_not_truncate" and padding != "do_not_pad"
    if both and pad_to_multiple_of and max_length is not None and max_length % pad_to_multiple_of:
        padded = f"padded to a multiple of {pad_to_multiple_of}"
        raise ValueError(f"texts cannot be cut to {max_length} tokens and be {padded} at once")
    return Limits(padding, truncation, max_length, pad_to_multiple_of)


def _chosen(name: str, value: Any, meanings: dict[Any, str], *others: str) -> str:
    value = meanings.get(value, getattr(value, "value", value))  # also takes the enumerations of transformers
    choices = *dict.fromkeys(meanings.values()), *others
    if value not in choices:
        raise ValueError(f"{name}={value!r}: must be True, False or one of {', '.join(choices)}")
    return value


def columns(names: Sequence[str], arrays: bool, **wanted: bool | None) -> dict[str, Callable[[Encoding], Any]]:
    """Chooses the columns of the result: name -> function that reads the column from an encoding.

    names: the columns that the model takes; arrays: the functions return arrays, not lists; wanted: column -> True or
    False, or None for a column that is returned if it is in `names`.
    """
    chosen = [name for name, choice in wanted.items() if (name in names if choice is None else choice)]
    return {name: _COLUMNS[name][arrays] for name in ("input_ids", *chosen)}


_COLUMNS: dict[str, tuple[Callable[[Encoding], Any], Callable[[Encoding], Any]]] = {
    "input_ids": (lambda encoding: encoding.ids, lambda encoding: encoding.column("ids")),
    "token_type_ids": (lambda encoding: encoding.type_ids, lambda encoding: encoding.column("type_ids")),
    "attention_mask": (lambda encoding: encoding.attention_mask, lambda encoding: encoding.column("attention")),
    "special_tokens_mask": (lambda encoding: encoding.special_tokens_mask, lambda encoding: encoding.column("special")),
    "offset_mapping": (
        lambda encoding: encoding.offsets,
        lambda encoding: np.stack([encoding.column("start"), encoding.column("end")], 1),
    ),
    "length": (len, len),
}
"""Name of a column -> two functions that read it from an encoding: as a list, and as an array."""


def inputs(text: Any, pair: Any, is_split_into_words: bool) -> tuple[list[Any], bool]:
    """Makes the list of texts or of pairs for `encode_batch`, and says whether `text` was a batch, not one text."""
    is_batch = isinstance(text, list | tuple)
    if is_batch and is_split_into_words:
        is_batch = bool(text) and isinstance(text[0], list | tuple)
    if not is_batch:
        if not isinstance(text, str | list | tuple):
            raise ValueError(f"a text must be a string or a list of strings, not {text!r}")
        return [(text, pair) if pair else text], False
    if pair is None:
        return list(text), True
    if isinstance(pair, str) or len(pair) != len(text):
        n = "one text" if isinstance(pair, str) else f"{len(pair)} texts"
        raise ValueError(f"text_pair must have a text for each of the {len(text)} of `text`, but has {n}")
    return list(zip(text, pair, strict=True)), True


def plain(value: Any) -> Any:
    """Converts arrays and tensors, also inside of a list, to lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple) and value and hasattr(value[0], "tolist"):
        return [item.tolist() for item in value]
    return value


def kind(column: Any) -> str | None:
    """Finds the `return_tensors` that a column was made with, by the module of its values; None: it is a list."""
    value = column[0] if isinstance(column, list | tuple) else column
    module = type(value).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np", "cupy": "cupy"}.get(module)
