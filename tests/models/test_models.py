"""Models, compared with the installed `tokenizers`: the same tokens, ids, offsets, files, JSON, repr and pickle."""

import collections
import json
import pathlib
import pickle
import random
import tracemalloc

import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu import match_longest as trie
from gputok.kernels.cpu import viterbi as lattice
from gputok.kernels.cpu.encode_words.cache import word_cache
from gputok.kernels.cpu.encode_words.encode import encode_words

import gputok
from gputok import Tokenizer, models
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.vocabulary import Vocabulary, pack
from tests import reference

ALPHABET = ["a", "b", "c", "é", "漢", "😀", " "]


def tuples(tokens) -> list[tuple]:
    return [token.as_tuple() for token in tokens]


def answer(model, text):
    """The tokens of a text, or "error"."""
    try:
        return tuples(model.tokenize(text))
    except Exception:
        return "error"


def assert_same_tokens(ours, theirs, texts) -> None:
    for text in texts:
        assert answer(ours, text) == answer(theirs, text), text


def assert_same_form(ours, theirs) -> None:
    assert json.loads(ours.__getstate__()) == json.loads(theirs.__getstate__())
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)
    assert repr(pickle.loads(pickle.dumps(ours))) == repr(theirs)


def random_bpe(rng: random.Random) -> dict:
    """Arguments of a BPE with random merges, affixes, byte tokens, unknown token and holes in its alphabet."""
    prefix, suffix = rng.choice([None, "", "##", "é"]), rng.choice([None, None, "", "</w>"])
    letters = [letter for letter in ALPHABET if rng.random() < 0.8]
    tokens = dict.fromkeys(letters)
    for letter in letters:
        for before in ("", prefix or ""):
            for after in ("", suffix or ""):
                if rng.random() < 0.8:
                    tokens[before + letter + after] = None
    merges = []
    for _ in range(rng.randrange(40)):
        left, right = (rng.choice([*tokens] or ["a"]) for _ in range(2))
        cut = len((prefix or "").encode())
        if len(right.encode()) < cut or not tokens:
            continue
        try:
            joined = left + right.encode()[cut:].decode()
        except UnicodeDecodeError:
            continue
        tokens[joined] = None
        merges.append((left, right))
    if rng.random() < 0.5:
        for byte in range(256):
            if rng.random() < 0.9:
                tokens[f"<0x{byte:02X}>"] = None
    unk = rng.choice([None, "<unk>", "lacking"])
    if unk == "<unk>":
        tokens[unk] = None
    numbers = rng.sample(range(2 * len(tokens)), len(tokens))
    options = {
        "unk_token": unk,
        "continuing_subword_prefix": prefix,
        "end_of_word_suffix": suffix,
        "fuse_unk": rng.random() < 0.5,
        "byte_fallback": rng.random() < 0.5,
        "ignore_merges": rng.random() < 0.3,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"vocab": dict(zip(tokens, numbers, strict=True)), "merges": merges, **given}


def random_texts(rng: random.Random, n: int, longest: int = 30) -> list[str]:
    return ["".join(rng.choices([*ALPHABET, "z", "\0", "ß"], k=rng.randrange(longest))) for _ in range(n)]


@pytest.mark.parametrize("seed", range(150))
def test_random_bpe(seed):
    rng = random.Random(seed)
    arguments = random_bpe(rng)
    ours, theirs = models.BPE(**arguments), tokenizers.models.BPE(**arguments)
    assert_same_tokens(ours, theirs, random_texts(rng, 40))
    assert_same_tokens(ours, theirs, ["".join(rng.choices("abé", k=400))])
    assert_same_form(ours, theirs)


def random_tokens(rng: random.Random, n: int) -> list[str]:
    return list({"".join(rng.choices(ALPHABET, k=rng.randrange(1, 5))): None for _ in range(n)})


def random_wordpiece(rng: random.Random) -> dict:
    prefix = rng.choice(["##", "", "é"])
    tokens = random_tokens(rng, 30)
    tokens += [prefix + token for token in random_tokens(rng, 30)]
    tokens += ["[UNK]"] * (rng.random() < 0.7)
    options = {"continuing_subword_prefix": prefix, "max_input_chars_per_word": rng.choice([0, 5, 100])}
    return {"vocab": {token: 3 * id for id, token in enumerate(dict.fromkeys(tokens))}, **options}


