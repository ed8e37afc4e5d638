"""SuperBpeTrainer against a plain trainer, `tokenizers` on mapped text, and itself in other circumstances."""

import io
import itertools
import json
import random
from collections import Counter

import numpy as np
import pytest
import tokenizers
import transformers
from gputok.kernels import BpeLimits, Veto

from gputok import AddedToken, Regex, Tokenizer, WordCounts, corpus, models, normalizers, pre_tokenizers
from gputok.automaton import PATTERNS
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.files.locations import OpenFile
from gputok.models.bpe.super_trainer import SUPERWORDS
from gputok.pipeline import superwords
from gputok.pipeline.count.resume import remove
from gputok.pipeline.encode import superwords as encode_superwords
from gputok.pipeline.encode import units
from gputok.pipeline.run import Run
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import TextBatch
from gputok.trainers import BpeTrainer, SuperBpeTrainer
from tests.reference.train_superwords import encoded, train_superwords

PHRASES = [
    *("in the middle of the night", "on the other hand", "as well as", "the answer: yes", "one of the few", "a lot of"),
    *("if (x == 0) {", "return x;", "    for i in range(10):", "\ttab\t\tstops", "1,234,567 of 89", "...and so on!!"),
    *("  two  spaces", "中文没有空格", "これはテストです", "a, b, c, d", "e.g. this: that", "x+=1"),
]


def untrained(pattern: str = "cl100k") -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return tokenizer


