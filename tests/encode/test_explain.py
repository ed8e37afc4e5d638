"""`explain` tells how a text becomes tokens: a twin of `encode` in plain Python, which must give the same ids."""

from __future__ import annotations

import json
import random

import growing
import pytest

import tests.encode.test_parity_pipelines as parity
import tests.encode.test_properties as properties
from gputok import AddedToken, Regex, Tokenizer, cli, models, normalizers, pre_tokenizers, processors, trainers
from gputok.automaton import PATTERNS

NASTY = [
    "",
    " ",
    "\0",
    "\u0301",
    "a" * 500,
    "<s>" * 3,
    "x<|im_start|>y",
    "\r\n\n \n",
    "İſK①½ﬁ",
    "\U0010ffff",
    "ab" * 300,
]
NINE = ("gpt2", "cl100k", "Qwen 3", "Llama 2", "Gemma", "Mistral", "BERT", "words", "T5")


def equal(tokenizer: Tokenizer, text: str) -> None:
    """The twin's tokens, and what `explain` says that `encode` returns."""
    found = tokenizer.explain(text)
    bare = tokenizer.encode(text, add_special_tokens=False, padding=None, truncation=None)
    assert [id for word in found.words for id in word.ids] == bare.ids
    assert [token for word in found.words for token in word.tokens] == bare.tokens
    assert parity.view(found.encoding) == parity.view(tokenizer.encode(text))
    json.dumps(found.to_dict())
    assert str(found).isprintable() is False and found._repr_html_().count("<tr>") == len(found.words) + 1


OTHERS = [pytest.param(kind, marks=pytest.mark.full) for kind in growing.KINDS if kind not in NINE]


@pytest.mark.parametrize("kind", [*NINE, *OTHERS])
def test_the_twin_finds_the_ids_of_encode(kind):
    tokenizer = growing.KINDS[kind][1]()
    for text in [*NASTY, *growing.texts(7, 12)]:
        equal(tokenizer, text)


@properties.holds(tokenizer=properties.pipelines(), text=properties.TEXTS)
def test_the_twin_of_any_pipeline(tokenizer, text):
    try:
        tokenizer.encode(text)
    except ValueError:
        return
    equal(tokenizer, text)


def test_the_twin_of_sentencepiece_models():
    rng = random.Random(3)
    tokens = [
        ("<unk>", 0.0),
        ("<s>", 0.0),
        *((text, rng.uniform(-12, -1)) for text in {"▁", *"abc", "ab", "bc", "▁a", "abc"}),
    ]
    unigram = models.Unigram(tokens, unk_id=0)
    unigram.sentencepiece = [0, 1]
    bpe = models.BPE({"a": 0, "b": 1, "ab": 2, "aba": 3}, [("a", "b"), ("ab", "a"), ("a", "ba")][:2])
    bpe.sentencepiece = True
    for model in (unigram, bpe):
        for text in growing.texts(3, 20) + ["".join(rng.choices("abc d", k=40)) for _ in range(40)]:
            equal(Tokenizer(model), text)


def bpe(words: list[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERNS["cl100k"]), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    return tokenizer


def test_words_name_the_part_of_the_pattern_that_cut_them():
    words = bpe(["a"], 1).explain("Hi'll 123x!\n  a").words
    assert [(word.text, *word.cut_by) for word in words] == [
        ("Hi", r"Split: /[^\r\n\p{L}\p{N}]?\p{L}+/"),
        ("'ll", r"Split: /(?i:'s|'t|'re|'ve|'m|'ll|'d)/"),
        ("Ġ", r"Split: /\s+/"),
        ("123", r"Split: /\p{N}{1,3}/"),
        ("x", r"Split: /[^\r\n\p{L}\p{N}]?\p{L}+/"),
        ("!Ċ", r"Split: / ?[^\s\p{L}\p{N}]+[\r\n]*/"),
        ("Ġ", r"Split: /\s+(?!\S)/"),
        ("Ġa", r"Split: /[^\r\n\p{L}\p{N}]?\p{L}+/"),
    ]


@pytest.mark.parametrize("name", PATTERNS)
def test_each_word_has_a_part_of_a_pattern_of_well_known_tokenizers(name):
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERNS[name]), "isolated")
    for text in growing.texts(4, 5):
        for word in tokenizer.explain(text).words:
            assert word.cut_by == [] or f"/{PATTERNS[name]}/" not in word.cut_by[0]


def test_a_pattern_that_the_package_regex_can_not_read_is_named_as_a_whole():
    pattern = r"\p{L}" * 600 + "|."  # an automaton, but 8,500,000 characters as `regex` needs them
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    assert [(word.text, word.cut_by) for word in tokenizer.explain("ab").words] == [
        (text, [f"Split: /{pattern}/"]) for text in "ab"
    ]


