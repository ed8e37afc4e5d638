"""Training Unigram: properties for all corpora, kernels against plain versions, and quality against other trainers."""

import collections
import itertools
import json
import math
import operator
import re

import numpy as np
import pytest
import tokenizers
from gputok.kernels import threads as pool
from gputok.kernels.cpu.train_unigram import suffixes
from gputok.kernels.cpu.train_unigram import tries as kernels

from gputok import Tokenizer, WordCounts, models, trainers
from gputok.models.unigram import em, seeds
from gputok.models.unigram.train import train_unigram
from gputok.recipes import recipe

LONGEST = 6


def random_words(rng, n=60, alphabet="abcdé漢😀"):
    words = {}
    for _ in range(n):
        length = int(rng.integers(1, 12))
        words["".join(rng.choice(list(alphabet[: rng.integers(1, len(alphabet) + 1)]), length))] = int(
            rng.integers(1, 30)
        )
    return words


def text_of(words, threads=1, **sizes):
    counts = WordCounts.from_dict(words)
    return seeds.make_text(counts.data, counts.offsets, counts.counts, threads, seeds.SeedSizes(**sizes))


def prepared(words, n_seeds=100, threads=1, longest=LONGEST, **sizes):
    """Text, seeds and tries of a dictionary of words."""
    text = text_of(words, threads, **sizes)
    candidates = seeds.find_seeds(text, longest, n_seeds, threads)
    return text, candidates, seeds.build_tries(text, candidates, longest, threads)


def names(text, candidates):
    """The pieces as strings by their numbers: "" (which is none), the characters, the longer ones."""
    characters = [chr(point) for point in text.code_points]
    n = len(characters)
    longer = zip(candidates.at[n:].tolist(), candidates.length[n:].tolist(), strict=True)
    return ["", *characters[1:], *("".join(characters[i] for i in text.ids[at : at + n].tolist()) for at, n in longer)]


def scores(text, candidates):
    """The seeds of two and more characters, and their scores."""
    n = len(text.code_points)
    return dict(zip(names(text, candidates)[n:], candidates.score[n:].tolist(), strict=True))


def probabilities(text, candidates):
    """Initial probabilities by name, and as the array that EM takes."""
    p = candidates.score / candidates.score.sum()
    by_name = dict(zip(names(text, candidates), p.tolist(), strict=True))
    assert by_name.pop("") == 0
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


@pytest.mark.parametrize("batch", [50, 1 << 16])
@pytest.mark.parametrize("seed", range(4))
def test_seeds_are_the_substrings_that_the_definition_names(seed, batch):
    words = random_words(np.random.default_rng(seed))
    text, candidates, _ = prepared(words, n_seeds=10**6, batch=batch)
    found, named = scores(text, candidates), names(text, candidates)
    assert found == plain_seeds(words, LONGEST)
    occurs = dict(zip(named, candidates.score.tolist(), strict=True))
    assert all(occurs[c] == "".join(w * n for w, n in words.items()).count(c) for c in {*"".join(words)})
    prefix = {
        name: named[p >> candidates.shift] if p != suffixes.NO_ARC else None
        for name, p in zip(named, candidates.parent.tolist(), strict=True)
        if name in found
    }
    for name, parent in prefix.items():
        longer = [name[:n] for n in range(len(name) - 1, 1, -1) if name[:n] in found]
        assert parent == (longer[0] if longer else None)


@pytest.mark.parametrize("factor", [0.01, 1.5, 100], ids="needed score guessed {} times".format)
@pytest.mark.parametrize("n_seeds", [0, 1, 50, 400])
def test_the_best_seeds_are_taken(n_seeds, factor, monkeypatch):
    """With suffixes left unsorted, since a guess from a few groups said that they cannot matter; a guess that is too
    high is given up.
    """
    tries, candidates = [], seeds._candidates
    monkeypatch.setattr(seeds, "_candidates", lambda *a, **options: tries.append(options) or candidates(*a, **options))
    words = random_words(np.random.default_rng(3), 400, "abcdefghijkl漢😀")
    expected = plain_seeds(words, LONGEST)
    text, best, _ = prepared(words, n_seeds=n_seeds, least_group=1, caution=factor)
    found = scores(text, best)
    if n_seeds == 400:
        assert tries == ([{}, {"guess": False}] if factor == 0.01 else [{}])
    assert len(expected) > 1000 and found.items() <= expected.items()
    assert sorted(found.values()) == sorted(sorted(expected.values())[len(expected) - n_seeds :])


