"""Writes gputok/pretrained/classes.json: what the installed `transformers` knows of tokenizers by their class alone.

    python tests/make_tokenizer_classes.py

model_types: config.json's model_type -> class. classes: class -> the options that are its own (special tokens, columns
of a call, padding side), which a folder's tokenizer_config.json may leave out.
"""

import json
import pathlib
from typing import Any

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
PATH = pathlib.Path(__file__).parents[1] / "gputok" / "pretrained" / "classes.json"


def ask() -> dict[str, Any]:
    """The classes that can be made without files; the others say all in their folders."""
    from transformers import TokenizersBackend
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

    classes, model_types = {}, {}
    for model_type, name in sorted(TOKENIZER_MAPPING_NAMES.items()):
        cls = name and tokenizer_class_from_name(name)
        if not cls or not issubclass(cls, TokenizersBackend):
            continue
        try:
            made = cls()
        except Exception:  # TokenizersBackend itself, and classes that lack an optional package
            continue
        name = name.removesuffix("Fast")
        options = {key: _token(made._special_tokens_map[key]) for key in NAMES if made._special_tokens_map[key]}
        if made.model_input_names != ["input_ids", "attention_mask"]:
            options["model_input_names"] = made.model_input_names
        if made.padding_side != "right":
            options["padding_side"] = made.padding_side
        classes[name], model_types[model_type] = options, name
    return {"classes": dict(sorted(classes.items())), "model_types": model_types}


def _token(token: Any) -> Any:
    return token if isinstance(token, str) else token.__getstate__()


def written(value: dict[str, Any]) -> str:
    """One line for each class and each model type."""
    parts = []
    for name, table in value.items():
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in table.items())
        parts.append(f'"{name}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(written(ask()))
