"""`Tokenizer.extend`: continued BPE, against `tokenizers` on the model's own tokens and against plain Python."""

import collections
import itertools
import json
import signal
import warnings

import numpy as np
import pytest
import tokenizers
from gputok.kernels.native.preparation import preparation
from resizing import LETTERS, boundaries, byte_fallback, byte_level, check_like_tokenizers, some_lines, unreachable

from gputok import AddedToken, Tokenizer, VocabularyChange, WordCounts, cli, models, normalizers, pre_tokenizers
from gputok import trainers as our_trainers
from gputok.models.bpe import extend

KINDS = pytest.mark.parametrize("make", [byte_level, byte_fallback])


def copy(tokenizer):
    return Tokenizer.from_str(tokenizer.to_str())


@KINDS
@pytest.mark.parametrize("seed", range(6))
def test_properties(make, seed):
    tokenizer = make(some_lines(0))
    old, lines = copy(tokenizer), some_lines(seed + 1, letters="etaoixyz")
    change = tokenizer.extend(iter(lines), 60)
    texts = [*lines, *some_lines(99), "", "<s>a</s> <|0|>é\n"]
    check_like_tokenizers(tokenizer, texts)

    vocab = old.get_vocab()
    assert {token: tokenizer.token_to_id(token) for token in vocab} == vocab
    assert change.new_ids.tolist() == [*range(len(vocab), len(vocab) + 60)]
    assert change.new_tokens == [tokenizer.id_to_token(id) for id in change.new_ids.tolist()]
    assert not unreachable(tokenizer, change.new_ids.tolist())
    assert change.size == len(vocab) + 60
    assert change.old_to_new.tolist() == [*range(len(vocab))]
    assert old.model.get_vocab_size() < tokenizer.model.get_vocab_size()

    new = {*change.new_ids.tolist()}
    parts = {
        id: change.parts[a:b].tolist()
        for id, (a, b) in zip(change.new_ids.tolist(), itertools.pairwise(change.rows), strict=True)
    }
    n_before = n_after = 0
    for text in texts:
        before, after = old.encode(text).ids, tokenizer.encode(text).ids
        assert boundaries(tokenizer, text) <= boundaries(old, text)
        if not new & {*after}:
            assert after == before
        n_before, n_after = n_before + len(before), n_after + len(after)
        # No old token has become reachable here, so new ids stand for their parts
        assert [part for id in after for part in parts.get(id, [id])] == before
    assert n_after < 0.9 * n_before


@pytest.mark.parametrize("names", [*itertools.permutations(["a", "b", "c", "ab"])])
def test_the_vocabulary_may_be_in_any_order(names):
    ids = {"a": 0, "b": 1, "c": 2, "ab": 3}
    tokenizer = Tokenizer(models.BPE({name: ids[name] for name in names}, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    change = tokenizer.extend(iter(["abc abc cab abca bcab c ca"]), 5)
    assert change.new_tokens == ["abc", "cab", "bcab", "ca", "abca"]


@pytest.mark.parametrize("seed", range(4))
def test_tokenizers_learns_the_same_from_the_tokens_as_characters(seed):
    """`tokenizers` trains on the ids that the old tokenizer gives, each written as a character of private use."""
    tokenizer, lines = byte_level(some_lines(0), n_added=0), some_lines(seed + 1, letters="etaoixyz")
    words = tokenizer.count_words(iter(lines))
    texts = []
    for word, count in words.items():
        data = np.frombuffer(word, np.uint8)
        ids, _ = tokenizer.model.encode_words(data, np.zeros(1, np.int64), np.array([len(data)]), byte_level=True)
        texts += ["".join(chr(0xE000 + id) for id in ids.tolist())] * count
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    n_characters = len({*"".join(texts)})
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=n_characters + 80, show_progress=False)
    theirs.train_from_iterator(texts, trainer)
    names = {tokenizer.token_to_id(token): token for token in tokenizer.get_vocab()}
    expected = [
        "".join(names[ord(c) - 0xE000] for c in left + right)
        for left, right in json.loads(theirs.to_str())["model"]["merges"]
    ]
    assert tokenizer.extend(words, 80).new_tokens == expected


def plain_extension(sequences: dict[tuple[str, ...], int], names: dict[str, int], n_tokens: int) -> list[str]:
    """The new tokens, found one after the other: the most frequent missing character, else the most frequent pair.

    Symbols are names; of equally frequent pairs, the one with smaller ids comes first, and characters before pairs.
    """
    ids, new = dict(names), []
    missing = sorted({s for sequence in sequences for s in sequence if s not in ids and s not in "|"})
    ids |= {character: 10**6 + ord(character) for character in missing}
    count = collections.Counter()
    for sequence, n in sequences.items():
        for symbol in sequence:
            count[symbol] += n * (symbol in missing)
    characters = sorted((c for c in missing if count[c]), key=lambda c: (-count[c], c))
    while len(new) < n_tokens:
        pairs = collections.Counter()
        for sequence, n in sequences.items():
            for pair in itertools.pairwise(sequence):
                if "|" not in pair:
                    pairs[pair] += n
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]), default=None)
        while characters and (best is None or count[characters[0]] >= pairs[best]) and len(new) < n_tokens:
            new.append(characters.pop(0))
        if best is None or len(new) == n_tokens:
            break
        name = best[0] + best[1]
        new.append(name)
        ids[name] = 2 * 10**6 + len(new)
        merged = collections.Counter()
        for sequence, n in sequences.items():
            parts, i = [], 0
            while i < len(sequence):
                step = 2 if sequence[i : i + 2] == best else 1
                parts.append("".join(sequence[i : i + step]))
                i += step
            merged[tuple(parts)] += n
        sequences = dict(merged)
    return new


