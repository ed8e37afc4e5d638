"""The options of a pretrained tokenizer that are its attributes."""

from __future__ import annotations

from typing import Any

from gputok.pretrained import calls

DEFAULTS: dict[str, Any] = {
    "model_max_length": calls.UNLIMITED,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": ["input_ids", "attention_mask"],
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": False,
}
"""The options that are attributes."""
