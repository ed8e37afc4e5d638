"""Component, the base class of all steps of a tokenizer: a dataclass whose class name is the `type` of its JSON form.

A component can be changed while other threads use it. Its state is the dictionary `vars(component)`. Nothing changes
the fields in this dictionary; setting a field makes a new dictionary, which replaces the old one by one assignment.
(Only derived values are added to it.) Code that reads a component more than once first takes a view of its state
(`Component.frozen`).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import itertools
import json
import operator
import os
from _thread import RLock  # the RLock of `threading`; to import `threading` takes long
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar, dataclass_transform, overload

import numpy as np

from gputok import checks
from gputok.checks import Check, FieldError, WrongValue, field, several

T = TypeVar("T")

versions: list[object] = [object()]
"""A list of one object. A change of any component or tokenizer replaces it, so `is` tells whether nothing changed."""

exchanging = RLock()
"""Locks the exchange of states, and the reading of the states of several objects; held for an instant only."""

# A fork waits for the lock: else a child process could get it locked by a thread that only the parent process has.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=exchanging.acquire, after_in_child=exchanging.release, after_in_parent=exchanging.release
    )


def exchange(*changes: tuple[Any, str, Any, Any]) -> bool:
    """Sets several attributes at once; returns False, and sets none, if one no longer has its old value.

    changes: (object, name of the attribute, old value, new value). Another thread may set an attribute between the time
    when the caller read the old value and this call.
    """
    with exchanging:
        if any(getattr(owner, name) is not old for owner, name, old, _ in changes):
            return False
        for owner, name, _, new in changes:
            object.__setattr__(owner, name, new)
        versions[0] = object()
    return True


def view(component: Any, state: dict[str, Any]) -> Any:
    """Makes an object of the same class that shares this state, including derived values."""
    other = object.__new__(type(component))
    object.__setattr__(other, "__dict__", state)
    return other


class derived(Generic[T]):
    """A property that is computed from the state of an object at the first access, and stored in that state.

    In contrast to `functools.cached_property`, a value computed from an older state never gets into a newer state. This
    takes no lock; two threads may compute a value at the same time, but both get the same object.
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
        state = instance.__dict__  # read once: another thread may replace it
        return state.setdefault(self._name, self._make(view(instance, state)))


def users_own(value: Any) -> bool:
    """True for a class that is defined outside of gputok, and for its objects: they may have any attributes."""
    return (value if isinstance(value, type) else type(value)).__module__.partition(".")[0] != "gputok"


def no_attribute(owner: Any, name: str, names: Iterable[str]) -> AttributeError:
    """Returns the error for setting an attribute that an object doesn't have; names: the attributes that it has."""
    kind, known = type(owner), several(one for one in sorted(names) if not one.startswith("_"))
    return AttributeError(f"'{kind.__module__}.{kind.__name__}' object has no attribute {name!r}; it has {known}")


class _Hint:
    """A name that a class lacks, and that people look for: reading it raises AttributeError with a hint."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __get__(self, instance: object, owner: type) -> NoReturn:
        whose = f"type object {owner.__name__!r}" if instance is None else f"{owner.__name__!r} object"
        raise AttributeError(f"{whose} has no attribute {self._name!r}: {self._hint}", name=self._name, obj=instance)


def give_hints(owner: type, hints: Mapping[str, str]) -> None:
    """Lets AttributeError say what to use instead of a missing name; `__getattr__` would slow down all look-ups."""
    for name, hint in hints.items():
        setattr(owner, name, _Hint(name, hint))


_MODULES = {"normalizer": "normalizers", "pre-tokenizer": "pre_tokenizers", "model": "models"}
_MODULES |= {"post-processor": "processors", "decoder": "decoders"}
"""Kind -> the module with its classes, here and in `tokenizers`."""


def base_of(kind: str) -> type[Component]:
    """Returns the base class of a kind, such as `Normalizer` for "normalizer", and imports its module."""
    return getattr(importlib.import_module(f"gputok.{_MODULES[kind]}"), kind.title().replace("-", ""))


LISTS = ("normalizers", "pretokenizers", "processors", "decoders")
"""The name of the list of elements in the JSON form of a Sequence: one for each kind that has a Sequence."""


def all_parts(form: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yields the JSON form of a component and those of its parts, at any depth; nothing for None."""
    if form is not None:
        yield form
        for part in itertools.chain.from_iterable(form.get(name, ()) for name in LISTS):
            yield from all_parts(part)