@pytest.mark.parametrize("seed", range(4))
def test_characters_that_the_model_lacks_take_part(seed):
    tokenizer, lines = (
        byte_fallback(some_lines(0)),
        some_lines(seed + 1, letters="etaoinü", beyond="éß漢字語\U0001f600"),
    )
    sequences = collections.Counter()
    for line in lines:
        symbols, raw = [], b""
        for token in tokenizer.encode(line, add_special_tokens=False).tokens:
            if token.startswith("<0x"):
                raw += bytes.fromhex(token[3:5])
                try:
                    symbol = raw.decode()
                except UnicodeDecodeError:
                    continue
                raw = b""
                symbols.append("|" if symbol < "\x80" else symbol)
            else:
                symbols += ["|"] * token.startswith("▁") + [token]
        for _, sequence in itertools.groupby(symbols, lambda s: s == "|"):
            sequences[tuple(sequence)] += 1
    change = copy(tokenizer).extend(iter(lines), 70)
    assert change.new_tokens == plain_extension(sequences, tokenizer.get_vocab(), 70)
    assert "ü" in change.new_tokens
    parts = change.parts[change.rows[change.new_tokens.index("ü")] :][:2]
    assert [tokenizer.id_to_token(id) for id in parts.tolist()] == ["<0xC3>", "<0xBC>"]


def test_an_old_token_that_becomes_reachable_keeps_its_id():
    """With ignore_merges, a token stands for a whole word, though no merge leads to it."""
    tokenizer = byte_level(["ab ab cd"], 259, n_added=0)
    assert tokenizer.token_to_id("abcd") is None
    form = json.loads(tokenizer.to_str())
    form["model"]["ignore_merges"] = True
    form["model"]["vocab"]["abcd"] = 300
    tokenizer = Tokenizer.from_str(json.dumps(form))
    assert unreachable(tokenizer, [300]) == []  # as a word
    before = tokenizer.encode("xabcd").tokens
    assert "abcd" not in before
    change = tokenizer.extend(iter(["abcd xabcd yabcd\n"] * 5), 2)
    assert "abcd" not in change.new_tokens and len(change.new_tokens) == 2
    assert tokenizer.encode("zabcd").tokens == ["z", "abcd"] and tokenizer.token_to_id("abcd") == 300
    assert change.size == 303 and change.old_to_new[299] == -1
    check_like_tokenizers(tokenizer, ["abcd", "xabcd", "abcde", "xabcde abcd"])


