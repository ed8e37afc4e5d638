"""The options of a pretrained tokenizer that are attributes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gputok.pretrained import calls
from gputok.pretrained.special_tokens import NAMES

DEFAULTS: dict[str, Any] = {
    "model_max_length": calls.UNLIMITED,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": ["input_ids", "attention_mask"],
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": False,
    "response_template": None,
    "chat_control_tokens": None,
}
"""Name -> default of the options that are attributes."""

_MORE = ("extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens", "chat_template")


def is_known(key: str, value: Any) -> bool:
    """Says whether the constructor takes a setting of a tokenizer_config.json that changes no step."""
    return key in DEFAULTS or key in _MORE or names_token(key, value)


def names_token(key: str, value: Any) -> bool:
    """Says whether an option names a special token; None counts for the seven common names.

    As in `transformers`, a mapping under another name is a token if its `__type` says so, else a setting.
    """
    if key in NAMES:
        return True
    marked = isinstance(value, Mapping) and value.get("__type") == "AddedToken"
    return key.endswith("_token") and (marked or isinstance(value, str) or type(value).__name__ == "AddedToken")
