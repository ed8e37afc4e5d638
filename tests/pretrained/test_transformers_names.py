"""Each public name of the class of `transformers` is here, or its absence has a reason; and the rarer ones do the same."""

import dataclasses
import enum
import json
import typing

import pytest

import gputok
from gputok import AddedToken, PreTrainedTokenizer, Tokenizer, models, normalizers, pre_tokenizers
from gputok.pretrained.tool_schemas import tool_schema

hf = pytest.importorskip("transformers")

NOT_HERE: dict[str, str] = {}
# Data that differ on purpose, and why.
OTHER = {
    "backend_tokenizer": "a gputok Tokenizer",
    "init_kwargs": "here only what no attribute holds",
    "SPECIAL_TOKENS_ATTRIBUTES": "a tuple",
    "files_loaded": "what from_pretrained read, which is not kept",
}


@pytest.fixture(scope="module")
def pair():
    """The same tokenizer, here and in `transformers`."""
    words = {token: i for i, token in enumerate(("<pad>", "<s>", "so", "it", "goes", ",", "."))}
    ours = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    ours.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"pad_token": "<pad>", "bos_token": "<s>", "unk_token": "<pad>"}
    import tokenizers

    theirs = tokenizers.Tokenizer.from_str(ours.to_str())
    return (PreTrainedTokenizer(ours, **named), hf.PreTrainedTokenizerFast(tokenizer_object=theirs, **named))


def test_each_public_name_is_here(pair):
    ours, theirs = pair
    names = {name for name in (*dir(theirs), *vars(theirs)) if not name.startswith("_")}
    assert len(names) > 60
    assert {name for name in names if not hasattr(ours, name)} == set(NOT_HERE)
    ours_of_class = {name for name in dir(hf.PreTrainedTokenizerFast) if not name.startswith("_")}
    assert {name for name in ours_of_class if not hasattr(PreTrainedTokenizer, name)} == set(NOT_HERE)


def test_data_are_the_same(pair):
    ours, theirs = pair
    names = {name for name in (*dir(theirs), *vars(theirs)) if not name.startswith("_")}
    data = {name: getattr(theirs, name) for name in names - set(NOT_HERE) - set(OTHER)}
    data = {name: value for name, value in data.items() if not callable(value)}
    assert len(data) > 30
    for name, value in data.items():
        own = getattr(ours, name)
        assert own == value or str(own) == str(value), name


def test_the_name_of_transformers():
    assert gputok.PreTrainedTokenizerFast is PreTrainedTokenizer


def test_settings_of_responses_are_kept(tmp_path):
    tokenizer = PreTrainedTokenizer(
        Tokenizer(models.WordLevel({"a": 0, "<x>": 1})), response_template={"a": 1}, chat_control_tokens=["<x>"]
    )
    tokenizer.save_pretrained(tmp_path)
    again = gputok.AutoTokenizer.from_pretrained(tmp_path)
    assert (again.response_template, again.chat_control_tokens) == ({"a": 1}, ["<x>"])


def test_one_warning_for_long_texts(pair):
    words = Tokenizer(models.WordLevel({"so": 0}))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizer(words, model_max_length=2)
    with pytest.warns(UserWarning, match="a text has 3 tokens, more than the 2") as warned:
        for _ in range(3):
            tokenizer("so so so")
            tokenizer(["so so so", "so"])
    assert len(warned) == 1
    assert [*tokenizer.deprecation_warnings] == [
        "sequence-length-is-longer-than-the-specified-maximum"  # as programs set it to be spared
    ]
    tokenizer.deprecation_warnings.clear()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("so so so", truncation=True)
        tokenizer("so so so", verbose=False)
        tokenizer("so so")


def test_save_vocabulary(tmp_path):
    bpe = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    paths = PreTrainedTokenizer(bpe).save_vocabulary(str(tmp_path / "new"), "mine")
    assert [*map(str, paths)] == [str(tmp_path / "new" / f"mine-{name}") for name in ("vocab.json", "merges.txt")]
    assert [token.value for token in models.BPE.from_file(*paths).tokenize("abb")] == ["ab", "b"]


