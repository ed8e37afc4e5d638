"""tokenizer.json: read with errors that say what is wrong, and written."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

from gputok.components import Component, Verbatim, described
from gputok.fields import WORD, WrongValue, integer, listed, needed, reading, short
from gputok.files import json_text
from gputok.pipeline.limits import Padding, Truncation
from gputok.pipeline.pipeline import Pipeline
from gputok.tokens.added_token import AddedToken

VERSION = "1.0"
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
    """The JSON form of a pipeline, in the order of keys that files have."""
    return _form(pipeline, pipeline.model.to_dict())


def _form(pipeline: Pipeline, model: dict[str, Any]) -> dict[str, Any]:
    truncation, padding = pipeline.truncation, pipeline.padding
    return {
        "version": VERSION,
        "truncation": None if truncation is None else truncation.to_dict(),
        "padding": None if padding is None else padding.to_dict(),
        "added_tokens": [
            {"id": token_id, **token.to_dict()} for token_id, token in sorted(pipeline.added.tokens.items())
        ],
        "normalizer": _component_dict(pipeline.normalizer),
        "pre_tokenizer": _component_dict(pipeline.pre_tokenizer),
        "post_processor": _component_dict(pipeline.post_processor),
        "decoder": _component_dict(pipeline.decoder),
        "model": model,
    }


def _component_dict(component: Component | None) -> dict[str, Any] | None:
    return None if component is None else component.to_dict()


def read_pipeline(text: str | bytes, source: str) -> Pipeline:
    """The parts of a tokenizer from a tokenizer.json; `source` names it in errors, all of which are ValueErrors."""
    if (value := _packed(text)) is not None:
        # What is wrong with a file, the plain form below says.
        with contextlib.suppress(ValueError, TypeError):
            return pipeline_of(value, source)
    return pipeline_of(read_json(text, source), source)


def _packed(text: str | bytes) -> dict[str, Any] | None:
    """The object that a JSON text holds, with the tables of its model as arrays; None if it can't be had so."""
    from gputok.pipeline import packed_json

    try:
        text = text.encode() if isinstance(text, str) else text
        value = packed_json.read(text, lambda rest: read_json(rest, ""))
    except ValueError:  # UnicodeEncodeError as well
        return None
    return value


def pipeline_of(value: dict[str, Any], source: str) -> Pipeline:
    """The parts of a tokenizer from its JSON form; whatever is wrong with it is a ValueError that says in which part."""
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor

    if value.get("version", VERSION) != VERSION:
        raise ValueError(
            f"{source}: Unknown tokenizer version {short(value['version'])}, expected '{VERSION}'"
        )
    if value.get("model") is None:
        raise ValueError(f'{source}: is not a tokenizer.json: Model missing: there is no "model"')
    read = _Reader(value, source)
    pipeline = Pipeline(
        read("model", Model.from_dict),
        read("normalizer", Normalizer.from_dict),
        read("pre_tokenizer", PreTokenizer.from_dict),
        read("post_processor", PostProcessor.from_dict),
        read("decoder", Decoder.from_dict),
        truncation=read("truncation", Truncation.from_dict),
        padding=read("padding", Padding.from_dict),
    )
    return read("added_tokens", lambda given: pipeline.with_added(listed(_added_token)(given))[0]) or pipeline


class _Reader:
    """Reads parts of a JSON object, naming the part in errors."""

    def __init__(self, value: dict[str, Any], source: str) -> None:
        self.value, self.source = value, source

    def __call__(self, name: str, read: Callable[[Any], Any]) -> Any:
        part = self.value.get(name)
        if part is None:
            return None
        try:
            return reading(name, read, part)
        except RecursionError:
            raise ValueError(f"{self.source}: {name} is nested too deeply") from None
        except WrongValue as error:
            raise ValueError(f"{self.source}: in {error}") from None


def _added_token(value: dict[str, Any]) -> AddedToken:
    """As in tokenizers, an id that is neither the model's nor the next free one is not kept; `id` must be there."""
    reading("id", integer(0, WORD), needed(value, "id"))
    return AddedToken.from_dict(value)


def shown(pipeline: Pipeline, *, brief: bool) -> str:
    """A tokenizer as the namesake's `repr` shows it, or `str`, which leaves out more of what is long."""
    form = tokenizer_dict(pipeline)
    show, n_items = (str, 5) if brief else (repr, 99)

    def params(name: str, fields: dict[str, Any] | None, quoted: str = "") -> Verbatim | None:
        if fields is None:
            return None
        # Words of enumerations have no quotes; of the strings here only the text of the padding has some.
        words = {key: item if key == quoted else _word(item) for key, item in fields.items()}
        return Verbatim(described(name, words))

    def added(fields: dict[str, Any]) -> Verbatim:
        items = [
            f'"{key}":' + (f'"{item}"' if key == "content" else str(item)) for key, item in fields.items()
        ]
        return Verbatim("{" + ", ".join([*items[:n_items], "..."] if len(items) > n_items else items) + "}")

    parts = {
        "version": VERSION,
        "truncation": params("TruncationParams", form["truncation"]),
        "padding": params("PaddingParams", form["padding"], "pad_token"),
        "added_tokens": [added(token) for token in form["added_tokens"]],
        "normalizer": Verbatim(show(pipeline.normalizer)),
        "pre_tokenizer": Verbatim(show(pipeline.pre_tokenizer)),
        "post_processor": Verbatim(show(pipeline.post_processor)),
        "decoder": Verbatim(show(pipeline.decoder)),
        "model": Verbatim(show(pipeline.model)),
    }
    return described("Tokenizer", parts, n_items)


def _word(value: Any) -> Any:
    """The word of an enumeration: one with a value is written as a call."""
    if isinstance(value, dict):
        ((name, argument),) = value.items()
        return Verbatim(f"{name}({argument})")
    return Verbatim(value) if isinstance(value, str) else value