class _Constructor:
    """The `__init__` of a class, compiled at its first use: that takes longer than the rest of the class definition."""

    def __get__(self, instance: Any, owner: type) -> Any:
        kind = next(kind for kind in owner.__mro__ if vars(kind).get("__init__") is self)
        return _constructor(kind).__get__(instance, owner)


@functools.cache
def _constructor(kind: type[Component | Unchanging]) -> Any:
    fields, sets = kind.__dataclass_fields__, "_set_flat" if issubclass(kind, Chain) and kind.flattens else "_set"
    made = eval(f"lambda {', '.join(('self', *fields))}: self.{sets}({', '.join(f'{name}={name}' for name in fields)})")
    made.__defaults__ = tuple(one.default for one in fields.values() if one.default is not dataclasses.MISSING)
    made.__module__, made.__name__, made.__qualname__ = kind.__module__, "__init__", f"{kind.__qualname__}.__init__"
    made.__annotations__ = {**{name: one.type for name, one in fields.items()}, "return": None}
    return made


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(field,))
class Unchanging:
    """Base of dataclasses whose fields never change. With `frozen=True`, each would take a millisecond to compile."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
        cls.__init__ = _Constructor()  # pyright: ignore[reportAttributeAccessIssue]

    def _set(self, **values: Any) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name}: a {type(self).__name__} never changes; `dataclasses.replace` makes another one")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__name__}({values})"


# What `_declared` says of a field that a user's dataclass declares without `checks.field`
_OWN = {"may_lack": False, "saved": True, "shown": None, "written": None, "read": None}


@dataclass_transform(eq_default=False, field_specifiers=(field,))
class Component:
    """Base of normalizers, pre-tokenizers, models, post-processors and decoders.

    A subclass is a dataclass whose fields (`gputok.checks.field`), in order, are the JSON form, the `repr`, the pickle
    form and the settable attributes. Values computed from fields (compiled tables) are `derived`. Setting a field,
    which the constructor and `from_dict` do as well, calls its check, and replaces the state by a new one; lists become
    tuples, so that no caller can change a state. If the JSON form contains more than the fields, the subclass overrides
    `to_dict` and `from_dict`. A user's class is decorated as a dataclass (`eq=False, repr=False`) by the user; its
    fields are saved, too.
    """

    kind: ClassVar[str] = "component"  # "normalizer", "pre-tokenizer", ...: the word in error messages
    in_files: ClassVar[bool] = True  # False: no JSON form, as for components written in Python
    unsaved: ClassVar[Mapping[str, Any]] = {}  # field that the JSON form lacks -> its value after reading a file

    _checks: ClassVar[Mapping[str, Check]] = {}  # what each field may hold
    _settable: ClassVar[frozenset[str]] = frozenset()  # the attributes that a class, or a base of it, annotates

    home: ClassVar[str]  # the module from which users import the components of this kind
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        annotated = {name for name, kind in inspect.get_annotations(cls).items() if "ClassVar" not in str(kind)}
        cls._settable = cls._settable | annotated
        if cls.__module__.startswith("gputok."):
            if not cls._is_base():
                dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
                cls._checks = checks.checks_of(cls)
                for name in cls.__dataclass_fields__.keys() - cls._checks.keys():
                    del cls.__dataclass_fields__[name]  # only annotated: no field of a user's subclass either
                if cls.__init__ is object.__init__:
                    cls.__init__ = _Constructor()  # pyright: ignore[reportAttributeAccessIssue]
            cls.__module__ = getattr(cls, "home", cls.__module__)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Makes a component; raises TypeError for the base class of a kind."""
        if cls._is_base():
            custom = f", or {cls.__name__}.custom(...)" if hasattr(cls, "custom") else ""
            raise TypeError(f"{cls.__name__} is a base class: make one of its subclasses{custom}")
        return super().__new__(cls)

    @classmethod
    def _is_base(cls) -> bool:
        """True for the base class of a kind, such as Normalizer."""
        return Component in cls.__bases__

    @classmethod
    def types(cls) -> dict[str, type[Self]]:
        """For a base class: the subclasses by their `type` in a JSON form."""
        home = importlib.import_module(cls.home)  # it imports a class when its name is read, so read all names
        for name in getattr(home, "__all__", ()):
            getattr(home, name)
        return {kind.__name__: kind for kind in cls.__subclasses__() if kind.in_files}

    @classmethod
    def _type_of(cls, name: str) -> type[Self] | None:
        """For a base class: one of its `types`, or None; imports the others only if the module has no such name."""
        home = importlib.import_module(cls.home)
        kind = getattr(home, name) if name in getattr(home, "__all__", ()) else None
        return kind if kind in cls.__subclasses__() and kind.in_files else cls.types().get(name)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form, `type` first."""
        form: dict[str, Any] = {"type": type(self).__name__}
        for one, about in self._declared():
            value, written = getattr(self, one.name), about["written"]
            form[one.name] = written(value) if written else _plain(value)
        return form

    @classmethod
    def _declared(cls) -> Iterator[tuple[dataclasses.Field[Any], Mapping[str, Any]]]:
        """The fields of the JSON form, and what `checks.field` says of each, in this class or in the nearest base."""
        for one in dataclasses.fields(cls):
            of_bases = (vars(base).get("__dataclass_fields__", {}).get(one.name, one).metadata for base in cls.__mro__)
            about = next((told for told in of_bases if "check" in told), _OWN)
            if about["saved"]:
                yield one, about

    @classmethod
    def adopt(cls, value: Any) -> Any:
        """Converts a component of `tokenizers`, of this class's kind, by its JSON form; other values stay as they are.

        Raises TypeError if the component is written in Python, so that it has no JSON form; ValueError if gputok has no
        such component.
        """
        if type(value).__module__ != f"tokenizers.{_MODULES.get(cls.kind)}":
            return value
        try:
            state = value.__getstate__()
        except Exception as error:  # `tokenizers` raises Exception itself here, no subclass
            name = type(value).__name__
            raise TypeError(f"this {name} of tokenizers can't be used in gputok: {error}") from None
        return cls.from_dict(json.loads(state))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a component from its JSON form.

        Args:
            value: the JSON form. If this class is the base class of a kind, `value["type"]` selects the subclass.
                Unknown keys are ignored, as in `tokenizers`.

        Raises:
            ValueError: if the type is unknown, a field is missing or wrong, or components are nested too deeply.
        """
        if cls._is_base():
            return cls._of_type(value)
        found: dict[str, Any] = {}
        for one, about in cls._declared():
            name, read = one.name, about["read"]
            item = value.get(name, one.default) if about["may_lack"] else checks.needed(value, name)
            found[name] = checks.reading(name, read, item) if read and name in value else item
        if users_own(next(kind for kind in cls.__mro__ if "__init__" in vars(kind))):
            return cls(**found)
        made = cls.__new__(cls)
        made._set(**found)
        return made

    @classmethod
    def _of_type(cls, value: Any) -> Self:
        if not isinstance(value, dict):
            raise WrongValue(f"expected a {cls.kind} as a JSON object, got {checks.brief(value)}")
        name = value.get("type")
        if not isinstance(name, str) or (kind := cls._type_of(name)) is None:
            types = ", ".join(sorted(cls.types()))
            raise WrongValue(f"expected a {cls.kind} of type {types}; got type {checks.short(name)}")
        try:
            return kind.from_dict(value)
        except _TooDeep:
            raise
        except RecursionError:
            raise _TooDeep(f"{cls.kind}s are nested too deeply") from None
        except FieldError as error:
            raise WrongValue(error.reason, error.place) from None
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
        elif name in self._settable or name.startswith("_") or users_own(self):
            self._set(**{name: value})
        else:
            raise no_attribute(self, name, self._settable)

    def _set(self, **values: Any) -> None:
        """Sets several fields at once, each to the value that its check returns."""
        for name, value in values.items():
            if name in self._checks:
                values[name] = checks.checked(name, self._checks[name], value)
        while True:
            state = self.__dict__
            copied = dict(state)  # in one step: other threads may be adding derived values
            kept = {name for name in copied if not isinstance(getattr(type(self), name, None), derived)}
            new = {name: value for name, value in copied.items() if name in kept} | values
            self._check_together(new)
            if exchange((self, "__dict__", state, new)):
                return

    def _check_together(self, state: Mapping[str, Any]) -> None:
        """Raises WrongValue if the values of several fields contradict each other; some fields may not be set yet."""

    def leaves(self) -> list[Any]:
        """Returns [this component] or, for a Sequence, the components in it that are no Sequence, at any depth."""
        return [self]

    def states(self) -> list[dict[str, Any]]:
        """Returns the states of this component and its elements. After a change, one of them is another object."""
        return [self.__dict__]

    def frozen(self) -> Self:
        """Returns a view of this component that keeps its present state, even if fields are set later."""
        return view(self, self.__dict__)

    def __repr__(self) -> str:
        return self._described(99, None)

    def __str__(self) -> str:
        return self._described(5, 100)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        found: dict[str, Any] = {}
        for one, about in self._declared():
            value, shown = getattr(self, one.name), about["shown"]
            found[one.name] = Verbatim(shown(value)) if shown else value
        return described(type(self).__name__, found, n_items, n_bytes)

    def unsaved_fields(self) -> dict[str, Any]:
        """Returns the fields that the JSON form lacks (as in `tokenizers`) and that reading it would set otherwise."""
        return {name: getattr(self, name) for name, read in self.unsaved.items() if getattr(self, name) != read}

    def __getstate__(self) -> bytes:
        form = self.to_dict() | self.unsaved_fields()
        return json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        form = json.loads(state)
        made = type(self).from_dict(form)
        made._set(**{name: form[name] for name in self.unsaved if name in form})
        self.__dict__.update(made.__dict__)


