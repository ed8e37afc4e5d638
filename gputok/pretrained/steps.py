"""Options that change the steps of a tokenizer: `add_prefix_space`, `do_lower_case`, ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gputok.components import LISTS, all_parts
from gputok.decoders import Decoder
from gputok.normalizers import Normalizer
from gputok.pre_tokenizers import PreTokenizer
from gputok.processors import PostProcessor
from gputok.tokenizer import Tokenizer

Form = dict[str, Any]  # the JSON form of a component

_SPACE = "▁"  # stands for a space in the tokens of SentencePiece


def set_step(tokenizer: Tokenizer, name: str, value: Any, *, needed: bool = True) -> None:
    """Sets an option of `STEPS` in all steps that have this option, as the classes of `transformers` do.

    Raises TypeError if the value is not a bool. If no step has the option, raises ValueError, unless `needed` is False
    or the value is that of a tokenizer without such a step (`_WITHOUT`).
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    bases = {
        "normalizer": Normalizer,
        "pre_tokenizer": PreTokenizer,
        "post_processor": PostProcessor,
        "decoder": Decoder,
    }
    steps = {kind: getattr(tokenizer, kind) for kind in bases}
    forms = {kind: step and step.to_dict() for kind, step in steps.items()}
    if not STEPS[name](forms, value) and needed and value is not _WITHOUT[name]:
        cannot = f"no step of this tokenizer can do that (its steps are {_named(forms)})"
        raise ValueError(f"{name}={value}: {cannot}; change the steps of tokenizer.backend_tokenizer instead")
    for kind, form in forms.items():
        if form != (steps[kind] and steps[kind].to_dict()):
            setattr(tokenizer, kind, form and bases[kind].from_dict(form))


def _parts(form: Form | None, *types: str) -> list[Form]:
    """Finds the parts of these types, at any depth."""
    return [part for part in all_parts(form) if part["type"] in types]


def _without(form: Form | None, unwanted: list[Form]) -> Form | None:
    """Removes parts from a component; None: nothing is left."""
    if form is None or any(form is part for part in unwanted):
        return None
    for name in LISTS:
        if name in form:
            left = [_without(part, unwanted) for part in form[name]]
            form = {**form, name: [part for part in left if part is not None]}
    return form


def _named(forms: dict[str, Form | None]) -> str:
    names = [part["type"] for form in forms.values() for part in all_parts(form) if part["type"] != "Sequence"]
    return ", ".join(dict.fromkeys(names)) or "none"


def _set(parts: list[Form], field: str, value: Any) -> bool:
    for part in parts:
        part[field] = value
    return bool(parts)


def _add_prefix_space(forms: dict[str, Form | None], value: bool) -> bool:
    _set(_parts(forms["post_processor"], "RobertaProcessing"), "add_prefix_space", value)
    found = _set(_parts(forms["pre_tokenizer"], "ByteLevel"), "add_prefix_space", value)
    metaspaces = _parts(forms["pre_tokenizer"], "Metaspace")
    for part in metaspaces + _parts(forms["decoder"], "Metaspace"):
        on = "always" if part["prepend_scheme"] == "never" else part["prepend_scheme"]
        part["prepend_scheme"] = on if value else "never"
    prepends = [part for part in _parts(forms["normalizer"], "Prepend") if part["prepend"] == _SPACE]
    spaced = bool(metaspaces or prepends)
    if prepends and not value:
        forms["normalizer"] = _without(forms["normalizer"], prepends)
    elif value and not metaspaces and not prepends and _spells_spaces(forms["normalizer"]):
        prepend = {"type": "Prepend", "prepend": _SPACE}
        forms["normalizer"] = {"type": "Sequence", "normalizers": [prepend, forms["normalizer"]]}
        spaced = True
    if spaced and _parts(forms["decoder"], "Replace"):
        _strip_first_space(forms, value)
    return found or spaced


def _spells_spaces(normalizer: Form | None) -> bool:
    """Says whether a normalizer replaces each space by ▁."""
    replaced = _parts(normalizer, "Replace")
    return any(part["pattern"] == {"String": " "} and part["content"] == _SPACE for part in replaced)


def _strip_first_space(forms: dict[str, Form | None], value: bool) -> None:
    """Makes the decoder remove the space that was put before the text."""
    decoder = forms["decoder"]
    strips = [part for part in _parts(decoder, "Strip") if part["content"] == " "]
    if strips:
        _set(strips, "start", int(value))
    elif value:
        strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        forms["decoder"] = {"type": "Sequence", "decoders": [decoder, strip]}


def _legacy(forms: dict[str, Form | None], value: bool) -> bool:
    """Puts ▁ before each text between special tokens (True), or only before the first one (False)."""
    prepends = [part for part in _parts(forms["normalizer"], "Prepend") if part["prepend"] == _SPACE]
    if prepends and not value and forms["pre_tokenizer"] is None and _spells_spaces(forms["normalizer"]):
        replaced = [part for part in _parts(forms["normalizer"], "Replace") if part["pattern"] == {"String": " "}]
        left = _without(forms["normalizer"], prepends + replaced)
        forms["normalizer"] = left if list(all_parts(left))[1:] else None
        metaspace = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "first", "split": False}
        forms["pre_tokenizer"] = metaspace
        return True
    metaspaces = _parts(forms["pre_tokenizer"], "Metaspace")
    for part in metaspaces:
        if part["prepend_scheme"] != "never":
            part["prepend_scheme"] = "always" if value else "first"
    return bool(metaspaces or (prepends and value))


def _field(step: str, field: str, *kinds: str, alone: str = "") -> Callable[[dict[str, Form | None], bool], bool]:
    """Makes a function of `STEPS` that sets a field of steps of these kinds.

    alone: a normalizer that does by itself what the field does, and which the value False removes.
    """

    def change(forms: dict[str, Form | None], value: bool) -> bool:
        found = _set(_parts(forms[step], *kinds), field, value)
        others = _parts(forms[step], alone)
        if others and not value:
            forms[step] = _without(forms[step], others)
        return found or bool(others)

    return change


STEPS: dict[str, Callable[[dict[str, Form | None], bool], bool]] = {
    "add_prefix_space": _add_prefix_space,
    "do_lower_case": _field("normalizer", "lowercase", "BertNormalizer", alone="Lowercase"),
    "strip_accents": _field("normalizer", "strip_accents", "BertNormalizer", alone="StripAccents"),
    "tokenize_chinese_chars": _field("normalizer", "handle_chinese_chars", "BertNormalizer"),
    "trim_offsets": _field("post_processor", "trim_offsets", "RobertaProcessing", "ByteLevel"),
    "legacy": _legacy,
}
"""Name -> function that sets the option in the JSON forms of the steps, and says whether a step has this option."""

OF_CLASSES = ("add_prefix_space", "do_lower_case", "strip_accents", "tokenize_chinese_chars")
"""The options that the settings of a folder may set, if its class of `transformers` builds the steps itself."""

_WITHOUT: dict[str, bool | None] = {**dict.fromkeys(STEPS, False), "legacy": None}
"""Option -> the value that already holds if no step has the option; None: neither value does."""
