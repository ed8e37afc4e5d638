"""Chat templates: Jinja, in a sandbox, with what `transformers` puts there for them."""

from __future__ import annotations

import copy
import datetime
import functools
import json
from typing import Any

_MARK = "CONTINUE_FINAL_MESSAGE_TAG "


def render(
    template: str,
    conversations: list[list[dict[str, Any]]],
    *,
    continue_final_message: bool = False,
    **variables: Any,
) -> list[str]:
    """The text of each conversation. Raises ImportError without jinja2, ValueError for messages that are none.

    >>> render("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [[{"role": "me", "content": "hi"}]])
    ['<me>hi']
    """
    compiled = _compiled(template)
    if continue_final_message and variables.get("add_generation_prompt"):
        raise ValueError(
            "add_generation_prompt begins a new message, continue_final_message goes on with the last: pass one of them"
        )
    texts = []
    for number, messages in enumerate(conversations):
        messages = copy.deepcopy(list(messages))
        if not messages or not all(isinstance(message, dict) for message in messages):
            raise ValueError(f"conversation {number} must be a list of at least one dict, not {messages!r}")
        if continue_final_message:
            messages[-1]["content"] += _MARK
        text = compiled.render(messages=messages, **variables)
        texts.append(_until_mark(text) if continue_final_message else text)
    return texts


def _until_mark(text: str) -> str:
    before, mark, after = text.rpartition(_MARK.strip())
    if not mark:
        raise ValueError(
            "continue_final_message: the last message is not in the text that the template makes"
        )
    # a template that trims messages cut the mark's space
    return before if after.startswith(" ") else before.rstrip()


@functools.lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    try:
        import jinja2.ext
        import jinja2.sandbox
    except ImportError:
        raise ImportError("chat templates need Jinja: pip install 'jinja2>=3.1.6'") from None

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`, which marks what the assistant says: its text as it is."""

        tags = {"generation"}  # noqa: RUF012  # jinja2's own form

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:  # Jinja's own escapes for HTML
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(template)
