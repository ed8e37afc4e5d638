"""Training Unigram: what holds for every corpus, kernels beside plain versions, and quality beside the field."""

import collections
import itertools
import json
import math
import operator
import re

import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu import suffixes
from gputok.kernels.cpu import unigram as kernels

from gputok import Tokenizer, WordCounts, models, trainers
from gputok import threads as pool
from gputok.recipes import recipe
from gputok.trainers.unigram import em, seeds
from gputok.trainers.unigram.train import train_unigram

LONGEST = 6


def random_words(rng, n=60, alphabet="abcdé漢😀"):
    words = {}
    for _ in range(n):
        length = int(rng.integers(1, 12))
        words["".join(rng.choice(list(alphabet[: rng.integers(1, len(alphabet) + 1)]), length))] = int(
            rng.integers(1, 30)
        )
    return words


def prepared(words, n_seeds=100, threads=1, longest=LONGEST):
    """Text, seeds and tries of a dictionary of words."""
    counts = WordCounts.from_dict(words)
    text = seeds.make_text(counts.data, counts.offsets, counts.counts, threads)
    keys = seeds.pack_keys(text, text.ids, text.words, threads)
    candidates = seeds.find_seeds(text, keys, longest, n_seeds, threads)
    return text, candidates, seeds.build_tries(text, keys, candidates, longest, threads)


def names(text, candidates):
    """The seed pieces as strings."""
    characters = [chr(point) for point in text.code_points]
    return [
        "".join(characters[i] for i in text.ids[at : at + n].tolist())
        for at, n in zip(candidates.place.tolist(), candidates.length.tolist(), strict=True)
    ]


def probabilities(text, candidates):
    """Initial probabilities by name, and as the arrays that EM takes."""
    counts = em.initial_counts(text, candidates)
    p = em.Lexicon(counts.char / counts.total(), counts.piece / counts.total())
    by_name = dict(zip(names(text, candidates), p.piece.tolist(), strict=True))
    by_name |= {chr(point): p.char[i] for i, point in enumerate(text.code_points.tolist()) if i}
    return by_name, p


def spellings(word, pieces):
    """All ways to spell a word with pieces."""
    if not word:
        yield []
    for n in range(1, len(word) + 1):
        if word[:n] in pieces:
            for rest in spellings(word[n:], pieces):
                yield [word[:n], *rest]


def plain_seeds(words, longest):
    """Every substring that could be a seed, with its score, straight from the definition."""
    followers, weight, ends = {}, {}, {}
    for word, count in words.items():
        for i, j in itertools.combinations(range(len(word) + 1), 2):
            piece = word[i:j]
            weight[piece] = weight.get(piece, 0) + count
            followers.setdefault(piece, []).append(word[j] if j < len(word) else None)
            if j == len(word) and count > 1:
                ends[piece] = count
    found = {}
    for piece, after in followers.items():
        branches = len({*after}) > 1 or after.count(None) > 1
        alone = after == [None] and piece in ends
        if 1 < len(piece) <= longest and (branches or alone):
            found[piece] = weight[piece] * len(piece)
    return found


@pytest.mark.parametrize("chunk", [50, 1 << 16])
@pytest.mark.parametrize("seed", range(4))
def test_seeds_are_the_substrings_that_the_definition_names(seed, chunk, monkeypatch):
    monkeypatch.setattr(seeds, "_CHUNK", chunk)
    words = random_words(np.random.default_rng(seed))
    text, candidates, _ = prepared(words, n_seeds=10**6)
    found = dict(zip(names(text, candidates), candidates.score.tolist(), strict=True))
    assert found == plain_seeds(words, LONGEST)
    prefix = {
        name: names(text, candidates)[p >> candidates.shift] if p != suffixes.NO_ARC else None
        for name, p in zip(names(text, candidates), candidates.parent.tolist(), strict=True)
    }
    for name, parent in prefix.items():
        longer = [name[:n] for n in range(len(name) - 1, 1, -1) if name[:n] in found]
        assert parent == (longer[0] if longer else None)


