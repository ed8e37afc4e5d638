"""Reads and writes tokenizer.json; errors name the part of the file that is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.checks import WORD, WrongValue, integer, is_object, listed, needed, reading, short
from gputok.components import Verbatim, base_of, described
from gputok.files import json_text
from gputok.lazy import without_collection
from gputok.models.bpe.model import JoinedMerges
from gputok.pipeline.added_vocabulary import AddedVocabulary
from gputok.pipeline.pipeline import KINDS, Pipeline
from gputok.tokens.added_token import AddedToken, tokens_of_forms
from gputok.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gputok.corpus import Source
    from gputok.types import Bytes

VERSION = "1.0"
COMPILED = b"\x89gputok compiled"  # the first bytes of a compiled tokenizer (`pipeline.compiled`), which no text has
_MAX_DEPTH = 128  # the largest number of nested brackets, as in the JSON parser of tokenizers
_STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


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


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, source: str) -> None:
    """Raises ValueError for too many nested brackets."""
    level: list[Any] = [value]
    depth = 0
    while level:
        if (depth := depth + 1) > _MAX_DEPTH:
            raise ValueError(f"{source}: is nested more than {_MAX_DEPTH} deep, too deeply for a tokenizer.json")
        objects = (item.values() if is_object(item) else item for item in level if type(item) in (dict, list))
        level = [inner for values in objects for inner in values]


def tokenizer_json(pipeline: Pipeline, pretty: bool) -> Iterator[json_text.Buffer]:
    """Returns a tokenizer.json in parts, byte for byte as `tokenizers` writes it; pretty: with indentation."""
    return json_text.parts(form_of(pipeline, pipeline.model.fields()), pretty)


def tokenizer_dict(pipeline: Pipeline) -> dict[str, Any]:
    """Returns the JSON form of a pipeline, with the keys in the order of the file."""
    return form_of(pipeline, pipeline.model.to_dict())


def form_of(pipeline: Pipeline, model: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON form of a pipeline; model: that of its model."""
    truncation, padding = pipeline.truncation, pipeline.padding
    return {
        "version": VERSION,
        "truncation": None if truncation is None else truncation.to_dict(),
        "padding": None if padding is None else padding.to_dict(),
        "added_tokens": [
            {"id": token_id, **token.to_dict()} for token_id, token in sorted(pipeline.added.tokens.items())
        ],
        **{name: None if (step := getattr(pipeline, name)) is None else step.to_dict() for name in _STEPS},
        "model": model,
    }


def state_of(pipeline: Pipeline) -> bytes:
    """Returns all that ids depend on: what pickles, other processes and fingerprints get.

    That is the tokenizer.json and, under the key `state`, what it can't hold, if any: `encode_special_tokens`, `alpha`
    of Unigram, ids of added tokens that a file gives other ids, and the like. The state depends on no hash seed.
    """
    form = b"".join(tokenizer_json(pipeline, pretty=False))
    rest: dict[str, Any] = {}
    if fields := pipeline.model.unsaved_fields():
        rest["model"] = fields
    added = pipeline.added.state()
    in_order = [token for _, token in sorted(pipeline.added.tokens.items())]
    if added != pipeline.without_added().with_added(in_order)[0].added.state():
        rest["added"] = added
    if not rest:
        return form
    state = json.dumps(rest, ensure_ascii=False, separators=(",", ":")).encode()
    return b'%b,"state":%b}' % (form.removesuffix(b"}"), state)


def sha256_of(pipeline: Pipeline) -> str:
    """Returns the SHA-256 of the state, in hexadecimal digits."""
    import hashlib  # imported late: it takes some milliseconds

    return pipeline.kept.once("sha256", lambda: hashlib.sha256(state_of(pipeline)).hexdigest())


def read_state(state: bytes) -> Pipeline:
    """Reads the parts of a tokenizer from what `state_of` returns."""
    return _read(state, "this state", _pipeline_of_state)


