"""The type and the range of each field of each component: wrong values are refused when they are set or read.

Each field of each component gets wrong values. A value must raise one clear error that names the field, or else work
and survive `to_str` and `from_str`. gputok reads what tokenizers reads, and tokenizers reads what gputok writes.
"""

import dataclasses
import inspect
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tokenizers

import gputok
from gputok import AddedToken, Tokenizer, checks, decoders, models, normalizers, pre_tokenizers, processors, trainers
from gputok.pipeline.limits import Padding, Truncation

# the value, and how a file writes it
WRONG = [
    (None, "null"),
    (True, "true"),
    (0.5, "0.5"),
    (1.0, "1.0"),
    (-1, "-1"),
    (0, "0"),
    (1, "1"),
    (2**31, str(2**31)),
    (2**32 - 1, str(2**32 - 1)),
    (2**63, str(2**63)),
    (2**64, str(2**64)),
    ("x", '"x"'),
    ("", '""'),
    ([], "[]"),
    ({}, "{}"),
    ("\ud800", '"\\ud800"'),
    (float("nan"), "NaN"),
    (float("inf"), "1e400"),
]

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
PAIR = {"sep": ["a", 0], "cls": ["b", 1]}
STRING = {"pattern": {"String": "a"}}
METASPACE = {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True}
AFFIXES = {"unk_token": "u", "continuing_subword_prefix": "##"}
SWITCHES = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
UNSET = dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
BERT = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
FIXED = {"type": "FixedLength", "length": 5}
PIECES = [{"SpecialToken": {"id": "c", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
PAIR_PIECES = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
NAMED = {"c": {"id": "c", "ids": [1], "tokens": ["c"]}}
LIMIT = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
PADDING = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "p"}
TOKEN = {"content": "x", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}

FORMS = [
    ("model", {"type": "WordPiece", **AFFIXES, "max_input_chars_per_word": 9, "vocab": {"u": 0, "x": 7}}),
    ("model", {"type": "BPE", **UNSET, **SWITCHES, "vocab": {"a": 7, "b": 8, "ab": 9}, "merges": [["a", "b"]]}),
    ("model", {"type": "WordLevel", "vocab": {"a": 7}, "unk_token": "a"}),
    ("model", {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0], ["b", -2.0]], "byte_fallback": False}),
    *[("normalizer", {"type": name}) for name in "Lowercase StripAccents Nmt ByteLevel NFC NFD NFKC NFKD".split()],
    ("normalizer", {"type": "BertNormalizer", **BERT}),
    ("normalizer", {"type": "Prepend", "prepend": "_"}),
    ("normalizer", {"type": "Replace", **STRING, "content": "b"}),
    ("normalizer", {"type": "Strip", "strip_left": True, "strip_right": True}),
    ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}),
    ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "_"}]}),
    ("pre_tokenizer", BYTE_LEVEL),
    *[("pre_tokenizer", {"type": name}) for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")],
    ("pre_tokenizer", {"type": "UnicodeScripts"}),
    ("pre_tokenizer", {"type": "CharDelimiterSplit", "delimiter": "x"}),
    ("pre_tokenizer", {"type": "Digits", "individual_digits": True}),
    ("pre_tokenizer", METASPACE),
    ("pre_tokenizer", FIXED),
    ("pre_tokenizer", {"type": "Punctuation", "behavior": "Isolated"}),
    ("pre_tokenizer", {"type": "Split", **STRING, "behavior": "Isolated", "invert": False}),
    ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, FIXED]}),
    ("post_processor", BYTE_LEVEL),
    ("post_processor", {"type": "BertProcessing", **PAIR}),
    ("post_processor", {"type": "RobertaProcessing", **PAIR, "trim_offsets": True, "add_prefix_space": True}),
    ("post_processor", {"type": "TemplateProcessing", "single": PIECES, "pair": PAIR_PIECES, "special_tokens": NAMED}),
    ("post_processor", {"type": "Sequence", "processors": [{"type": "BertProcessing", **PAIR}]}),
    ("decoder", BYTE_LEVEL),
    ("decoder", METASPACE),
    ("decoder", {"type": "BPEDecoder", "suffix": "x"}),
    ("decoder", {"type": "ByteFallback"}),
    ("decoder", {"type": "Fuse"}),
    ("decoder", {"type": "CTC", "pad_token": "p", "word_delimiter_token": "|", "cleanup": True}),
    ("decoder", {"type": "Replace", **STRING, "content": "b"}),
    ("decoder", {"type": "Strip", "content": " ", "start": 0, "stop": 1}),
    ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}),
    ("decoder", {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 0, "stop": 1}]}),
    ("truncation", LIMIT),
    ("padding", {**PADDING, "strategy": {"Fixed": 3}}),
    ("padding", {**PADDING, "strategy": "BatchLongest"}),
    ("added_tokens", [{"id": 0, **TOKEN}]),
]  # fmt: skip
BASES = {
    "model": models.Model,
    "normalizer": normalizers.Normalizer,
    "pre_tokenizer": pre_tokenizers.PreTokenizer,
    "post_processor": processors.PostProcessor,
    "decoder": decoders.Decoder,
}
COMPONENTS = [(part, form) for part, form in FORMS if part in BASES]


