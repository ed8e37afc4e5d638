"""What every step of a tokenizer is: a small dataclass whose class name is the `type` of its JSON form."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar, Self

_MODULES = {
    "normalizer": "normalizers",
    "pre-tokenizer": "pre_tokenizers",
    "model": "models",
    "post-processor": "processors",
    "decoder": "decoders",
}
"""Kind -> the module of `tokenizers` with its classes."""


class Component:
    """Base of normalizers, pre-tokenizers, models, post-processors and decoders.

    A subclass is a dataclass (`@dataclass(eq=False, repr=False)`) whose public fields, in order, are the JSON form,
    the `repr`, the pickle form and the settable attributes. What is derived from them (compiled tables) is a
    `functools.cached_property` with a leading underscore: setting a field drops it.
    Where the JSON form is more than its fields, a subclass overrides `to_dict` and `from_dict`; a field that the
    namesake's `repr` shows in another way (an enumeration, without quotes) has a function `metadata["shown"]`.
    """

    kind: ClassVar[str] = "component"  # "normalizer", "pre-tokenizer", ...: the word used in errors

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, `type` first."""
        fields = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"type": type(self).__name__, **fields}

    @classmethod
    def adopt(cls, value: Any) -> Any:
        """The component itself, or what it is here if it belongs to `tokenizers`, by its JSON form.

        Called on the base class of a kind (`Normalizer.adopt`). Anything else comes back as it is.
        """
        if type(value).__module__ != f"tokenizers.{_MODULES.get(cls.kind)}":
            return value
        try:
            state = value.__getstate__()
        except Exception as error:  # of no class of its own
            name = type(value).__name__
            raise TypeError(f"this {name} of tokenizers can't be used in gputok: {error}") from None
        return cls.from_dict(json.loads(state))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A component from its JSON form, without `type`; unknown keys are ignored, as the namesake does."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: item for key, item in value.items() if key in names})

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            for derived in [key for key in self.__dict__ if key.startswith("_")]:
                del self.__dict__[derived]
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return self._described(99, None)

    def __str__(self) -> str:
        return self._described(5, 100)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        fields = (
            f"{field.name}={show(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            for show in [field.metadata.get("shown", lambda value: _shown(value, n_items, n_bytes))]
        )
        return f"{type(self).__name__}({', '.join(fields)})"

    def __getstate__(self) -> bytes:
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(type(self).from_dict(json.loads(state)).__dict__)


def call_custom(component: Any, method: str, *arguments: Any) -> Any:
    """Calls a method of an object that a user wrote; what the method itself raises comes through as it is.

    Raises AttributeError or TypeError, with the messages of `tokenizers`, if it has no such method or the
    method takes other arguments.
    """
    try:
        return getattr(component, method)(*arguments)
    except (AttributeError, TypeError) as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself failed
            raise type(error)(f"{type(error).__name__}: {error}") from None
        raise


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any, n_items: int, n_bytes: int | None) -> str:
    """A field as the namesake's `repr` shows it: strings in double quotes with nothing escaped, Python's constants.

    Only the first items of a list and the first bytes of a string are shown.
    """
    if isinstance(value, str):
        raw = value.encode()
        short = n_bytes is None or len(raw) <= n_bytes
        return f'"{value}"' if short else f'"{raw[:n_bytes].decode(errors="ignore")}..."'
    if isinstance(value, list | tuple):
        items = [_shown(item, n_items, n_bytes) for item in value[:n_items]]
        return "[" + ", ".join([*items, "..."] if len(value) > n_items else items) + "]"
    return value._described(n_items, n_bytes) if isinstance(value, Component) else repr(value)
