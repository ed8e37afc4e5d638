"""Reads and writes tokenizer.json; errors name the part of the file that is wrong."""

from __future__ import annotations

import contextlib
import gc
import json
from typing import TYPE_CHECKING, Any

from gputok.components import Verbatim, described
from gputok.fields import WORD, WrongValue, integer, is_object, listed, needed, reading, short
from gputok.files import json_text
from gputok.pipeline.pipeline import Pipeline
from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from gputok.components import Component

VERSION = "1.0"
_MAX_DEPTH = 128  # the largest number of nested brackets, as in the JSON parser of tokenizers
_CONTAINERS = (dict, list)


def read_json(text: str | bytes, source: str) -> dict[str, Any]:
    """Reads a JSON object; errors are ValueErrors that begin with `source`."""
    try:
        with without_collection():
            value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{source}: is nested too deeply to be a tokenizer.json") from None
    except ValueError as error:  # also UnicodeDecodeError
        raise ValueError(f"{source}: is not a tokenizer.json: {error}") from None
    if not is_object(value):
        raise ValueError(f"{source}: is not a tokenizer.json: expected an object, not {type(value).__name__}")
    _check_depth({key: item for key, item in value.items() if key != "model"}, source)
    return value


@contextlib.contextmanager
def without_collection() -> Generator[None, None, None]:
    """Switches the garbage collector off while a block runs.

    Reading and writing a tokenizer make no garbage, and looking for some among 150,000 merges takes longer than both.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, source: str) -> None:
    """Raises ValueError for too many nested brackets."""
    level: list[Any] = [value]
    depth = 0
    while level:
        if (depth := depth + 1) > _MAX_DEPTH:
            raise ValueError(
                f"{source}: is nested more than {_MAX_DEPTH} deep, too deeply for a tokenizer.json"
            )
        level = [inner for item in level if type(item) in _CONTAINERS for inner in _inside(item)]


def _inside(container: Any) -> Iterable[Any]:
    """Returns the values of an object, or the items of a list."""
    return container.values() if is_object(container) else container


def tokenizer_json(pipeline: Pipeline, pretty: bool) -> Iterator[json_text.Buffer]:
    """Returns a tokenizer.json in parts, byte for byte as `tokenizers` writes it; pretty: with indentation."""
    return json_text.parts(_form(pipeline, pipeline.model.fields()), pretty)


def tokenizer_dict(pipeline: Pipeline) -> dict[str, Any]:
    """Returns the JSON form of a pipeline, with the keys in the order of the file."""
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
    """Reads the parts of a tokenizer from a tokenizer.json; errors are ValueErrors that begin with `source`."""
    if (value := _packed(text)) is not None:
        # If the file is wrong, the plain form below finds out why.
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
    """Makes the parts of a tokenizer from its JSON form; errors are ValueErrors that begin with `source` and the part."""
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
        raise ValueError(f'{source}: is not a tokenizer.json: Model missing: the key "model" is missing')
    read = _Reader(value, source)
    pipeline = Pipeline(
        read("model", Model.from_dict),
        read("normalizer", Normalizer.from_dict),
        read("pre_tokenizer", PreTokenizer.from_dict),
        read("post_processor", PostProcessor.from_dict),
        read("decoder", Decoder.from_dict),
        truncation=read("truncation", lambda given: _limits().Truncation.from_dict(given)),
        padding=read("padding", lambda given: _limits().Padding.from_dict(given)),
    )
    return read("added_tokens", lambda given: pipeline.with_added(listed(_added_token)(given))[0]) or pipeline


def _limits() -> Any:
    from gputok.pipeline import limits  # a millisecond, which few files need

    return limits


class _Reader:
    """Reads parts of a JSON object; errors name the part."""

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
    """Makes an added token from its JSON form, in which `id` must not be missing.

    As in `tokenizers`, the id itself is ignored: the token gets the id of the model, or the next free id.
    """
    reading("id", integer(0, WORD), needed(value, "id"))
    return AddedToken.from_dict(value)


def shown(pipeline: Pipeline, *, brief: bool) -> str:
    """Describes a tokenizer as `repr` does in `tokenizers`, or (brief) as `str`, which shortens more."""
    form = tokenizer_dict(pipeline)
    show, n_items = (str, 5) if brief else (repr, 99)

    def params(name: str, fields: dict[str, Any] | None, quoted: str = "") -> Verbatim | None:
        if fields is None:
            return None
        # Words of enumerations are shown without quotes, and so are all these strings except the text of the padding.
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
    """Describes a variant of an enumeration, as `Name` or `Name(value)`."""
    if is_object(value):
        ((name, argument),) = value.items()
        return Verbatim(f"{name}({argument})")
    return Verbatim(value) if isinstance(value, str) else value