@pytest.mark.parametrize("factor", [0.01, 1.5, 100], ids="needed score guessed {} times".format)
@pytest.mark.parametrize("n_seeds", [0, 1, 50, 400])
def test_the_best_seeds_are_taken(n_seeds, factor, monkeypatch):
    """Whatever was left unsorted, because a guess from a few groups said that it cannot matter; a guess that asks too
    much is given up."""
    monkeypatch.setattr(seeds, "_LEAST_GROUP", 1)
    monkeypatch.setattr(seeds, "_CAUTION", factor)
    tries, candidates = [], seeds._candidates
    monkeypatch.setattr(
        seeds, "_candidates", lambda *a, **options: tries.append(options) or candidates(*a, **options)
    )
    words = random_words(np.random.default_rng(3), 400, "abcdefghijkl漢😀")
    expected = plain_seeds(words, LONGEST)
    text, best, _ = prepared(words, n_seeds=n_seeds)
    found = dict(zip(names(text, best), best.score.tolist(), strict=True))
    if n_seeds == 400:
        assert tries == ([{}, {"guess": False}] if factor == 0.01 else [{}])
    assert len(expected) > 1000 and found.items() <= expected.items()
    assert sorted(found.values()) == sorted(sorted(expected.values())[len(expected) - n_seeds :])