class Chain(Component):
    """Base of the Sequence of each kind: it holds components of its kind, in its only field, which `elements` names.

    The components can be read and replaced by index, and are the same objects that were passed.
    """

    elements: ClassVar[str]
    flattens: ClassVar[bool] = True  # the constructor puts the components of a Sequence in the place of that Sequence

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.elements = next(iter(cls.__dataclass_fields__))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a Sequence from its JSON form, in which a Sequence inside a Sequence stays a Sequence."""
        read = next(about["read"] for one, about in cls._declared() if one.name == cls.elements)
        made = cls([])  # pyright: ignore[reportCallIssue]
        made._set(**{cls.elements: checks.reading(cls.elements, read, checks.needed(value, cls.elements))})
        return made

    def _set_flat(self, **given: Any) -> None:
        checked = checks.checked(self.elements, self._checks[self.elements], given[self.elements])
        self._set(**{self.elements: [part for one in checked for part in (one if isinstance(one, Chain) else [one])]})

    def __len__(self) -> int:
        return len(getattr(self, self.elements))

    def __iter__(self) -> Iterator[Any]:
        # One tuple, read once: another thread may set the elements during the iteration
        return iter(getattr(self, self.elements))

    def __getitem__(self, index: int) -> Any:
        return getattr(self, self.elements)[self._checked_index(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        base = base_of(self.kind)
        value = base.adopt(value)
        if not isinstance(value, base) or isinstance(value, Chain):
            raise TypeError(f"expected a {self.kind} other than a Sequence, got {value!r}")
        while True:
            state = self.__dict__
            parts = [*state[self.elements]]
            parts[self._checked_index(index)] = value
            if exchange((self, "__dict__", state, {**state, self.elements: tuple(parts)})):
                return

    def _checked_index(self, index: int) -> int:
        """Raises the errors of `tokenizers` for an index that is negative or too large."""
        if operator.index(index) < 0:
            raise OverflowError(f"can't convert negative int to unsigned: {index}")
        if index >= len(self):
            raise IndexError(f"Index not found: {index} of {len(self)}")
        return index

    def leaves(self) -> list[Any]:
        """Returns the components in it that are no Sequence, at any depth."""
        return [leaf for part in self for leaf in part.leaves()]

    def states(self) -> list[dict[str, Any]]:
        """Returns the states of this component and its elements. After a change, one of them is another object."""
        state = self.__dict__
        return [state, *itertools.chain.from_iterable(part.states() for part in state[self.elements])]

    def frozen(self) -> Self:
        """Returns a view of this component that keeps its present state, even if fields are set later."""
        with exchanging:
            state = self.__dict__
            return view(self, {**state, self.elements: tuple(part.frozen() for part in state[self.elements])})

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return described(type(self).__name__, {self.elements: [*self]}, n_items, n_bytes)


class OlderMetaspace:
    """The `from_dict` of each Metaspace: older files also contain `add_prefix_space` and `str_rep`."""

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a Metaspace from its JSON form; older files also contain `add_prefix_space` and `str_rep`."""
        if value.get("add_prefix_space") is False and value.get("prepend_scheme") != "never":
            raise WrongValue("is false, which does not match prepend_scheme", "add_prefix_space")
        return super().from_dict(value)  # type: ignore[misc]  # of Component


