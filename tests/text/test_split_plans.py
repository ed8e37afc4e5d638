"""Which pre-tokenizers are one walk over the text: those of well-known models, and sequences of any others.

Each plan is compared with `tokenizers`, which takes the steps one after the other.
"""

import functools
import itertools
import json
import random

import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu.split import find_cuts, find_words
from gputok.kernels.cpu.walk.tables import prepare
from splitting import random_texts

import gputok
from gputok import pre_tokenizers
from gputok.automaton import PATTERNS, compile_pattern
from gputok.automaton.combine import completed, refined
from gputok.pre_tokenizers import cut_pieces
from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.text.way import Unit, Way
from tests import reference


def byte_level(**options):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True} | options


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": [*steps]}


BYTES = byte_level(use_regex=False)
DIGITS = {"type": "Digits", "individual_digits": True}
SPACES = {"type": "WhitespaceSplit"}
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
SUPERBPE = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"
LLAMA4 = PATTERNS["o200k"].replace("[\\r\\n/]", "[\\r\\n]")


def metaspace(scheme="always", split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


# The pre-tokenizers of well-known models, as their tokenizer.json files have them.
WALKS = {
    "GPT-2, RoBERTa, BART, GPT-J, Pythia, OLMo, MPT, ModernBERT, Whisper, Phi-2": byte_level(),
    "Llama 3, SmolLM 3": sequence(split(PATTERNS["llama3"]), BYTES),
    "Qwen 2, 2.5 and 3": sequence(split(PATTERNS["qwen2"]), BYTES),
    "GPT-4, Phi-4, DBRX, GLM-4, StableLM 2": sequence(split(PATTERNS["cl100k"]), BYTES),
    "GPT-4 as some export it": sequence(split(PATTERNS["cl100k"], "Removed", True), BYTES),
    "gpt-oss": sequence(split(PATTERNS["o200k"]), BYTES),
    "GPT-4o as some export it": sequence(split(PATTERNS["o200k"], "Removed", True), BYTES),
    "Llama 4": sequence(split(LLAMA4), BYTES),
    "Mistral Nemo, Pixtral, Mistral Small": sequence(split(PATTERNS["tekken"]), BYTES),
    "DeepSeek V3 and R1": sequence(*map(split, DEEPSEEK_V3), BYTES),
    "StarCoder, SmolLM, Granite, Command R": sequence(DIGITS, byte_level()),
    "SuperBPE": sequence(split(SUPERBPE), BYTES),
    "BLOOM": sequence(split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), BYTES),
    "digits three at a time, then GPT-2's": sequence(split(r"\p{N}{1,3}"), byte_level()),
    "punctuation apart": sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level()),
}
PARTS = {
    "BERT, DistilBERT, MiniLM, E5, BGE, ELECTRA": {"type": "BertPreTokenizer"},
    "T5, ALBERT, DeBERTa v3, Pegasus": metaspace(),
    "XLM-R, mBART, mT5, BGE-M3": sequence(SPACES, metaspace()),
}
NEITHER = {
    # Rust knows digits that Oniguruma takes for symbols; after such a digit, `'s` is a symbol and a letter.
    "words, then each digit": sequence(split(PATTERNS["gpt2"]), DIGITS, BYTES),
    "Falcon": sequence(
        {"type": "Punctuation", "behavior": "Contiguous"},
        byte_level(),
        {"type": "Digits", "individual_digits": False},
        split("[0-9][0-9][0-9]"),
    ),
    "CLIP": sequence(split(r"'s|'t|'re|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "Removed", True), BYTES),
    "DeepSeek Coder": sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), DIGITS, BYTES
    ),
    "RoBERTa with a prefix": byte_level(add_prefix_space=True),
    "Mistral 7B v0.3, Phi-3": metaspace("first", split=False),
    "Gemma 2 and 3": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
}


def ours_of(form):
    return pre_tokenizers.PreTokenizer.from_dict(form)