def test_no_merge_makes_a_reserved_token(monkeypatch):
    """Text spells `<0x41>`, which is the name of a byte token: the text is cut there, and all is learnt again."""
    cuts, cut_apart = [], extend._Learner._cut_apart
    monkeypatch.setattr(extend._Learner, "_cut_apart", lambda *args: cuts.append(args[2]) or cut_apart(*args))
    tokenizer = byte_fallback([*some_lines(0), "<0x41>"])
    lines = [f"{a}<0x41>{b}\n" for a in LETTERS for b in LETTERS]
    change = tokenizer.extend(iter(lines), 8)
    assert cuts and len(change.new_tokens) == 8 and "<0x41>" not in change.new_tokens
    assert "<0x41>" not in tokenizer.encode("t<0x41>e").tokens
    assert not unreachable(tokenizer, change.new_ids.tolist())
    check_like_tokenizers(tokenizer, ["x<0x41>y", "<0x41> A é\n", *lines[:9]])


def test_an_added_token_can_be_a_character_that_the_model_lacks():
    tokenizer = byte_fallback(some_lines(0))
    tokenizer.add_tokens([AddedToken("ü", single_word=True)])
    id = tokenizer.token_to_id("ü")
    change = tokenizer.extend(iter(["tüe tüe ö ö ü"] * 20), 2)
    assert "ö" in change.new_tokens and not any("ü" in token for token in change.new_tokens)
    assert tokenizer.token_to_id("ü") == id


def test_special_tokens_keep_their_ids_in_both_libraries():
    """Without an entry in the vocabulary of the model, `tokenizers` gives an added token the id after it."""
    tokenizer = byte_level(some_lines(0))
    ids = {token.content: id for id, token in tokenizer.get_added_tokens_decoder().items()}
    tokenizer.extend(iter(some_lines(1)), 20)
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    assert {content: theirs.token_to_id(content) for content in ids} == ids
    assert theirs.encode("a<|2|>").ids[0] == ids["<|0|>"] and theirs.encode("a<|2|>").ids[-1] == ids["<|2|>"]
    assert theirs.padding["pad_id"] == ids["<|1|>"]
    assert theirs.decode([ids["<|2|>"]]) == "" and theirs.decode([ids["<|2|>"]], skip_special_tokens=False) == "<|2|>"


@KINDS
def test_counts_and_files_threads_and_limits_change_nothing(make, tmp_path):
    lines = some_lines(3)
    (tmp_path / "text.txt").write_text("".join(lines), newline="")
    first = make(some_lines(0))
    expected = copy(first)
    change = expected.extend(iter(lines), 50)
    for source, options in (
        (first.count_words(iter(lines)), {}),
        ([str(tmp_path / "text.txt")], {"threads": 2}),
        (iter(lines), {"memory_limit": "64MB", "threads": 1}),
        (WordCounts.merge([first.count_words(iter(lines[i::3])) for i in range(3)]), {}),
    ):
        other = copy(first)
        assert other.extend(source, 50, **options) == change
        assert other.to_str() == expected.to_str()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_merge(threads, monkeypatch):
    tokenizer, given, train = byte_level(some_lines(0)), [], extend.train_bpe
    monkeypatch.setattr(extend, "train_bpe", lambda *a, threads=1, **o: given.append(threads) or train(*a, **o))
    tokenizer.extend(iter(some_lines(3)), 5, threads=threads)
    assert given == [threads]


def test_again_and_again():
    """Two extensions by the same corpus give the tokens of one; sums of parts are those of the first vocabulary."""
    lines = some_lines(2)
    once, twice = byte_level(some_lines(0)), byte_level(some_lines(0))
    change = once.extend(iter(lines), 40)
    assert [*twice.extend(iter(lines), 15).new_tokens, *twice.extend(iter(lines), 25).new_tokens] == change.new_tokens
    assert once.to_str() == twice.to_str()