@pytest.mark.parametrize("alphabet", ["ab", "".join(map(chr, range(0x4E00, 0x4E00 + 300))), "".join(map(chr, range(0x20000, 0x20000 + 70_000)))])  # fmt: skip
def test_suffixes_sort_as_tuples_do(alphabet):
    """Keys of 8, 9 and 17 bits a character."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list(alphabet), rng.integers(1, 40))) for _ in range(300)]
    if len(alphabet) > 1 << 16:
        words += [alphabet[i : i + 1000] for i in range(0, len(alphabet), 1000)]
    counts = WordCounts.from_dict(dict.fromkeys(words, 1))
    text = seeds.make_text(counts.data, counts.offsets, counts.counts, 1)
    keys = seeds.pack_keys(text, text.ids, text.words, 1)
    limit = 10
    ids, ends = text.ids.tolist(), np.flatnonzero(text.ids == 0)

    def suffix(at):
        return ids[at : min(at + limit, int(ends[np.searchsorted(ends, at)]))]

    places = np.flatnonzero(text.ids)
    groups = seeds.deal_places(text, keys, places, places.copy(), 1)
    lcp = [seeds.sort_group(text, keys, groups, part, limit, 0) for part in groups.parts]
    ordered = [suffix(at) for at in groups.order.tolist()]
    assert ordered == sorted(ordered)
    assert groups.weight.tolist() == groups.order.tolist()
    assert groups.parts[0].start == 0 and groups.parts[-1].stop == len(places)
    for a, b in itertools.pairwise(groups.parts):
        assert a.stop == b.start and ordered[a.stop - 1][:2] != ordered[b.start][:2]
    for part, common in zip(groups.parts, lcp, strict=True):
        pairs = itertools.pairwise(ordered[part])
        expected = [sum(itertools.accumulate(map(operator.eq, a, b), operator.and_)) for a, b in pairs]
        assert common.tolist() == [0, *expected]


@pytest.mark.parametrize("seed", range(4))
def test_each_suffix_is_found_once_with_its_count(seed):
    words = random_words(np.random.default_rng(seed), 200, alphabet="ab漢")
    expected = {}
    for word, count in words.items():
        for i in range(len(word)):
            expected[word[i:]] = expected.get(word[i:], 0) + count
    counts = WordCounts.from_dict(words)
    text = seeds.make_text(counts.data, counts.offsets, counts.counts, 1)
    places, weight, _ = seeds.distinct_suffixes(text, 1)
    ends = np.flatnonzero(text.ids == 0)
    found = [
        "".join(chr(text.code_points[i]) for i in text.ids[at : ends[np.searchsorted(ends, at)]])
        for at in places.tolist()
    ]
    assert len(found) == len({*found})
    assert dict(zip(found, weight.tolist(), strict=True)) == expected


@pytest.mark.parametrize("seed", range(6))
def test_expected_counts_are_those_of_all_spellings(seed):
    words = random_words(np.random.default_rng(seed), 25)
    text, candidates, lattice = prepared(words)
    by_name, p = probabilities(text, candidates)
    expected, likelihood = dict.fromkeys(by_name, 0.0), 0.0
    for word, count in words.items():
        ways = [(way, math.prod(by_name[piece] for piece in way)) for way in spellings(word, by_name)]
        total = sum(chance for _, chance in ways)
        likelihood += count * math.log(total)
        for way, chance in ways:
            for piece in way:
                expected[piece] += count * chance / total
    counts, objective = em.expect(lattice, p, threads=1)
    found = dict(zip(names(text, candidates), counts.piece.tolist(), strict=True))
    found |= {chr(point): counts.char[i] for i, point in enumerate(text.code_points.tolist()) if i}
    assert found == pytest.approx(expected, abs=1e-6)
    assert objective == pytest.approx(likelihood / sum(words.values()))


def test_long_words_do_not_underflow():
    """Thousands of characters, where probabilities are far below the smallest float."""
    words = {"ab" * 3000: 3, "abc" * 2000 + "x": 2, "x": 1}
    text, candidates, lattice = prepared(words)
    _, p = probabilities(text, candidates)
    counts, objective = em.expect(lattice, p, threads=1)
    spelt = counts.char[1:].sum() + (counts.piece * candidates.length).sum()
    assert spelt == pytest.approx(sum(len(word) * n for word, n in words.items()), rel=1e-6)
    assert math.isfinite(objective) and objective < -1000


@pytest.mark.parametrize("seed", range(5))
def test_expected_lengths_add_up_and_plain_em_climbs(seed):
    """Expected count times length is count times length; without digamma and dropping the likelihood never falls."""
    words = random_words(np.random.default_rng(seed), 80)
    text, candidates, lattice = prepared(words)
    _, p = probabilities(text, candidates)
    n_characters = sum(len(word) * count for word, count in words.items())
    before = -math.inf
    for _ in range(6):
        counts, objective = em.expect(lattice, p, threads=2)
        assert counts.char.sum() + (counts.piece * candidates.length).sum() == pytest.approx(
            n_characters, rel=1e-9
        )
        assert objective >= before - 1e-9
        before = objective
        p = em.Lexicon(counts.char / counts.total(), counts.piece / counts.total())
        assert p.total() == pytest.approx(1)


def test_the_best_other_spelling_is_that_of_brute_force():
    words = random_words(np.random.default_rng(11), 80)
    text, candidates, _ = prepared(words)
    by_name, p = probabilities(text, candidates)
    found = names(text, candidates)
    score, parts, rows = kernels.best_spellings(
        text.ids, candidates.place, candidates.length, candidates.arc_at, candidates.parent, candidates.shift, np.log(np.maximum(p.char, 1e-300)), np.log(p.piece), np.arange(len(found))
    )  # fmt: skip
    for k, name in enumerate(found):
        ways = [way for way in spellings(name, by_name) if len(way) > 1]
        best = max(sum(math.log(by_name[piece]) for piece in way) for way in ways)
        assert score[k] == pytest.approx(best)
        spelling = [
            found[i] if i >= 0 else chr(text.code_points[-1 - i])
            for i in parts[rows[k] : rows[k + 1]].tolist()
        ]
        assert "".join(reversed(spelling)) == name
        assert sum(math.log(by_name[piece]) for piece in spelling) == pytest.approx(best)


def test_digamma():
    x = np.array([0.5, 1.0, 3.25, 10.0, 1e6])
    by_definition = [(math.lgamma(v * (1 + 1e-6)) - math.lgamma(v * (1 - 1e-6))) / (2e-6 * v) for v in x]
    assert em.digamma(x) == pytest.approx(by_definition, rel=1e-5)


def corpus_words(n=3000, seed=0):
    """Words with the statistics of language: few stems and endings, a Zipf law."""
    rng = np.random.default_rng(seed)
    stems = ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(2, 7))) for _ in range(400)]
    endings = ["", "s", "ed", "ing", "er", "ly", "tion"]
    words: dict[str, int] = {}
    for rank in range(1, n):
        word = "▁" + stems[int(rng.zipf(1.4)) % len(stems)] + endings[int(rng.integers(len(endings)))]
        words[word] = words.get(word, 0) + 1 + n // rank
    return words


@pytest.fixture
def small_tasks(monkeypatch):
    """A few thousand words make as many tasks as millions do."""
    for name, value in {"_PART": 500, "_SHARE": 100, "_LEAST_GROUP": 1, "_CHUNK": 1000}.items():
        monkeypatch.setattr(seeds, name, value)
    monkeypatch.setattr(em, "_SLICE", 100)


def test_no_stage_runs_on_one_core_only(small_tasks, monkeypatch):
    """Every loop over words, suffixes or pieces is dealt out in tasks (to a few pieces, one may be left in the end)."""
    n_tasks = {}

    def run(task, arguments, threads):
        arguments = list(arguments)
        n_tasks.setdefault(task.__name__, []).append(len(arguments))
        return pool_run(task, arguments, threads)

    pool_run = pool.run
    monkeypatch.setattr(pool, "run", run)
    train_unigram(WordCounts.from_dict(corpus_words()), vocab_size=200, threads=2)
    stages = {"count_characters", "decode", "renumber", "pack_keys", "count_buckets", "deal_places", "sort"}
    stages |= {"distinct_suffixes", "collect", "place", "spread_arcs", "trie", "work", "sharpen", "losses"}
    assert {*n_tasks} == stages
    assert {stage for stage, counts in n_tasks.items() if counts[0] < 2} == set()


def test_the_same_bits_for_any_threads_and_any_order_of_words_in_small_tasks(small_tasks):
    test_the_same_bits_for_any_threads_and_any_order_of_words()


def test_the_same_bits_for_any_threads_and_any_order_of_words():
    words = corpus_words()
    expected = train_unigram(WordCounts.from_dict(words), vocab_size=500, threads=1)
    assert len(expected) == 500
    shuffled = dict(np.random.default_rng(1).permutation(np.array(list(words.items()), object)).tolist())
    for threads, order in ((2, words), (3, shuffled), (8, shuffled)):
        assert train_unigram(WordCounts.from_dict(order), vocab_size=500, threads=threads) == expected


def test_no_required_character_is_missing():
    words = corpus_words() | {"▁žluť": 1, "😀": 1}
    pieces = dict(train_unigram(WordCounts.from_dict(words), vocab_size=60, initial_alphabet=["ß", "q"]))
    assert {*"".join(words)} | {"ß", "q"} <= {*pieces}
    assert len(pieces) == 60


def test_the_namesake_reads_scores_to_the_bit():
    words = WordCounts.from_dict(corpus_words())
    learnt = trainers.UnigramTrainer(vocab_size=500, unk_token="<unk>", initial_alphabet=["ß", "ü"]).train(
        words
    )
    tokenizer = Tokenizer(models.Unigram(learnt.vocab, learnt.unk_id))
    assert read_json(tokenizers.Tokenizer.from_str(tokenizer.to_str()).to_str()) == learnt.vocab


def test_progress_shows_pieces_and_objective():
    seen = []
    train_unigram(
        WordCounts.from_dict(corpus_words(500)), vocab_size=80, progress=lambda *report: seen.append(report)
    )
    assert ("sorting suffixes", 1, 1) in seen
    iterations = [report for report in seen if report[0].startswith("EM: ")]
    shown = [re.fullmatch(r"EM: (\d+) pieces, objective (-\d+\.\d{4})", stage) for stage, _, _ in iterations]
    counts = [int(found[1]) for found in shown]
    assert len(counts) >= 4 and counts == sorted(counts, reverse=True) and counts[0] > counts[-1] >= 80
    assert len({found[2] for found in shown}) > 2
    done = [done for _, done, _ in iterations]
    assert done == sorted(done) and done[-1] >= iterations[-1][2] > 0


def test_ctrl_c_leaves_the_tokenizer_as_it_was():
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0))
    before = tokenizer.to_str()

    def interrupt(stage, done, total):
        if stage.startswith("EM"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenizer.train_from_iterator(
            ["some text to learn"], trainers.UnigramTrainer(vocab_size=40), progress=interrupt
        )
    assert tokenizer.to_str() == before


@pytest.mark.parametrize(
    ("words", "size", "said"),
    [
        ({"ab": 3}, 100, "gave 3 pieces, fewer than vocab_size=100"),
        ({"aaaaaaaa": 5}, 100, "gave .* pieces, fewer"),
        ({"a": 7}, 100, "gave 1 pieces, fewer"),
        ({"": 3}, 100, "no words"),
        ({}, 10, "no words"),
        ({"x" * 5000: 2}, 100, "gave .* pieces, fewer"),
    ],
)
def test_small_and_strange_corpora_warn_and_work(words, size, said):
    with pytest.warns(UserWarning, match=said):
        learnt = trainers.UnigramTrainer(vocab_size=size).train(WordCounts.from_dict(words))
    assert {piece for piece, _ in learnt.vocab} >= {*"".join(words)}
    assert all(math.isfinite(score) for _, score in learnt.vocab)


@pytest.mark.filterwarnings("ignore:the corpus gave")
@pytest.mark.parametrize("longest", [0, 1, 2, 3000])
def test_pieces_of_any_greatest_length(longest):
    words = WordCounts.from_dict({"ab" * 3000: 3, "abc" * 200: 2, "cab": 5, "x": 9})
    pieces = [piece for piece, _ in train_unigram(words, vocab_size=12, max_piece_length=longest)]
    assert {*"abcx"} <= {*pieces}
    assert max(map(len, pieces)) <= max(1, longest)


def test_a_vocabulary_below_the_characters_is_one_clear_error():
    """Where the namesake panics."""
    namesake = tokenizers.Tokenizer(tokenizers.models.Unigram())
    with pytest.raises(BaseException, match="vocabulary is not large enough"):
        namesake.train_from_iterator(
            ["abcd"], tokenizers.trainers.UnigramTrainer(vocab_size=3, show_progress=False)
        )
    with pytest.raises(ValueError, match="vocab_size=3 is smaller than the 4 different characters"):
        train_unigram(WordCounts.from_dict({"abcd": 1}), vocab_size=3)


# ---- quality beside the field: pieces as (piece, score), "<unk>" first, all measured by the same code


def sentencepiece_pieces(path, prefix, size):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        input=str(path), model_prefix=str(prefix), vocab_size=size, normalization_rule_name="identity",
        character_coverage=1.0, split_by_unicode_script=False, split_by_number=False, remove_extra_whitespaces=False,
        max_sentence_length=1_000_000, num_threads=2, minloglevel=2,
    )  # fmt: skip
    return read_sentencepiece(f"{prefix}.model")


def read_sentencepiece(path):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]
    return [("<unk>", 0.0), *(item for item in pieces if item[0] not in ("<unk>", "<s>", "</s>"))]


def pieces_of(package, lines, size):
    """What gputok, or its namesake, learns from lines (without their ends, which SentencePiece doesn't see either)."""
    tokenizer, trainer = recipe("unigram", vocab_size=size, package=package)
    trainer.show_progress = False
    tokenizer.train_from_iterator([lines], trainer)
    return read_json(tokenizer.to_str())


def read_json(text):
    return [(piece, score) for piece, score in json.loads(text)["model"]["vocab"]]


def measured(pieces, text, alphabet):
    """(tokens per byte; mean log-likelihood of a word) of held-out text.

    The tokens are those of the namesake's encoder. A word's likelihood is that of all its spellings, the probabilities of
    all pieces scaled to sum to one; words with characters outside `alphabet` are left out.
    """
    ruler = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 0))
    ruler.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    lines = text.split("\n")
    n_tokens = sum(len(encoding.ids) for encoding in ruler.encode_batch_fast(lines))
    words = collections.Counter(
        word for line in lines for word, _ in ruler.pre_tokenizer.pre_tokenize_str(line)
    )
    words = {word: count for word, count in words.items() if alphabet.issuperset(word)}
    chances = {piece: math.exp(score) for piece, score in pieces[1:]}
    total = math.fsum(chances.values())
    chances = {piece: chance / total for piece, chance in chances.items()}
    longest = max(map(len, chances))
    logs = (log_likelihood(word, chances, longest) * count for word, count in words.items())
    return n_tokens / len(text.encode()), math.fsum(logs) / sum(words.values())


