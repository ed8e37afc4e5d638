"""Encoding a corpus, compared with `tokenizers` document by document."""

import itertools
import json
import random
import re
import sys
import unicodedata
from functools import partial

import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu.encode_corpus import rounds as encode
from gputok.kernels.cpu.encode_corpus.cache import FIRST_LINES, FULL_REACH, GROUP, REACH
from gputok.kernels.cpu.walk import tables as walk

import gputok
from gputok import corpus, decoders, models, normalizers, pre_tokenizers, processors
from gputok.automaton import PATTERNS, compile_pattern
from gputok.corpus import ReadSizes, readers
from gputok.pipeline.encode import corpus as bulk
from gputok.pipeline.encode.units import Walked, encode_batch, engine_of
from gputok.pool import most_lines
from gputok.recipes import recipe
from gputok.text.pieces import IDEOGRAPHS, PUNCTUATION, TextBatch
from gputok.text.way import Apart, Unit
from gputok.trainers import BpeTrainer
from tests import reference
from tests.text.test_split_plans import WALKS


def random_texts(seed: int, n: int) -> list[str]:
    rng = random.Random(seed)
    stems = ["the", " house", "'s", "12345", "über", "日本語", "😀", "\r\n", "\n\n", "  ", "\t", "x" * 17, " low", "er"]
    stems += ["<|endoftext|>", "<s>", " ", "\u3000", "w" * 100]
    return ["".join(rng.choices(stems, k=rng.choice([0, 1, 5, 40]))) for _ in range(n)]


def flat(batches) -> tuple[list[int], list[int]]:
    """The ids of all batches, and how many each document has."""
    batches = list(batches)
    ids = np.concatenate([batch.ids for batch in batches]) if batches else np.empty(0, np.uint16)
    return ids.tolist(), [n for batch in batches for n in np.diff(batch.rows).tolist()]


def expected(tokenizer: gputok.Tokenizer, texts: list[str], **options) -> tuple[list[int], list[int]]:
    upstream = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    rows = [encoding.ids for encoding in upstream.encode_batch_fast(texts, **options)]
    return list(itertools.chain(*rows)), [len(row) for row in rows]


@pytest.fixture(scope="module")
def byte_level() -> gputok.Tokenizer:
    tokenizer = gputok.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(random_texts(0, 500), trainer)
    return tokenizer


def test_hello(byte_level):
    [(ids, rows)] = byte_level.encode_corpus(iter(["low low", "", "lower<|endoftext|>"]))
    assert byte_level.decode(ids[: rows[1]].tolist()) == "low low"
    assert rows[1] == rows[2] and ids[-1] == 0 and ids.dtype == np.uint16


@pytest.mark.parametrize("threads", [1, 3])
def test_ids_are_those_of_tokenizers(byte_level, threads):
    texts = random_texts(1, 3000)
    batches = [TextBatch.from_strings(texts[i : i + 700]) for i in range(0, 3000, 700)]
    ours = bulk.encode_corpus(byte_level.pipeline, batches, threads=threads, unit_bytes=1 << 12)
    assert flat(ours) == expected(byte_level, texts)


def test_tokens_of_the_post_processor_surround_each_document(byte_level):
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> <s> $A </s>", pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    texts = random_texts(2, 300)
    for add_special_tokens in (True, False):
        ours = flat(tokenizer.encode_corpus(iter(texts), add_special_tokens=add_special_tokens))
        assert ours == expected(tokenizer, texts, add_special_tokens=add_special_tokens)


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.NFC(),
        normalizers.Strip(),
        normalizers.Replace("o", ""),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Prepend("ab")]),
    ],
    ids=lambda normalizer: type(normalizer).__name__,
)
def test_normalized_text_is_walked_too(byte_level, normalizer):
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    tokenizer.normalizer = normalizer
    tokenizer.add_tokens([gputok.AddedToken("house", normalized=True), gputok.AddedToken("er", normalized=False)])
    texts = random_texts(8, 500)
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)


def test_bytes_of_a_normalizer_are_spelled_out_first(byte_level):
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    tokenizer.normalizer = normalizers.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(gputok.Regex(r"Ġ?[a-z]+|[\s\S]"), "isolated")
    texts = random_texts(9, 300)
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama2", "llama3", "qwen3", "claude", "minilm-bert"])
def test_real_tokenizers(shared_tokenizer, corpus_sample, name):
    tokenizer = gputok.Tokenizer.from_file(str(shared_tokenizer(name)))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = [corpus_sample(corpus, 60_000) for corpus in ("en", "code", "multi", "zh")] + random_texts(3, 200)
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)