def random_unigram(rng: random.Random) -> dict:
    """Arguments of a Unigram with repeated tokens, ties, byte tokens and sometimes no unknown token."""
    tokens = ["<unk>", *random_tokens(rng, rng.randrange(60)), *random_tokens(rng, 5)]
    if rng.random() < 0.5:
        tokens += [f"<0x{byte:02X}>" for byte in range(256) if rng.random() < 0.95]
    # Few distinct scores make ties; positive ones can make an unknown character worth more than a token.
    scores = rng.choice([[-1.0, -2.0], [-1.5, -7.25, -0.1, -3.3], [30.0, 0.0]])
    vocab = [(token, rng.choice(scores)) for token in tokens]
    rng.shuffle(vocab)
    unk_id = rng.choice([None, next(i for i, (token, _) in enumerate(vocab) if token == "<unk>")])
    return {"vocab": vocab, "unk_id": unk_id, "byte_fallback": rng.random() < 0.5}


@pytest.mark.parametrize("seed", range(60))
def test_random_wordpiece(seed):
    rng = random.Random(seed)
    arguments = random_wordpiece(rng)
    ours, theirs = models.WordPiece(**arguments), tokenizers.models.WordPiece(**arguments)
    assert_same_tokens(ours, theirs, random_texts(rng, 100, 12))
    assert_same_form(ours, theirs)


@pytest.mark.parametrize("seed", range(20))
def test_random_wordlevel(seed):
    rng = random.Random(seed)
    vocab = {token: id for id, token in enumerate(random_tokens(rng, 60))}
    unk = rng.choice([None, *vocab])
    ours, theirs = models.WordLevel(vocab, unk), tokenizers.models.WordLevel(vocab, unk)
    assert_same_tokens(ours, theirs, [*vocab, *random_texts(rng, 30, 5)])
    assert_same_form(ours, theirs)


@pytest.mark.parametrize("seed", range(100))
def test_random_unigram(seed):
    rng = random.Random(seed)
    arguments = random_unigram(rng)
    ours, theirs = models.Unigram(**arguments), tokenizers.models.Unigram(**arguments)
    assert_same_tokens(ours, theirs, ["<unk>", "a<unk>zz", *random_texts(rng, 100)])
    assert_same_form(ours, theirs)


def byte_level(model, text: str) -> list[tuple]:
    """Ids and byte spans of a text whose bytes stand for ByteLevel characters."""
    data = np.frombuffer(text.encode(), np.uint8)
    tokens = model.tokenize_pieces(data, np.zeros(1, np.int64), np.array([len(data)]), byte_level=True)
    return list(zip(tokens.ids.tolist(), tokens.start.tolist(), tokens.end.tolist(), strict=True))


def spelled_byte_level(model, text: str) -> list[tuple]:
    """The result of tokenizers for the characters themselves."""
    characters = [BYTE_CHARACTERS[byte] for byte in text.encode()]
    origin = [i for i, character in enumerate(characters) for _ in character.encode()]
    found = []
    for token in model.tokenize("".join(characters)):
        a, b = (min(at, len(origin) - 1) for at in (token.offsets[0], token.offsets[1] - 1))
        found.append((token.id, origin[a], origin[b] + 1))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_byte_level(seed):
    """Raw bytes instead of the characters that stand for them; some of the alphabet may be missing."""
    rng = random.Random(seed)
    letters = [BYTE_CHARACTERS[byte] for byte in "abcé漢😀 zß\0".encode()]
    tokens = dict.fromkeys(BYTE_CHARACTERS if rng.random() < 0.6 else rng.sample(letters, 15))
    suffix = rng.choice([None, "</w>"])
    tokens.update(dict.fromkeys(letter + (suffix or "") for letter in letters))
    merges = []
    for _ in range(40):
        pair = (rng.choice([token for token in tokens if token in letters or len(token) > 1]), rng.choice(letters))
        if pair[1] in tokens:
            tokens["".join(pair)] = None
            merges.append(pair)
    if rng.random() < 0.3:
        tokens.update(dict.fromkeys(f"<0x{byte:02X}>" for byte in range(256)))
    options = {"byte_fallback": rng.random() < 0.5, "ignore_merges": rng.random() < 0.5}
    options |= {"end_of_word_suffix": suffix} if suffix else {}
    arguments = {"vocab": {token: id for id, token in enumerate(tokens)}, "merges": merges, **options}
    ours, theirs = models.BPE(**arguments), tokenizers.models.BPE(**arguments)
    for text in random_texts(rng, 60, 12):
        assert byte_level(ours, text) == (spelled_byte_level(theirs, text) if text else []), text