@pytest.mark.slow
@pytest.mark.parametrize("narrow", [1 << 32, 0], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize(("first", "size"), [(ord("a"), 2), (0x4E00, 300), (0x20000, 70_000)])
def test_suffixes_sort_as_their_codes_do(first, size, narrow):
    """From codes of one bit to some of 17; by the first `limit` characters."""
    alphabet = "".join(map(chr, range(first, first + size)))
    rng = np.random.default_rng(0)
    chances = np.arange(1, len(alphabet) + 1) ** -1.1
    chances /= chances.sum()
    words = ["".join(rng.choice(list(alphabet), rng.integers(1, 40), p=chances)) for _ in range(300)]
    words = [*dict.fromkeys(words)]
    if len(alphabet) > 1 << 16:
        words += [alphabet[i : i + 1000] for i in range(0, len(alphabet), 1000)]
    text = text_of(dict.fromkeys(words, 1), narrow=narrow)
    limit = 10
    codes = [f"{int(word) >> 64 - (int(word) & 63):0{int(word) & 63}b}" for word in text.code.words]
    ids, ends = text.ids.tolist(), np.flatnonzero(text.ids == 0)

    def suffix(at):
        return ids[at : min(at + limit, int(ends[np.searchsorted(ends, at)]) + 1)]

    groups = seeds.deal_suffixes(text, seeds.sorted_words(text, 1, backwards=True), 1)
    assert groups.order.dtype == (np.int64 if narrow == 0 else np.uint32)
    lcp = [seeds.sort_group(text, groups, part, limit) for part in groups.parts]
    ordered = [suffix(at) for at in groups.order.tolist()]
    coded = ["".join(codes[i] for i in suffix) for suffix in ordered]
    assert coded == sorted(coded)
    assert groups.parts[0].start == 0 and groups.parts[-1].stop == len(groups.order)
    for a, b in itertools.pairwise(groups.parts):
        assert a.stop == b.start and ordered[a.stop - 1][:2] != ordered[b.start][:2]
    for part, common in zip(groups.parts, lcp, strict=True):
        pairs = itertools.pairwise([i for i in suffix if i] for suffix in ordered[part])
        expected = [sum(itertools.accumulate(map(operator.eq, a, b), operator.and_)) for a, b in pairs]
        assert common.tolist() == [0, *expected]


@pytest.mark.parametrize("backwards", [False, True])
def test_words_sort_as_their_codes_do(backwards):
    text = text_of(random_words(np.random.default_rng(5), 3000))
    codes = [f"{int(word) >> 64 - (int(word) & 63):0{int(word) & 63}b}" for word in text.code.words]
    words, step = seeds.sorted_words(text, 2, backwards=backwards), -1 if backwards else 1
    spelt = [
        text.ids[at : (at + step * n if at + step * n >= 0 else None) : step].tolist()
        for at, n in zip(words.at.tolist(), words.n_chars.tolist(), strict=True)
    ]
    coded = ["".join(codes[i] for i in [*word, 0]) for word in spelt]
    assert coded == sorted(coded) and len({*coded}) == len(text.words)
    n_alike = 0
    for w, common in enumerate(words.lcp.tolist()):
        assert spelt[w][:common] == spelt[w - 1][:common] or common == 0
        n_alike += common == 0 or spelt[w][common : common + 1] != spelt[w - 1][common : common + 1]
    assert n_alike == len(spelt) and not words.lcp[[a for a, _ in words.batches]].any()


@pytest.mark.parametrize(
    "weights",
    [[1], [0, 1], [5, 5], [1, 1, 1], [1 << 40, 1, 0], [*range(1000)], [2**i for i in range(40)], [1] * 70_000],
    ids=lambda weights: f"{len(weights)} from {weights[0]}",
)
def test_codes_keep_order_and_are_not_prefixes_of_each_other(weights):
    weights = np.array(weights, np.int64)
    code = seeds.make_code(weights)
    lengths = (code.words & np.uint64(63)).astype(np.int64)
    order = np.argsort(lengths, kind="stable")  # by (length, id)
    assert (np.diff(lengths[np.argsort(-weights, kind="stable")]) >= 0).all()
    starts = code.words[order] >> np.uint64(64 - suffixes.LONGEST_CODE)
    ends = starts + (np.uint64(1) << (suffixes.LONGEST_CODE - lengths[order]).astype(np.uint64))
    assert starts[0] == 0 and (starts[1:] == ends[:-1]).all() and ends[-1] <= 1 << suffixes.LONGEST_CODE
    # no longer than Shannon's codes, but for those at the limit
    shannon = np.ceil(np.log2(weights.sum() / np.maximum(weights, 1)))
    assert (lengths <= np.maximum(shannon, 1)).all() or lengths.max() == suffixes.LONGEST_CODE
    for word, length in zip(code.words.tolist(), lengths.tolist(), strict=True):
        known = code.lengths[word >> 64 - suffixes.TABLE_BITS]
        assert known == (length if length <= suffixes.TABLE_BITS else 0)
    for n in range(1, suffixes.LONGEST_CODE):
        longer = starts[lengths[order] > n]
        assert code.beyond[n] == (longer[0] if len(longer) else ends[-1])


@pytest.mark.parametrize("batch", [30, 1 << 16])
@pytest.mark.parametrize("seed", range(4))
def test_each_suffix_is_distributed_once_with_its_count(seed, batch):
    """Except at the ends of batches of words."""
    words = random_words(np.random.default_rng(seed), 200, alphabet="ab漢")
    expected = {}
    for word, count in words.items():
        for i in range(len(word)):
            expected[word[i:]] = expected.get(word[i:], 0) + count
    text = text_of(words, batch=batch)
    groups = seeds.deal_suffixes(text, seeds.sorted_words(text, 1, backwards=True), 1)
    ends, found = np.flatnonzero(text.ids == 0), {}
    for at, weight in zip(groups.order.tolist(), groups.weight.tolist(), strict=True):
        suffix = "".join(chr(text.code_points[i]) for i in text.ids[at : ends[np.searchsorted(ends, at)]])
        assert batch == 30 or suffix not in found
        found[suffix] = found.get(suffix, 0) + weight
    assert found == expected


@pytest.mark.parametrize("seed", range(6))
def test_expected_counts_are_those_of_all_segmentations(seed):
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
    counts, spelt = em.expect(lattice, p, threads=1)
    objective = em.mean_log_likelihood(lattice, spelt)
    found = dict(zip(names(text, candidates), counts.tolist(), strict=True))
    assert found.pop("") == 0
    assert found == pytest.approx(expected, abs=1e-6)
    assert objective == pytest.approx(likelihood / sum(words.values()))


def test_long_words_do_not_underflow():
    """Thousands of characters, where probabilities are far below the smallest float."""
    words = {"ab" * 3000: 3, "abc" * 2000 + "x": 2, "x": 1}
    text, candidates, lattice = prepared(words)
    _, p = probabilities(text, candidates)
    counts, spelt = em.expect(lattice, p, threads=1)
    objective = em.mean_log_likelihood(lattice, spelt)
    n_spelt = (counts * candidates.length).sum()
    assert n_spelt == pytest.approx(sum(len(word) * n for word, n in words.items()), rel=1e-6)
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
        counts, spelt = em.expect(lattice, p, threads=2)
        objective = em.mean_log_likelihood(lattice, spelt)
        assert (counts * candidates.length).sum() == pytest.approx(n_characters, rel=1e-9)
        assert objective >= before - 1e-9
        before = objective
        p = counts / counts.sum()
        assert p.sum() == pytest.approx(1)


def test_without_dropped_pieces_tries_are_what_they_would_be():
    """New numbers and fewer arcs, the same expectation; a few dropped ones stay."""
    words = random_words(np.random.default_rng(7), 80)
    text, candidates, lattice = prepared(words)
    _, p = probabilities(text, candidates)
    n_characters, few = len(text.code_points), p.copy()
    few[n_characters : n_characters + 3] = 0
    numbers, same = em.drop_dead_pieces(lattice, np.arange(len(p)), few, threads=2)
    assert same is few and numbers.tolist() == list(range(len(p)))
    p[n_characters + np.random.default_rng(0).permutation(len(p) - n_characters)[:70]] = 0
    before, spelt = em.expect(lattice, p, threads=1)
    objective = em.mean_log_likelihood(lattice, spelt)
    n_arcs = sum(int(trie.stop[-1]) for trie in lattice.tries)
    numbers, live = em.drop_dead_pieces(lattice, numbers, p, threads=2)
    assert len(live) == np.count_nonzero(p) + 1 < len(p) - 60
    assert numbers[:n_characters].tolist() == list(range(n_characters)) and (p[numbers] == live).all()
    after, spelt = em.expect(lattice, live, threads=1)
    assert (after == before[numbers]).all() and em.mean_log_likelihood(lattice, spelt) == objective
    assert sum(int(trie.stop[-1]) for trie in lattice.tries) < n_arcs


def test_the_best_other_segmentation_equals_brute_force():
    words = random_words(np.random.default_rng(11), 80)
    text, candidates, _ = prepared(words)
    by_name, p = probabilities(text, candidates)
    found = names(text, candidates)
    pieces = np.arange(len(text.code_points), len(found))
    logs = np.log(np.maximum(p, 1e-300))
    nodes = candidates.at, candidates.length, candidates.arc_at, candidates.parent, candidates.shift
    score, parts, rows = kernels.best_spellings(text.ids, *nodes, logs, pieces)
    assert len(pieces) == 100
    for i, name in enumerate(found[k] for k in pieces):
        ways = [way for way in spellings(name, by_name) if len(way) > 1]
        best = max(sum(math.log(by_name[piece]) for piece in way) for way in ways)
        assert score[i] == pytest.approx(best)
        spelling = [found[k] for k in parts[rows[i] : rows[i + 1]].tolist()]
        assert "".join(reversed(spelling)) == name
        assert sum(math.log(by_name[piece]) for piece in spelling) == pytest.approx(best)


@pytest.mark.parametrize("n_kept", [0, 20, 60, 1000])
def test_pruning_drops_what_costs_the_least_likelihood(n_kept):
    words = random_words(np.random.default_rng(12), 150)
    text, candidates, lattice = prepared(words, n_seeds=150)
    n_characters = len(text.code_points)
    _, p = probabilities(text, candidates)
    for _ in range(2):
        counts, _ = em.expect(lattice, p, threads=1)
        p = em.maximize(counts, n_characters, threads=1)
    found = names(text, candidates)
    chance, count = dict(zip(found, p, strict=True)), dict(zip(found, counts, strict=True))
    count |= {name: count[name] * em._CHARACTER_SHARE for name in found[:n_characters]}
    log_total, loss = math.log(counts.sum()), {}
    for name in (found[k] for k in range(n_characters, len(found)) if p[k]):
        alive = {piece: math.log(chance[piece]) for piece in found if chance[piece] and piece != name}
        best = max(spellings(name, alive), key=lambda way: sum(alive[piece] for piece in way))
        if sum(alive[piece] for piece in best) <= math.log(chance[name]):
            own = count[name]
            log_without = math.log(counts.sum() + own * (len(best) - 1))
            log_other = sum(math.log(count[piece] + own) - log_without for piece in best)
            loss[name] = own * (math.log(own) - log_total - log_other)
    dear = sorted(loss, key=loss.get, reverse=True)[:n_kept]
    pruned = em.prune(text, candidates, np.arange(len(p)), p, counts, n_characters - 1 + n_kept, threads=2)
    assert {found[k] for k in np.flatnonzero(pruned[n_characters:]) + n_characters} == {*dear}
    assert len(loss) > 60 and (pruned[pruned > 0] == p[pruned > 0]).all()
    assert (pruned[:n_characters] == p[:n_characters]).all()


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


SMALL_TASKS = seeds.SeedSizes(part=500, share=100, least_group=1, batch=1000, pieces=100)
"""With these, a few thousand words make as many tasks as millions do."""


def test_every_stage_uses_several_cores(monkeypatch):
    """Every loop over words, suffixes or pieces is dealt out in tasks (to a few pieces, one may be left in the end)."""
    n_tasks = {}

    def counted(hand_out):
        def called(task, items, threads):
            items = list(items)
            n_tasks.setdefault(task.__name__, []).append(len(items))
            return hand_out(task, items, threads)

        return called

    monkeypatch.setattr(pool, "results", counted(pool.results))
    monkeypatch.setattr(pool, "share", counted(pool.share))
    train_unigram(WordCounts.from_dict(corpus_words()), vocab_size=200, threads=2, sizes=SMALL_TASKS)
    stages = {"count", "deal", "decode_words", "sort", "collect", "place", "spread_arcs", "trie", "work"}
    stages |= {"sharpen", "losses", "renumber"}
    assert {*n_tasks} == stages
    assert {stage for stage, counts in n_tasks.items() if counts[0] < 2} == set()
    assert min(n_tasks["count"] + n_tasks["deal"] + n_tasks["sort"]) >= 2


@pytest.mark.parametrize("sizes", [seeds.SIZES, SMALL_TASKS], ids=["large tasks", "small tasks"])
def test_the_same_bits_for_any_threads_and_any_order_of_words(sizes):
    words = corpus_words()
    expected = train_unigram(WordCounts.from_dict(words), vocab_size=500, threads=1, sizes=sizes)
    assert len(expected) == 500
    shuffled = dict(np.random.default_rng(1).permutation(np.array(list(words.items()), object)).tolist())
    for threads, order in ((2, words), (3, shuffled), (8, shuffled)):
        found = train_unigram(WordCounts.from_dict(order), vocab_size=500, threads=threads, sizes=sizes)
        assert found == expected


def test_all_required_characters_are_pieces():
    words = corpus_words() | {"▁žluť": 1, "😀": 1}
    pieces = dict(train_unigram(WordCounts.from_dict(words), vocab_size=60, initial_alphabet=["ß", "q"]))
    assert {*"".join(words)} | {"ß", "q"} <= {*pieces}
    assert len(pieces) == 60


def test_pieces_are_ordered_by_score_then_by_code_points():
    words = corpus_words(300) | {"zyx": 5, "cab": 5, "ωψχ": 5, "wvu": 5}
    pieces = train_unigram(WordCounts.from_dict(words), vocab_size=120)
    assert pieces == sorted(pieces, key=lambda item: (-item[1], item[0]))
    assert len({score for _, score in pieces}) < len(pieces) - 5  # equal scores


def test_tokenizers_reads_scores_to_the_bit():
    words = WordCounts.from_dict(corpus_words())
    learnt = trainers.UnigramTrainer(vocab_size=500, unk_token="<unk>", initial_alphabet=["ß", "ü"]).train(words)
    tokenizer = Tokenizer(models.Unigram(learnt.vocab, learnt.unk_id))
    assert read_json(tokenizers.Tokenizer.from_str(tokenizer.to_str()).to_str()) == learnt.vocab


def test_progress_shows_pieces_and_objective():
    seen = []
    train_unigram(WordCounts.from_dict(corpus_words(500)), vocab_size=80, progress=lambda *report: seen.append(report))
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
        ({"ab": 3}, 100, "only 3 pieces were learned, fewer than vocab_size=100"),
        ({"aaaaaaaa": 5}, 100, "only .* pieces were learned, fewer"),
        ({"a": 7}, 100, "only 1 pieces were learned, fewer"),
        ({"": 3}, 100, "no words"),
        ({}, 10, "no words"),
        ({"x" * 5000: 2}, 100, "only .* pieces were learned, fewer"),
    ],
)
def test_small_and_strange_corpora_warn_and_work(words, size, said):
    with pytest.warns(UserWarning, match=said):
        learnt = trainers.UnigramTrainer(vocab_size=size).train(WordCounts.from_dict(words))
    assert {piece for piece, _ in learnt.vocab} >= {*"".join(words)}
    assert all(math.isfinite(score) for _, score in learnt.vocab)


