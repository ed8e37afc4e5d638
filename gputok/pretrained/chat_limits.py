"""Jinja's sandbox with limits: a template that comes from anywhere can't take all memory, or run for ever.

Jinja's own sandbox keeps a template from Python's objects, and limits `range` to 100,000. What a template repeats or
makes longer is not limited there: loops in loops, macros that call themselves, `"a" * 10**10`, `ljust`, `%`, `~`. Here
each turn of a loop, call and filter counts as steps, and the number of steps is limited; the length of a text or list
is checked before it is made. The limits don't depend on time, so that a template renders the same everywhere. What a
template can still do: hold some thousand texts of the largest size at once, and compare for ever two lists whose items
are lists of the same two lists, and so on.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import jinja2
import jinja2.compiler
import jinja2.nodes
import jinja2.runtime
import jinja2.sandbox
from jinja2.utils import Namespace

MOST_STEPS = 10_000_000
"""The most steps of a rendering, some 20 seconds; a conversation of 1,000 messages takes 10,000 to 100,000 steps."""
_OF_CALL = 10  # steps that one call counts as
MOST_CHARACTERS = 1 << 26
"""The largest length of a text or list; the longest contexts have a million tokens, some 5 million characters."""
_MOST_BITS = 1 << 16  # of a whole number
_TEXTS = str, bytes
_SIZED = str, bytes, list, tuple
_state = threading.local()
_WIDE = {*"ljust rjust center zfill batch slice tojson filesizeformat to_bytes".split()}
"""Filters and methods that add to a text, or make, as much as an argument says: a whole number, or a text."""
_EACH = {"expandtabs": "\t", "indent": "\n", "translate": "", "urlize": "", "wordwrap": ""}
"""Filters and methods that add as much for each such character ("": for each character)."""
_NOT_WRITTEN = {
    *"abs attr batch count d default dictsort first float groupby int items join last length list map max min".split(),
    *"random reject rejectattr reverse round select selectattr slice sort sum unique".split(),
}
"""Filters that make no text of their value; each other filter may."""
_BY_NAME = {"format", "replace", "join", "sum"}  # what `_check` has a rule of its own for


def begin() -> None:
    """Sets the number of steps of this thread to 0."""
    _state.steps = 0


def _step(n: int = 1) -> None:
    _state.steps = steps = getattr(_state, "steps", 0) + n
    if steps > MOST_STEPS:
        raise jinja2.TemplateError(f"takes more than {MOST_STEPS:,} steps (a turn of a loop is one, a call {_OF_CALL})")


def _allow(length: int) -> None:
    if length > MOST_CHARACTERS:
        raise jinja2.TemplateError(f"makes a text or list of length {length:,}, more than {MOST_CHARACTERS:,}")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, _SIZED) else 0


def _written(value: Any) -> int:
    """Returns how many characters `str` makes of a value, or more; each item of a list or dict is a step."""
    if isinstance(value, _TEXTS):
        return len(value)
    if isinstance(value, int):
        return value.bit_length()
    if isinstance(value, Namespace):
        raise jinja2.TemplateError("writes a namespace itself, not one of its fields")
    total = 0
    if isinstance(value, Collection):
        for item in itertools.chain(value, value.values() if isinstance(value, dict) else ()):
            _step()
            total += _written(item) + 2
            _allow(total)  # of lists of the same list, it would take long to count all
    return total


def _check_widths(values: Iterable[Any], times: int = 1) -> None:
    most = max((abs(value) if isinstance(value, int) else _written(value) for value in values), default=0)
    _allow(most * times)


def _check_format(text: Any, values: Iterable[Any]) -> None:
    """Checks the widths in a text with `%5d` or `{:>5}`, and what it writes of values (`%*d`, `{:{}}`, `{0}{0}`)."""
    text, values = str(text), [*values]
    n_fields = text.count("{") + text.count("%")
    if re.search(r"%[-+ #0]*\*|\.\*|:[^{}]*\{", text):
        _check_widths(values, n_fields)
    widths = map(int, re.findall(r"(?:%(?:\([^)]*\))?|[:<>=^.)])[-+ #0z]*(\d+)", text))
    # 350: more than `%f` writes of the largest float
    _allow(len(text) + sum(widths) + n_fields * (350 + max(map(_written, values), default=0)))


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _check(name: str, given: Sequence[Any]) -> None:
    """Checks the length that a filter, or a method of a text, can make; given: the value, then the arguments."""
    if name in _WIDE:
        _check_widths(given[1:], 1 << 20 if name == "tojson" else 1)  # 2**20: lines of JSON, each of which is indented
    elif name in _EACH:
        each = _EACH[name]
        widths = [value for value in given[1:] if each or not isinstance(value, int)]
        _check_widths(widths or [8], str(given[0]).count(each) + 1)
    elif name == "format":
        _check_format(given[0], given[1:])
    elif name == "replace" and len(given) > 2:
        text, old, new = map(str, given[:3])
        _allow(len(text) + text.count(old) * max(len(new) - len(old), 0))
    elif name in ("join", "sum") and isinstance(given[0], list | tuple):
        _allow(sum(map(_written, given[0])) + len(given[0]) * (_length(given[1]) if len(given) > 1 else 0))


def _with_lists(args: Sequence[Any]) -> list[Any]:
    """Makes lists of iterators, so that their items can be looked at before they are joined."""
    return [[*_counted(each)] if isinstance(each, Iterator) else each for each in args]


def _checked(value: Any) -> Any:
    """Returns the value, of which a text is made next."""
    if not isinstance(value, str):
        _allow(_written(value))
    return value


def _of_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    n_before = int(hasattr(function, "jinja_pass_arg"))  # arguments before the value
    has_limit, writes = name in _WIDE or name in _EACH or name in _BY_NAME, name not in _NOT_WRITTEN

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        _step()
        if name == "join":
            args = (*args[:n_before], *_with_lists(args[n_before:]))
        if writes:
            _checked(args[n_before])
        if has_limit:
            _check(name, [*args[n_before:], *options.values()])
        result = function(*args, **options)
        _allow(_length(result))  # filters such as `urlencode` make it a few times as long
        return result

    return checked


class LimitedGenerator(jinja2.compiler.CodeGenerator):
    """Writes the Python code of a template, in which `LimitedEnvironment.concat` does what `~` does, with its limit."""

    def visit_Concat(self, node: jinja2.nodes.Concat, frame: Any) -> None:
        """Writes the Python of `a ~ b`: a call of `concat`, where Jinja would call its own function."""
        self.write("environment.concat((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class LimitedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox with limits; call `begin` before each rendering. joined: the function that joins texts."""

    code_generator_class = LimitedGenerator
    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, joined: Callable[[Iterable[str]], str], **options: Any) -> None:
        super().__init__(finalize=_checked, **options)
        self._joined = joined
        self.globals.pop("lipsum", None)

    def concat(self, parts: Iterable[Any]) -> str:  # type: ignore[override]  # Jinja has a function there
        """Joins values as texts: the operands of `~`, or all that a template writes."""
        texts = [part if type(part) is str else str(_checked(part)) for part in parts]
        _allow(sum(map(len, texts)))
        return self._joined(texts)

    def limit_filters(self) -> None:
        """Wraps all filters that are set so far: each use counts as a step, and checks lengths."""
        self.filters = {name: _of_filter(name, function) for name, function in self.filters.items()}
        self.filters["_counted"] = _counted

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(jinja2.nodes.For):
            loop.iter = jinja2.nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.iter.lineno)
        return tree

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls an object for a template."""
        _step(_OF_CALL)
        text, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(text, _TEXTS) and name == "join":
            args = (*_with_lists(args),)
            _check(name, [*args, text])
        elif isinstance(text, (*_TEXTS, int)) and name != "format":
            given = [text, *args, *kwargs.values()]
            _check(name, [each.decode("latin-1") if isinstance(each, bytes) else each for each in given])
        result = super().call(__context, __obj, *args, **kwargs)
        _allow(_length(result))
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Returns the function that the sandbox calls instead of `str.format`; None if `value` is not `str.format`."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @functools.wraps(wrapped)
        def checked(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__, [*args, *kwargs.values()])
            return wrapped(*args, **kwargs)

        return checked

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes `*`, `**`, `+` or `%`."""
        if operator == "%" and isinstance(left, _TEXTS):
            by_name = isinstance(right, dict) and "%(" in str(left)
            _check_format(left, right if isinstance(right, tuple) else right.values() if by_name else (right,))
        elif operator == "+":
            _allow(_length(left) + _length(right))
        elif isinstance(left, int) and isinstance(right, int) and operator in ("*", "**"):
            bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _MOST_BITS:
                raise jinja2.TemplateError(f"makes a number of {bits:,} bits, more than {_MOST_BITS:,}")
        elif operator == "*":
            number = next((value for value in (left, right) if isinstance(value, int)), 0)
            _allow((_length(left) + _length(right)) * number)
        return super().call_binop(context, operator, left, right)