def test_several_cuts_and_text_between_matches():
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    steps = [pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.Digits(), pre_tokenizers.Punctuation()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    assert [(word.text, word.cut_by) for word in tokenizer.explain("ab c1!").words] == [
        ("ab", ["Split: between matches"]),
        (" c", ["Split: ' ' and the text beside it", "Digits"]),
        ("1", ["Split: ' ' and the text beside it", "Digits"]),
        ("!", ["Split: ' ' and the text beside it", "Digits"]),
    ]


def test_merges_in_order_and_why_others_were_not_made():
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(["a", "b", "ab", "ba", "aba", " ", "bb"])}, [
        ("a", "b"), ("b", "a"), ("b", "b"),
    ]))  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    first, second = tokenizer.explain("aba bab").words
    assert [(step.parts, step.rank) for step in first.steps] == [(("a", "b"), 0)]
    assert first.unmerged == [
        "b + a (rank 1): a + b (rank 0) has a lower rank",
        "no such merge: ab + a (aba is a token, but no merge of these two)",
        "a + b (rank 0): a limit of words lies between them",
    ]
    assert second.steps[0].parts == ("a", "b") and "b + a (rank 1): a + b (rank 0) has a lower rank" in second.unmerged
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(1)
    assert tokenizer.explain("bb").words[0].unmerged == ["b + b (rank 2): a limit of words lies between them"]


def test_added_tokens_normalized_text_and_special_tokens():
    tokenizer = growing.KINDS["BERT"][1]()
    tokenizer.add_special_tokens(["[END]"])
    end = "[END]", tokenizer.get_vocab()["[END]"]
    tokenizer.post_processor = processors.TemplateProcessing("[END] $A [END]", special_tokens=[end])
    tokenizer.enable_truncation(3)
    found = tokenizer.explain("The É[END]the")
    assert found.normalized == [(repr(tokenizer.normalizer), "the e│[END]│the")]
    assert [word.text for word in found.words if word.added] == ["[END]"]
    assert [place for *_, place in found.special] == ["before the text", "after it"]
    assert len(found.encoding) == 3 and "truncation cuts off" in str(found)
    assert tokenizer.explain("a", add_special_tokens=False).special == []


def test_unknown_parts():
    def why(model: models.Model) -> str:
        return " ".join(step.why for word in Tokenizer(model).explain("aé").words for step in word.steps)

    assert "removed" in why(models.BPE({"a": 0}, []))
    assert "it becomes ?" in why(models.BPE({"a": 0, "?": 1}, [], unk_token="?"))
    of_bytes = {"a": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    assert "its bytes are tokens" in why(models.BPE(of_bytes, [], byte_fallback=True))
    assert "no token fits at ##é" in why(models.WordPiece({"a": 0, "[UNK]": 1}))
    assert "more than max_input_chars_per_word=1" in why(models.WordPiece({"[UNK]": 1}, max_input_chars_per_word=1))
    assert "it is unknown" in why(models.WordLevel({"?": 0}, unk_token="?"))
    assert "unknown" in why(models.Unigram([("?", 0.0), ("a", -1.0)], unk_id=0))


def test_the_best_path_tells_its_sums_and_what_else_ends_there():
    unigram = models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0)], unk_id=0)
    (word,) = Tokenizer(unigram).explain("abb").words
    assert [(step.token, step.score, step.why) for step in word.steps] == [
        ("ab", -2.0, "sum -2.00; b would give -2.50"),
        ("b", -1.5, "sum -3.50"),
    ]


def test_what_is_wrong_is_one_line():
    with pytest.raises(ValueError, match="dropout = None, and explain again"):
        Tokenizer(models.BPE({"a": 0}, [], dropout=0.5)).explain("a")
    with pytest.raises(ValueError, match="alpha = None, and explain again"):
        Tokenizer(models.Unigram([("a", 0.0)], alpha=0.5)).explain("a")
    with pytest.raises(TypeError, match="must be str, not int"):
        Tokenizer(models.BPE()).explain(3)  # pyright: ignore[reportArgumentType]


def test_a_twin_that_differs_says_so(monkeypatch):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    monkeypatch.setattr("gputok.explain.tokens_of", lambda *_: ([1], [], [], []))
    with pytest.raises(RuntimeError, match="from token 0 on"):
        tokenizer.explain("a")


def test_markup_and_control_characters_are_shown_as_text():
    tokenizer = Tokenizer(models.WordLevel({"<b>\x1b": 0}, unk_token="<b>\x1b"))
    tokenizer.add_tokens([AddedToken("<i>")])
    tokenizer.normalizer = normalizers.Replace("x", "<u>")
    found = tokenizer.explain("<b>\x1bx<i>")
    assert "\x1b" not in str(found)
    assert not any(tag in found._repr_html_() for tag in ("<b>", "<i>", "<u>"))


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tokenizer = bpe(["hello"] * 9, 5)
    tokenizer.save("t.json")
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit):
            cli.main(["explain", *arguments, "-t", "t.json"])
        return capsys.readouterr()

    assert run("hello hello")[0] == f"{tokenizer.explain('hello hello')}\n"
    assert json.loads(run("hello", "--json")[0]) == json.loads(json.dumps(tokenizer.explain("hello").to_dict()))
    assert run("t.json")[1].startswith("gputok: t.json is a file, and explain shows each step of a text")
    assert run("none.txt")[1].startswith("gputok: none.txt: no such file or folder")


@pytest.mark.parametrize(
    ("template", "places"),
    [
        ("<s> $A", ["before the text"]),
        ("$A <s> $A <s>", ["between its copies", "after it"]),
        ("$A $A", []),
        ("<s>", ["after it"]),
    ],
)
def test_a_template_may_repeat_the_text_or_leave_it_out(template, places):
    tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "b": 2}, "<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 0)])
    found = tokenizer.explain("a b")
    assert [word.ids for word in found.words] == [[1], [2]] and [word.offsets for word in found.words] == [
        (0, 1),
        (2, 3),
    ]
    assert found.special == [("<s>", 0, place) for place in places]
    assert found.encoding.ids == tokenizer.encode("a b").ids
