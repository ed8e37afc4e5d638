"""tokenizer.json: read with errors that say what is wrong, and written."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gputok import json_text
from gputok.added_tokens import AddedToken
from gputok.components import Component

if TYPE_CHECKING:
    from gputok.tokenizer import Tokenizer
    from gputok.tokenizer.steps import Pipeline

VERSION = "1.0"
_STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
_DIRECTIONS = {"Left": "left", "Right": "right"}
_MAX_DEPTH = 128  # of brackets, as in the namesake's JSON parser


def read_json(text: str | bytes, source: str) -> dict[str, Any]:
    """The object that a JSON text holds; `source` names it in errors, all of which are ValueErrors."""
    try:
        with without_collection():
            value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{source}: is nested too deeply to be a tokenizer.json") from None
    except ValueError as error:  # UnicodeDecodeError as well
        raise ValueError(f"{source}: is not a tokenizer.json: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{source}: is not a tokenizer.json: expected an object, not {type(value).__name__}")
    _check_depth({key: item for key, item in value.items() if key != "model"}, source)
    return value


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """No garbage is looked for: reading and writing make none, and looking among 150,000 merges takes longer than both."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_depth(value: Any, source: str) -> None:
    level, depth = [value], 0
    while level:
        if (depth := depth + 1) > _MAX_DEPTH:
            raise ValueError(
                f"{source}: is nested more than {_MAX_DEPTH} deep, too deeply for a tokenizer.json"
            )
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]


def tokenizer_json(pipeline: Pipeline, pretty: bool) -> Iterator[json_text.Buffer]:
    """A tokenizer.json, byte for byte as the namesake writes it, in parts."""
    return json_text.parts(_form(pipeline, pipeline.model.fields()), pretty)


def tokenizer_dict(pipeline: Pipeline) -> dict[str, Any]:
    """The JSON form of a tokenizer, in the order of keys that files have."""
    return _form(pipeline, pipeline.model.to_dict())


def _form(pipeline: Pipeline, model: dict[str, Any]) -> dict[str, Any]:
    truncation, padding, added = pipeline.truncation, pipeline.padding, pipeline.added
    return {
        "version": VERSION,
        "truncation": truncation
        and {
            "direction": truncation["direction"].title(),
            "max_length": truncation["max_length"],
            "strategy": _name_of(_STRATEGIES, truncation["strategy"]),
            "stride": truncation["stride"],
        },
        "padding": padding
        and {
            "strategy": "BatchLongest" if padding["length"] is None else {"Fixed": padding["length"]},
            "direction": padding["direction"].title(),
            "pad_to_multiple_of": padding["pad_to_multiple_of"],
            "pad_id": padding["pad_id"],
            "pad_type_id": padding["pad_type_id"],
            "pad_token": padding["pad_token"],
        },
        "added_tokens": [
            {"id": token_id, **token.to_dict()} for token_id, token in sorted(added.tokens.items())
        ],
        "normalizer": _component_dict(pipeline.normalizer),
        "pre_tokenizer": _component_dict(pipeline.pre_tokenizer),
        "post_processor": _component_dict(pipeline.post_processor),
        "decoder": _component_dict(pipeline.decoder),
        "model": model,
    }


def _component_dict(component: Component | None) -> dict[str, Any] | None:
    return None if component is None else component.to_dict()


def _name_of(names: dict[str, str], value: str) -> str:
    return next(name for name, written in names.items() if written == value)


def read_tokenizer(value: dict[str, Any], source: str) -> Tokenizer:
    """A tokenizer from its JSON form; whatever is wrong with it is a ValueError that says in which part."""
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.tokenizer import Tokenizer

    if value.get("version", VERSION) != VERSION:
        raise ValueError(f"{source}: Unknown tokenizer version '{value['version']}', expected '{VERSION}'")
    if value.get("model") is None:
        raise ValueError(f'{source}: is not a tokenizer.json: Model missing: there is no "model"')
    read = _Reader(value, source)
    tokenizer = Tokenizer(read("model", Model.from_dict))
    tokenizer.normalizer = read("normalizer", Normalizer.from_dict)
    tokenizer.pre_tokenizer = read("pre_tokenizer", PreTokenizer.from_dict)
    tokenizer.post_processor = read("post_processor", PostProcessor.from_dict)
    tokenizer.decoder = read("decoder", Decoder.from_dict)
    read("truncation", lambda given: _read_truncation(tokenizer, given))
    read("padding", lambda given: _read_padding(tokenizer, given))
    read("added_tokens", lambda given: _read_added_tokens(tokenizer, given))
    return tokenizer