def words_by_plan(plan, texts):
    """The pieces of all texts, as tokenizers writes them, by the plan's walk alone."""
    pieces = Pieces.from_batch(TextBatch.from_strings(texts))
    cut = cut_pieces(pieces, plan.automaton, "isolated")._replace(byte_level=plan.byte_level)
    words = spell_out(cut).strings()
    return [words[a:b] for a, b in zip(cut.rows[:-1], cut.rows[1:], strict=True)]


def words_by_tokenizers(form, texts):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    whole = json.loads(tokenizer.to_str()) | {"pre_tokenizer": form}
    theirs = tokenizers.Tokenizer.from_str(json.dumps(whole)).pre_tokenizer
    return [[word for word, _ in theirs.pre_tokenize_str(text)] if text else [] for text in texts]


@pytest.mark.parametrize("form", WALKS.values(), ids=WALKS)
def test_one_walk(form):
    plan = ours_of(form).way(Way())
    texts = [*random_texts(21, 1500), *short_texts(21, 1500)]
    assert plan.automaton is not None and plan.byte_level
    assert words_by_plan(plan, texts) == words_by_tokenizers(form, texts)


@pytest.mark.parametrize("form", PARTS.values(), ids=PARTS)
def test_parts_between_spaces(form):
    assert ours_of(form).way(Way()).automaton is None and ours_of(form).way(Way()).unit == Unit.PART


@pytest.mark.parametrize("form", NEITHER.values(), ids=NEITHER)
def test_no_plan(form):
    assert ours_of(form).way(Way()).automaton is None and ours_of(form).way(Way()).unit in (Unit.DOCUMENT, Unit.UNCUT)


@functools.cache
def _alphabet():
    return (
        "a",
        "B",
        "é",
        "1",
        "7",
        "Ⅷ",
        " ",
        " ",
        "\n",
        "\t",
        "\u3000",
        ".",
        "'",
        "s",
        "!",
        "中",
        "ア",
        "\u0301",
        "\u0378",
    )


def short_texts(seed, n):
    """Texts of few characters, in which neighbours of all kinds meet."""
    rng = random.Random(seed)
    return ["".join(rng.choices(_alphabet(), k=rng.randrange(1, 9))) for _ in range(n)]


def random_step(rng):
    patterns = [
        *PATTERNS.values(),
        *DEEPSEEK_V3,
        r"\s?\p{L}+",
        r"\s+",
        r"[0-9]{3}",
        r"[\r\n]",
        r"\p{L}+\p{N}|\p{N}",
        "a|ab1",
        r" ?\p{P}+",
        r"\p{N}+(?!\p{L})",
        "[^a]a",
    ]
    kind = rng.choice(["split", "split", "digits", "punctuation"])
    if kind == "digits":
        return DIGITS | {"individual_digits": rng.random() < 0.5}
    if kind == "punctuation":
        return {"type": "Punctuation", "behavior": rng.choice(["Isolated", "Contiguous", "MergedWithPrevious"])}
    behaviors = ["Isolated", "Isolated", "Isolated", "Removed", "MergedWithNext", "Contiguous"]
    return split(rng.choice(patterns), rng.choice(behaviors), rng.random() < 0.3)


def differing(seed):
    """The forms of random sequences that have a plan, and how many of these differ from tokenizers."""
    rng = random.Random(seed)
    planned, wrong = 0, []
    for _ in range(40):
        form = sequence(*(random_step(rng) for _ in range(rng.randrange(1, 4))))
        plan = ours_of(form).way(Way())
        if plan.automaton is None:
            continue
        planned += 1
        texts = short_texts(rng.randrange(10**9), 300)
        theirs, mine = words_by_tokenizers(form, texts), words_by_plan(plan, texts)
        for text, one, other in zip(texts, mine, theirs, strict=True):
            if one != other:
                wrong.append((form, text, one, other))
                break
    return planned, wrong


