"""The patterns that are fields of components: a string, which stands for itself, or a `Regex`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.checks import WrongValue, brief, is_object, needed, reading, string, wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gputok.automaton.pattern import Regex


def pattern_field(value: Any) -> str | Regex:
    """The check of such a field."""
    if isinstance(value, str):
        return string(value)
    from gputok.automaton.pattern import Regex

    if not isinstance(value, Regex):
        raise wrong_type(value, "str | Regex")
    return value


def pattern_form(pattern: str | Regex) -> dict[str, str]:
    """The JSON form."""
    return {"String": pattern} if isinstance(pattern, str) else {"Regex": pattern.pattern}


def read_pattern(value: Mapping[str, Any], name: str = "pattern") -> str | Regex:
    """Reads the pattern in a field of a JSON object; raises WrongValue if the field is missing or wrong."""
    form = needed(value, name)
    if not is_object(form) or len(form) != 1 or not form.keys() <= {"String", "Regex"}:
        raise WrongValue(f'must be {{"String": ...}} or {{"Regex": ...}}, not {brief(form)}', name)
    ((kind, text),) = form.items()
    text = reading(f"{name}.{kind}", string, text)
    if kind == "String":
        return text
    from gputok.automaton.pattern import Regex

    return reading(f"{name}.{kind}", Regex, text)


def shown_pattern(pattern: str | Regex) -> str:
    """As the `repr` of a component shows it.

    >>> shown_pattern("a")
    'String("a")'
    """
    ((kind, text),) = pattern_form(pattern).items()
    return f'{kind}("{text}")'
