"""Text that grows: ids, the number that stayed, and offsets are always those of the whole text."""

import copy
import functools
import pickle

import growing
import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu.encode_one.seams import all_seams
from splitting import representatives, strings_over, words

import gputok
from gputok import models, normalizers, processors
from gputok.automaton import PATTERNS, compile_pattern
from gputok.pipeline.encode.seams import Seams


@pytest.fixture(scope="module")
def made():
    """`made(name)`: a tokenizer of growing.KINDS."""
    return functools.cache(lambda name: growing.KINDS[name][1]())


@pytest.fixture(scope="module")
def real(shared_tokenizer):
    return growing.real(lambda name: shared_tokenizer(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", growing.KINDS)
def test_it_is_as_the_whole_text(made, name, special):
    tokenizer = made(name)
    assert tokenizer.incremental().seams == growing.KINDS[name][0]
    growing.grow(growing.surroundings(tokenizer) if special else tokenizer, 1, 100, special)


@pytest.mark.parametrize("token", [" ", "\n a", "Ġ"])
def test_offsets_of_added_tokens_that_begin_with_white_space(token):
    """The post-processor trims the first token of a text in another way."""
    made = growing.tokenizer("bpe", normalizers.Lowercase(), growing.BYTES, [token])
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    theirs = tokenizers.Tokenizer.from_str(made.to_str())
    grown, text = made.incremental(), ""
    for part in ["a", token, "b", token, token, "the", token]:
        text += part
        grown.append(part)
        assert [*map(tuple, grown.offsets.tolist())] == theirs.encode(text, add_special_tokens=False).offsets


REAL = ("llama3", "qwen3", "llama2", "claude", "minilm-bert", "gemma", "gpt-4o", "deepseek-v3", "gpt2")


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_tokenizers(real, name):
    tokenizer = real[name]()
    assert tokenizer.incremental().seams == "pairs"
    growing.grow(tokenizer, 2, 1000)
    growing.grow(tokenizer, 3, 1000, special=True)
    theirs, text = tokenizers.Tokenizer.from_str(tokenizer.to_str()), "".join(growing.texts(4, 20))
    theirs.no_truncation()
    grown = tokenizer.incremental()
    for one in text:
        grown.append(one)
    assert grown.ids.tolist() == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.full
@pytest.mark.parametrize("name", [*REAL, *growing.KINDS])
def test_a_million_appends(real, made, name):
    tokenizer = real[name]() if name in REAL else made(name)
    for seed in range(10):
        growing.grow(tokenizer, seed, 2500, special=seed % 2 == 1)
        growing.grow(growing.surroundings(tokenizer), 100 + seed, 1000, special=True)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gpt2", ["'r", "e"]),
        ("cl100k", ["  ", "٣"]),
        ("cl100k", ["1", "2", "3", "4", "5"]),
        ("Gemma", ["a\n", "\n", "b"]),
        ("BERT", ["a [CL", "S] b"]),
        ("Qwen 3", ["an e", "\u0301 a"]),
        ("Qwen 3", ["a =", "\u0338", " b"]),
        ("NFKC", ["a ①", "1 ", "\u0308a"]),
        ("Metaspace, first", ["a <s>", "e", " the"]),
        ("Llama 2", ["the a", "<s>", "e ", "a", "<", "s>a"]),
        ("Llama 2", [" ", " ", "a"]),
        ("lstrip", ["a ", " ", "<s", ">"]),
        ("rstrip", ["a<s>", " ", " ", "b", "<s> ", "\n", "\n a"]),
        ("single_word", ["a ", "ab", "b ab", " ab", "ab ", "<s>s"]),
        ("Strip", [" a", " <|im_start|>", " b ", "<|im_end|>", " ", "c<|im"]),
        ("prefix space", ["a", "<s>", "a", "b<|im_start|", ">the"]),
    ],
)
def test_places_that_are_no_seams(made, name, parts):
    """Where the text after the last word, or token, changes what came before; the oracle is asked at each step."""
    tokenizer = made(name)
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    grown, text, ids = tokenizer.incremental(), "", []
    for part in parts:
        text += part
        kept, expected = grown.append(part), theirs.encode(text, add_special_tokens=False).ids
        assert (grown.ids.tolist(), ids[:kept]) == (expected, expected[:kept])
        ids = expected


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("longest", [4, pytest.param(5, marks=pytest.mark.full)])
def test_a_strong_pair_is_a_seam_in_all_strings_of_classes(name, longest):
    """Both sides have the words of the whole. The masks have a bit for each character that begins a word."""
    automaton = compile_pattern(PATTERNS[name])
    alphabet = representatives(automaton)
    k, masks = len(alphabet), {}
    longest -= k**longest > 600_000
    for n in range(1, longest + 1):
        texts = strings_over(alphabet, n)[-(k**n) :]
        starts = [[*np.cumsum([0, *map(len, some[:-1])]).tolist()] for some in words(automaton, texts)]
        masks[n] = np.array([sum(1 << at for at in some) for some in starts])
    for n in range(2, longest + 1):
        index = np.arange(k**n)
        for cut in range(1, n):
            left, right = index // k ** (n - cut), index % k ** (n - cut)
            strong = automaton.strong[left % k, right // k ** (n - cut - 1)] > 0
            expected = masks[cut][left] | masks[n - cut][right] << cut
            assert strong.any()
            assert (masks[n] == expected)[strong].all()


@pytest.mark.parametrize("name", [name for name, (kind, _) in growing.KINDS.items() if kind == "pairs"])
def test_each_seam_parts_the_text(made, name):
    """Of all seams that `all_seams` finds, and `last_seam` at each beginning of the text."""
    tokenizer = made(name)
    seams, n_seams = Seams.of(tokenizer.pipeline), 0
    for text in growing.texts(7, 8):
        data = text.encode()
        whole, found = tokenizer.encode(text, add_special_tokens=False).ids, seams.all(data).tolist()
        n_seams += len(found)
        for seam in found:
            first, n_led = seams.after(data, seam)
            ids = seams.ids(data, 0, seam) + seams.ids(data, first)[4 * n_led :]
            assert np.frombuffer(ids, np.uint32).tolist() == whole
        for i in range(1, len(text) + 1):
            part = text[:i].encode()
            assert seams.last(part) == max(seams.all(part).tolist(), default=0)
        apart = seams.all(data, 9)
        assert {*apart.tolist()} <= {*found}
        assert (np.diff(apart, prepend=0) >= 9).all()
    assert n_seams > 5
    assert len(all_seams(seams._address, np.zeros(0, np.uint8), 1)) == 0


def test_the_cost_depends_on_the_new_text(made, monkeypatch):
    tokenizer = made("cl100k")
    grown = tokenizer.incremental()
    grown.append("the ab Hello " * 20_000)
    asked = []
    encode = Seams.ids
    monkeypatch.setattr(Seams, "ids", lambda self, data, *span: asked.append(len(data)) or encode(self, data, *span))
    grown.append("hello")
    grown.append(" the")
    assert sum(asked) < 100
    asked.clear()
    grown.truncate(100_000)
    assert sum(asked) < 50_000


def test_inside_a_word_nothing_stays():
    """One letter more changes all tokens of a word."""
    pairs = [("i", "j"), ("h", "i"), ("g", "h"), ("f", "g"), ("e", "f"), ("d", "e"), ("c", "d"), ("b", "c"), ("a", "b")]
    tokens = [*"abcdefghij", *("".join(pair) for pair in pairs)]
    tokenizer = gputok.Tokenizer(models.BPE({one: i for i, one in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = growing.BYTES
    grown = tokenizer.incremental()
    assert [grown.append(one) for one in ("abcdefghi", "j")] == [0, 0]
    assert tokenizer.decode_tokens(grown.ids.tolist()) == ["ab", "cd", "ef", "gh", "ij"]
    assert grown.append("a" * 10_000) == 5


def test_copies_grow_on_their_own(made):
    tokenizer = made("Llama 2")
    first = tokenizer.incremental()
    first.append("the ab")
    copies = [copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    for i, one in enumerate(copies):
        assert one.append(f"{i} a") == growing.common(first.ids, tokenizer.encode(f"the ab{i} a").ids_array)
    assert (first.text, first.ids.tolist()) == ("the ab", tokenizer.encode("the ab").ids)
    assert [one.text for one in copies] == ["the ab0 a", "the ab1 a", "the ab2 a"]
    assert all(one.ids.tolist() == tokenizer.encode(one.text).ids for one in copies)


def test_ids_are_read_only_and_changes_of_the_tokenizer_come_too_late(made):
    tokenizer = copy.deepcopy(made("gpt2"))
    grown = tokenizer.incremental()
    grown.append("the a")
    with pytest.raises(ValueError, match="read-only"):
        grown.ids[0] = 1
    before = tokenizer.encode("the a b").ids
    tokenizer.add_tokens([" b"])
    grown.append(" b")
    assert grown.ids.tolist() == before != tokenizer.encode("the a b").ids


def test_an_error_leaves_the_text_as_it_was(made):
    grown = made("cl100k").incremental()
    grown.append("the ab" * 4000)
    ids, final = grown.ids.tolist(), grown.final
    for wrong, error in (("a" * 20_000 + "\ud800", UnicodeEncodeError), (b"a", TypeError), (None, TypeError)):
        with pytest.raises(error):
            grown.append(wrong)
    for size in (-1, 24_001):
        with pytest.raises(ValueError, match=f"n_chars={size}: the text has 24000 characters"):
            grown.truncate(size)
    assert (grown.text, grown.ids.tolist(), grown.final) == ("the ab" * 4000, ids, final)
    assert grown.offsets[-1, 1] == 24_000


def test_what_has_no_ids_that_stay_is_refused(made):
    random_model = gputok.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.5))
    with pytest.raises(ValueError, match="dropout"):
        random_model.incremental()
    tokenizer = copy.deepcopy(made("gpt2"))
    tokenizer.post_processor = processors.TemplateProcessing("$A <s> $A", None, [("<s>", 1)])
    for special in (False, True):
        with pytest.raises(ValueError, match="the text exactly once"):
            tokenizer.incremental(add_special_tokens=special)


def test_limits_do_not_apply(made):
    tokenizer = copy.deepcopy(made("BERT"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    grown = tokenizer.incremental()
    grown.append("the ab Hello the")
    assert grown.ids.tolist() == tokenizer.encode("the ab Hello the", truncation=None, padding=None).ids
    assert len(grown.offsets) == len(grown.ids)


def test_a_normalizer_of_the_user_takes_pieces_between_tokens(made):
    class Shout:
        def normalize(self, normalized):
            normalized.append("!")

    tokenizer = copy.deepcopy(made("gpt2"))
    tokenizer.normalizer = normalizers.Normalizer.custom(Shout())
    grown, text = tokenizer.incremental(), ""
    assert grown.seams == "tokens"
    for part in ("a<s", ">the", "<|im_end|> a<s>", "b"):
        grown.append(part)
        text += part
        assert grown.ids.tolist() == tokenizer.encode(text).ids


def test_random_pipelines():
    from test_parity_pipelines import Maker

    n_steps = 0
    for seed in range(15):
        make = Maker(seed)
        tokenizer = make.tokenizer()
        if max(tokenizer.get_vocab().values(), default=-1) < tokenizer.get_vocab_size():
            tokenizer.add_tokens([make.overlapping_token() for _ in range(make.randrange(3))])
        tokenizer.encode_special_tokens = make.random() < 0.2
        tokenizer.no_truncation()
        tokenizer.no_padding()
        n_steps += growing.grow(tokenizer, seed, 30)
    assert n_steps >= 450