@pytest.mark.parametrize("seed", range(4))
def test_random_sequences(seed):
    planned, wrong = differing(seed)
    assert wrong == []
    assert planned >= 5


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 200))
def test_more_random_sequences(seed):
    assert differing(seed)[1] == []


def test_steps_in_a_row_are_taken_at_once():
    """`apply` makes one walk of the steps that are one; what it cuts is what the single steps cut."""
    form = WALKS["DeepSeek V3 and R1"]
    texts = [*random_texts(22, 500), *short_texts(22, 500)]
    steps = ours_of(form)
    assert len(steps._steps()) == 2
    pieces = Pieces.from_batch(TextBatch.from_strings(texts))
    one_by_one = functools.reduce(lambda cut, step: step.apply(cut), steps.pretokenizers, pieces)
    assert steps.apply(pieces).strings() == one_by_one.strings()


def test_completed():
    """`ab` and what lies between: one character ahead says that an `a` begins no match."""
    automaton = completed(compile_pattern("ab"))
    assert automaton is not None and automaton.gapless
    pieces = Pieces.from_batch(TextBatch.from_strings(["xaabab", "aaa", "b", "ab"]))
    assert cut_pieces(pieces, automaton, "isolated").strings() == ["xa", "ab", "ab", "aaa", "b", "ab"]
    assert completed(compile_pattern("abc")).gapless  # an `a` needs two, and so does an `ab`
    assert completed(compile_pattern("aab")) is None  # of `aa`, each may begin a match
    assert completed(compile_pattern("a*")) is None  # it matches no characters
    assert completed(automaton) is automaton


@pytest.mark.parametrize(
    "pattern", [SUPERBPE, "abc", "ab|abc", "a b|b", "ab|ba", " ?,{2,}", "a?b?c", "aba", "ab(c|dd)"]
)
def test_gaps_that_several_characters_decide_about(pattern):
    """The gapless automaton cuts as the pattern does, and so does the walk of it, which looks ahead by dying."""
    matcher = compile_pattern(pattern)
    automaton = completed(matcher)
    r = random.Random(pattern)
    texts = ["".join(r.choices(letters, k=r.randint(0, 12))) for letters in ("abcd ", " ,\n1x/") for _ in range(3000)]
    pieces = Pieces.from_batch(TextBatch.from_strings(texts))
    expected = cut_pieces(pieces, matcher, "isolated").strings()
    assert cut_pieces(pieces, automaton, "isolated").strings() == expected
    batch = TextBatch.from_strings(texts)
    starts = find_words(*batch, prepare(automaton))
    assert np.array_equal(starts, reference.find_words(*batch, automaton))
    assert np.array_equal(find_cuts(*batch, prepare(automaton)), reference.find_cuts(*batch, automaton))
    assert [batch.data[a:b].tobytes().decode() for a, b in itertools.pairwise(starts)] == expected


def test_refined():
    outer, inner = compile_pattern("a+|[^a]+"), completed(compile_pattern("b"))
    both = refined(outer, inner)
    pieces = Pieces.from_batch(TextBatch.from_strings(["aabbcc"]))
    assert cut_pieces(pieces, both, "isolated").strings() == ["aa", "b", "b", "cc"]
    assert refined(outer, inner) is both
    with pytest.raises(ValueError, match="completed"):
        refined(compile_pattern("a"), inner)
    # Neither knows where its words end when it sees the next character.
    assert refined(*(compile_pattern(rf"{c}+(?!\n)|[\s\S]") for c in "ab")) is None


def test_components_that_change_have_another_plan():
    steps = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.Punctuation()])
    before = steps.way(Way())
    steps[0].individual_digits = True
    assert words_by_plan(before, ["12"]) == [["12"]]
    assert words_by_plan(steps.way(Way()), ["12"]) == [["1", "2"]]
    steps[1] = pre_tokenizers.Split(gputok.Regex("2"), "removed")
    assert steps.way(Way()).automaton is None