def _pipeline_of_state(value: dict[str, Any], source: str) -> Pipeline:
    pipeline, rest = pipeline_of(value, source), value.get("state", {})
    for name, field in rest.get("model", {}).items():
        setattr(pipeline.model, name, field)
    if "added" not in rest:
        return pipeline
    return dataclasses.replace(pipeline, added=AddedVocabulary.of_state(rest["added"]))


def read_pipeline(text: str | bytes, source: str) -> Pipeline:
    """Reads the parts of a tokenizer from a tokenizer.json; errors are ValueErrors that begin with `source`."""
    return _read(text, source, pipeline_of)


@without_collection()
def _read(text: str | bytes, source: str, make: Callable[[dict[str, Any], str], Pipeline]) -> Pipeline:
    # If the file is wrong (or no UTF-8), this fails without an error, and `read_json` below says what is wrong
    with contextlib.suppress(ValueError, TypeError):
        raw = text.encode() if isinstance(text, str) else text
        if (value := read_packed(raw, lambda rest: read_json(rest, ""))) is not None:
            return make(value, source)
    return make(read_json(text, source), source)


def pipeline_of(value: dict[str, Any], source: str) -> Pipeline:
    """Makes the parts of a tokenizer from its JSON form; errors are ValueErrors that begin with source and part."""
    if value.get("version", VERSION) != VERSION:
        raise ValueError(f"{source}: Unknown tokenizer version {short(value['version'])}, expected '{VERSION}'")
    if value.get("model") is None:
        raise ValueError(f'{source}: is not a tokenizer.json: Model missing: the key "model" is missing')

    def read(name: str, make: Callable[[Any], Any]) -> Any:
        if (part := value.get(name)) is None:
            return None
        try:
            return reading(name, make, part)
        except RecursionError:
            raise ValueError(f"{source}: {name} is nested too deeply") from None
        except WrongValue as error:
            raise ValueError(f"{source}: in {error}") from None

    # `base_of` imports the module of a kind, and is called only for those kinds that the file has
    parts = {name: read(name, lambda form, kind=kind: base_of(kind).from_dict(form)) for name, kind in KINDS.items()}
    pipeline = Pipeline(added=AddedVocabulary(), **parts)
    if value.get("truncation") is not None or value.get("padding") is not None:
        from gputok.pipeline.limits import Padding, Truncation  # takes a millisecond, and few files have limits

        limits = {"truncation": read("truncation", Truncation.from_dict), "padding": read("padding", Padding.from_dict)}
        pipeline = dataclasses.replace(pipeline, **limits)
    return read("added_tokens", lambda given: pipeline.with_added(_added_tokens(given))[0]) or pipeline


def _added_tokens(forms: Any) -> list[AddedToken]:
    """Makes added tokens from their JSON form; errors name the token, and what is wrong with it."""
    if (made := tokens_of_forms(forms)) is not None:
        ids: list[Any] = [form.get("id") for form in forms]
        if all(type(id) is int and 0 <= id <= WORD for id in ids):
            return made
    return [*listed(_added_token)(forms)]


def _added_token(value: dict[str, Any]) -> AddedToken:
    """Makes an added token from its JSON form. As in `tokenizers`, `id` must be there, and is ignored."""
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
        items = [f'"{key}":' + (f'"{item}"' if key == "content" else str(item)) for key, item in fields.items()]
        return Verbatim("{" + ", ".join([*items[:n_items], "..."] if len(items) > n_items else items) + "}")

    parts = {
        "version": VERSION,
        "truncation": params("TruncationParams", form["truncation"]),
        "padding": params("PaddingParams", form["padding"], "pad_token"),
        "added_tokens": [added(token) for token in form["added_tokens"]],
        **{name: Verbatim(show(getattr(pipeline, name))) for name in (*_STEPS, "model")},
    }
    return described("Tokenizer", parts, n_items)


def _word(value: Any) -> Any:
    """Describes a variant of an enumeration, as `Name` or `Name(value)`."""
    if is_object(value):
        ((name, argument),) = value.items()
        return Verbatim(f"{name}({argument})")
    return Verbatim(value) if isinstance(value, str) else value