@pytest.mark.parametrize("seed", range(40))
def test_words_are_cut_only_where_no_token_reaches(seed):
    """Tokens that end or begin inside characters, where it is difficult to cut a word."""
    rng = random.Random(seed)
    tokens, merges = dict.fromkeys(BYTE_CHARACTERS), []
    pool = list(dict.fromkeys(BYTE_CHARACTERS[byte] for byte in "é漢字語😀ab".encode()))
    for _ in range(rng.randrange(5, 60)):
        left, right = rng.choice(pool), rng.choice(pool)
        if len(left + right) < 12:
            tokens[left + right] = None
            merges.append((left, right))
            pool.append(left + right)
    arguments = {"vocab": {token: id for id, token in enumerate(tokens)}, "merges": merges}
    ours, theirs = (kind(**arguments, ignore_merges=seed % 3 == 0) for kind in (models.BPE, tokenizers.models.BPE))
    assert ours.byte_tables.divisible
    texts = ["".join(rng.choices("é漢字語😀ab", k=rng.randrange(1, 40))) for _ in range(20)]
    for text in [*texts, *texts]:  # the second time out of the cache
        assert byte_level(ours, text) == spelled_byte_level(theirs, text), text


REAL = [("llama2", "multi"), ("llama3", "zh"), ("qwen3", "multi"), ("claude", "code"), ("minilm-bert", "en")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "corpus"), REAL)
def test_real_files(name, corpus, shared_tokenizer, corpus_sample):
    path = shared_tokenizer(name)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    ours = models.Model.from_dict(json.loads(path.read_text(encoding="utf-8"))["model"])
    assert_same_form(ours, theirs.model)
    text = corpus_sample(corpus, 100_000)
    words = [word for line in text.splitlines()[:2000] for word, _ in pieces_of(theirs, line)]
    words += [word[i : i + 40] for i, word in enumerate(text.split("\n\n")[:40])]
    assert len(words) > 1000
    assert_same_tokens(ours, theirs.model, [*words, *words[:500]])  # some a second time, out of the cache


def pieces_of(tokenizer, text: str) -> list[tuple]:
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    text = normalizer.normalize_str(text) if normalizer else text
    return pre_tokenizer.pre_tokenize_str(text) if pre_tokenizer else [(text, None)]