def log_likelihood(word, chances, longest):
    reached, log_scale = [1.0], 0.0  # of the last `longest` prefixes, all scaled alike
    for end in range(1, len(word) + 1):
        pieces = (word[end - back : end] for back in range(1, len(reached) + 1))
        here = sum(map(operator.mul, reversed(reached), (chances.get(piece, 0.0) for piece in pieces)))
        reached = [*reached[1 - longest :], here]
        if here < 1e-100:
            reached, log_scale = [x * 1e100 for x in reached], log_scale - math.log(1e100)
    return math.log(reached[-1]) + log_scale


def test_the_measure_of_likelihood_on_a_word_by_hand():
    """abc: a|b|c, ab|c and a|bc."""
    chances = {"a": 0.1, "b": 0.2, "c": 0.3, "ab": 0.15, "bc": 0.25}
    assert log_likelihood("abc", chances, 2) == pytest.approx(math.log(0.006 + 0.045 + 0.025))
    assert log_likelihood("a" * 1000, chances, 2) == pytest.approx(1000 * math.log(0.1))


def table(raw, size, folder, peers):
    """{who: (tokens per byte, log-likelihood)} of the last tenth of a text after training on the rest."""
    cut = raw.rfind(b"\n", 0, len(raw) * 9 // 10) + 1
    path, lines = folder / "train.txt", raw[:cut].decode().split("\n")
    path.write_bytes(raw[:cut])
    learnt = {"gputok": pieces_of("gputok", lines, size)}
    if "sentencepiece" in peers:
        learnt["sentencepiece"] = sentencepiece_pieces(path, folder / "model", size)
    if "tokenizers" in peers:
        learnt["tokenizers"] = pieces_of("tokenizers", lines, size)
    alphabet = {*raw[:cut].decode(), "▁"}
    return {who: measured(pieces, raw[cut:].decode(), alphabet) for who, pieces in learnt.items()}


def assert_best(found):
    print(found)  # seen with -s
    (tokens, likelihood), *others = found.values()
    assert all(tokens < t and likelihood > l for t, l in others)


@pytest.mark.parametrize("name", ["en", "multi"])
def test_held_out_text_is_shorter_and_likelier(name, corpus_sample, tmp_path):
    assert_best(table(corpus_sample(name, 1_000_000).encode(), 2000, tmp_path, ["sentencepiece"]))


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "multi"])
def test_held_out_text_is_shorter_and_likelier_on_whole_corpora(name, corpus_sample, tmp_path):
    """Minutes, and gigabytes, for the namesake."""
    raw = corpus_sample(name, -1).encode()
    assert_best(table(raw, 16_000, tmp_path, ["sentencepiece", "tokenizers"]))
