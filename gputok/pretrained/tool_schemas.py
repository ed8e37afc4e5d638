"""JSON schemas of Python functions, from their type hints and docstrings: what chat templates say of tools.

The schemas are those of `transformers.utils.get_json_schema`, which the tests compare.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from typing import Any

if typing.TYPE_CHECKING:
    from collections.abc import Callable

_SIMPLE: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}
_SCALARS = (int, float, str, bool, type(None))
_SECTION = re.compile(r"^[ \t]*(Args|Returns|Raises):[ \t]*$", re.MULTILINE)
_ARGUMENT = re.compile(r"([ \t]*)(\w+)[ \t]*(?:\([^()]*\))?:(.*)")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def tool_schema(tool: Any) -> dict[str, Any]:
    """Describes a tool for a chat template.

    Args:
        tool: a dict, which is taken as it is, or a function whose arguments all have type hints and are described in a
            docstring of Google's style. A description may end in `(choices: ["a", "b"])`.

    Returns:
        `{"type": "function", "function": {"name": ..., "description": ..., "parameters": ...}}`.

    Raises:
        ValueError: if the tool is neither, or a hint or a description is missing or has no JSON form.

    Example:
        >>> def weather(city: str, days: int = 1):
        ...     '''Tells the weather.
        ...
        ...     Args:
        ...         city: Where.
        ...         days: For how long.
        ...     '''
        >>> schema = tool_schema(weather)["function"]
        >>> schema["name"], schema["description"], schema["parameters"]["required"]
        ('weather', 'Tells the weather.', ['city'])
        >>> schema["parameters"]["properties"]["days"]
        {'type': 'integer', 'description': 'For how long.'}
    """
    if isinstance(tool, dict):
        return tool
    if not (inspect.isfunction(tool) or inspect.ismethod(tool)):
        raise ValueError(
            f"tools must be JSON schemas (dicts), or functions with type hints and a docstring, not {tool!r}"
        )
    text = inspect.getdoc(tool)
    if not text:
        raise ValueError(f"the tool {tool.__name__} has no docstring, which says what it is for")
    sections = _sections(text)
    parameters, returned = _parameters(tool)
    described = _arguments(sections.get("Args", ""))
    for name, schema in parameters["properties"].items():
        if name not in described:
            raise ValueError(f"the docstring of the tool {tool.__name__} does not describe its argument {name!r}")
        schema.update(_described(described[name]))
    function = {"name": tool.__name__, "description": sections[""], "parameters": parameters}
    if returned is not None:
        function["return"] = returned | ({"description": sections["Returns"]} if "Returns" in sections else {})
    return {"type": "function", "function": function}


def _parameters(tool: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The schema of the arguments, and of the result if it has a hint that JSON can say."""
    hints, arguments = typing.get_type_hints(tool), dict(inspect.signature(tool).parameters)
    first = next(iter(arguments), None)
    if first in ("self", "cls") and arguments[first].annotation is inspect.Parameter.empty:
        del arguments[first]
    properties: dict[str, Any] = {}
    for name, argument in arguments.items():
        if argument.annotation is inspect.Parameter.empty:
            raise ValueError(f"the argument {name!r} of the tool {tool.__name__} has no type hint")
        try:
            properties[name] = _type(hints[name])
        except ValueError as error:
            raise ValueError(f"the argument {name!r} of the tool {tool.__name__}: {error}") from None
    required = [name for name, one in arguments.items() if one.default is inspect.Parameter.empty]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    try:
        return schema, _type(hints["return"]) if "return" in hints else None
    except ValueError:  # the model never writes a result
        return schema, None


def _type(hint: Any) -> dict[str, Any]:
    """The JSON schema of a type hint."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is None and isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choices([member.value for member in hint], hint)
    if origin is None:
        try:
            return dict(_SIMPLE[hint])
        except (KeyError, TypeError):
            raise ValueError(f"the type hint {hint!r} has no JSON schema; pass a schema as the tool") from None
    if origin in (typing.Union, types.UnionType):
        return _union(inside)
    if origin is typing.Literal:
        return _choices(list(inside), hint)
    if origin is list:
        return {"type": "array", "items": _type(inside[0])}
    if origin is tuple:
        if len(inside) == 1 or ... in inside:
            raise ValueError(f"the type hint {hint!r} has no JSON schema; use list[...]")
        return {"type": "array", "prefixItems": [_type(one) for one in inside]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(inside[1])}
    raise ValueError(f"the type hint {hint!r} has no JSON schema; pass a schema as the tool")


def _union(inside: tuple[Any, ...]) -> dict[str, Any]:
    kinds = [_type(one) for one in inside if one is not type(None)]
    if len(kinds) == 1:
        schema = kinds[0]
    elif all(kind.keys() == {"type"} and isinstance(kind["type"], str) for kind in kinds):
        names = sorted({kind["type"] for kind in kinds})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": kinds}
    return schema | ({"nullable": True} if type(None) in inside else {})


def _choices(values: list[Any], hint: Any) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise ValueError(f"the type hint {hint!r} must have values, all of them numbers, strings, bool or None")
    kinds = list(dict.fromkeys(_SIMPLE[type(value)]["type"] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def _sections(text: str) -> dict[str, str]:
    """The parts of a docstring by their headings; "" is the description before them."""
    found, name, at = {}, "", 0
    for heading in _SECTION.finditer(text):
        found.setdefault(name, text[at : heading.start()])
        name, at = heading[1], heading.end()
    found.setdefault(name, text[at:])
    return {name: part.strip("\n").rstrip() if name == "Args" else part.strip() for name, part in found.items()}


def _arguments(text: str) -> dict[str, str]:
    """The descriptions of arguments; lines that are indented deeper go on with the one before."""
    found: dict[str, str] = {}
    indent = name = None
    for line in filter(str.strip, text.split("\n")):
        match = _ARGUMENT.fullmatch(line)
        if match and (indent is None or len(match[1]) <= len(indent)):
            indent, name = match[1], match[2]
            found[name] = match[3].strip()
        elif name is not None:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _described(text: str) -> dict[str, Any]:
    choices = _CHOICES.search(text)
    if choices is None:
        return {"description": text}
    values = [one.strip() if isinstance(one, str) else one for one in json.loads(choices[1])]
    return {"enum": values, "description": text[: choices.start()].strip()}
