"""What every step of a tokenizer is: a small dataclass whose class name is the `type` of its JSON form.

A step can be changed while other threads use it. What it is at one moment, its state, is a dictionary (`vars(step)`) that
is never changed but for what is derived from it: setting a field makes another one, which takes its place by one
assignment. Whoever needs a step twice takes a view of its state first (`Component.frozen`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import numpy as np

from gputok import fields
from gputok.fields import Check, FieldError, WrongValue

T = TypeVar("T")

version = object()
"""Another one after each change of a component or a tokenizer: while it is the same, everything else is."""

exchanging = threading.RLock()
"""Held while states are exchanged, or those of several objects are read: an instant, in which nothing else happens."""

if hasattr(os, "register_at_fork"):  # or a child would wait for a thread that it doesn't have
    os.register_at_fork(
        before=exchanging.acquire, after_in_child=exchanging.release, after_in_parent=exchanging.release
    )


def exchange(*changes: tuple[Any, str, Any, Any]) -> bool:
    """Gives attributes new values, together: (object, name, old value, new value) each.

    Returns False, and changes nothing, if another thread has set one of them: it is no more the old value, from which
    the new one was made.
    """
    global version
    with exchanging:
        if any(getattr(owner, name) is not old for owner, name, old, _ in changes):
            return False
        for owner, name, _, new in changes:
            object.__setattr__(owner, name, new)
        version = object()
    return True


def view(component: Any, state: dict[str, Any]) -> Any:
    """An object of the same class with this state, and with what is derived from it."""
    other = object.__new__(type(component))
    object.__setattr__(other, "__dict__", state)
    return other


class derived(Generic[T]):
    """A property that is made of an object's state when it is first asked for, and kept with that state.

    Unlike `functools.cached_property` it never stores what was made of an older state in a newer one, and needs no lock;
    threads that meet may make it twice, but get one object.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> derived[T]: ...

    @overload
    def __get__(self, instance: Any, owner: type | None = None) -> T: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        state = instance.__dict__  # the instance may have another one in a moment
        return state.setdefault(self._name, self._make(view(instance, state)))