def packed(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    end = np.cumsum([len(text) for text in encoded])
    return np.frombuffer(b"".join(encoded), np.uint8), end - [len(text) for text in encoded], end


def assert_same_arrays(fast, plain) -> None:
    for ours, theirs in zip(fast, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(20))
def test_stages_equal_the_plain_versions(seed):
    rng = random.Random(seed)
    words = packed(random_texts(rng, 30, 15))
    bpe = models.BPE(**random_bpe(rng))._tables
    cache, state = word_cache(16), np.ones(1, np.uint64)
    assert_same_arrays(encode_words(*words, bpe, cache, state), reference.encode_words(*words, bpe))
    pieces = models.WordPiece(**random_wordpiece(rng)).tables
    assert_same_arrays(trie.match_longest(*words, pieces), reference.match_longest(*words, pieces))
    unigram = models.Unigram(**random_unigram(rng)).tables
    # Scores so large that SentencePiece's sums are subtracted
    large = (unigram.scores * 30_000).astype(np.float32).astype(np.float64)
    for tables in unigram, unigram._replace(single=True, scores=large, unk_score=-500_000.0):
        fast, plain = lattice.viterbi(*words, tables), reference.viterbi(*words, tables)
        assert_same_arrays(fast[:1], plain[:1])
        assert_same_arrays(fast[1 : 5 if fast[0] >= 0 else 1], plain[1 : 5 if fast[0] >= 0 else 1])


@pytest.mark.parametrize("letters", ["a", "ab", "😀", "aab"])
def test_merging_is_linear_in_the_word(letters):
    """The plain version asks for a rank at most five times a symbol, and the fast one gives the same tokens."""
    tokens = list(dict.fromkeys(letters))
    merges = []
    for _ in range(12):
        left, right = (tokens[-1], tokens[-1]) if len(tokens) > 2 or len(letters) < 2 else (tokens[0], tokens[1])
        merges.append((left, right))
        tokens.append(left + right)
    model = models.BPE({token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges)
    asked = []
    for n in (3_000, 12_000):
        word = packed([letters * (n // len(letters))])
        fast = encode_words(*word, model._tables, word_cache(0), np.ones(1, np.uint64))
        lengths, ranks = [1] * n, {pair: i for i, pair in enumerate(map(tuple, model.merges[:, :2].tolist()))}
        symbols = [model.token_to_id(letter) for letter in letters] * (n // len(letters))
        calls = []
        reference.merge_symbols(
            symbols, lengths, lambda pair, r=ranks, c=calls: c.append(1) or r.get(pair), model.merges[:, 2].tolist()
        )
        assert fast[0].tolist() == symbols
        asked.append(len(calls))
    assert asked[1] <= 5 * 12_000
    assert asked[1] <= 4.1 * asked[0]


def frequencies(model, text: str, n: int) -> dict:
    return collections.Counter(tuple(token.value for token in model.tokenize(text)) for _ in range(n))


def distance(ours: dict, theirs: dict) -> float:
    """Total variation between two samples."""
    return sum(abs(ours[key] / ours.total() - theirs[key] / theirs.total()) for key in ours | theirs) / 2


@pytest.mark.slow
def test_dropout_has_the_distribution_of_tokenizers():
    vocab = {token: i for i, token in enumerate(["a", "b", "ab", "abab", "ba", "aa"])}
    merges = [("a", "b"), ("ab", "ab"), ("b", "a"), ("a", "a")]
    every = set()
    for dropout in (0.1, 0.5, 0.9):
        ours, theirs = (kind(vocab, merges, dropout=dropout) for kind in (models.BPE, tokenizers.models.BPE))
        seen = frequencies(ours, "ababaab", 50_000)
        assert distance(seen, frequencies(theirs, "ababaab", 50_000)) < 0.03
        every |= {*seen}
    assert len(every) > 5
    ours.dropout = 1.0
    assert [token.value for token in ours.tokenize("abab")] == list("abab")
    ours.dropout = None
    assert [token.value for token in ours.tokenize("abab")] == ["abab"]


@pytest.mark.slow
@pytest.mark.parametrize("nbest_size", [None, 0, 1, 2, 4])
@pytest.mark.parametrize("alpha", [0.1, 0.7, 1.5])
def test_unigram_sampling_has_the_distribution_of_tokenizers(alpha, nbest_size):
    vocab = [("<unk>", 0.0), ("a", -1.0), ("b", -1.3), ("ab", -2.1), ("ba", -1.9), ("aba", -2.5), ("b<unk>", -3.0)]
    options = {"alpha": alpha, "nbest_size": nbest_size}
    ours, theirs = (kind(vocab, 0, False, **options) for kind in (models.Unigram, tokenizers.models.Unigram))
    seen = frequencies(ours, "ababazz", 10_000)
    assert distance(seen, frequencies(theirs, "ababazz", 10_000)) < 0.04
    assert (len(seen) > 1) == (nbest_size != 1)


def test_settable_attributes():
    """Setting one changes the tokens at once."""
    vocab = {"a": 0, "b": 1, "ab": 2, "?": 3, "<0xC3>": 4, "<0xA9>": 5, "abab": 6, "b</w>": 7, "##b": 8}
    ours, theirs = (kind(vocab, [("a", "b")]) for kind in (models.BPE, tokenizers.models.BPE))
    steps = [
        ("unk_token", "?"), ("fuse_unk", True), ("byte_fallback", True), ("ignore_merges", True), ("dropout", 0.0),
        ("end_of_word_suffix", "</w>"), ("continuing_subword_prefix", "##"), ("unk_token", None), ("dropout", 1.0),
    ]  # fmt: skip
    for name, value in steps:
        for model in (ours, theirs):
            setattr(model, name, value)
        theirs._clear_cache()  # tokenizers would go on giving what it kept under the old settings
        assert getattr(ours, name) == getattr(theirs, name)
        assert_same_tokens(ours, theirs, ["abab", "ab", "xyab", "éxb", ""])
        assert repr(ours) == repr(theirs)
    ours._clear_cache()
    ours._resize_cache(0)
    assert_same_tokens(ours, theirs, ["abab", "ab", "xyab", "éxb", ""])


def test_dropout_is_single_precision():
    ours, theirs = models.BPE(dropout=0.1), tokenizers.models.BPE(dropout=0.1)
    assert ours.dropout == theirs.dropout == 0.10000000149011612
    assert_same_form(ours, theirs)


def test_files(tmp_path):
    """What one saves, the other reads."""
    vocab = {"a": 0, "é": 3, "aé": 1, '"': 2}
    made = {
        "BPE": lambda module: module.BPE(vocab, [("a", "é")]),
        "WordPiece": lambda module: module.WordPiece(vocab),
        "WordLevel": lambda module: module.WordLevel(vocab, "a"),
        "Unigram": lambda module: module.Unigram([("<unk>", 0.0), ("é", -1.5)], 0),
    }
    for name, make in made.items():
        for prefix in (None, "x"):
            folders = [tmp_path / f"{name}-{prefix}-{side}" for side in ("ours", "theirs")]
            files = []
            for folder, module in zip(folders, (models, tokenizers.models), strict=True):
                folder.mkdir()
                files.append([pathlib.Path(path) for path in make(module).save(str(folder), prefix)])
            ours, theirs = files
            assert [path.name for path in ours] == [path.name for path in theirs]
            assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
            if name != "Unigram":
                paths = [str(path) for path in theirs]
                assert getattr(models, name).read_file(*paths) == getattr(tokenizers.models, name).read_file(*paths)
                read, expected = (getattr(m, name).from_file(*paths) for m in (models, tokenizers.models))
                assert repr(read) == repr(expected)
                assert repr(getattr(models, name)(*paths)) == repr(expected)


def in_tokenizers(form: dict):
    """A model's JSON form, loaded by tokenizers; None if that fails."""
    empty = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    try:
        return tokenizers.Tokenizer.from_str(
            json.dumps({"version": "1.0", "added_tokens": [], **empty, "model": form})
        ).model
    except BaseException:  # some of its errors are panics, which are no Exceptions
        return None


FORMS = [
    {"vocab": {"a": 0}, "merges": []},
    {"vocab": {"a": 0}, "unk_token": "x"},
    {"vocab": {"a": 0}, "unk_token": "x", "continuing_subword_prefix": "##", "max_input_chars_per_word": 3},
    {"vocab": [["a", 0.1]], "unk_id": 0},
    {"vocab": [["a", 0.1]]},
    {},
    {"type": "Foo"},
    {"type": "BPE"},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a a", "#version x"]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a a", "a a"]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1, "aaa": 2}, "merges": ["a a", "a aa", "aa a", "a a"]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a  a"]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a"]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [["a", "a"]]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [["a", "a"], "a a"]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a a", ["a", "a"]]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [["a", "a", "a"]]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [["a", 1]]},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": None},
    {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": {"a": "a"}},
    {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]},
    {"type": "BPE", "vocab": {"a": 0}, "merges": [["b", "a"]]},
    {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a"]]},
    {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]], "continuing_subword_prefix": "##"},
    {"type": "BPE", "vocab": {"a": 0, "bc": 1}, "merges": [["a", "bc"]], "continuing_subword_prefix": "##"},
    {
        "type": "BPE",
        "vocab": {"a": 0, "\0": 1, "a\0": 2, "\n": 3},
        "merges": ["a \0"],
        "dropout": None,
        "fuse_unk": None,
    },
    {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 2.0},
    {"type": "BPE", "vocab": {"a": 0}, "merges": [], "foo": 2.0},
    {"type": "BPE", "vocab": {"a": -1}, "merges": []},
    {"type": "BPE", "vocab": {"a": 2**32}, "merges": []},
    {"type": "BPE", "vocab": {"a": 2**70}, "merges": []},
    {"type": "BPE", "vocab": {"a": 0.5}, "merges": []},
    {"type": "BPE", "vocab": {"a": "0"}, "merges": []},
    {"type": "BPE", "vocab": {"a": None}, "merges": []},
    {"type": "BPE", "vocab": ["a"], "merges": []},
    {"type": "BPE", "vocab": {"a": 7, "b": 3, "ab": 40_000}, "merges": ["a b"]},
    {"type": "WordPiece", "vocab": {"a": 0}},
    {"type": "WordLevel", "vocab": {"a": 0}},
    {"type": "WordLevel", "vocab": {}, "unk_token": "x"},
    {"type": "Unigram", "vocab": []},
    {"type": "Unigram", "vocab": [], "unk_id": 0},
    {"type": "Unigram", "vocab": [["a", 1]], "unk_id": 4},
    {"type": "Unigram", "vocab": [["a", 1]], "unk_id": -1},
    {"type": "Unigram", "vocab": [["a", 1], ["a", 2]], "unk_id": 0},
    {"type": "Unigram", "vocab": [["a"]]},
    {"type": "Unigram", "vocab": [["a", "b"]]},
    {"type": "Unigram", "vocab": {"a": 1}},
    {"type": "Unigram", "vocab": 3},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_forms(form):
    """The same JSON forms load in both packages; the others raise one clear error."""
    theirs = in_tokenizers(form)
    if theirs is None:
        with pytest.raises((ValueError, TypeError)) as error:
            models.Model.from_dict(form)
        assert 10 < len(str(error.value)) < 300
    else:
        ours = models.Model.from_dict(form)
        assert repr(ours) == repr(theirs)
        assert_same_tokens(ours, theirs, ["aa", "aaa", "a\0", "ab", ""])


def test_error_messages_contain_the_value():
    with pytest.raises(ValueError, match=r"merge 1 is \('a', 'zz'\), but the token 'zz'"):
        models.BPE({"a": 0, "aa": 1}, [("a", "a"), ("a", "zz")])
    with pytest.raises(ValueError, match=r"merge 0 is \('a', 'a'\), but the token that they form"):
        models.BPE({"a": 0}, [("a", "a")])
    with pytest.raises(ValueError, match="both"):
        models.BPE({"a": 0})
    with pytest.raises(ValueError, match=r"dropout: must be a number from 0 to 1, not 1.5"):
        models.BPE(dropout=1.5)
    with pytest.raises(ValueError, match="'lacking' is needed"):
        models.BPE({"a": 0}, [], unk_token="lacking").tokenize("b")
    with pytest.raises(ValueError, match="unk_id is not set"):
        models.Unigram([("a", 0.0)]).tokenize("b")
    with pytest.raises(ValueError, match="unk_id: is 3, but the vocabulary has 1"):
        models.Unigram([("a", 0.0)], 3)
    with pytest.raises(TypeError, match="id of token 'a'"):
        models.WordLevel({"a": -1})
    with pytest.raises(UnicodeEncodeError):
        models.BPE().tokenize("\ud800")
    with pytest.raises(TypeError, match="got int"):
        models.BPE().tokenize(3)
    with pytest.raises(OverflowError):
        models.BPE().id_to_token(-1)


def test_a_model_of_a_sentencepiece_file_can_be_shown():
    """`tokenizers` has no such field; the others are shown as there."""
    pairs = [("<unk>", 0.0), *((f"t{i}", -0.5 * i) for i in range(150))]
    ours, theirs = models.Unigram(pairs, 0), tokenizers.models.Unigram(pairs, 0)
    for hidden, whole, short in (
        ([], "[]", "[]"),
        ([0, 2], "[0, 2]", "[0, 2]"),
        ([*range(120)], str([*range(99)])[:-1] + ", ...]", "[0, 1, 2, 3, 4, ...]"),
    ):
        ours.sentencepiece = hidden
        assert repr(ours) == repr(theirs)[:-1] + f", sentencepiece={whole})"
        assert str(ours) == str(theirs)[:-1] + f", sentencepiece={short})"
        assert f"model={ours!r}" in repr(Tokenizer(ours)) and f"model={ours}" in str(Tokenizer(ours))


@pytest.mark.parametrize("name", ["BPE", "WordPiece", "WordLevel", "Unigram"])
def test_an_empty_vocabulary_gives_tokens_or_a_clear_error(name):
    empty = [] if name == "Unigram" else {}
    makers = [lambda package: getattr(package.models, name)()]
    if name == "BPE":
        makers.append(lambda package: package.models.BPE(empty, []))
    else:
        makers.append(lambda package: getattr(package.models, name)(empty))
    for make in makers:
        ours, theirs = Tokenizer(make(gputok)), tokenizers.Tokenizer(make(tokenizers))
        for text in ("", "a", "a b", "漢"):
            assert answer(ours.model, text) == answer(theirs.model, text) or (name, text) == ("WordLevel", "")
            try:
                expected = theirs.encode(text).ids
            except Exception:
                for encode in (ours.encode, lambda t, ours=ours: list(ours.encode_corpus(iter([t])))):
                    with pytest.raises(ValueError, match=r"isn't in the vocabulary"):
                        encode(text)
            else:
                assert ours.encode(text).ids == expected


def test_memory_of_the_cache_is_flat():
    """100,000 distinct words leave it as large as it was."""
    model = models.BPE({letter: i for i, letter in enumerate("abcdefghij0123456789")}, [], cache_capacity=1000)
    words = packed([f"a{i}b" for i in range(100_000)])
    for _ in range(2):
        tokens = model.tokenize_pieces(*words, byte_level=False)
        assert np.diff(tokens.rows).tolist() == [len(f"a{i}b") for i in range(100_000)]
    assert [cache.shape for cache in model._caches[False].free] == [(1024, 8)]


def test_long_words():
    """No boundary in a long text: the same as tokenizers on a shorter one, and fine on a longer one."""
    vocab, merges = {"a": 0, "b": 1, "ab": 2, "aa": 3, "aaaa": 4, "abab": 5}, []
    merges = [("a", "b"), ("a", "a"), ("aa", "aa"), ("ab", "ab")]
    ours, theirs = models.BPE(vocab, merges), tokenizers.models.BPE(vocab, merges)
    pieces = [("<unk>", 0.0), *((token, -1.5 * len(token) + i / 9) for i, token in enumerate(vocab))]
    unigrams = models.Unigram(pieces, 0), tokenizers.models.Unigram(pieces, 0)
    for text in ("a", "ab", "aab"):
        assert_same_tokens(ours, theirs, [text * 5000])
        assert_same_tokens(*unigrams, [text * 2000])
        assert sum(len(token.value) for token in ours.tokenize(text * 30_000)) == len(text) * 30_000
        assert sum(len(token.value) for token in unigrams[0].tokenize(text * 30_000)) == len(text) * 30_000


@pytest.mark.parametrize("kind", ["BPE", "WordPiece", "WordLevel", "Unigram"])
def test_a_model_does_not_share_arguments_with_the_caller(kind):
    """A model does not change if the objects that it was made from change later."""
    vocab, merges = {"a": 0, "b": 1, "ab": 2, "?": 3}, [["a", "b"]]
    pairs = [["a", -1.0], ["b", -1.0], ["ab", -1.5], ["?", -9.0]]
    given = {"BPE": (vocab, merges), "Unigram": (pairs, 3)}.get(kind, (vocab, "?"))
    model = getattr(models, kind)(*given)
    model.get_vocab()["a"] = 7
    vocab["a"], vocab["c"] = 7, 8
    merges[0][0] = "c"
    pairs[0][:] = ["c", 0.0]
    assert model.get_vocab() == {"a": 0, "b": 1, "ab": 2, "?": 3}
    assert model.token_to_id("a") == 0 and model.token_to_id("c") is None and model.get_vocab_size() == 4
    assert [token.id for token in model.tokenize("ab")] == [2]


def test_the_base_class_makes_an_empty_bpe():
    """Pickles of tokenizers need that."""
    assert repr(models.Model()) == repr(tokenizers.models.Model())
    with pytest.raises(TypeError, match="base class"):
        models.Model({"a": 0}, [])


def test_words_as_text_and_as_bytes_are_kept_apart():
    """One model in two tokenizers: what an unknown word of text is, is no answer for the same bytes of ByteLevel."""
    alphabet = {character: i for i, character in enumerate(BYTE_CHARACTERS)}
    text, raw = Tokenizer(models.BPE(alphabet, [])), Tokenizer(models.BPE())
    raw.model = text.model
    raw.pre_tokenizer = gputok.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for _ in range(2):
        assert text.encode_batch(["▁"])[0].tokens == []
        assert raw.encode_batch(["▁"])[0].tokens == ["â", "ĸ", "ģ"]


@pytest.mark.parametrize("value", ["x" * 20_000, b"x" * 20_000, ["x" * 20_000]])
def test_one_long_value_takes_no_more_memory_than_its_own(value):
    """NumPy makes room for the longest string at each place: 48 GB for 128,000 tokens if one has 100,000 characters."""
    ids = {f"t{i}": i for i in range(2000)}
    for make in (
        lambda: models.WordLevel({**ids, "t0": value}),
        lambda: models.Unigram([*((token, 0.0) for token in ids), ("x", value)]),
    ):
        tracemalloc.start()
        with pytest.raises((TypeError, ValueError)):
            make()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10_000_000


def test_ids_of_several_kinds_of_integers():
    """An array of a uint64 and an int is one of float64."""
    ids = {"a": np.uint64(2**32 - 2), "b": 2**32 - 3, "c": np.uint8(3), "d": True + 0}
    assert models.WordLevel(ids).to_dict()["vocab"] == {"d": 1, "c": 3, "b": 2**32 - 3, "a": 2**32 - 2}


def test_few_tokens_are_found_as_a_table_finds_them():
    vocabulary = Vocabulary(*pack(["a", "", "ab", "é", "a", "b\0", "ab"]))
    tokens, positions = ["a", "", "é", "b\0", "x", "ab", "abc"], [4, 1, 3, 5, None, 6, None]
    assert vocabulary.find(tokens) == positions and "strings" not in vars(vocabulary)
    assert vocabulary.find(tokens) == positions and "strings" in vars(vocabulary)


def test_arrays_of_a_vocabulary():
    """Of any integers and in steps, as Arrow has them: kernels and machine code read their memory."""
    data, offsets = pack(["low", "it", "?", "z"])
    wide = np.repeat(data, 2)[::2], np.repeat(offsets, 2)[::2]
    for given in ((data, offsets.astype(np.int32)), (data.astype(np.int64), offsets), wide):
        tokenizer = Tokenizer(models.WordLevel(Vocabulary(*given, np.arange(4)[::-1]), unk_token="?"))
        tokenizer.pre_tokenizer = gputok.pre_tokenizers.Whitespace()
        for _ in range(9):
            assert tokenizer.encode("low it is z").tokens == ["low", "it", "?", "z"]
            assert tokenizer.encode("low it is z").ids == [3, 2, 1, 0]
    for wrong, message in (
        ((data, offsets + 1), "must rise from 0 to 7 at most"),
        ((data, offsets[::-1].copy()), "must rise"),
        ((data, offsets[:0]), "must rise"),
        ((data, offsets - 1), "must rise"),
        ((data, offsets, np.arange(3)), "of 4 tokens needs as many ids, but got 3"),
        ((data, offsets, np.arange(4) - 1), "ids of a vocabulary must be"),
        ((data, offsets, np.arange(4) + 2.0), "ids of a vocabulary must be"),
        ((data.astype(np.int64) + 200, offsets), "data of a vocabulary must be"),
        ((data, offsets[None]), "offsets of a vocabulary must be an array of one dimension"),
    ):
        with pytest.raises(ValueError, match=message):
            Vocabulary(*wrong)