@pytest.mark.full
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
@pytest.mark.parametrize("name", ["llama2", "gemma", "llama3", "qwen3", "gpt-4o", "deepseek-v3", "minilm-bert"])
def test_whole_corpora(shared_tokenizer, corpus_sample, name, corpus):
    """Gemma's, GPT-4o's and DeepSeek V3's steps stand around vocabularies of others."""
    file = {"gemma": "llama2", "gpt-4o": "qwen3", "deepseek-v3": "llama3"}.get(name, name)
    form = json.loads(shared_tokenizer(file).read_text())
    if name == "gemma":
        form["normalizer"] = normalizers.Replace(" ", "▁").to_dict()
        form["pre_tokenizer"] = pre_tokenizers.Split(" ", "merged_with_previous").to_dict()
    elif name == "gpt-4o":
        form["normalizer"], form["pre_tokenizer"] = None, WALKS["GPT-4o as some export it"]
    elif name == "deepseek-v3":
        form["pre_tokenizer"] = WALKS["DeepSeek V3 and R1"]
    tokenizer = gputok.Tokenizer.from_str(json.dumps(form))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = corpus_sample(corpus, -1)
    texts = [text[i : i + 4000] for i in range(0, len(text), 4000)]
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)


@pytest.mark.parametrize(
    ("model", "normalizer", "pre_tokenizer"),
    [
        ("wordpiece", normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()),
        ("unigram", normalizers.NFKC(), pre_tokenizers.Metaspace()),
        ("unigram", None, pre_tokenizers.Metaspace(prepend_scheme="first")),
        ("unigram", None, pre_tokenizers.Metaspace(prepend_scheme="never")),
        ("wordlevel", normalizers.Lowercase(), pre_tokenizers.Whitespace()),
        ("bpe", normalizers.NFD(), pre_tokenizers.WhitespaceSplit()),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_each_part_between_spaces_is_encoded_once(model, normalizer, pre_tokenizer, threads):
    tokenizer, trainer = recipe(model, vocab_size=400)
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor = normalizer, pre_tokenizer, None
    texts = random_texts(12, 300)
    trainer.show_progress = False
    tokenizer.train_from_iterator(texts[::2], trainer)
    tokenizer.add_tokens([gputok.AddedToken("<s>", lstrip=True, normalized=False)])
    assert tokenizer.pipeline.way.unit == Unit.PART
    assert flat(tokenizer.encode_corpus(iter(texts), threads=threads)) == expected(tokenizer, texts)
    asked = []
    without = [text for text in texts if "<" not in text]
    vars(tokenizer.model)["tokenize_pieces"] = watched(tokenizer.model.tokenize_pieces, asked)
    ids, n_ids = flat(tokenizer.encode_corpus(iter(without * 50), threads=1))
    assert sum(asked) < sum(n_ids) / 10
    del vars(tokenizer.model)["tokenize_pieces"]
    assert (ids, n_ids) == tuple(50 * part for part in expected(tokenizer, without))


def test_each_mark_is_a_word_of_its_own():
    """Documents are cut beside the marks and the Chinese characters that the patterns name, if that changes no word."""
    cut = pre_tokenizers.BertPreTokenizer()
    chars = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    marks = [c for c in chars if re.fullmatch(f"[{PUNCTUATION}]", c)]
    assert len(marks) > 80 and all(len(cut.pre_tokenize_str(f"a{mark}a")) == 3 for mark in marks)
    assert all(unicodedata.normalize("NFD", mark) == mark for mark in marks)
    ideographs = [c for c in chars if re.fullmatch(f"[{IDEOGRAPHS}]", c)]
    spread = tokenizers.normalizers.BertNormalizer().normalize_str("a".join(ideographs))
    assert len(ideographs) > 20_000 and spread == " " + " a ".join(ideographs) + " "


@pytest.mark.parametrize("options", [*itertools.product([True, False], repeat=4)], ids=lambda o: f"{sum(o)} of 4")
def test_parts_beside_marks(options):
    names = "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"
    pieces = [*"aEΣé\u0301\u0338 \t\r\n\u3000\x00\xad\ufffd!.-=<'、。＄＜漢字龥㐀豈가かが"]
    vocab = {"[UNK]": 0, "[X]": 1} | {p + c: 0 for c in pieces for p in ("", "##")}
    vocab = {token: i for i, token in enumerate(vocab | {"[Y]": 0, "e": 0, "##e": 0, "σ": 0, "##σ": 0})}
    theirs = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    theirs.normalizer = tokenizers.normalizers.BertNormalizer(**dict(zip(names, options, strict=True)))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    theirs.add_special_tokens(["[X]"])
    ours = gputok.Tokenizer.from_str(theirs.to_str())
    assert ours.pipeline.way.apart >= Apart.MARKS
    rng = random.Random(sum(options))
    texts = ["".join(rng.choices([*pieces, "[X]"], k=rng.randrange(40))) for _ in range(600)]
    ids, n_ids = flat(ours.encode_corpus(iter(texts)))
    wanted = [encoding.ids for encoding in theirs.encode_batch(texts)]
    assert n_ids == [len(row) for row in wanted]
    assert ids == [i for row in wanted for i in row] and len({*ids}) > 20


def watched(method, n_pieces: list[int]):
    """Wraps a method of a model and records the number of pieces in each call."""

    def watching(data, start, end, **options):
        n_pieces.append(len(start))
        return method(data, start, end, **options)

    return watching


def test_an_added_token_of_words_that_the_model_lacks():
    tokenizer = gputok.Tokenizer(models.WordLevel({"low": 0, " low": 1}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(gputok.Regex(r" ?\p{L}+|[^\p{L}]"), "isolated")
    tokenizer.add_special_tokens(["<sep>"])
    assert flat(tokenizer.encode_corpus(iter(["low<sep> low low"]))) == ([0, 2, 1, 1], [4])
    with pytest.raises(Exception, match=r"unk|UNK"):
        list(tokenizer.encode_corpus(iter(["high"])))


@pytest.mark.parametrize("asked_by_kernel", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_words_that_do_not_fit_the_cache(byte_level, dtype, asked_by_kernel):
    """A small cache forgets words and rows of ids again and again; some words are too long for it, or for a round."""
    rng = random.Random(4)
    words = ["".join(rng.choices("abcdef", k=rng.choice([1, 3, 9, 16, 17, 30, 90]))) for _ in range(900)]
    texts = [" ".join(rng.choices(words, k=50)) for _ in range(900)] + ["a" * 200_000, "b", "bc" * 700]
    data, offsets = TextBatch.from_strings(texts)
    tables = walk.prepare(compile_pattern(PATTERNS["gpt2"]))
    n_asked = []

    def encode_words(data, start, end):
        tokens = byte_level.model.tokenize_pieces(data, start, end, byte_level=True)
        n_asked.append(len(start))
        return tokens.ids, tokens.rows

    small = {"n_ids": 1 << 12, "n_events": 1 << 10, "n_lines": 16, "ring_bytes": 1 << 12}
    encoder = encode.Encoder(dtype, most_lines=16, **small)
    short = byte_level.model.byte_words if asked_by_kernel else None
    ids, rows = encode.encode_corpus(data, offsets, None, tables, encode_words, encoder, short)
    assert (ids.tolist(), np.diff(rows).tolist()) == expected(byte_level, texts)
    assert len(n_asked) > 1 and sum(n_asked) > len(words)
    again, _ = encode.encode_corpus(data[: offsets[1]], offsets[:2], None, tables, encode_words, encoder)
    assert again.dtype == dtype and again.tolist() == ids[: rows[1]].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_cache_grows_with_the_words(byte_level, dtype):
    """A cache that grew has correct entries, and none of those that the old ring had overwritten."""
    rng = random.Random(14)
    words = ["".join(rng.choices("abcdef", k=rng.choice([3, 9, 17, 30, 90]))) for _ in range(3000)]
    texts = [" ".join(rng.choices(words, k=100)) for _ in range(300)]
    batch, tables = TextBatch.from_strings(texts), walk.prepare(compile_pattern(PATTERNS["gpt2"]))
    n_asked = []

    def encode_words(data, start, end):
        n_asked.append(len(start))
        return byte_level.model.encode_words(data, start, end, byte_level=True)

    encoder = encode.Encoder(dtype, most_lines=1 << 12, n_lines=16, ring_bytes=1 << 12)
    for _ in range(6):
        found = []
        for first in range(0, 300, 50):
            part = batch.offsets[first : first + 51]
            found.append(encode.encode_corpus(batch.data, part, None, tables, encode_words, encoder))
        ids = [id for part, _ in found for id in part.tolist()]
        sizes = [n for _, rows in found for n in np.diff(rows).tolist()]
        assert (ids, sizes) == expected(byte_level, texts)
    assert 1 << 10 <= len(encoder.cache.slots) // 2 <= 1 << 12
    assert sum(n_asked[-6:]) < sum(n_asked[:6]) / 10


def test_a_cache_does_not_grow_for_words_that_never_come_again(byte_level):
    """Nor does it stay small when the text changes."""
    tables = walk.prepare(compile_pattern(PATTERNS["gpt2"]))
    encode_words = partial(byte_level.model.encode_words, byte_level=True)
    encoder = encode.Encoder(np.uint32, most_lines=1 << 12, n_lines=64)

    def encode_all(words):
        for first in range(0, len(words), 100):
            data, offsets = TextBatch.from_strings([" ".join(words[first : first + 100])])
            encode.encode_corpus(data, offsets, None, tables, encode_words, encoder)

    alphabet = "abcdef"
    encode_all(["".join(word) for word in itertools.product(alphabet, repeat=5)])
    assert len(encoder.cache.slots) == 2 * 64
    assert encoder.cache.head[REACH] == FULL_REACH  # no line has room for words of another one
    encode_all(["".join(word) for word in itertools.product(alphabet, repeat=3)] * 20)
    assert len(encoder.cache.slots) > 2 * 64
    assert encoder.cache.head[REACH] == GROUP


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_group_of_words_stays_in_the_cache_whichever_their_lines_are(byte_level, dtype):
    """Sixteen lines have room for 31 words and the end of a text; of more words, some are forgotten each time."""
    rng = random.Random(16)
    words = {f"{rng.randrange(1 << 40):x}" * rng.choice([1, 2]) for _ in range(400)}
    tables = walk.prepare(compile_pattern(r"\s?\S+|\s"))
    encoder = encode.Encoder(dtype, most_lines=16, n_lines=16, ring_bytes=1 << 20)
    asked = []

    def encode_words(data, start, end):
        asked.extend(data[a:b].tobytes().decode() for a, b in zip(start, end, strict=True))
        return byte_level.model.encode_words(data, start, end, byte_level=True)

    def encoded(texts):
        asked.clear()
        ids, rows = encode.encode_corpus(*TextBatch.from_strings(texts), None, tables, encode_words, encoder)
        assert (ids.tolist(), np.diff(rows).tolist()) == expected(byte_level, texts)
        return len(asked)

    few = sorted(words)[:31]
    encoded(few)
    assert encoded(few * 3) == 0
    for _ in range(5):
        texts = rng.choices(sorted(words), k=300)
        encoded(texts)
        assert encoded(texts) > 0
        encoded(few)
        encoded(few)


def test_a_cache_grows_when_words_lie_far_from_their_lines(byte_level):
    """Before many are pushed out: to look there for many words would take longer than a larger cache."""
    rng = random.Random(17)
    words = [f"{n:04x}" for n in rng.sample(range(1 << 16), 54_000)]  # of four ids at most
    tables = walk.prepare(compile_pattern(r"\s?\S+|\s"))
    encoder, n_asked = encode.Encoder(), []

    def encode_words(data, start, end):
        n_asked.append(len(start))
        return byte_level.model.encode_words(data, start, end, byte_level=True)

    for _ in range(3):
        for first in range(0, len(words), 2000):
            batch = TextBatch.from_strings(words[first : first + 2000])
            encode.encode_corpus(*batch, None, tables, encode_words, encoder)
    assert sum(n_asked) <= 1.03 * len(words)
    assert len(encoder.cache.slots) == 8 * FIRST_LINES


@pytest.mark.parametrize("n_lines", [0, 1, 2, 8, 24])
def test_a_cache_has_whole_groups(n_lines):
    """Kernels look at all lines of a group, so a smaller cache would have them write after its end."""
    with pytest.raises(ValueError, match=f"n_lines={n_lines}: must be a power of two"):
        encode.Encoder(np.uint32, n_lines=n_lines)


def test_the_user_bounds_the_cache(byte_level, monkeypatch):
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    for given, n_lines in (("", 1 << 18), ("128", 1 << 20), ("127", 1 << 19), ("1", 1 << 15), ("0", 1 << 15)):
        monkeypatch.setenv("GPUTOK_CACHE_MB", given)
        assert most_lines() == n_lines
    monkeypatch.setenv("GPUTOK_CACHE_MB", "much")
    with pytest.raises(ValueError, match="GPUTOK_CACHE_MB must be a whole number of megabytes, not 'much'"):
        list(tokenizer.encode_corpus(iter(["a"])))


@pytest.mark.parametrize("n_words", [10_000, pytest.param(1_000_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("cache", ["0", ""])
def test_new_words_emoji_and_added_tokens_in_every_text(byte_level, n_words, cache, monkeypatch):
    """Sixteen threads with one tokenizer, twice: the second time the words are known, or were pushed out."""
    monkeypatch.setenv("GPUTOK_CACHE_MB", cache)
    rng = random.Random(15)
    words = ["".join(rng.choices("abcdefghé", k=rng.choice([2, 5, 8, 8, 9, 20, 40]))) for _ in range(n_words)]
    texts = [f"😀 <s>{' '.join(words[i : i + 40])}<|endoftext|>👍🏽" for i in range(0, n_words, 40)]
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    batches, theirs = [TextBatch.from_strings(texts)], expected(tokenizer, texts)
    for threads in (16, 16, 1):
        ours = bulk.encode_corpus(tokenizer.pipeline, batches, threads=threads, unit_bytes=1 << 14)
        assert flat(ours) == theirs


def test_the_model_gets_each_word_once(byte_level):
    words = {f"{stem}{i}" for i in range(100) for stem in ("a", "bcd" * 9)}
    data, offsets = TextBatch.from_strings([f" {word}" for word in sorted(words)] * 3)
    tables = walk.prepare(compile_pattern(r"\s?\S+|\s"))
    asked = []

    def encode_words(data, start, end):
        asked.extend(data[a:b].tobytes() for a, b in zip(start, end, strict=True))
        tokens = byte_level.model.tokenize_pieces(data, start, end, byte_level=True)
        return tokens.ids, tokens.rows

    encoder = encode.Encoder()
    encode.encode_corpus(data, offsets, None, tables, encode_words, encoder)
    assert sorted(asked) == sorted(f" {word}".encode() for word in words)
    encode.encode_corpus(data, offsets, None, tables, encode_words, encoder)
    assert len(asked) == len(words)


def test_kernels_ask_for_short_words(byte_level):
    """Only words of more than 62 bytes are left to the caller, whatever the memory for ids and words has room for."""
    rng, asked = random.Random(20), []
    words = ["".join(rng.choices("abcdefxyz", k=rng.choice([1, 2, 5, 9, 17, 60, 61]))) for _ in range(9000)]
    long = "ab" * 40
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(2000)]
    texts[1000] += " " + long
    tables = walk.prepare(compile_pattern(r"\s?\S+|\s"))

    def encode_words(data, start, end):
        asked.extend(data[a:b].tobytes() for a, b in zip(start, end, strict=True))
        return byte_level.model.encode_words(data, start, end, byte_level=True)

    for sizes in {}, {"n_ids": 1 << 18, "n_events": 1 << 15}:
        encoder = encode.Encoder(np.uint32, **sizes)
        encoder.bytes_an_id = 100.0  # so the memory for ids must grow
        for _ in range(2):
            found = encode.encode_corpus(
                *TextBatch.from_strings(texts), None, tables, encode_words, encoder, byte_level.model.byte_words
            )
            assert (found[0].tolist(), np.diff(found[1]).tolist()) == expected(byte_level, texts)
        assert b" " + long.encode() in asked and len(asked) < 2000  # with the other new words of that round
        asked.clear()


def test_ids_do_not_depend_on_threads(byte_level):
    """Ids are the same for any number of threads, in each of several passes."""
    rng = random.Random(23)
    words = ["".join(rng.choices("abcdefxyz", k=rng.choice([3, 9, 17, 40]))) for _ in range(5000)]
    texts = [" ".join(rng.choices(words, k=100)) for _ in range(1500)]
    wanted = expected(byte_level, texts)
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    for threads in (1, 4, 2, 8):
        batches = [*tokenizer.encode_corpus(iter(texts), threads=threads)]
        assert [id for batch in batches for id in batch.ids.tolist()] == wanted[0]


def test_a_model_that_changes_forgets_its_words(byte_level):
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    texts = random_texts(10, 50)
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)
    tokenizer.model.ignore_merges = True
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)
    tokenizer.model = models.BPE(tokenizer.get_vocab(with_added_tokens=False), [])
    assert flat(tokenizer.encode_corpus(iter(texts))) == expected(tokenizer, texts)


_TOKENS = [("<s>", 0), ("</s>", 1)]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([], id="none"),
        pytest.param([processors.BertProcessing(_TOKENS[1], _TOKENS[0])] * 2, id="two that add tokens"),
        pytest.param(
            [
                processors.TemplateProcessing("<s> <s> $A", "$A $B", _TOKENS),
                processors.RobertaProcessing(_TOKENS[1], _TOKENS[0]),
                processors.ByteLevel(),
                processors.BertProcessing(_TOKENS[1], _TOKENS[0]),
            ],
            id="four",
        ),
        pytest.param([processors.TemplateProcessing("<s> $A </s> $A <s> <s>", "$A $B", _TOKENS)], id="text twice"),
        pytest.param(
            [
                processors.TemplateProcessing("$A $A", "$A $B", _TOKENS),
                processors.BertProcessing(_TOKENS[1], _TOKENS[0]),
                processors.TemplateProcessing("$A <s> $A", "$A $B", _TOKENS),
            ],
            id="text four times",
        ),
        pytest.param([processors.TemplateProcessing("<s> </s>", "$A $B", _TOKENS)], id="no text"),
    ],
)
@pytest.mark.parametrize("special", [True, False])
def test_post_processors_one_after_the_other(steps, special):
    tokenizer = gputok.Tokenizer(models.BPE({"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4}, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.Sequence(steps)
    texts = ["ab a", "", "b", "a b ab ab", ""]
    corpus = tokenizer.encode_corpus(iter(texts), add_special_tokens=special)
    ids, sizes = expected(tokenizer, texts, add_special_tokens=special)
    assert flat(corpus) == (ids, sizes)
    one_by_one = [tokenizer.encode(text, add_special_tokens=special).ids for text in texts]
    assert (list(itertools.chain(*one_by_one)), list(map(len, one_by_one))) == (ids, sizes)


def test_encoding_text_equals_the_reference():
    """An artificial model: the ids of a word are its bytes except vowels, so some words have no ids, others many."""
    texts = [text for text in random_texts(7, 200) if text]
    data, offsets = TextBatch.from_strings(texts)
    token = np.where(np.arange(len(texts)) % 5 == 0, np.arange(len(texts)) + 2**32 - 999, -1)
    automaton = compile_pattern(PATTERNS["gpt2"])

    def encode_word(word: str) -> list[int]:
        return [2**30 + byte for byte in word.encode() if byte not in b"aeiou"]

    def encode_words(data, start, end):
        rows = [encode_word(data[a:b].tobytes().decode()) for a, b in zip(start, end, strict=True)]
        return np.array([*itertools.chain(*rows)], np.uint32), np.cumsum([0, *map(len, rows)])

    ours = encode.encode_corpus(data, offsets, token, walk.prepare(automaton), encode_words, encode.Encoder())
    theirs = reference.encode_corpus(data, offsets, token, automaton, encode_words)
    assert all(map(np.array_equal, ours, theirs))


def test_corpora_without_text(byte_level):
    assert list(byte_level.encode_corpus(iter([]))) == []
    [(ids, rows)] = byte_level.encode_corpus(iter(["", ""]))
    assert len(ids) == 0 and rows.tolist() == [0, 0, 0]


def test_the_first_documents_can_be_left_out(byte_level):
    texts = random_texts(5, 100)
    batches = [TextBatch.from_strings(texts[i : i + 30]) for i in range(0, 100, 30)]
    for skip in (0, 1, 30, 47, 100):
        assert flat(bulk.encode_corpus(byte_level.pipeline, batches, skip=skip)) == expected(byte_level, texts[skip:])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_document_is_cut_for_all_threads(byte_level, threads, monkeypatch):
    cut = []
    monkeypatch.setattr(Walked, "sliced", lambda *given, f=Walked.sliced: cut.append(f(*given)) or cut[-1])
    plain = [text.replace("<|endoftext|>", "").replace("<s>", "") for text in random_texts(11, 300)]
    texts = ["", "".join(plain), "", "low", "".join(plain[:150]), "<s>".join(plain), "w" * 20_000, ""]
    for some in (texts, texts[:5], texts[6:]):
        batch = TextBatch.from_strings(some)
        ours = bulk.encode_corpus(byte_level.pipeline, [batch], threads=threads, unit_bytes=1 << 10)
        assert flat(ours) == expected(byte_level, some)
    assert any(sliced and len(sliced.cut.slices) > 5 for sliced in cut) == (threads > 1)


@pytest.mark.parametrize("separator", [None, "<|x|>"])
def test_threads_read_large_files_themselves(byte_level, tmp_path, separator):
    texts = [text.replace("\n", " ") for text in random_texts(21, 400)]
    # For all threads, in ranges that have no other document
    texts[100], texts[200] = ("".join(texts) * 2, "long " * 9000)
    end = separator or "\n"
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, some in zip(paths, (texts[:150], texts[150:]), strict=True):
        path.write_text("".join(text + end for text in some), newline="")
    sizes = ReadSizes(batch=1 << 12, small=1 << 10, task=1 << 10, slack=1 << 6)
    source = corpus.Source.of([*map(str, paths)], separator=separator, sizes=sizes)
    tasks = [*source.read_apart(2)]
    assert len(tasks) > 20 and all(isinstance(task, readers.Task) for task in tasks)
    calls, options = [], {"unit_bytes": 1 << 11, "report": lambda *call: calls.append(call)}
    made = [*bulk.encode_corpus(byte_level.pipeline, source.read_apart(2), threads=2, **options)]
    documents = texts if separator else [text + "\n" for text in texts]
    assert flat(made) == expected(byte_level, documents)
    assert flat(made) == flat(bulk.encode_corpus(byte_level.pipeline, source.read(2), threads=2))
    assert calls[-1][1] == sum(len(document.encode()) for document in documents)


def test_threads_read_large_json_lines_themselves(byte_level, tmp_path):
    """A range gives one batch, also if Arrow can't read it; rows without text are told once, when all are read."""
    texts = ["", *random_texts(22, 400)]
    rows = [json.dumps({"text": text}, ensure_ascii=i % 2 == 0) for i, text in enumerate(texts)]
    rows[50], texts[50] = '{"text": "first", "text": "last"}', "last"  # which Arrow does not read
    rows[200] = rows[300] = '{"other": 1}'
    texts[200] = texts[300] = ""
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    sizes = ReadSizes(batch=1 << 12, small=1 << 10, task=1 << 10, slack=1 << 6)
    source = corpus.Source.of(str(tmp_path / "a.jsonl"), sizes=sizes)
    tasks = [*source.read_apart(2)]
    assert len(tasks) > 20 and all(isinstance(task, readers.Task) and len([*task.read()]) <= 1 for task in tasks)
    assert flat(bulk.encode_corpus(byte_level.pipeline, source.read_apart(2), threads=2)) == expected(byte_level, texts)
    (tmp_path / "late.jsonl").write_text('{"id": "1"}\n' * 150_000 + "".join('{"id": "2", "text": "a b"}\n' * 90_000))
    for threads in (1, 2, 16):
        with pytest.warns(UserWarning, match="150,000 rows"):
            late = byte_level.encode_corpus(str(tmp_path / "late.jsonl"), column="text", threads=threads)
            assert sum(len(rows) - 1 for _, rows in late) == 240_000
    for work in (lambda: list(byte_level.encode_corpus(source, threads=2)), lambda: byte_level.count_words(source)):
        with pytest.warns(UserWarning, match="2 rows of .* have no 'text'") as told:
            work()
        assert len(told) == 1


def test_what_threads_do_not_read_themselves(tmp_path):
    """Small and packed files, streams and columns."""
    (tmp_path / "small.txt").write_text("a b\n")
    (tmp_path / "large.txt").write_text("a b\n" * 300_000)
    (tmp_path / "rows.csv").write_text("text\n" + "a b\n" * 300_000)
    for names, threads in (
        (["small.txt"], 2),
        (["large.txt", "small.txt"], 2),
        (["rows.csv"], 1),
    ):
        source = corpus.Source.of([str(tmp_path / name) for name in names])
        assert isinstance(next(iter(source.read_apart(threads))), TextBatch), names
    assert isinstance(next(iter(corpus.Source.of(iter(["a"])).read_apart(2))), TextBatch)


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()])
def test_tasks_grow_with_the_corpus_and_each_is_walked_in_one_call(byte_level, normalizer, tmp_path, monkeypatch):
    """What Python does for a task takes one thread at a time: it must not be done for each megabyte."""
    path, line, asked = tmp_path / "a.txt", b"some words, and more of them\n", []
    n, sizes = 60_000, ReadSizes(small=1 << 16, slack=1 << 8)
    path.write_bytes(line * n)
    for threads in (1, 2, 3):
        assert 8 * threads <= len([*corpus.Source.of(str(path), sizes=sizes).read_apart(threads)]) <= 9 * threads
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(2 << 30)
    assert len([*corpus.Source.of(str(large)).read_apart(4, times=2)]) < 140
    tokenizer = gputok.Tokenizer.from_str(byte_level.to_str())
    tokenizer.normalizer = normalizer
    walk = Walked._walk
    monkeypatch.setattr(Walked, "_walk", lambda self, *text: asked.append(len(text[0])) or walk(self, *text))

    def encoded():
        tasks = corpus.Source.of(str(path), sizes=sizes).read_apart(1)
        return zip(*bulk.encode_corpus(tokenizer.pipeline, tasks, threads=1, unit_bytes=1 << 16), strict=True)

    ids, rows = encoded()
    assert len(asked) <= 9 and sum(asked) == n * len(line)
    once = tokenizer.encode(line.decode()).ids
    assert np.array_equal(np.concatenate(ids).reshape(-1, len(once)), [once] * n)
    assert all((np.diff(some) == len(once)).all() for some in rows)
    # A character that a step changes: the task is cut into units, and one of them takes the steps
    asked.clear()
    path.write_bytes(b"e\xcc\x81\n" + line * n)
    changed, _ = encoded()
    assert np.array_equal(np.concatenate(changed), [*tokenizer.encode("e\u0301\n").ids, *np.concatenate(ids)])
    assert len(asked) <= 13 and (asked[0] < 1 << 17) == (normalizer is not None)


def test_few_calls_of_python_for_a_task(byte_level, tmp_path):
    """All threads wait for them: after a kernel, code and data of Python are out of the caches."""
    path, n_calls = tmp_path / "a.txt", 0
    path.write_bytes(b"some words, and more of them\n" * 100_000)
    sizes = ReadSizes(small=1 << 16, task=1 << 16)

    def count(*call: object) -> None:
        nonlocal n_calls
        n_calls += call[1] in ("call", "c_call")

    source = corpus.Source.of(str(path), sizes=sizes)
    list(byte_level.encode_corpus(source, threads=1))
    sys.setprofile(count)
    try:
        n_tasks = sum(1 for _ in byte_level.encode_corpus(source, threads=1))
    finally:
        sys.setprofile(None)
    assert n_tasks > 40
    assert n_calls < 200 * n_tasks


def test_many_ids_begin_at_a_huge_page(byte_level):
    """In small pages, the operating system took a tenth of the time of encoding known words."""
    batch = TextBatch.from_strings([" z q" * 600_000])
    once = byte_level.encode(" z q").ids
    for _ in range(2):  # the second time, it is known how many ids there are for a byte
        [(ids, _)] = bulk.encode_corpus(byte_level.pipeline, [batch], threads=1, unit_bytes=1 << 30)
        assert np.array_equal(ids.reshape(-1, len(once)), [once] * 600_000)
    assert ids.nbytes > 1 << 22
    assert ids.ctypes.data % (1 << 21) == 0


def test_memory_of_one_long_word_is_let_go(byte_level):
    """A word that no round has room for makes the memory of the round larger, for this text alone."""
    text = "x" * 1_000_000 + " a b" * 100_000
    [batch] = byte_level.encode_corpus(iter([text]), threads=1)
    assert np.array_equal(batch.ids, byte_level.encode(text).ids)
    for encoder in engine_of(byte_level.pipeline)._encoders.free:
        assert sum(array.nbytes for array in encoder.work) < 1 << 24


def test_an_error_of_a_range_comes_after_the_ids_before_it(byte_level, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"some words\n" * 300_000 + b"\xff\n" + b"some words\n" * 300_000)
    n_documents = 0
    with pytest.raises(ValueError, match=r"text\.txt, byte 3300000: .*0xff"):
        for batch in byte_level.encode_corpus(str(path), threads=2):
            n_documents += batch.n_documents
    assert 150_000 < n_documents <= 300_000
    _, sizes = flat(byte_level.encode_corpus(str(path), threads=2, errors="replace"))
    assert len(sizes) == 600_001


def test_progress_counts_what_was_done_before(byte_level):
    calls = []
    texts = ["some words"] * 100
    batches = [TextBatch.from_strings(texts[i : i + 30]) for i in range(0, 100, 30)]
    report = lambda *call: calls.append(call)  # noqa: E731
    list(bulk.encode_corpus(byte_level.pipeline, batches, skip=47, report=report, total=1000))
    assert calls[0] == ("encode", 600, 1000) and calls[-1] == ("encode", 1000, 1000)
    calls.clear()
    assert list(bulk.encode_corpus(byte_level.pipeline, batches, skip=100, report=report, total=1000)) == []
    assert calls == [("encode", 1000, 1000)]


def test_progress_ends_at_the_whole(byte_level):
    calls = []
    list(byte_level.encode_corpus(iter(["some words"] * 100), progress=lambda *call: calls.append(call)))
    assert calls[-1][:2] == ("encode", 1000)


def test_files_hold_the_same_ids(byte_level, tmp_path):
    source = tmp_path / "text.txt"
    source.write_text("".join(text.replace("\n", " ") + "\n" for text in random_texts(6, 200)))
    ids, _ = flat(byte_level.encode_corpus(str(source)))
    byte_level.encode_corpus(str(source), tmp_path / "ids.npy")
    assert np.load(tmp_path / "ids.npy").tolist() == ids


def test_the_text_of_added_tokens_is_not_walked():
    """The model may not know its words, and gets none of them."""
    tokenizer = gputok.Tokenizer(models.WordLevel({"low": 0, " ": 1}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tokenizer.add_tokens([gputok.AddedToken(f"no{i} such word{'s' * i}", normalized=False) for i in range(9)])
    asked = []
    vars(tokenizer.model)["tokenize_pieces"] = watched(tokenizer.model.tokenize_pieces, asked)
    texts = [" ".join(f"low no{i} such word{'s' * i}low" for i in some) for some in ((), (1, 2, 8), (8,) * 20_000)]
    ids, _ = flat(tokenizer.encode_corpus(iter(texts), threads=1))
    assert sum(asked) == 2
    del vars(tokenizer.model)["tokenize_pieces"]
    assert ids == expected(tokenizer, texts)[0]


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "slices"),
    [
        (None, pre_tokenizers.ByteLevel(add_prefix_space=False), True),
        (normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False), True),
        (normalizers.Lowercase(), pre_tokenizers.ByteLevel(add_prefix_space=False), False),
        (normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), True),
        (None, pre_tokenizers.Metaspace(prepend_scheme="first"), True),
        (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, True),
        (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), True),
    ],
)
def test_long_documents_of_every_way_are_cut_for_threads(normalizer, pre_tokenizer, slices):
    """With added tokens, and without, which Metaspace needs if it must know the start of a document."""
    tokens = [*"▁abe.Ġ\u0301é", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "ab", "▁a"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    options = {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}
    tokenizer = gputok.Tokenizer(models.BPE(vocabulary, [("a", "b"), ("▁", "a")], **options))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_tokens([gputok.AddedToken("<b a e>", normalized=False, rstrip=True)])
    rng = random.Random(3)
    texts = [
        "".join(rng.choices(["ab", "a ", " b", "<b a e>", "  ", "e\u0301", ".\n"], k=n)) for n in (900, 0, 5, 2000)
    ]
    for some in (texts, [text.replace("<b a e>", "") for text in texts]):
        cut = engine_of(tokenizer.pipeline).sliced(TextBatch.from_strings(some), 100)
        with_tokens = some is texts and getattr(pre_tokenizer, "split", False) is True
        assert (cut is not None and len(cut.cut.slices) > 20) == (slices and not with_tokens)
        ours = bulk.encode_corpus(tokenizer.pipeline, [TextBatch.from_strings(some)], threads=2, unit_bytes=100)
        assert flat(ours) == expected(tokenizer, some)
        found = encode_batch(tokenizer.pipeline, TextBatch.from_strings(some), 20, 100)
        assert [i for ids, _ in found for i in ids.tolist()] == expected(tokenizer, some)[0]