class Component:
    """Base of normalizers, pre-tokenizers, models, post-processors and decoders.

    A subclass is a dataclass (`@dataclass(eq=False, repr=False)`) whose public fields, in order, are the JSON form,
    the `repr`, the pickle form and the settable attributes. What is made of them (compiled tables) is `derived`.
    Setting a field, which the constructor and `from_dict` do as well, asks its check in `checks`, and puts a new state in
    place of the old one; lists become tuples, so that a state doesn't change. Where the JSON form is more than its fields, a subclass overrides `to_dict` and `from_dict`; a field that the
    namesake's `repr` shows in another way (an enumeration, without quotes) has a function `metadata["shown"]`.
    """

    kind: ClassVar[str] = "component"  # "normalizer", "pre-tokenizer", ...: the word used in errors
    in_files: ClassVar[bool] = True  # has it a JSON form? Components written in Python have none
    elements: ClassVar[str | None] = None  # of a Sequence: the field that holds its components
    checks: ClassVar[Mapping[str, Check]] = {}  # what each field may hold (see gputok.fields)

    home: ClassVar[str]  # the module that users import the components of this kind from

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__.startswith("gputok."):
            cls.__module__ = cls.home

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls._is_base():
            custom = f", or {cls.__name__}.custom(...)" if hasattr(cls, "custom") else ""
            raise TypeError(f"{cls.__name__} is a base class: make one of its subclasses{custom}")
        return super().__new__(cls)

    @classmethod
    def _is_base(cls) -> bool:
        """Is it the base class of a kind, such as Normalizer?"""
        return Component in cls.__bases__

    @classmethod
    def types(cls) -> dict[str, type[Self]]:
        """Of a base class: what `type` may be in a JSON form."""
        return {kind.__name__: kind for kind in cls.__subclasses__() if kind.in_files}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, `type` first."""
        form = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"type": type(self).__name__, **form}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A component from its JSON form; on the base class of a kind, of the type that `type` names.

        Unknown keys are ignored, as the namesake does.
        """
        if cls._is_base():
            return cls._of_type(value)
        for name in cls._required():
            fields.needed(value, name)
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: item for key, item in value.items() if key in names})

    @classmethod
    def _of_type(cls, value: Any) -> Self:
        if not isinstance(value, dict):
            raise WrongValue(f"a {cls.kind} is a JSON object, not {fields.brief(value)}")
        types, name = cls.types(), value.get("type")
        if not isinstance(name, str) or name not in types:
            raise WrongValue(f"{name!r} is no {cls.kind}; the types are {', '.join(sorted(types))}")
        try:
            return types[name].from_dict(value)
        except _TooDeep:
            raise
        except RecursionError:
            raise _TooDeep(f"{cls.kind}s are nested too deeply") from None
        except FieldError as error:
            raise WrongValue(error.reason, error.place) from None
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from None

    @classmethod
    def _read_elements(cls, value: dict[str, Any], kind: type[Component]) -> list[Any]:
        """Of a Sequence: the components that its JSON form holds."""
        name = cls.elements or ""
        given = fields.needed(value, name)
        if not isinstance(given, list):
            raise WrongValue(f"must be a list, not {fields.brief(given)}", name)
        return [fields.reading(f"{name}[{i}]", kind.from_dict, item) for i, item in enumerate(given)]

    @classmethod
    def _required(cls) -> list[str]:
        """The fields that a JSON form must have."""
        return []

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
        else:
            self._set(**{name: value})

    def _set(self, **given: Any) -> None:
        """Sets several fields at once, each as its check returns it."""
        changes = {
            name: fields.checked(name, self.checks[name], value) if name in self.checks else value
            for name, value in given.items()
        }
        while True:
            state = self.__dict__
            copied = dict(state)  # at once: other threads put in what they derive
            kept = {
                name: value
                for name, value in copied.items()
                if not isinstance(getattr(type(self), name, None), derived)
            }
            new = {**kept, **changes}
            self._check_together(new)
            if exchange((self, "__dict__", state, new)):
                return

    def _check_together(self, state: Mapping[str, Any]) -> None:
        """Raises WrongValue for fields that don't go together; some may not be set yet."""

    def _set_element(self, index: int, value: Component) -> None:
        """Puts a component in place of an element."""
        while True:
            state, name = self.__dict__, self.elements
            parts = [*state[name]]
            parts[index] = value
            if exchange((self, "__dict__", state, {**state, name: tuple(parts)})):
                return

    def states(self) -> list[dict[str, Any]]:
        """The states of this component and its elements, to be compared by `is`."""
        state = self.__dict__
        if self.elements is None:
            return [state]
        return [state, *itertools.chain.from_iterable(part.states() for part in state[self.elements])]

    def frozen(self) -> Self:
        """This component as it is now, which what becomes of the fields later leaves as it is."""
        if self.elements is None:
            return view(self, self.__dict__)
        with exchanging:
            state = self.__dict__
            return view(self, {**state, self.elements: tuple(part.frozen() for part in state[self.elements])})

    def __repr__(self) -> str:
        return self._described(99, None)

    def __str__(self) -> str:
        return self._described(5, 100)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        shown = {
            field.name: Verbatim(field.metadata["shown"](value)) if "shown" in field.metadata else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }
        if self.elements:
            shown[self.elements] = list(shown[self.elements])  # shown as a list
        return described(type(self).__name__, shown, n_items, n_bytes)

    def __getstate__(self) -> bytes:
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(type(self).from_dict(json.loads(state)).__dict__)


class _TooDeep(RecursionError, ValueError):
    """A file whose components hold others, and so on, too often."""


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class Verbatim(str):
    """What a `repr` shows without quotes: the word of an enumeration, or something that is written out already."""


def described(name: str, fields: Mapping[str, Any], n_items: int = 99, n_bytes: int | None = None) -> str:
    """An object as the namesake's `repr` shows it; `str` shows 5 items and 100 bytes.

    >>> described("Strip", {"content": "_", "left": 1, "of": [1.0, None], "side": Verbatim("Left")})
    'Strip(content="_", left=1, of=[1, None], side=Left)'
    """
    shown = ", ".join(f"{key}={_shown(value, n_items, n_bytes)}" for key, value in fields.items())
    return f"{name}({shown})"


def _shown(value: Any, n_items: int, n_bytes: int | None) -> str:
    """A field as the namesake's `repr` shows it: strings in double quotes with nothing escaped, Python's constants.

    Only the first items of a list or a dictionary and the first bytes of a string are shown.
    """
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, str):
        raw = value.encode()
        short = n_bytes is None or len(raw) <= n_bytes
        return f'"{value}"' if short else f'"{raw[:n_bytes].decode(errors="ignore")}..."'
    if isinstance(value, float):
        return np.format_float_positional(value, trim="-").replace("nan", "NaN")
    if isinstance(value, dict):
        pairs = itertools.islice(value.items(), n_items)
        items = [f"{_shown(k, n_items, n_bytes)}:{_shown(item, n_items, n_bytes)}" for k, item in pairs]
        return "{" + ", ".join([*items, "..."] if len(value) > n_items else items) + "}"
    if isinstance(value, list):
        items = [_shown(item, n_items, n_bytes) for item in value[:n_items]]
        return "[" + ", ".join([*items, "..."] if len(value) > n_items else items) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(item, n_items, n_bytes) for item in value) + ")"
    return value._described(n_items, n_bytes) if isinstance(value, Component) else repr(value)