class _Reader:
    """Reads parts of a JSON object, naming the part in errors."""

    def __init__(self, value: dict[str, Any], source: str) -> None:
        self.value, self.source = value, source

    def __call__(self, name: str, read: Callable[[Any], Any]) -> Any:
        part = self.value.get(name)
        if part is None:
            return None
        try:
            return read(part)
        except RecursionError:
            raise ValueError(f"{self.source}: {name} is nested too deeply") from None
        except KeyError as error:
            raise ValueError(f"{self.source}: in {name}: missing field {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{self.source}: in {name}: {error}") from None


def _read_truncation(tokenizer: Tokenizer, value: dict[str, Any]) -> None:
    truncation = {
        "max_length": _natural("max_length", value["max_length"]),
        "stride": _natural("stride", value["stride"]),
        "strategy": _STRATEGIES[value["strategy"]],
        "direction": _DIRECTIONS[value.get("direction", "Right")],
    }
    tokenizer._set(truncation=truncation)


def _read_padding(tokenizer: Tokenizer, value: dict[str, Any]) -> None:
    strategy, multiple = value["strategy"], value.get("pad_to_multiple_of")
    padding = {
        "length": None if strategy == "BatchLongest" else _natural("Fixed", strategy["Fixed"]),
        "pad_to_multiple_of": None if multiple is None else _natural("pad_to_multiple_of", multiple),
        "pad_id": _natural("pad_id", value["pad_id"]),
        "pad_token": str(value["pad_token"]),
        "pad_type_id": _natural("pad_type_id", value["pad_type_id"]),
        "direction": _DIRECTIONS[value["direction"]],
    }
    tokenizer._set(padding=padding)


def _read_added_tokens(tokenizer: Tokenizer, value: list[dict[str, Any]]) -> None:
    """As in the namesake, ids that are neither the model's nor the next free ones are not kept; `id` must be there."""
    names = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    tokens = []
    for given in value:
        _natural("id", given["id"])
        if not isinstance(given["content"], str):
            raise TypeError(f"content must be a string, not {given['content']!r}")
        tokens.append(AddedToken(**{name: given[name] for name in names}))
    tokenizer.add_tokens(tokens)


def _natural(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError(f"{name} must be a whole number from 0 to {(1 << 32) - 1}, not {value!r}")
    return value


def shown(pipeline: Pipeline, *, brief: bool) -> str:
    """A tokenizer as the namesake's `repr` shows it, or `str`, which leaves out more of what is long."""
    form = tokenizer_dict(pipeline)
    show, n_items = (str, 5) if brief else (repr, 99)

    def params(name: str, fields: dict[str, Any] | None) -> str:
        # Words of enumerations have no quotes; of the strings here only the text of the padding has some.
        return (
            "None"
            if fields is None
            else f"{name}({', '.join(f'{key}={item}' for key, item in fields.items())})"
        )

    def added(fields: dict[str, Any]) -> str:
        items = [
            f'"{key}":' + (f'"{item}"' if key == "content" else str(item)) for key, item in fields.items()
        ]
        return "{" + ", ".join(_some(items, n_items)) + "}"

    padding = form["padding"]
    if padding is not None:
        padding["pad_token"] = f'"{padding["pad_token"]}"'
        if isinstance(padding["strategy"], dict):
            padding["strategy"] = f"Fixed({padding['strategy']['Fixed']})"
    parts = {
        "version": f'"{VERSION}"',
        "truncation": params("TruncationParams", form["truncation"]),
        "padding": params("PaddingParams", padding),
        "added_tokens": "["
        + ", ".join(_some([added(token) for token in form["added_tokens"]], n_items))
        + "]",
        "normalizer": show(pipeline.normalizer),
        "pre_tokenizer": show(pipeline.pre_tokenizer),
        "post_processor": show(pipeline.post_processor),
        "decoder": show(pipeline.decoder),
        "model": show(pipeline.model),
    }
    return f"Tokenizer({', '.join(f'{name}={part}' for name, part in parts.items())})"


def _some(items: list[str], n: int) -> list[str]:
    return items if len(items) <= n else [*items[:n], "..."]