@pytest.mark.parametrize("as_files", [False, True])
@pytest.mark.parametrize("template", [None, "{{ messages }}", {"default": "{{ a }}", "tool_use": "{{ b }}"}], ids=type)
def test_save_chat_templates(template, as_files, tmp_path):
    """The settings and the files are those of `transformers`."""
    ours = Tokenizer(models.WordLevel({"so": 0}))
    import tokenizers

    theirs = tokenizers.Tokenizer.from_str(ours.to_str())
    found = []
    for name, one in (
        ("ours", PreTrainedTokenizer(ours, chat_template=template)),
        ("theirs", hf.PreTrainedTokenizerFast(tokenizer_object=theirs, chat_template=template)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        settings, paths = one.save_chat_templates(folder, {"a": 1, "chat_template": "old"}, None, as_files)
        files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.jinja")}
        assert len(paths) == len(files)
        found.append((settings, files))
    assert found[0] == found[1]


def test_added_vocabularies(pair):
    assert list(pair[0].get_added_vocab().items()) == list(pair[1].get_added_vocab().items()) != []


def test_clean_up_tokenization(pair):
    text = "so it 's n't , is it ? ' yes ' !  I 'm we 've you 're ."
    assert pair[0].clean_up_tokenization(text) == pair[1].clean_up_tokenization(text)


def test_convert_added_tokens(pair):
    import tokenizers

    for save in (False, True):
        for mark in (False, True):
            given = [
                [{"a": token("<x>", lstrip=True)}, (1, "b", {"__type": "AddedToken", "content": "<y>"})]
                for token in (AddedToken, tokenizers.AddedToken)
            ]
            a, b = (
                one.convert_added_tokens(value, save=save, add_type_field=mark)
                for one, value in zip(pair, given, strict=True)
            )
            assert str(a) == str(b)


def test_limits_of_the_backend(pair):
    from transformers.tokenization_utils_base import PaddingStrategy, TruncationStrategy

    for padding in PaddingStrategy:
        for truncation in TruncationStrategy:
            for one in pair:
                one.set_truncation_and_padding(padding, truncation, 5, 1, 2, "left")
            ours, theirs = (one.backend_tokenizer for one in pair)
            assert (ours.padding, ours.truncation) == (theirs.padding, theirs.truncation)
    for one in pair:
        one.set_truncation_and_padding(PaddingStrategy.DO_NOT_PAD, TruncationStrategy.DO_NOT_TRUNCATE, 5, 0, None, None)
        assert one.backend_tokenizer.padding is one.backend_tokenizer.truncation is None


# -- chats

TEMPLATE = (
    "{% if tools %}[{{ tools | tojson(indent=1) }}]{% endif %}"
    "{% for d in documents or [] %}<doc {{ d.title }}>{{ d.text }}</doc>{% endfor %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.reasoning_content }}|{{ m.content }}|{{ m.tool_calls }}"
    "{% if m.thinking %}({{ m.thinking }}){% endif %}</{{ m.role }}>{% endfor %}"
)


class Unit(enum.Enum):
    celsius = "C"
    kelvin = "K"


def no_arguments():
    """Does nothing."""


def weather(city: str, days: int = 1, unit: Unit = Unit.celsius, *, exact: bool | None = None) -> dict[str, float]:
    """
    Tells the weather.

    It may rain.

    Args:
        city: Where,
            that is the name of a city: any.
        days (int, optional): For how long (choices: [1, 3, 7])
        unit: In what

        exact: Or so?

    Returns:
        Temperatures.

    Raises:
        ValueError: never.
    """


def everything(
    a: int | str,
    b: int | None,
    c: list[int],
    d: tuple[int, str],
    e: typing.Literal["x", "y"],
    f: typing.Literal[1, "y", None],
    g: dict[str, list[float]],
    h: typing.Any,
    i: list | tuple | None,
    j: list[int] | dict,
    k: dict,
    l: list,
    m: float = 1.5,
) -> Unit | None:
    """All of it.
    Args:
        a: A
        b: B
        c: C
        d: D
        e: E
        f: F
        g: G
        h: H
        i: I
        j: J
        k: K
        l: L
        m: M
    """


class Service:
    def call(self, number: int) -> str:
        """Calls.

        Args:
            number: Whom.

        Returns:
            What was said.
        """

    @classmethod
    def all(cls, number: int):
        """Calls all.

        Args:
            number: How often.
        """


TOOLS = [no_arguments, weather, everything, Service().call, Service.all, Service.call]


@pytest.mark.parametrize("tool", TOOLS)
def test_schemas_of_functions(tool):
    assert json.dumps(tool_schema(tool)) == json.dumps(hf.utils.get_json_schema(tool))


def test_functions_without_a_schema():
    def undocumented(a: int):
        pass

    def unhinted(a):
        """Does.

        Args:
            a: A.
        """

    def undescribed(a: int, b: int):
        """Does.

        Args:
            a: A.
        """

    def odd(a: Service):
        """Does.

        Args:
            a: A.
        """

    def endless(a: tuple[int, ...]):
        """Does.

        Args:
            a: A.
        """

    for tool, message in {
        undocumented: "the tool undocumented has no docstring",
        unhinted: "the argument 'a' of the tool unhinted has no type hint",
        undescribed: "the docstring of the tool undescribed does not describe its argument 'b'",
        odd: "the argument 'a' of the tool odd: the type hint .*Service.* has no JSON schema",
        endless: r"use list\[",
        len: "tools must be JSON schemas",
    }.items():
        with pytest.raises(ValueError, match=message):
            tool_schema(tool)
        with pytest.raises(Exception):  # noqa: B017  # they have classes of their own
            hf.utils.chat_template_utils.render_jinja_template([[]], tools=[tool], chat_template="")


@dataclasses.dataclass
class Message:
    role: str
    content: str | None = None
    reasoning: str | None = None


class Conversation:
    def __init__(self, messages):
        self.messages = messages


CHATS = [
    [{"role": "user", "content": "so"}, {"role": "assistant", "content": " it goes "}],
    [{"role": "user", "content": [{"type": "text", "text": "so"}, {"type": "image"}, {"text": "it"}]}],
    [{"role": "user", "content": None, "tool_calls": None}, {"role": "assistant", "reasoning": "hm", "content": "so"}],
    [Message("user", "so"), Message("assistant", "it", "thinks")],
    [{"role": "assistant", "thinking": "a", "reasoning": "b", "content": "so"}],
]


@pytest.mark.parametrize("field", [False, True, "content", "reasoning", "thinking", "reasoning_content"])
@pytest.mark.parametrize("chat", CHATS)
def test_chats(pair, chat, field):
    pytest.importorskip("jinja2")
    documents = [{"title": "A", "text": "so it goes"}, {"title": "B", "text": "."}]
    options = {
        "chat_template": TEMPLATE,
        "tools": [weather, {"type": "function", "function": {"name": "given"}}],
        "documents": documents,
        "continue_final_message": field,
        "tokenize": False,
    }
    made = []
    for one in pair:
        try:
            made.append(one.apply_chat_template(chat, **options))
        except ValueError:
            made.append(ValueError)
    assert made[0] == made[1]
    if field is False:
        conversations = [Conversation(chat), Conversation(chat)]
        ours, theirs = (one.apply_chat_template(conversations, **options) for one in pair)
        assert ours == theirs == [made[0]] * 2
        ours, theirs = (one.apply_chat_template(chat, **{**options, "tokenize": True}) for one in pair)
        assert ours["input_ids"] == theirs["input_ids"]


def test_what_a_template_sees_is_plain(pair):
    """Objects have methods that may do anything."""
    pytest.importorskip("jinja2")
    template = "{{ messages[0].image }}{{ messages[0].n + 1 }}{{ x }}"
    import numpy as np

    chat = [{"role": "user", "image": Conversation([]), "n": np.int64(2), "content": ""}]
    for one in pair:
        with pytest.raises(Exception, match="no attribute 'write'"):
            one.apply_chat_template(
                chat, chat_template=template + "{{ messages[0].image.write() }}", tokenize=False, x=1
            )
        shown = one.apply_chat_template(chat, chat_template=template, tokenize=False, x=np.float32(1.5))
        assert shown == "<Conversation>31.5"
    with pytest.raises(TypeError, match="documents must be dicts"):
        pair[0].apply_chat_template(chat, chat_template="x", documents=["text"])


def test_a_message_by_itself(pair):
    pytest.importorskip("jinja2")
    template = "{% for m in messages %}<s> {{ m.content }} .{% endfor %}{% if messages | length > 1 %} ,{% endif %}"
    history = [{"role": "user", "content": "so it"}]
    message = {"role": "assistant", "content": "goes ,"}
    for before in (None, [], history, history * 2):
        ours, theirs = (one.encode_message_with_chat_template(message, before, chat_template=template) for one in pair)
        assert ours == theirs and ours
    with pytest.raises(ValueError, match="add_generation_prompt"):
        pair[0].encode_message_with_chat_template(message, add_generation_prompt=True)


RESPONSES = {
    "start_anchor": "<assistant>",
    "defaults": {"role": "assistant"},
    "fields": {
        "thinking": {"open": "<think>", "close": "</think>", "content": "text"},
        "content": {"open": "<say>", "close": "</say>", "content": "text"},
    },
}


def test_responses_are_parsed(pair):
    texts = ["<think>so</think><say>it goes</say>", "it <think>so</think>"]
    for response, prefix in (
        (texts[0], ""),
        (texts[1], "<assistant>"),
        (texts, ["", "<assistant><think>"]),
        (texts, ""),
        (texts, []),
        ([2, 3, 4], [1]),
        ([[2, 3], [4]], ""),
    ):
        ours, theirs = (one.parse_response(response, RESPONSES, prefix=prefix) for one in pair)
        assert ours == theirs and ours
    for one in pair:
        with pytest.raises(AttributeError, match="response_template"):
            one.parse_response("so", prefix="")
        with pytest.raises(ValueError, match="prefix"):
            one.parse_response("so", RESPONSES)
        with pytest.raises(ValueError, match="prefix"):
            one.parse_response(["so", "it"], RESPONSES, prefix=["", "", ""])
        parser = one.get_response_parser(RESPONSES, prefix="<assistant>")
        assert parser is not None


def test_the_decoder(pair):
    tokenizer = Tokenizer(models.WordLevel({"a": 0}))
    tokenizer.normalizer = normalizers.Lowercase()
    one = PreTrainedTokenizer(tokenizer)
    assert one.decoder is None
    tokenizer.decoder = gputok.decoders.Fuse()
    assert one.decoder is tokenizer.decoder