def name_of(value):
    return value["type"] if isinstance(value, dict) and "type" in value else ""


def component(part, form):
    return BASES[part].from_dict(json.loads(json.dumps(form)))


def whole(part, form) -> str:
    """A tokenizer.json with this part."""
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    plain = {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [], "model": FORMS[2][1]}
    return json.dumps({**plain, part: form})


def places(value, place=()):
    """Where the fields of a JSON form are, and what they hold."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key != "type":
            yield (*place, key)
            yield from places(item, (*place, key))


def changed(form, place, value):
    form = json.loads(json.dumps(form))
    *outer, last = place
    target = form
    for key in outer:
        target = target[key]
    target[last] = value
    return form


def written(part, place) -> str:
    """A place as errors write it."""
    return part + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)


def read_by_tokenizers(text):
    try:
        return tokenizers.Tokenizer.from_str(text)
    except BaseException as error:  # its panics are no Exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def differs_by_intent(form, place, literal) -> bool:
    """Values that tokenizers reads as something else, or accepts and fails with later."""
    if name_of(form) == "RobertaProcessing":
        return True  # a wrong switch makes it a BertProcessing there
    if "vocab" in place and literal == str(2**32 - 1):
        return True  # this id says here that no token is meant
    # Special tokens that the template asks for can be missing there
    return name_of(form) == "TemplateProcessing"


def test_all_components_and_fields_are_here():
    for part, base in BASES.items():
        assert {name_of(form) for at, form in FORMS if at == part} == base.types().keys()
    for part, form in COMPONENTS:
        made = component(part, form)
        declared = checks.checks_of(type(made)).keys()
        if declared and part != "model":
            assert {field.name for field in dataclasses.fields(made)} == declared
            assert made.to_dict().keys() == {"type", *declared}
    for kind in (Truncation, Padding):
        assert {field.name for field in dataclasses.fields(kind)} == checks.checks_of(kind).keys()


@pytest.mark.parametrize(("part", "form"), FORMS, ids=lambda value: value if isinstance(value, str) else name_of(value))
def test_wrong_values_in_files(part, form):
    assert Tokenizer.from_str(whole(part, form)).to_str() == tokenizers.Tokenizer.from_str(whole(part, form)).to_str()
    for place, (_, literal) in itertools.product(places(form), WRONG):
        text = whole(part, changed(form, place, "@")).replace('"@"', literal)
        case, theirs = f"{written(part, place)} = {literal}", read_by_tokenizers(text)
        try:
            ours = Tokenizer.from_str(text)
        except ValueError as error:
            message = str(error)
            assert theirs is None or differs_by_intent(form, place, literal), f"{case}: {message}"
            if literal == "NaN":
                assert message.endswith("NaN is not JSON")
                continue
            if "Missing SpecialToken" in message or "but the vocabulary has" in message:
                continue  # it is another field that doesn't go together with this one
            at = message.removeprefix("this string: in ").split(": ")[0]
            assert written(part, place).startswith(at), f"{case}: {message}"
            if re.search(r"merge 0\b", message):
                continue  # as errors of merges say it
            last = next((key for key in reversed(place) if isinstance(key, str)), part)
            assert last in message, f"{case}: {message}"
            assert len(message) < 300 and "\n" not in message and "codec" not in message, f"{case}: {message}"
            continue
        saved = ours.to_str()
        assert Tokenizer.from_str(saved).to_str() == saved, case
        if "vocab" in place and literal.isdigit() and int(literal) > 2**16:
            continue  # tokenizers writes a vocabulary by counting up to its largest id
        again = read_by_tokenizers(saved)
        assert again is not None, f"{case}: tokenizers can't read {saved}"
        if literal not in "01" or "vocab" not in place:  # of two tokens with one id tokenizers writes either
            assert again.to_str() == saved, case


@pytest.mark.parametrize(
    ("part", "form"), COMPONENTS, ids=lambda value: value if isinstance(value, str) else name_of(value)
)
def test_wrong_values_that_are_set(part, form):
    tokenizer = Tokenizer.from_str(whole(part, form))
    step, before = getattr(tokenizer, part), tokenizer.to_str()
    for name, (value, _) in itertools.product(checks.checks_of(type(step)), WRONG):
        old = getattr(step, name)
        try:
            setattr(step, name, value)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(f"{name}: ") and len(str(error)) < 300, error
            assert tokenizer.to_str() == before
            continue
        saved = tokenizer.to_str()
        assert Tokenizer.from_str(saved).to_str() == saved and read_by_tokenizers(saved) is not None, (name, value)
        step._set(**{name: [*old] if isinstance(old, tuple) and name == step.elements else old})


@pytest.mark.parametrize(
    ("kind", "good"), [(Truncation, {"max_length": 5}), (Padding, {"pad_token": "p"}), (AddedToken, {"content": "x"})]
)
def test_wrong_options(kind, good):
    names = checks.checks_of(kind) if kind is not AddedToken else TOKEN
    for name, (value, _) in itertools.product(names, WRONG):
        try:
            made = kind(**{**good, name: value})
        except (TypeError, ValueError) as error:
            assert str(error).startswith(f"{name}: "), error
        else:
            assert value is None or getattr(made, name) == value
            assert type(made) is not AddedToken or all(type(made.to_dict()[key]) is type(TOKEN[key]) for key in TOKEN)


def test_wrong_arguments_of_template_processing():
    for name in ("single", "pair", "special_tokens"):
        for value, _ in WRONG:
            try:
                made = processors.TemplateProcessing(**{name: value})
            except (TypeError, ValueError) as error:
                assert name in str(error) or "SpecialToken" in str(error) or "pair" in str(error), error
            else:
                assert processors.PostProcessor.from_dict(made.to_dict()).to_dict() == made.to_dict()
    with pytest.raises(ValueError, match=r"single\[0\]\.type_id: must be a whole number from 0 to 2\*\*32 - 1"):
        processors.TemplateProcessing("$A:4294967296")
    with pytest.raises(ValueError, match="type_id"):
        processors.TemplateProcessing("$A:" + "9" * 10_000)
    with pytest.raises(ValueError, match="surrogate"):
        processors.TemplateProcessing("\ud800", None, [("\ud800", 1)])
    with pytest.raises(OverflowError, match=r"special_tokens\[0\]\[1\]: must be .*, not -1"):
        processors.TemplateProcessing("c $A", None, [("c", -1)])


def test_places_go_down_to_the_field():
    inner = {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "FixedLength", "length": -1}]}
    outer = {"type": "Sequence", "pretokenizers": [inner]}
    message = (
        r"^this string: in pre_tokenizer\.pretokenizers\[0\]\.pretokenizers\[1\]\.length: "
        r"must be a whole number from 0 to 2\*\*64 - 1, not -1$"
    )
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_str(whole("pre_tokenizer", outer))
    with pytest.raises(
        ValueError, match=r"in added_tokens\[1\]\.lstrip: 'str' object is not an instance of 'bool': 'yes'"
    ):
        Tokenizer.from_str(whole("added_tokens", [{"id": 0, **TOKEN}, {"id": 1, **TOKEN, "lstrip": "yes"}]))
    with pytest.raises(ValueError, match=r"in model\.vocab\[1\]\[1\]: must be a finite number, not inf"):
        Tokenizer.from_str(whole("model", changed(FORMS[3][1], ("vocab", 1, 1), "@")).replace('"@"', "1e400"))


WORD_PIECE = models.WordPiece({"u": 0, "x": 1}, "u")
ISSUE = {
    "max_input_chars_per_word of -1": lambda: models.WordPiece({"u": 0}, "u", max_input_chars_per_word=-1),
    "max_input_chars_per_word of 2**64": lambda: setattr(WORD_PIECE, "max_input_chars_per_word", 2**64),
    "switches of added tokens that are strings": lambda: AddedToken("a", lstrip="yes"),
    "switches of added tokens that are numbers": lambda: AddedToken("a", special=1),
    "lone surrogates in contents": lambda: AddedToken("\ud800"),
    "lone surrogates in tokens": lambda: models.WordLevel({"\ud800": 0}),
    "lone surrogates in tokens with scores": lambda: models.Unigram([("\ud800", 0.0)]),
    "lone surrogates in merges": lambda: models.BPE({"a": 0}, [("a", "\ud800")]),
    "an id of 2**32": lambda: models.WordLevel({"a": 2**32}),
    "an id that is a switch": lambda: models.WordLevel({"a": 0, "b": True}),
    "an unk_token that is no string": lambda: models.BPE(unk_token=3),
    "an affix that is no string": lambda: models.BPE(continuing_subword_prefix=b"##"),
    "a template id that is negative": lambda: processors.BertProcessing(("a", -1), ("b", 0)),
    "a template id that is too large": lambda: processors.BertProcessing(("a", 2**32), ("b", 0)),
    "a template id that is fractional": lambda: processors.BertProcessing(("a", 0.5), ("b", 0)),
    "a template id that is an object": lambda: processors.BertProcessing(("a", {}), ("b", 0)),
    "a decoder's field of another type": lambda: decoders.WordPiece(prefix=7),
    "a score of 1e400": lambda: models.Unigram([("a", 1e400)]),
    "a score that is no number": lambda: models.Unigram([("a", "1.5")]),
    "a score that is a switch": lambda: models.Unigram([("a", True), ("b", 0.5)]),
    "an unk_id of 0.5": lambda: models.Unigram([("a", 0.0)], 0.5),
    "an unk_id of true": lambda: models.Unigram([("a", 0.0), ("b", 0.0)], True),
}


@pytest.mark.parametrize("make", ISSUE.values(), ids=ISSUE)
def test_values_that_were_accepted_unchecked_before(make):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert isinstance(caught.value, checks.FieldError) and caught.value.place, caught.value


def test_the_largest_numbers_that_tokenizers_takes():
    """tokenizers accepts 2**63 as a length; it is longer than any word in both."""
    word_piece = models.WordPiece({"u": 0, "x": 1}, "u", max_input_chars_per_word=2**63)
    assert [token.value for token in word_piece.tokenize("x")] == ["x"]
    none = models.WordPiece({"u": 0, "x": 1}, "u", max_input_chars_per_word=0)
    assert (none.tokenize(""), [token.value for token in none.tokenize("x")]) == ([], ["u"])
    assert pre_tokenizers.FixedLength(2**63).pre_tokenize_str("abé") == [("abé", (0, 3))]
    assert decoders.Strip("a", 2**63, 0).decode(["aab"]) == "b"
    tokenizer = Tokenizer(models.WordLevel({"a": 2**32 - 2}, "a"))
    tokenizer.post_processor = processors.BertProcessing(("s", 2**32 - 1), ("c", 2**31))
    tokenizer.enable_truncation(2**64 - 1, 2**63)
    assert tokenizer.encode("a").ids == [2**31, 2**32 - 2, 2**32 - 1]
    assert tokenizer.post_process(tokenizer.encode("a", add_special_tokens=False)).ids[1] == 2**32 - 2
    tokenizer.enable_padding(length=2**63)
    with pytest.raises(ValueError, match=r"length=9223372036854775808"):
        tokenizer.encode("a")


def test_a_changed_unk_id_stays_inside_the_vocabulary():
    unigram = models.Unigram([("a", 0.0), ("b", -1.0)], 0)
    unigram.unk_id = 1
    with pytest.raises(ValueError, match="unk_id: is 2, but the vocabulary has 2 tokens"):
        unigram.unk_id = 2
    with pytest.raises(ValueError, match="sentencepiece: must hold ids below 2"):
        unigram.sentencepiece = [2]
    assert (unigram.unk_id, unigram.sentencepiece) == (1, None)


def test_a_constructor_is_made_when_it_is_asked_for():
    """A process uses few of the classes of a module."""
    code = """
