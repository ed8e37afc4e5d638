"""Chat templates: Jinja in a sandbox, with the functions that `transformers` provides to templates."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import inspect
import pathlib
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gputok.checks import checked, file_name, in_file, short, warn
from gputok.files.arrow import needing
from gputok.files.atomic import replacing
from gputok.pretrained.authored import BY_TEMPLATE, Authored, Span, dumped, owned
from gputok.pretrained.batch import BatchEncoding

TEMPLATE = "chat_template.jinja"
MORE_TEMPLATES = "additional_chat_templates"
_MARK = "CONTINUE_FINAL_MESSAGE_TAG "
# Fields of a message that can hold the reasoning of a model
_REASONING = ("reasoning_content", "thinking", "reasoning")


def render(
    template: str, conversations: Sequence[Any], *, continue_final_message: bool | str = False, **variables: Any
) -> list[str]:
    """Renders the text of each conversation, a list of messages.

    continue_final_message: True ends the text where the `content` of the last message ends; a name, where this field
    of it ends. Raises ImportError if jinja2 is missing; ValueError if a conversation has no messages, the last message
    is not in the text, or the template is wrong or refuses the messages (a ValueError of the template is also a
    jinja2.TemplateError).

    >>> render("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [[{"role": "me", "content": "hi"}]])
    ['<me>hi']
    """
    return _rendered(_compiled(template, False), conversations, continue_final_message, variables)


def render_authored(
    template: str,
    conversations: Sequence[Any],
    special_tokens: Mapping[str, str],
    ends: set[str] | None = None,
    *,
    continue_final_message: bool | str = False,
    **variables: Any,
) -> tuple[list[Authored], list[list[Span]]]:
    """Renders the text of each conversation, and finds what the assistant wrote: what is within `{% generation %}`.

    special_tokens: variables that count as text of the template. ends: the texts of all special tokens; if they are
    given, and the template has no `{% generation %}`, `Authored.span_of` finds what the assistant wrote.

    >>> template = "{% for m in messages %}{% generation %}<{{ m.content }}>{% endgeneration %};{% endfor %}"
    >>> render_authored(template, [[{"content": "hi"}, {"content": "you"}]], {})
    (['<hi>;<you>;'], [[(0, 4), (5, 10)]])
    """
    trusted = {name: Authored(token, BY_TEMPLATE) for name, token in special_tokens.items()}
    texts = _rendered(_compiled(template, True), conversations, continue_final_message, variables, trusted)
    spans = [text.generated_spans() for text in texts]
    if ends is None or re.search(r"{%[-+]?\s*generation\s*[-+]?%}", template):
        return texts, spans
    pattern = re.compile("|".join(map(re.escape, sorted(ends, key=len, reverse=True))) or "(?!)")
    for i, (conversation, text) in enumerate(zip(conversations, texts, strict=True)):
        messages = _messages(conversation, i)
        at = [k for k, message in enumerate(messages) if message.get("role") == "assistant"]
        prompt, before = "", messages[: at[0]] if at else []
        if before:
            asked = ({**special_tokens, **variables, "add_generation_prompt": wanted} for wanted in (False, True))
            shorter, longer = (render(template, [before], **each)[0] for each in asked)
            prompt = longer.removeprefix(shorter)
        spans[i] = [span for k in at for span in text.span_of(k, prompt, pattern)]
    if not any(spans):
        warn(
            "return_assistant_tokens_mask=True, but no {% generation %} in the chat template says what the assistant "
            "wrote, and no message of the role assistant is in the text: the mask is 0 throughout",
        )
    return texts, spans


def tool_schema(tool: Any) -> dict[str, Any]:
    """Returns the JSON schema of a tool: a dict as it is; of a function, what `transformers` makes of it.

    Raises ImportError if the tool is a function, and `transformers` is missing; ValueError if the tool is neither a
    dict nor a function, or if the function lacks a docstring, a type hint or a description.
    """
    if isinstance(tool, dict):
        return tool
    if not (inspect.isfunction(tool) or inspect.ismethod(tool)):
        wanted = "JSON schemas (dicts), or functions with type hints and a docstring"
        raise ValueError(f"tools must be {wanted}, not {tool!r}")
    how = "pip install 'gputok[transformers]', or pass schemas as tools"
    with needing(f"transformers makes JSON schemas of functions: {how}"):
        from transformers.utils.chat_template_utils import get_json_schema
    try:
        return get_json_schema(tool)
    except Exception as error:
        raise ValueError(f"the tool {tool.__name__}: {error}") from error


def add_masks(batch: BatchEncoding, spans: list[list[Span]], is_batch: bool, return_tensors: str | None) -> None:
    """Adds the column `assistant_masks`: 1 for tokens with characters in `spans[i]`, which the assistant wrote."""
    encodings, samples = batch.encodings or [], batch.get("overflow_to_sample_mapping")
    texts_of = range(len(encodings)) if samples is None else samples
    masks = list[list[int]]()
    for one, i in zip(encodings, texts_of, strict=True):
        marked = np.zeros(len(one), np.int64)
        start, end = np.array(one.offsets, np.int64).reshape(-1, 2).T
        for first, last in spans[i]:
            marked |= (start < last) & (end > first)
        masks.append(marked.tolist())
    is_flat = not is_batch and return_tensors is None and samples is None
    batch["assistant_masks"] = masks[0] if is_flat else masks
    batch.convert_to_tensors(return_tensors)


@functools.cache
def _error_class() -> type[ValueError]:
    """Makes the class of errors of templates; programs written for `transformers` can catch it as Jinja's error."""
    import jinja2

    class ChatTemplateError(jinja2.TemplateError, ValueError):
        """A chat template is wrong, or refuses the messages."""

    return ChatTemplateError


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Wraps the code of a template, so that its errors say that they come from the template, and from which line."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, _error_class()):
            raise
        steps = traceback.extract_tb(error.__traceback__)
        lines = [step.lineno for step in steps if step.filename in ("<template>", "<unknown>")]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        where = "" if line is None else f", line {line}"
        kind = "" if type(error).__module__.startswith("jinja2") else f"{type(error).__name__}: "
        raise _error_class()(f"the chat template{where}: {kind}{error}") from None


def _rendered(
    compiled: Any,
    conversations: Sequence[Any],
    continue_final_message: bool | str,
    variables: dict[str, Any],
    trusted: Mapping[str, Authored] | None = None,
) -> list[Any]:
    """Renders each conversation; trusted: variables that count as the template's text, if `compiled` is authored."""
    if continue_final_message and variables.get("add_generation_prompt"):
        continues = "continue_final_message continues the last one"
        raise ValueError(f"add_generation_prompt begins a new message, {continues}: pass one of them")
    from gputok.pretrained.chat_limits import begin

    variables = {**(trusted or {}), **{name: _plain(value) for name, value in variables.items()}}
    field = continue_final_message if isinstance(continue_final_message, str) else "content"
    texts = []
    for number, conversation in enumerate(conversations):
        messages = _messages(conversation, number)
        begin()
        if trusted is not None:
            messages = [owned(message, i) for i, message in enumerate(messages)]
        last = _mark_end(messages[-1], field) if continue_final_message else None
        with _explained():
            text = compiled.render(messages=messages, **variables)
        texts.append(text if last is None else text[: len(_until_mark(text, last))])
    return texts


def _messages(conversation: Any, number: int) -> list[dict[str, Any]]:
    """Copies the messages of a conversation as dicts, without fields that are None.

    A model's reasoning is put in two fields, `thinking` and `reasoning_content`, as templates read one or the other.
    """
    given = getattr(conversation, "messages", conversation)
    messages = [_plain(message) for message in given] if isinstance(given, list | tuple) else []
    if not messages or not all(isinstance(message, dict) for message in messages):
        wanted = "a list of at least one message, a dict, dataclass or pydantic model"
        raise ValueError(f"conversation {number} must be {wanted}, not {short(conversation)}")
    messages = [{key: value for key, value in one.items() if value is not None} for one in messages]
    for i, message in enumerate(messages):
        reasoning = next((message[key] for key in _REASONING if key in message), None)
        if reasoning is not None:
            messages[i] = {"thinking": reasoning, **message, "reasoning_content": reasoning}
    return messages


def _plain(value: Any) -> Any:
    """Copies a value as types of JSON alone: a template may come from anywhere, and must not call methods of objects.

    Any other object, such as an image, becomes the name of its type: templates only ask whether it exists.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):  # a subclass: str.__str__ and so on ignore the methods that it overrides
            return getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else [*map(_plain, value)]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)  # of pydantic's models
    if callable(dump):
        return _plain(dump())
    return f"<{type(value).__name__}>"


def _mark_end(message: dict[str, Any], field: str) -> str:
    """Appends a mark to the text of a message, in place, which `_until_mark` finds again; returns the plain text."""
    text = message.get(field)
    if isinstance(text, list | tuple):  # a list of blocks: the mark is put in the last block that has a text
        for block in reversed(text):
            if isinstance(block, dict) and "text" in block:
                block["text"] += _MARK
                return block["text"].removesuffix(_MARK)
    if not isinstance(text, str):
        raise ValueError(f"continue_final_message: the last message has no text in {field!r} to continue")
    for name in _REASONING if field in _REASONING else (field,):
        if message.get(name) == text:
            message[name] = text + _MARK
    return text


def _until_mark(text: str, last: str) -> str:
    before, mark, after = text.rpartition(_MARK.strip())
    if not mark or last.strip() not in text:
        raise ValueError("continue_final_message: the last message is not in the text that the template makes")
    # The mark ends in a space. If that is missing, the template trims messages, and the text ends as if it were trimmed
    return before if after.startswith(" ") else before.rstrip()


@functools.lru_cache(maxsize=16)
def _compiled(template: str, authored: bool) -> Any:
    with needing("chat templates need Jinja: pip install 'jinja2>=3.1.6'"):
        import jinja2.ext
        import jinja2.nodes

        from gputok.pretrained.chat_limits import LimitedEnvironment, LimitedGenerator

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`, which marks what the assistant says."""

        tags = {"generation"}  # noqa: RUF012  # jinja2's own form

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            if authored:
                marking = jinja2.nodes.Filter(None, "generated", [], [], None, None, lineno=line)
                return jinja2.nodes.FilterBlock(body, marking, lineno=line)
            return jinja2.nodes.Scope(body, lineno=line)

    class Authoring(LimitedGenerator):
        """Writes the Python code of a template, in which the template's own texts are `Authored`."""

        def _output_const_repr(self, group: Any) -> str:
            return f"environment.authored({super()._output_const_repr(group)})"

        def visit_Const(self, node: Any, frame: Any) -> None:
            self.write("environment.authored(" if isinstance(node.value, str) else "(")
            super().visit_Const(node, frame)
            self.write(")")

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:  # Jinja's filter escapes HTML
        return dumped(value, ensure_ascii=ensure_ascii, **options)

    joined, extensions = Authored.joined if authored else "".join, [Generation, "jinja2.ext.loopcontrols"]
    environment: Any = LimitedEnvironment(joined, trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters |= {"tojson": tojson, "generated": Authored.generated}
    environment.limit_filters()
    if authored:
        environment.code_generator_class = Authoring
        environment.authored = functools.partial(Authored, origin=BY_TEMPLATE)
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    with _explained():
        return environment.from_string(template)


def write_templates(folder: pathlib.Path, templates: str | Mapping[str, str], filename_prefix: str | None) -> list[str]:
    """Writes chat templates into a folder, and returns their paths.

    templates: name -> template, or the only template. Raises ValueError if a name cannot be that of a file.
    """
    named = {"default": templates} if isinstance(templates, str) else templates
    prefix = f"{filename_prefix}-" if filename_prefix else ""
    with in_file(folder):
        for name in named:
            checked("the name of a chat template", file_name, f"{name}.jinja")
    paths = []
    for name, template in named.items():
        path = folder / f"{prefix}{TEMPLATE if name == 'default' else f'{MORE_TEMPLATES}/{name}.jinja'}"
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(template, encoding="utf-8", newline="\n")
        paths.append(str(path))
    return paths