@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
@pytest.mark.parametrize("longest", [0, 1, 2, 3000])
def test_pieces_of_any_greatest_length(longest):
    words = WordCounts.from_dict({"ab" * 3000: 3, "abc" * 200: 2, "cab": 5, "x": 9})
    pieces = [piece for piece, _ in train_unigram(words, vocab_size=12, max_piece_length=longest)]
    assert {*"abcx"} <= {*pieces}
    assert max(map(len, pieces)) <= max(1, longest)


def test_a_vocabulary_below_the_characters_is_one_clear_error():
    """Where tokenizers panics."""
    upstream = tokenizers.Tokenizer(tokenizers.models.Unigram())
    with pytest.raises(BaseException, match="vocabulary is not large enough"):
        upstream.train_from_iterator(["abcd"], tokenizers.trainers.UnigramTrainer(vocab_size=3, show_progress=False))
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
    """What gputok or tokenizers learns from lines (without their ends, which SentencePiece doesn't see either)."""
    tokenizer, trainer = recipe("unigram", vocab_size=size, package=package)
    trainer.show_progress = False
    tokenizer.train_from_iterator([lines], trainer)
    return read_json(tokenizer.to_str())


def read_json(text):
    return [(piece, score) for piece, score in json.loads(text)["model"]["vocab"]]


