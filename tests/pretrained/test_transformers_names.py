"""Each public name of the class of `transformers` is here, or its absence has a reason; the rarer ones do the same."""

import dataclasses
import enum

import pytest

import gputok
from gputok import PreTrainedTokenizer, Tokenizer, models, pre_tokenizers

hf = pytest.importorskip("transformers")

# What programs rarely ask for: to_transformers() has it.
NOT_HERE = {
    *("SPECIAL_TOKENS_ATTRIBUTES", "add_prefix_space", "backend", "can_save_slow_tokenizer", "clean_up_tokenization"),
    *("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", "convert_added_tokens"),
    *("convert_to_native_format", "decoder", "encode_message_with_chat_template", "files_loaded"),
    *("get_response_parser", "init_inputs", "max_len_sentences_pair", "max_len_single_sentence", "model"),
    *("parse_response", "pretrained_vocab_files_map", "push_to_hub", "register_for_auto_class", "save_chat_templates"),
    *("save_vocabulary", "set_truncation_and_padding", "slow_tokenizer_class", "verbose", "vocab_files_names"),
}
# Data that differ on purpose, and why.
OTHER = {
    "backend_tokenizer": "a gputok Tokenizer",
    "init_kwargs": "here only what no attribute holds",
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
    assert {name for name in names if not hasattr(ours, name)} == NOT_HERE


def test_what_is_not_here_is_in_transformers(pair):
    ours, theirs = pair[0], pair[0].to_transformers()
    for name in NOT_HERE:
        assert hasattr(theirs, name)
        with pytest.raises(AttributeError, match=rf"to_transformers\(\).{name} is it, and runs on gputok"):
            getattr(ours, name)
    with pytest.raises(AttributeError, match=r"'_pad'$"):
        _ = ours._pad


def test_data_are_the_same(pair):
    ours, theirs = pair
    names = {name for name in (*dir(theirs), *vars(theirs)) if not name.startswith("_")}
    data = {name: getattr(theirs, name) for name in names - set(NOT_HERE) - set(OTHER)}
    data = {name: value for name, value in data.items() if not callable(value)}
    assert len(data) > 20
    for name, value in data.items():
        own = getattr(ours, name)
        assert own == value or str(own) == str(value), name


def test_a_token_of_the_models_own_name_is_set_as_the_others(pair):
    own = {"model_specific_special_tokens": {"image_token": "<s>"}}
    inner = [one.backend_tokenizer for one in pair]
    both = [make(tokenizer_object=of, **own) for make, of in zip(map(type, pair), inner, strict=True)]
    for one in both:
        one.image_token, one.eos_token_id = "so", 4
    found = [(one.special_tokens_map, one.image_token_id, one.eos_token, one.all_special_tokens) for one in both]
    assert found[0] == found[1] == ({"eos_token": "goes", "image_token": "so"}, 2, "goes", ["goes", "so"])
    assert {"image_token", "image_token_id", "pad_token_id"} <= {*dir(both[0])}


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


def test_special_tokens_are_counted_with_and_without_an_argument(pair):
    counts = [(one.num_special_tokens_to_add(), one.num_special_tokens_to_add(pair=True)) for one in pair]
    assert counts[0] == counts[1]


def test_added_vocabularies(pair):
    assert list(pair[0].get_added_vocab().items()) == list(pair[1].get_added_vocab().items()) != []


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


def test_functions_are_tools(pair):
    pytest.importorskip("jinja2")
    chat = [{"role": "user", "content": "so"}]
    options = {"tools": [weather, no_arguments, {"a": "schema"}], "tokenize": False, "chat_template": TEMPLATE}
    ours, theirs = (one.apply_chat_template(chat, **options) for one in pair)
    assert ours == theirs and "Temperatures" in ours


def test_functions_without_a_schema(pair):
    def undocumented(a: int):
        pass

    def undescribed(a: int, b: int):
        """Does.

        Args:
            a: A.
        """

    for tool, message in {
        undocumented: "the tool undocumented: .* docstring",
        undescribed: "the tool undescribed: .* 'b'",
        len: "tools must be JSON schemas",
    }.items():
        with pytest.raises(ValueError, match=message):
            pair[0].apply_chat_template([{"role": "user", "content": ""}], tools=[tool], chat_template=TEMPLATE)


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