class Code(Component):
    """Base of the components that a user wrote in Python: they have no JSON form, and can't be pickled."""

    in_files = False
    code: Any

    def __init__(self, code: Any) -> None:
        self.code = code

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return f"{type(self).__bases__[-1].__name__}.custom({self.code!r})"

    def to_dict(self) -> NoReturn:
        """Raises TypeError: code has no JSON form."""
        raise TypeError(f"{self} is written in Python: it has no JSON form, and can't be saved or pickled")


def call_custom(component: Any, method: str, *arguments: Any) -> Any:
    """Calls a user's object; if its method is missing or takes other arguments, the error is that of `tokenizers`."""
    try:
        return getattr(component, method)(*arguments)
    except (AttributeError, TypeError) as error:
        # The call itself failed, not code inside of the method
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise type(error)(f"{type(error).__name__}: {error}") from None
        raise


class _TooDeep(RecursionError, ValueError):
    """The error for components that contain components, and so on, to too many levels."""


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class Verbatim(str):
    """A text that `described` shows without quotes: the word of an enumeration, or a description by `described`."""


def described(name: str, fields: Mapping[str, Any], n_items: int = 99, n_bytes: int | None = None) -> str:
    """Describes an object as `repr` does in `tokenizers`; `str` shows 5 items and 100 bytes of each field.

    >>> described("Strip", {"content": "_", "left": 1, "of": [1.0, None], "side": Verbatim("Left")})
    'Strip(content="_", left=1, of=[1, None], side=Left)'
    """
    shown = ", ".join(f"{key}={_shown(value, n_items, n_bytes)}" for key, value in fields.items())
    return f"{name}({shown})"


def _shown(value: Any, n_items: int, n_bytes: int | None) -> str:
    """Describes a value as `repr` of `tokenizers` does; n_items: of lists and dictionaries; n_bytes: of strings."""
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