import sys, gputok.normalizers as edits
from gputok.components import _constructor
assert _constructor.cache_info().currsize == 0
assert repr(edits.Replace("a", content="b")) == 'Replace(pattern=String("a"), content="b")'
assert _constructor.cache_info().currsize == 1
try:
    edits.Prepend("a", "b")
except TypeError as error:
    assert str(error) == "Prepend.__init__() takes from 1 to 2 positional arguments but 3 were given", error
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert str(inspect.signature(pre_tokenizers.Split)).startswith(
        "(pattern: 'str | Regex', behavior: 'Behavior', invert: 'bool' = False)"
    )

    class Mine(normalizers.Prepend):
        def __init__(self):
            super().__init__("_")

    assert Mine().prepend == Mine().prepend == "_" and normalizers.Prepend().prepend == "▁"


USERS = '''
import copy, dataclasses, json, pickle

import pytest

from gputok import Tokenizer, models, normalizers, trainers


@dataclasses.dataclass(eq=False, repr=False)
class Tail(normalizers.Normalizer):
    """A user's normalizer with fields of its own."""

    tail: str = "!"
    times: int = 1

    def _apply(self, pieces):
        return normalizers.Replace("$", self.tail * self.times)._apply(pieces)


@dataclasses.dataclass(eq=False, repr=False)
class Start(normalizers.Prepend):
    """A user's class with another default, and a constructor that does more."""

    prepend: str = "_"

    def __post_init__(self):
        self.length = len(self.prepend)


class WithMemory(normalizers.Prepend):
    def __init__(self, prepend="x"):
        super().__init__(prepend)
        self.length = len(prepend)


tail = normalizers.Normalizer.from_dict(Tail("?", 3).to_dict())
assert (type(tail), tail.tail, tail.times, repr(tail)) == (Tail, "?", 3, 'Tail(tail="?", times=3)')
assert tail.normalize_str("a$") == "a???"
with pytest.raises(ValueError, match="tail"):
    normalizers.Normalizer.from_dict({"type": "Tail", "times": 3})
for start in (Start(), Start("ab"), WithMemory("abc")):
    for again in (pickle.loads(pickle.dumps(start)), copy.deepcopy(start), type(start).from_dict(start.to_dict())):
        assert vars(again) == vars(start)
        assert again.length == len(again.prepend)
with pytest.raises(TypeError, match="prepend"):
    Start(prepend=3)

@dataclasses.dataclass
class Mine(models.WordLevel):
    extra: int = 3

    def __post_init__(self):
        super().__init__({"a": 0}, "a")

assert (Mine().extra, Mine(4).extra, Mine().unk_token) == (3, 4, "a")

@dataclasses.dataclass(eq=False, repr=False)
class Several(normalizers.Sequence):
    extra: int = 3

class More(Several):
    pass

assert [*map(type, More([normalizers.Lowercase()], 5))] == [normalizers.Lowercase]

@dataclasses.dataclass(kw_only=True)
class Special(trainers.WordLevelTrainer):
    special_tokens: list = dataclasses.field(default_factory=lambda: ["<s>"])

tokenizer = Tokenizer(models.WordLevel(unk_token="<s>"))
tokenizer.train_from_iterator(["a b"], Special())
assert tokenizer.encode("<s>").ids == [0]
'''