@pytest.mark.parametrize("options", [{"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}])
def test_affixes(options):
    tokenizer = Tokenizer(models.BPE(unk_token="?", **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = our_trainers.BpeTrainer(vocab_size=60, special_tokens=["?"], show_progress=False, **options)
    tokenizer.train_from_iterator(some_lines(0), trainer)
    old, lines = copy(tokenizer), some_lines(1)
    change = tokenizer.extend(iter(lines), 30)
    assert len(change.new_tokens) == 30
    check_like_tokenizers(tokenizer, lines)
    for line in lines:
        before, after = old.encode(line), tokenizer.encode(line)
        assert {*after.offsets} <= {(a, b) for a, _ in before.offsets for _, b in before.offsets}
        assert len(after) <= len(before)
    assert sum(len(tokenizer.encode(line)) for line in lines) < sum(len(old.encode(line)) for line in lines)


def test_dropout_does_not_matter():
    lines, tokenizer = some_lines(1), byte_level(some_lines(0))
    random = copy(tokenizer)
    random.model.dropout = 0.5
    assert random.extend(iter(lines), 30) == tokenizer.extend(iter(lines), 30)
    assert random.model.dropout == 0.5


def test_few_words_give_few_tokens_and_a_warning():
    tokenizer = byte_level(some_lines(0))
    with pytest.warns(UserWarning, match="only 1 of 50 tokens were added"):
        change = tokenizer.extend(iter(["zq"]), 50)
    assert change.new_tokens == ["zq"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tokenizer.extend(iter(["zq"]), 0).new_tokens == []
    with pytest.warns(UserWarning, match="that occur 9 times or more"):
        assert tokenizer.extend(iter(["yq"]), 1, min_frequency=9).new_tokens == []
    with pytest.warns(UserWarning, match="only 0 of 1 "):
        assert tokenizer.extend(iter([]), 1).new_tokens == []


def test_what_is_refused():
    for model, reason in (
        (models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"), "longest tokens from the left"),
        (models.Unigram([("a", 0.0)], 0), "competes with all others"),
        (models.WordLevel({"a": 0}, unk_token="a"), "whole words"),
    ):
        tokenizer = Tokenizer(model)
        with pytest.raises(ValueError, match=f"extend needs a BPE model, not {type(model).__name__}: .*{reason}"):
            tokenizer.extend(iter(["a"]), 1)
    tokenizer = byte_level(some_lines(0))
    before = tokenizer.to_str()
    with pytest.raises(ValueError, match="at least 0, got -1"):
        tokenizer.extend(iter(["a"]), -1)
    with pytest.raises(TypeError):
        tokenizer.extend(iter(["a"]), 1.5)
    with pytest.raises(FileNotFoundError):
        tokenizer.extend(["nothing-here.txt"], 1)
    with pytest.raises(ValueError, match="memory"):
        byte_fallback(some_lines(0)).extend(iter(["a"]), 1, memory_limit="1kB")
    assert tokenizer.to_str() == before


@KINDS
def test_an_exception_of_progress_changes_nothing(make):
    tokenizer = make(some_lines(0))
    before, stages = tokenizer.to_str(), set()

    def progress(stage, done, total):
        stages.add(stage)
        if stage == "merge":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenizer.extend(iter(some_lines(1)), 30, progress=progress)
    assert tokenizer.to_str() == before and {"encode", "merge"} <= stages


def test_normalizers_of_the_tokenizer_count(tmp_path):
    tokenizer = byte_level(some_lines(0), n_added=0)
    tokenizer.normalizer = normalizers.Lowercase()
    assert tokenizer.extend(iter(["ZQZQ"] * 3), 1).new_tokens == ["zq"]


# ---- the command line


@pytest.fixture
def gputok(capsys, monkeypatch):
    """`gputok("extend", ...)` -> (exit status, standard output, standard error), in this process."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(preparation, "announced", True)

    def call(*arguments):
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        return (exit.value.code, *capsys.readouterr())

    return call


def test_command(tmp_path, monkeypatch, gputok):
    monkeypatch.chdir(tmp_path)
    tokenizer, lines = byte_level(some_lines(0)), some_lines(1)
    tokenizer.save("t.json")
    (tmp_path / "text.txt").write_text("".join(lines), newline="")
    tokenizer.count_words(iter(lines)).save("counts.parquet")
    status, out, err = gputok(
        "extend", "text.txt", "-t", "t.json", "--tokens", 30, "-o", "new.json", "--change", "change.npz"
    )
    assert (status, err) == (0, "") and out.startswith("new.json: 333 tokens, 303 before, in ")
    change = tokenizer.extend(iter(lines), 30)
    assert Tokenizer.from_file("new.json").to_str() == tokenizer.to_str()
    assert VocabularyChange.load("change.npz") == change
    options = "extend", "counts.parquet", "-t", "t.json", "--from-counts", "--tokens", 30, "--json", "-o"
    status, out, err = gputok(*options, "same.json")
    assert (status, err) == (0, "") and json.loads(out)["vocab_size"] == 333
    assert (tmp_path / "same.json").read_bytes() == (tmp_path / "new.json").read_bytes()
    status, out, err = gputok("extend", "no.txt", "-t", "t.json", "--tokens", 3, "-o", "x.json")
    assert status == 1 and "no.txt" in err and not (tmp_path / "x.json").exists()
    status, out, err = gputok("extend", "text.txt", "-t", "t.json", "--tokens", 3, "-o", "x.json", "--change", "c.txt")
    assert status == 1 and "c.txt: expected a file that ends in .npz or .json" in err
    assert not (tmp_path / "x.json").exists()


# ---- the change as a file, and embeddings


def test_save_and_load(tmp_path):
    tokenizer = byte_fallback(some_lines(0))
    change = tokenizer.extend(iter(some_lines(1)), 30)
    for name in ("change.npz", "change.json"):
        change.save(tmp_path / name)
        assert VocabularyChange.load(tmp_path / name) == change
    change.save(tmp_path / "again.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz or \.json"):
        change.save(tmp_path / "change.txt")
    with pytest.raises(FileNotFoundError):
        VocabularyChange.load(tmp_path / "nothing.npz")
    for name in ("change.npz", "change.json"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="is no VocabularyChange"):
            VocabularyChange.load(tmp_path / name)
    form = json.loads(json.dumps({"type": "gputok.VocabularyChange", "version": 1, "size": 1, "new_tokens": ["a"]}))
    form |= {"old_to_new": [0], "new_ids": [5], "parts": [0], "rows": [0, 1]}
    (tmp_path / "wrong.json").write_text(json.dumps(form))
    with pytest.raises(ValueError, match="new_ids has a number that is not an id"):
        VocabularyChange.load(tmp_path / "wrong.json")


# ---- real tokenizers and corpora

SAVED = {
    ("llama3", "zh"): 0.25,
    ("qwen3", "zh"): 0.20,
    ("llama2", "zh"): 0.45,
    ("llama3", "multi"): 0.10,
    ("qwen3", "code"): 0.01,
}


@pytest.mark.full
@pytest.mark.parametrize(("name", "corpus"), SAVED)
def test_real_tokenizers(name, corpus, shared_tokenizer, corpus_sample):
    old, tokenizer = (Tokenizer.from_file(str(shared_tokenizer(name))) for _ in range(2))
    lines = corpus_sample(corpus, -1).splitlines(keepends=True)
    held_out = lines[::5]
    change = tokenizer.extend((line for i, line in enumerate(lines) if i % 5), 10_000)
    assert len(change.new_tokens) == 10_000 and not unreachable(tokenizer, change.new_ids.tolist())

    def n_tokens(tokenizer):
        return sum(len(ids) for ids, _ in tokenizer.encode_corpus(iter(held_out), add_special_tokens=False))

    assert n_tokens(tokenizer) < (1 - SAVED[name, corpus]) * n_tokens(old)
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    vocab = theirs.get_vocab()
    assert all(vocab[token] == id for token, id in old.get_vocab().items())
    text, new = "".join(held_out)[:400_000], {*change.new_ids.tolist()}
    found = tokenizer.encode(text)
    assert found.ids == theirs.encode(text).ids
    assert {end for _, end in found.offsets} <= {end for _, end in old.encode(text).offsets}
    for line in held_out[:5000]:
        ids = tokenizer.encode(line).ids
        if not new & {*ids}:
            assert ids == old.encode(line).ids
