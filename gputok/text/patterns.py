"""The patterns that are fields of components (`PATTERN`): a string, which stands for itself, or a `Regex`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.checks import WrongValue, brief, is_object, reading, string, wrong_type

if TYPE_CHECKING:
    from gputok.automaton.pattern import Regex


def _checked(value: Any) -> str | Regex:
    if isinstance(value, str):
        return string(value)
    from gputok.automaton.pattern import Regex

    if not isinstance(value, Regex):
        raise wrong_type(value, "str | Regex")
    return value


def _form(pattern: str | Regex) -> dict[str, str]:
    return {"String": pattern} if isinstance(pattern, str) else {"Regex": pattern.pattern}


def _read(form: Any) -> str | Regex:
    if not is_object(form) or len(form) != 1 or not form.keys() <= {"String", "Regex"}:
        raise WrongValue(f'must be {{"String": ...}} or {{"Regex": ...}}, not {brief(form)}')
    ((kind, text),) = form.items()
    text = reading(kind, string, text)
    if kind == "String":
        return text
    from gputok.automaton.pattern import Regex

    return reading(kind, Regex, text)


def _shown(pattern: str | Regex) -> str:
    ((kind, text),) = _form(pattern).items()
    return f'{kind}("{text}")'


PATTERN: dict[str, Any] = {"check": _checked, "shown": _shown, "written": _form, "read": _read}
"""The arguments of `gputok.checks.field` for a pattern."""