def texts(seed: int, n: int = 200) -> list[str]:
    """Few phrases in random order, so that there are many ties; some texts are empty, some occur often."""
    r = random.Random(seed)
    lines = [r.choice([" ", "", "\n", ". "]).join(r.choices(PHRASES, k=r.randint(0, 8))) for _ in range(n)]
    return [*lines, *r.choices(lines, k=n // 2)]


def raw(name: str) -> bytes:
    """The bytes that characters of the ByteLevel alphabet stand for."""
    return bytes(BYTE_CHARACTERS.index(character) for character in name)


def pieces_of(pre_tokenizer, lines: list[str]) -> Counter[bytes]:
    words = (word for line in lines for word, _ in pre_tokenizer.pre_tokenize_str(line))
    return Counter(raw(word) for word in words)


def steps(pattern: str = SUPERWORDS):
    return superwords.superword_steps(pre_tokenizers.ByteLevel(add_prefix_space=False), pattern)


def learned(tokenizer: Tokenizer) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """The tokens by id and the merges, as bytes."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return [*map(raw, tokens)], [(raw(a), raw(b)) for a, b in model["merges"]]


def plain(lines: list[str], trainer: SuperBpeTrainer, pattern: str = "cl100k"):
    """What the plain trainer learns."""
    words = pieces_of(untrained(pattern).pre_tokenizer, lines)
    pieces = pieces_of(steps(trainer.superword_pattern), lines)
    most = 2**28 - 1
    veto = Veto(trainer.max_words or most, most, trainer.allow_colon_space)
    limits = BpeLimits(trainer.vocab_size, trainer.min_frequency, trainer.max_token_length or 2**62, veto=veto)
    return train_superwords(words, pieces, map(raw, sorted(BYTE_CHARACTERS)), trainer.n_words, limits)


OPTIONS = [
    {},
    {"max_words": None, "allow_colon_space": True},
    {"max_words": 2},
    {"max_token_length": 9},
    {"min_frequency": 40},
    {"superword_pattern": r"\n"},
    {"superword_pattern": r"\s*\S+"},
]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("pattern", "seed", "transition"), [("cl100k", 1, 320), ("gpt2", 2, 290)])
def test_equal_to_the_plain_trainer(options, pattern, seed, transition):
    lines = texts(seed)
    trainer = SuperBpeTrainer(vocab_size=400, transition=transition, **options)
    tokenizer = untrained(pattern)
    tokenizer.train_from_iterator(lines, trainer)
    assert learned(tokenizer) == plain(lines, trainer, pattern)


def test_the_veto_changes_merges():
    lines = texts(3)
    vocabularies = []
    for options in OPTIONS[:3]:
        tokenizer = untrained()
        tokenizer.train_from_iterator(lines, SuperBpeTrainer(vocab_size=420, transition=330, **options))
        vocabularies.append({name.replace("Ġ", " ") for name in tokenizer.get_vocab()})
    bound, free, two = vocabularies
    assert any(": " in name for name in free) and not any(": " in name for name in bound)
    assert max(len(name.split()) for name in free) > 4 >= max(len(name.split()) for name in bound) > 2
    assert max(len(name.split()) for name in two) == 2


@pytest.mark.parametrize("seed", [4, 5])
def test_equal_to_tokenizers_on_mapped_text(seed):
    """The tokens of the first stage become characters, and stock BPE learns their merges."""
    lines, n_first, vocab_size = texts(seed, 600), 300, 420
    trainer = SuperBpeTrainer(vocab_size=vocab_size, transition=n_first, max_words=None, allow_colon_space=True)
    tokenizer = untrained()
    tokenizer.train_from_iterator(lines, trainer)
    tokens, merges = learned(tokenizer)
    first = untrained()
    first.train_from_iterator(lines, BpeTrainer(vocab_size=n_first, initial_alphabet=list(BYTE_CHARACTERS)))
    assert learned(first) == (tokens[:n_first], merges[: n_first - 256])
    ids = {token: i for i, token in enumerate(tokens)}
    mapped = [
        "".join(chr(0x4E00 + ids[token]) for token in encoded(piece, merges[: n_first - 256]))
        for piece, count in pieces_of(steps(), lines).items()
        for _ in range(count)
    ]
    stock = tokenizers.Tokenizer(tokenizers.models.BPE())
    n_symbols = len({*"".join(mapped)})
    stock.train_from_iterator(
        mapped, tokenizers.trainers.BpeTrainer(vocab_size=n_symbols + vocab_size - n_first, show_progress=False)
    )
    theirs = json.loads(stock.to_str())["model"]["merges"]
    spelled = [tuple(b"".join(tokens[ord(c) - 0x4E00] for c in side) for side in merge) for merge in theirs]
    assert spelled == merges[n_first - 256 :]


def test_other_libraries_open_the_result(tmp_path):
    lines = texts(6)
    tokenizer = untrained()
    tokenizer.train_from_iterator(lines, SuperBpeTrainer(vocab_size=420, special_tokens=["<s>", AddedToken("</s>")]))
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    theirs = tokenizers.Tokenizer.from_file(str(path))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
    sample = [*texts(7), "<s>in the middle</s> of the night", " é", "…"]
    ours = [encoding.ids for encoding in tokenizer.encode_batch(sample)]
    assert ours == [encoding.ids for encoding in theirs.encode_batch(sample)]
    assert ours == [fast.encode(text, add_special_tokens=False) for text in sample]
    assert json.loads(theirs.to_str()) == json.loads(tokenizer.to_str())
    assert tokenizer.token_to_id("</s>") == 1 and tokenizer.get_vocab_size() == 420


# ---- the same result in other circumstances


def result(lines, threads=1, **options) -> str:
    tokenizer = untrained()
    tokenizer.train_from_iterator(lines, SuperBpeTrainer(vocab_size=420, transition=300), threads=threads, **options)
    return tokenizer.to_str()


@pytest.mark.slow
def test_threads_batches_limits_and_iterators(tmp_path):
    lines = texts(8, 20_000)  # several slices
    expected = result(lines)
    assert result(lines, threads=3) == expected
    assert result(iter(lines)) == expected  # kept in a temporary file
    assert result((line for line in lines), memory_limit="80MB", temporary=tmp_path) == expected
    assert not any(tmp_path.iterdir())
    batches = [TextBatch.from_strings(lines[i : i + 7]) for i in range(0, len(lines), 7)]
    assert result(batches, threads=2) == expected
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    tokenizer = untrained()
    # pyarrow, if no test has imported it before, takes 50 MB
    tokenizer.train([str(path)], SuperBpeTrainer(vocab_size=420, transition=300), memory_limit="100MB")
    assert tokenizer.to_str() == expected


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [0.01, 0.25, 1])
@pytest.mark.parametrize("bits", [7, 24])
def test_a_threshold_that_was_too_high_is_lowered(wanted, bits, monkeypatch):
    """Also with few counters, each of which counts many pairs."""
    lines = texts(9)
    expected, thresholds = result(lines), []
    chosen = superwords.SecondStage.threshold

    def threshold(self, cells, n=None, below=None):
        thresholds.append(chosen(self, cells, wanted if below is None else n, below))
        return thresholds[-1]

    monkeypatch.setattr(superwords.SecondStage, "threshold", threshold)
    monkeypatch.setattr(superwords.Cells, "for_text", lambda n_bytes, memory: superwords.Cells(bits))
    assert result(lines) == expected
    assert thresholds == sorted({*thresholds}, reverse=True) and (wanted > 0.25 or bits == 7 or len(thresholds) > 1)


def test_memory_and_threads_of_both_stages(tmp_path, monkeypatch):
    trainer = SuperBpeTrainer(vocab_size=420, transition=300)
    assert trainer.memory_needed(10**6, 10**8, 4) > trainer.memory_needed(10**6, 10**8)
    words, runs = WordCounts.from_dict({"so": 1, "it": 2}), WordCounts.from_dict({"it goes": 1})
    assert trainer.check_memory(runs, 10**6) > 0 and trainer.check_first_memory(words, 10**6) > 0
    with pytest.raises(
        MemoryError, match=r"1 runs of words takes about 0 MB, and memory_limit leaves 0 MB: raise the limit"
    ):
        trainer.check_memory(runs, 1)
    with pytest.raises(MemoryError, match="2 distinct words takes about"):
        trainer.check_first_memory(words, 1)

    asked: list[tuple[str, int, int]] = []
    for name in ("check_memory", "check_first_memory"):
        monkeypatch.setattr(
            SuperBpeTrainer, name, lambda self, words, limit, threads=1, name=name: asked.append((name, limit, threads))
        )
    result(texts(3), threads=3, memory_limit="80MB", temporary=tmp_path)
    assert [(name, threads) for name, _, threads in asked[:2]] == [("check_first_memory", 3), ("check_memory", 3)]
    assert all(0 < room <= 100_000_000 for _, room, _ in asked)  # a quarter more than the limit, at worst


@pytest.mark.parametrize("most", [3, 1000, 2**32 - 1])
def test_the_count_that_pairs_reach(most):
    cells, rng = superwords.Cells(10), np.random.default_rng(most)
    cells.counts[::3] = rng.integers(0, most, len(cells.counts[::3]), np.uint32, endpoint=True)
    expected = np.sort(cells.counts)[::-1].tolist()
    assert [cells.reached_by(n) for n in range(1, 1025)] == expected and cells.reached_by(1025) == 0


def test_steps_that_are_no_walk(monkeypatch):
    """A normalizer, added tokens, and words that no walk finds: all steps are taken then."""
    lines = [line.upper() for line in texts(10)]
    plainly, other = untrained(), untrained()
    trainer = SuperBpeTrainer(vocab_size=380, transition=320)
    plainly.train_from_iterator([line.lower() for line in lines], trainer)
    other.normalizer = normalizers.Lowercase()
    other.train_from_iterator(lines, trainer)
    assert learned(other) == learned(plainly)

    with_tokens, by_steps = untrained(), untrained()
    for tokenizer in (with_tokens, by_steps):
        tokenizer.add_tokens(["the other"])
        tokenizer.train_from_iterator(texts(10), trainer)
        monkeypatch.setattr("gputok.pipeline.encode.superwords.joints_of", lambda model: None)
    assert learned(with_tokens) == learned(by_steps) != learned(plainly)
    assert not any(b"the other" in token for token in learned(with_tokens)[0])


def test_repeated_lines():
    """Each boundary of a line has the same count, and superwords grow to whole lines."""
    lines = ["the quick brown fox jumps over the lazy dog again and again"] * 500
    for options in ({}, {"max_words": None}):
        trainer = SuperBpeTrainer(vocab_size=310, transition=290, **options)
        tokenizer = untrained()
        tokenizer.train_from_iterator(lines, trainer)
        assert learned(tokenizer) == plain(lines, trainer)


def test_no_superwords():
    """If every word is a piece of its own, the second stage has nothing to merge but what the first one left."""
    lines = ["abab", "1 2 3", "ab"] * 3
    trainer = SuperBpeTrainer(vocab_size=300, transition=257, superword_pattern=r"[\s\S]")
    tokenizer = untrained()
    tokenizer.train_from_iterator(lines, trainer)
    assert learned(tokenizer) == plain(lines, trainer) and tokenizer.get_vocab_size() == 257


def files(tmp_path, lines: list[str], number: int = 0) -> str:
    path = tmp_path / f"corpus{number}.txt"
    path.write_text("".join(line.replace("\n", " ") + "\n" for line in lines), newline="")
    return str(path)


@pytest.mark.slow
def test_resuming(tmp_path):
    """What one run has counted, in several parts, another one need not count again."""
    paths, folder = [files(tmp_path, texts(16 + i, 300), i) for i in range(4)], tmp_path / "work"
    trainer = SuperBpeTrainer(vocab_size=420, transition=300)
    expected, broken, resumed = untrained(), untrained(), untrained()
    expected.train(paths, trainer)
    source, stages = Source.of(paths, sizes=ReadSizes(part=20_000)), []

    def learn(tokenizer, progress):
        tokenizer.superwords.learn(source, trainer, 1, Run(progress=progress), {}, folder, keep=False)

    def stop(stage, done, total):
        stages.append(stage)
        if stage == "count runs" and done > 60_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(broken, stop)
    assert len([*folder.glob("words/part-*")]) > 2 < len([*folder.glob("pairs/part-*")])
    later = []
    learn(resumed, lambda stage, done, total: later.append(stage))
    assert resumed.to_str() == expected.to_str()
    assert "count pairs" in stages and not {"count", "count pairs"} & {*later} and "count runs" in later
    remove(folder)
    assert not folder.exists()
    with pytest.raises(ValueError, match="only the counting of files"):
        untrained().train([io_of(b"a b")], trainer, resume=folder)


def io_of(text: bytes):
    return OpenFile(io.BytesIO(text), name="text", shown="a stream")


def test_an_open_file_is_read_once(tmp_path):
    path = files(tmp_path, texts(17, 300))
    trainer = SuperBpeTrainer(vocab_size=420, transition=300)
    expected, tokenizer = untrained(), untrained()
    expected.train([path], trainer)
    with open(path, "rb") as file:
        tokenizer.train([io_of(file.read())], trainer)
    assert tokenizer.to_str() == expected.to_str()


@pytest.mark.slow
def test_shards():
    """Three rounds of counting shards, in any order, give the tokenizer of the whole corpus."""
    lines = texts(18, 900)
    trainer = SuperBpeTrainer(vocab_size=420, transition=300)
    expected, tokenizer, first = untrained(), untrained(), untrained()
    expected.train_from_iterator(lines, trainer)
    shards = [lines[i::3] for i in (2, 0, 1)]
    words = WordCounts.merge(tokenizer.count_words(iter(shard)) for shard in shards)
    first.train_from_word_counts(words, trainer.first_stage())
    with pytest.raises(ValueError, match="pass stage1=tokenizer"):
        tokenizer.superwords.count_pairs(iter(lines), trainer)
    trainer.stage1 = first
    pairs = WordCounts.merge(tokenizer.superwords.count_pairs(iter(shard), trainer) for shard in shards)
    runs = WordCounts.merge(tokenizer.superwords.count_runs(iter(shard), trainer, pairs) for shard in shards)
    tokenizer.superwords.train_from_runs(runs, pairs, trainer)
    assert tokenizer.to_str() == expected.to_str()
    high = max(pairs.counts) + 1
    few = tokenizer.superwords.count_runs(iter(lines), trainer, pairs, threshold=high)
    with pytest.raises(ValueError, match=r"count the runs of all shards again with threshold=\d+"):
        untrained().superwords.train_from_runs(few, pairs, trainer, threshold=high)
    with pytest.raises(ValueError, match="counts of neighbouring tokens"):
        tokenizer.superwords.count_runs(iter(lines), trainer, words)


# ---- the first stage


@pytest.mark.slow
def test_a_first_stage_that_is_given():
    lines, more = texts(11), texts(12)
    trainer = SuperBpeTrainer(vocab_size=400, transition=310)
    expected = untrained()
    expected.train_from_iterator(lines, trainer)
    first = untrained()
    first.train_from_iterator(lines, BpeTrainer(vocab_size=350, initial_alphabet=list(BYTE_CHARACTERS)))
    for stage1 in (first, first.count_words(iter(lines)), lines):
        trainer.stage1 = stage1 if stage1 is not lines else iter(lines)
        tokenizer = untrained()
        tokenizer.train_from_iterator(lines, trainer)
        assert tokenizer.to_str() == expected.to_str()
    trainer.stage1 = first
    tokenizer.train_from_iterator(more, trainer)
    words = learned(first)
    pieces = pieces_of(steps(), more)
    limits = BpeLimits(400, veto=Veto(colons=False))
    both = train_superwords({}, pieces, words[0][:310], 310, limits)[1]  # without the merges of words
    assert learned(tokenizer)[1][:54] == words[1][:54] and both


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transition": 400}, "transition=400: of vocab_size=400"),
        ({"transition": 0}, "transition=0: of vocab_size=400"),
        ({"transition": 399, "stage1": iter(["ab ab"])}, "stage1 gives 258: pass transition=258"),
        (
            {"vocab_size": 5000, "transition": 4900},
            r"transition=4900: the first stage should have 4900 tokens, and has \d+",
        ),
    ],
)
def test_what_cannot_be_learned(options, message):
    tokenizer = untrained()
    before = tokenizer.to_str()
    with pytest.raises(ValueError, match=message):
        tokenizer.train_from_iterator(texts(13, 20), SuperBpeTrainer(**{"vocab_size": 400} | options))
    assert tokenizer.to_str() == before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"transition": 1.5}, ValueError),
        ({"transition": "0.8"}, TypeError),
        ({"transition": True}, TypeError),
        ({"superword_pattern": "("}, ValueError),
        ({"max_words": 0}, ValueError),
        ({"allow_colon_space": 1}, TypeError),
    ],
)
def test_wrong_options(options, error):
    with pytest.raises(error, match=next(iter(options))):
        SuperBpeTrainer(**options)


def test_wrong_uses():
    trainer, tokenizer = SuperBpeTrainer(vocab_size=400), untrained()
    with pytest.raises(TypeError, match="superwords are learned from text"):
        tokenizer.train_from_word_counts(tokenizer.count_words(iter(texts(14))), trainer)
    with pytest.raises(ValueError, match="min_count=2"):
        tokenizer.train_from_iterator(texts(14), trainer, min_count=2)
    for pre_tokenizer in (None, pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel()):
        tokenizer.pre_tokenizer = pre_tokenizer
        with pytest.raises(ValueError, match=r"ByteLevel\(add_prefix_space=\s*False\)"):
            tokenizer.train_from_iterator(texts(14), trainer)


def test_a_corpus_that_changes():
    class Another:
        """Gives other texts each time."""

        n = 0

        def __iter__(self):
            self.n += 1
            return iter(texts(self.n))

    with pytest.raises(ValueError, match="the corpus has changed"):
        untrained().train_from_iterator(Another(), SuperBpeTrainer(vocab_size=400))


def test_progress_and_interruption():
    stages = []
    untrained().train_from_iterator(
        texts(15), SuperBpeTrainer(vocab_size=400), progress=lambda stage, done, total: stages.append(stage)
    )
    assert [*dict.fromkeys(stages)] == ["count", "merge", "count pairs", "count runs", "merge superwords"]

    def stop(stage, done, total):
        if stage == "count runs":
            raise KeyboardInterrupt

    tokenizer = untrained()
    before = tokenizer.to_str()
    with pytest.raises(KeyboardInterrupt):
        tokenizer.train_from_iterator(texts(15), SuperBpeTrainer(vocab_size=400), progress=stop)
    assert tokenizer.to_str() == before


# ---- encoding


def test_where_superwords_begin():
    def first(*tokens: bytes) -> int | None:
        begin = np.cumsum([0, *map(len, tokens)])
        return encode_superwords.first_superword(np.frombuffer(b"".join(tokens), np.uint8), begin)

    words = [b"ab", b" the", b"\t\t", "中文".encode(), b"\xe4\xb8", b"\xad ", b"\xf4\x90\x80\x80,,", b"\xff"]
    assert first() is None and first(*words) is None
    assert first(*words, b"of the", "中，中".encode()) == 8
    assert first(b"a b", *words, b"of the", b"word", b"in a", b"a, b") == 9
    assert first(b"of the", *words * 40) is None  # too few


def test_long_documents_without_pieces():
    """Blocks of words end inside of a piece."""
    lines = texts(23, 600)
    tokenizer = untrained()
    tokenizer.train_from_iterator(lines, SuperBpeTrainer(vocab_size=500, transition=330))
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    long = ["on the other hand as well as the " * 5000, "中文没有空格，中文。" * 9000, "x" * 70_000]
    for text in long:
        [(ids, rows)] = tokenizer.encode_corpus(iter([text]), threads=1)
        assert ids.tolist() == theirs.encode(text).ids and rows.tolist() == [0, len(ids)]


@pytest.mark.parametrize("name", ["llama3", "qwen3", "claude"])
def test_a_vocabulary_of_words_has_its_words_looked_up(shared_tokenizer, name):
    """Llama 3 has 143 tokens like a no-break space before a space, of 280,147 merges: these are no superwords."""
    tokenizer = Tokenizer.from_file(str(shared_tokenizer(name)))
    assert isinstance(units.engine_of(tokenizer.pipeline), units.Walked)


@pytest.mark.parametrize("pattern", ["cl100k", "gpt2"])
def test_corpora_are_encoded_as_by_tokenizers(pattern, monkeypatch):
    """Words first, then phrases: also around added tokens, in long runs, and where words don't fit together."""
    lines = texts(20, 600)
    tokenizer = untrained(pattern)
    tokenizer.train_from_iterator(lines, SuperBpeTrainer(vocab_size=500, transition=330, special_tokens=["<s>"]))
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    assert isinstance(units.engine_of(tokenizer.pipeline), encode_superwords.BySuperwords)
    r = random.Random(21)
    sample = [*texts(22), *("".join(r.choices("abt \t\n,:.<s>0é中", k=r.randint(0, 40))) for _ in range(300))]
    sample += ["as well " * 200, "\t" * 301 + "x", "", "a<s>b <s>", " of the" * 70]
    expected = [encoding.ids for encoding in theirs.encode_batch(sample)]
    for chosen in (sample, [text for text in sample if "<s>" not in text]):
        found = [
            ids[a:b].tolist()
            for ids, rows in tokenizer.encode_corpus(iter(chosen), threads=1)
            for a, b in itertools.pairwise(rows)
        ]
        assert found == [expected[sample.index(text)] for text in chosen]
    plain = untrained()
    plain.train_from_iterator(lines, BpeTrainer(vocab_size=400, initial_alphabet=list(BYTE_CHARACTERS)))
    assert not isinstance(units.engine_of(plain.pipeline), encode_superwords.BySuperwords)


# ---- whole corpora


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "code", "multi", "zh"])
@pytest.mark.parametrize("max_words", [4, None])
def test_cut_and_uncut_runs_of_whole_corpora(name, max_words, corpus_sample, tmp_path):
    """All pieces, as the tokens of words, give the same merges as the few runs that are left."""
    path = tmp_path / "corpus.txt"
    path.write_text(corpus_sample(name, -1), newline="")
    trainer = SuperBpeTrainer(vocab_size=32_000, max_words=max_words, allow_colon_space=max_words is None)
    tokenizer = untrained()
    tokenizer.train([str(path)], trainer)
    first = untrained()
    first.train([str(path)], trainer.first_stage())
    given = superwords.first_tokens(first.pipeline.model, {}, trainer)
    stage = superwords.SecondStage(first.pipeline, given, trainer, first.pre_tokenizer)
    every = np.full(1 << 13, 255, np.uint8)
    how = Run(), lambda *_: None
    learned = stage.learn(stage.count_runs(corpus.read([str(path)]), every, *how, None), 1, *how)
    model = models.BPE()
    learned.into(model)
    assert model.get_vocab() == tokenizer.model.get_vocab()
    assert np.array_equal(model.merges, tokenizer.model.merges)