def test_fields_of_users_classes_are_saved():
    """In a process of its own, since a class is known from its definition on."""
    done = subprocess.run([sys.executable, "-c", USERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_never_changes_says_what_it_has():
    truncation = Tokenizer(models.WordLevel({"a": 0}, "a"))
    truncation.enable_truncation(5)
    limit = truncation.pipeline.truncation
    assert repr(limit) == "Truncation(max_length=5, stride=0, strategy='longest_first', direction='right')"
    with pytest.raises(AttributeError, match="never changes"):
        del limit.stride
    assert "truncation=Truncation(" in repr(truncation.pipeline)


# -- names of attributes, and switches

NAMES = ["foo", "vocab", "fuse_unknown", "add_prefixspace", "merges_", "inert"]


def refuses(value, name):
    try:
        setattr(value, name, True)
    except AttributeError:
        return True
    return False


@pytest.mark.parametrize(
    "value",
    [*(component(part, form) for part, form in COMPONENTS), AddedToken("a"), trainers.BpeTrainer(), gputok.Regex("a")],
    ids=lambda value: type(value).__name__,
)
def test_attributes_that_do_not_exist(value):
    """All objects that `tokenizers` would give the attribute, or refuse it, as models and trainers: no silent typos."""
    assert all(refuses(value, name) for name in NAMES)


def test_a_user_s_own_class_may_have_any_attributes():
    class Mine(normalizers.Lowercase):
        pass

    mine = Mine()
    mine.foo = 5
    assert mine.foo == 5 and mine.normalize_str("A") == "a"


def test_models_and_trainers_refuse_names_in_tokenizers_as_well():
    for value in (tokenizers.models.BPE(), tokenizers.trainers.BpeTrainer(), tokenizers.Regex("a")):
        assert all(refuses(value, name) for name in NAMES)


@pytest.mark.parametrize("make", ["NormalizedString", "PreTokenizedString"])
def test_texts_have_no_other_attributes(make):
    for module in (gputok, tokenizers):
        assert all(refuses(getattr(module, make)("a"), name) for name in [*NAMES, "_foo", "original"])


def test_streams_have_no_other_attributes():
    for module in (decoders, tokenizers.decoders):
        assert all(refuses(module.DecodeStream(), name) for name in [*NAMES, "_foo", "ids"])


def test_tokenizers_and_encodings_take_other_attributes_but_no_steps():
    """Programs keep `pad_token_id` and the like in tokenizers. A step that no text would pass through is refused."""
    for module in (gputok, tokenizers):
        tokenizer = module.Tokenizer(module.models.WordLevel({"a": 0}, "a"))
        for value in (tokenizer, tokenizer.encode("a")):
            value.pad_token_id, value._own = 5, "x"
            assert (value.pad_token_id, value._own) == (5, "x")
        assert all(refuses(tokenizer, name) for name in ("padding", "truncation"))
        assert all(refuses(tokenizer.encode("a"), name) for name in ("ids", "tokens", "offsets", "overflowing"))
    ours = Tokenizer(models.WordLevel({"a": 0}, "a"))
    for name, step in (
        ("pretokenizer", pre_tokenizers.Whitespace()),
        ("normaliser", normalizers.NFC()),
        ("postprocessor", processors.ByteLevel()),
        ("decoders", decoders.ByteLevel()),
        ("models", models.BPE()),
    ):
        with pytest.raises(
            AttributeError, match=rf"no attribute '{name}'; it has decoder, .*normalizer, .*pre_tokenizer"
        ):
            setattr(ours, name, step)

    class Mine(Tokenizer):
        pass

    mine = Mine(models.BPE())
    mine.second_model = models.BPE()
    assert isinstance(mine.second_model, models.BPE)


def test_the_error_names_what_there_is():
    with pytest.raises(AttributeError, match=r"gputok.models.BPE' object has no attribute 'fuse_unknown'; .*fuse_unk"):
        models.BPE().fuse_unknown = True
    with pytest.raises(AttributeError, match="no attribute 'vocab'"):
        models.BPE().vocab = {}


def calls(module):
    tokenizer = module.Tokenizer(module.models.WordLevel({"a": 0, "u": 1}, "u"))
    encoding, step = tokenizer.encode("a"), module.processors.ByteLevel()
    return {
        "encode": lambda value: tokenizer.encode("a", add_special_tokens=value),
        "words": lambda value: tokenizer.encode("a", is_pretokenized=value),
        "batch": lambda value: tokenizer.encode_batch(["a"], add_special_tokens=value),
        "fast": lambda value: tokenizer.encode_batch_fast(["a"], add_special_tokens=value),
        "post_process": lambda value: tokenizer.post_process(encoding, add_special_tokens=value),
        "number": lambda value: tokenizer.num_special_tokens_to_add(value),
        "decode": lambda value: tokenizer.decode([0], skip_special_tokens=value),
        "decode_batch": lambda value: tokenizer.decode_batch([[0]], skip_special_tokens=value),
        "vocab": lambda value: tokenizer.get_vocab(with_added_tokens=value),
        "size": lambda value: tokenizer.get_vocab_size(with_added_tokens=value),
        "to_str": lambda value: tokenizer.to_str(pretty=value),
        "process": lambda value: step.process(encoding, None, value),
        "set": lambda value: setattr(tokenizer, "encode_special_tokens", value),
        "number of ByteLevel": step.num_special_tokens_to_add,
        "number of Bert": module.processors.BertProcessing(("a", 0), ("a", 0)).num_special_tokens_to_add,
        "number of Roberta": module.processors.RobertaProcessing(("a", 0), ("a", 0)).num_special_tokens_to_add,
        "number of templates": module.processors.TemplateProcessing("$A", "$A $B", []).num_special_tokens_to_add,
        "number of none": module.processors.Sequence([]).num_special_tokens_to_add,
        "number of several": module.processors.Sequence([step]).num_special_tokens_to_add,
    }


@pytest.mark.parametrize("name", calls(tokenizers))
def test_arguments_that_are_true_or_false(name):
    ours, theirs = calls(gputok)[name], calls(tokenizers)[name]
    for value in (5, 0, 1.0, None, "a", []):
        for call in (ours, theirs):
            with pytest.raises(TypeError):
                call(value)
    for value in (True, False, np.True_):
        if name != "words":
            ours(value), theirs(value)


def test_a_stream_that_skips_special_tokens():
    for module in (decoders, tokenizers.decoders):
        for value in (5, 0, 1.0, "a", []):
            with pytest.raises(TypeError):
                module.DecodeStream(skip_special_tokens=value)
        module.DecodeStream(skip_special_tokens=None), module.DecodeStream(skip_special_tokens=True)


def test_whether_a_corpus_gets_special_tokens():
    """Like `encode` (see above), what gputok alone has."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "u": 1}, "u"))
    for call in (
        lambda value: tokenizer.encode_corpus(iter(["a"]), add_special_tokens=value),
        lambda value: tokenizer.corpus_encoder(add_special_tokens=value),
    ):
        for value in (5, 0, None, "a"):
            with pytest.raises(TypeError, match="add_special_tokens"):
                call(value)
        call(True), call(np.False_)


@pytest.mark.parametrize("ids", [[True], [False, True], (True,), [True, 1], [np.True_], np.array([True]), [1.0]])
def test_ids_that_are_truth_values(ids):
    found = []
    for module in (gputok, tokenizers):
        try:
            found.append(module.Tokenizer(module.models.WordLevel({"a": 0, "b": 1}, "a")).decode(ids))
        except TypeError:
            found.append(None)
    assert found[0] == found[1]


@pytest.mark.parametrize(("part", "form"), [one for one in FORMS if isinstance(one[1], dict)], ids=name_of)
def test_fields_that_are_missing(part, form):
    """Both read a file without a field, or neither does."""
    for name in form.keys() - {"type"}:
        if form.get("type") == "RobertaProcessing" and name in ("trim_offsets", "add_prefix_space"):
            continue  # tokenizers then reads a BertProcessing; gputok refuses the file
        file = whole(part, {key: value for key, value in form.items() if key != name})
        taken = []
        for module in (gputok, tokenizers):
            try:
                module.Tokenizer.from_str(file)
                taken.append(True)
            except (Exception, BaseException):
                taken.append(False)
        assert taken[0] == taken[1], name