def measured(pieces, text, alphabet):
    """(tokens per byte; mean log-likelihood of a word) of held-out text.

    The tokens are those of the encoder of tokenizers. A word's likelihood is that of all its spellings, the
    probabilities of all pieces scaled to sum to one; words with characters outside `alphabet` are left out.
    """
    ruler = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 0))
    ruler.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    lines = text.split("\n")
    n_tokens = sum(len(encoding.ids) for encoding in ruler.encode_batch_fast(lines))
    words = collections.Counter(word for line in lines for word, _ in ruler.pre_tokenizer.pre_tokenize_str(line))
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
    assert all(tokens < n and likelihood > other for n, other in others)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["en", "multi"])
def test_held_out_text_is_shorter_and_likelier(name, corpus_sample, tmp_path):
    assert_best(table(corpus_sample(name, 1_000_000).encode(), 2000, tmp_path, ["sentencepiece"]))


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "multi"])
def test_held_out_text_is_shorter_and_likelier_on_whole_corpora(name, corpus_sample, tmp_path):
    """Minutes, and gigabytes, for tokenizers."""
    raw = corpus_sample(name, -1).encode()
    assert_best(table(raw, 16_000, tmp_path, ["sentencepiece", "tokenizers"]))


@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
@pytest.mark.parametrize("text", ["a", "abcab abcab cab", "éa" * 9])
def test_pieces_may_be_longer_than_any_word(text):
    """Tables have room for what the words contain, not for what is allowed."""

    def learned(longest):
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(vocab_size=20, max_piece_length=longest, show_progress=False)
        tokenizer.train_from_iterator([text], trainer)
        return tokenizer.to_str()

    assert learned(10**6) == learned(2**31) == learned(len(text.encode()))