_SMALL = 1 << 16  # for texts of fewer bytes, the JSON parser is as fast
_BRACKET = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=[\[{])")


def read_packed(text: bytes, loads: Callable[[bytes], Any]) -> Any:
    """Reads a JSON text; `model.vocab` is then a Vocabulary and, of a BPE, `model.merges` a JoinedMerges.

    Kernels read the long tables, and `loads`, a JSON parser, the rest; it raises ValueError if that is not JSON.
    Returns None if the text is short, or its vocabulary can't be read so: then a JSON parser must read all of it.
    """
    if len(text) < _SMALL or (begin := _table(text, "vocab", [])) < 0:
        return None
    data = np.frombuffer(text, np.uint8)
    if (found := _vocabulary(data, begin)) is None:
        return None
    vocabulary, end = found
    tables: dict[str, Any] = {"vocab": vocabulary}
    spans = [(begin, end, "vocab")]
    if (begin := _table(text, "merges", spans)) >= 0 and (merges := _merges(data, begin, vocabulary)) is not None:
        tables["merges"], end = merges
        spans.append((begin, end, "merges"))
    if any(_table(text, name, spans) >= 0 for name in tables):  # a second table: which one is the model's?
        return None
    # A random mark, which no file contains by chance, replaces each table. The parsed value shows where the marks are,
    # and so whether the tables were those of the model.
    mark = os.urandom(16).hex()
    rest: list[bytes] = []
    at = 0
    for begin, end, name in sorted(spans):
        rest += [text[at:begin], f'"{name} {mark}"'.encode()]
        at = end
    value = loads(b"".join([*rest, text[at:]]))
    model = value.get("model") if is_object(value) else None
    if not is_object(model) or any(model.get(name) != f"{name} {mark}" for name in tables):
        return None
    model.update(tables)
    return value


def _table(text: bytes, name: str, known: list[tuple[int, int, str]]) -> int:
    """Returns where the bracket after the first key `name` is, outside of known tables (begin, end, name); or -1."""
    key = f'"{name}"'.encode()
    edges = [0, *(edge for begin, end, _ in sorted(known) for edge in (begin, end)), len(text)]
    for at, stop in zip(edges[::2], edges[1::2], strict=True):
        while (at := text.find(key, at, stop)) >= 0:
            bracket = _BRACKET.match(text, at + len(key))
            # After a backslash the text is no key, but the end of a token
            if bracket and text[at - 1 : at] != b"\\" and bracket.end() not in edges:
                return bracket.end()
            at += 1
    return -1


def _vocabulary(data: Bytes, begin: int) -> tuple[Vocabulary, int] | None:
    from gputok.kernels.cpu import json_tables, lines

    table = json_tables.read_table(data, begin)
    if table is None or not lines.is_utf8(data[begin : table.end]):
        return None
    vocabulary = Vocabulary(table.data, table.offsets, table.numbers)
    # If a key occurs twice, its last value counts, in the position of the first: then the kernel's table is wrong.
    if np.count_nonzero(vocabulary.strings.slots) < len(vocabulary):
        return None
    return vocabulary, table.end


def _merges(data: Bytes, begin: int, vocabulary: Vocabulary) -> tuple[JoinedMerges, int] | None:
    from gputok.kernels.cpu import json_tables

    found = json_tables.read_merges(data, begin, vocabulary.strings)
    return None if found is None else (JoinedMerges(vocabulary, found[0]), found[1])


def fingerprint(pipeline: Pipeline, source: Source, options: Any) -> str:
    """Returns a hash of everything that the ids of a corpus depend on.

    An interrupted run may resume only if the hash is unchanged. Of files, it includes names, sizes and times (or the
    versions that a server reports); the contents of any other source can't be known, so each hash for it is different.
    """
    import hashlib

    state = source.state
    if state is None:
        return os.urandom(16).hex()
    return hashlib.sha256(repr((sha256_of(pipeline), state, options)).encode()).hexdigest()
