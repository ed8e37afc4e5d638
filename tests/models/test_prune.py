"""`Tokenizer.prune` and `truncate`: fewer tokens, whose ids are renumbered wherever a tokenizer names them."""

import copy as copies
import heapq
import itertools
import json

import numpy as np
import pytest
import tokenizers
from resizing import byte_fallback, byte_level, check_like_tokenizers, some_lines, unreachable

from gputok import AddedToken, Tokenizer, VocabularyChange, models, pre_tokenizers, processors, trainers
from gputok.models.bpe import prune

KINDS = pytest.mark.parametrize("make", [byte_level, byte_fallback])


def copy(tokenizer):
    return Tokenizer.from_str(tokenizer.to_str())


def renamed(change, ids):
    return change.old_to_new[ids].tolist()


# ---- which merge leads to a token


def plain_split(token: str, ranks: dict[tuple[str, str], int]) -> tuple[str, str] | None:
    """The last two parts of a token by merging its characters, lowest rank first."""
    parts = list(token)
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get((parts[i], parts[i + 1]), 10**9))
        if (parts[best], parts[best + 1]) not in ranks:
            return None
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return tuple(parts) if len(parts) == 2 and tuple(parts) in ranks else None


@pytest.mark.parametrize("seed", range(4))
def test_splits_are_those_of_plain_merging(seed):
    """Also of tokens that several merges make, as in files made from tiktoken's, and of those that no merge reaches."""
    tokenizer = byte_level(some_lines(seed), 330)
    form = json.loads(tokenizer.to_str())["model"]
    names, known = [*form["vocab"]], {*form["vocab"]}
    merges = [
        (token[:i], token[i:]) for token in names[256:] for i in range(1, len(token)) if {token[:i], token[i:]} <= known
    ]
    merges = merges[seed:]
    model = models.BPE(form["vocab"], merges)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    split = prune.splits(model).tolist()
    found = [None if b < 0 else (names[a], names[b]) for a, b in split]
    assert found == [plain_split(token, ranks) for token in names]
    reached = [len(token) == 1 or pair is not None for token, pair in zip(names, found, strict=True)]
    assert reached == [[t.value for t in model.tokenize(token)] == [token] for token in names]


@pytest.mark.parametrize("seed", range(6))
def test_leaves_against_plain_python(seed):
    """Each time, all leaves are looked for anew."""
    rng = np.random.default_rng(seed)
    n = 60
    split = np.array(
        [[i, -1] if i < 8 else [*rng.integers(0, i, 2)] if rng.random() < 0.9 else [-1, -1] for i in range(n)]
    )
    frequency, ids = rng.integers(0, 5, n), rng.permutation(n)
    fixed = (np.arange(n) < 8) | (rng.random(n) < 0.1)
    n_kept = int(fixed.sum()) + 10
    counts, kept = frequency.tolist(), {*range(n)}
    while len(kept) > n_kept:
        used = {part for x in kept if split[x, 1] >= 0 for part in split[x].tolist()}
        leaves = [(counts[x], -ids[x], x) for x in kept - used if not fixed[x]]
        if not leaves:
            break
        count, _, x = heapq.nsmallest(1, leaves)[0]
        kept.remove(x)
        for part in split[x].tolist() if split[x, 1] >= 0 else []:
            counts[part] += count
    found = prune.leaves_pruned(frequency, split, fixed, ids, n_kept)
    assert np.flatnonzero(found).tolist() == sorted(kept)


# ---- properties


@KINDS
@pytest.mark.parametrize("n_tokens", [281, 300])
def test_prune(make, n_tokens):
    lines = some_lines(1, letters="etaoixyz")
    tokenizer = make(some_lines(0), 360)
    if make is byte_level:
        tokenizer.model.ignore_merges = True
    old = copy(tokenizer)
    change = tokenizer.prune(n_tokens, iter(lines))
    texts = [*lines, *some_lines(0), "", "<s>x</s><|0|>é<|2|>"]
    check_like_tokenizers(tokenizer, texts)
    vocab, before = tokenizer.get_vocab(), old.get_vocab()
    assert sorted(vocab.values()) == [*range(n_tokens)] and change.size == n_tokens
    assert {token: change.old_to_new[before[token]] for token in vocab} == vocab
    assert np.count_nonzero(change.old_to_new >= 0) == n_tokens
    learnt = [id for id in range(n_tokens) if not tokenizer.id_to_token(id).startswith("<") or id > 262]
    learnt = [id for id in learnt if id not in tokenizer.get_added_tokens_decoder()]
    assert not unreachable(tokenizer, learnt)
    n_same = 0
    for text in texts:
        ids = old.encode(text).ids
        if (change.old_to_new[ids] >= 0).all():
            assert tokenizer.encode(text).ids == renamed(change, ids)
            n_same += 1
        if tokenizer.decoder is not None:
            assert tokenizer.decode(tokenizer.encode(text).ids) == old.decode(ids)
    assert 0 < n_same < len(texts)
    for id, token in old.get_added_tokens_decoder().items():
        assert tokenizer.get_added_tokens_decoder()[change.old_to_new[id]] == token


@KINDS
def test_pruned_by_the_text_costs_less_than_truncated(make):
    lines = some_lines(1, letters="etaoixyz")
    pruned, truncated = make([*some_lines(0), *lines], 400), make([*some_lines(0), *lines], 400)
    pruned.prune(330, iter(lines))
    truncated.truncate(330)
    n = [sum(len(tokenizer.encode(line)) for line in lines) for tokenizer in (pruned, truncated)]
    assert n[0] < n[1]


def test_counts_and_files_give_the_same(tmp_path):
    lines = some_lines(1)
    (tmp_path / "text.txt").write_text("".join(lines), newline="")
    tokenizer = byte_level(some_lines(0), 360)
    expected = copy(tokenizer)
    change = expected.prune(300, iter(lines))
    for source in (tokenizer.count_words(iter(lines)), [str(tmp_path / "text.txt")]):
        other = copy(tokenizer)
        assert other.prune(300, source, threads=2) == change and other.to_str() == expected.to_str()


def trained(vocab_size, **options):
    tokenizer = Tokenizer(models.BPE(unk_token="?", **{k: v for k, v in options.items() if k != "limit_alphabet"}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=["?", "<s>"], show_progress=False, **options)
    tokenizer.train_from_iterator(some_lines(0), trainer)
    return tokenizer


@pytest.mark.parametrize(
    "options", [{}, {"limit_alphabet": 9}, {"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}]
)
@pytest.mark.parametrize("vocab_size", [60, 80, 119])
def test_truncate_is_training_with_a_smaller_size(vocab_size, options):
    tokenizer, expected = trained(120, **options), trained(vocab_size, **options)
    n, n_before = expected.get_vocab_size(), tokenizer.get_vocab_size()
    change = tokenizer.truncate(n)
    assert tokenizer.to_str() == expected.to_str()
    assert change.old_to_new.tolist() == [*range(n), *[-1] * (n_before - n)]


@pytest.mark.parametrize("options", [{"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}])
def test_prune_with_affixes(options):
    tokenizer, lines = trained(150, **options), some_lines(1)
    old = copy(tokenizer)
    change = tokenizer.prune(120, iter(lines))
    check_like_tokenizers(tokenizer, lines)
    for line in lines:
        ids = old.encode(line).ids
        if (change.old_to_new[ids] >= 0).all():
            assert tokenizer.encode(line).ids == renamed(change, ids)


def test_truncate_above_the_model():
    """Special tokens that the model lacks come after it, without gaps, also when `tokenizers` loads the file."""
    tokenizer = byte_level(some_lines(0), 360)
    expected = byte_level(some_lines(0), 300)
    tokenizer.truncate(303)
    assert tokenizer.to_str() == expected.to_str()
    check_like_tokenizers(tokenizer, some_lines(1))


def test_everything_that_names_ids_is_renumbered():
    tokenizer = byte_level(some_lines(0), 360)
    ids = {name: tokenizer.token_to_id(name) for name in ("<|0|>", "<|1|>", "<|2|>")}
    bert = processors.BertProcessing(("<|1|>", ids["<|1|>"]), ("<|0|>", ids["<|0|>"]))
    roberta = processors.RobertaProcessing(("<|1|>", ids["<|1|>"]), ("<|0|>", ids["<|0|>"]), True, False)
    both = {"id": "both", "ids": [ids["<|0|>"], ids["<|2|>"]], "tokens": ["<|0|>", "<|2|>"]}
    template = processors.TemplateProcessing("both $A both", "both $A $B", [both])
    tokenizer.normalizer = None
    tokenizer.add_tokens([AddedToken("Foo", normalized=True)])
    for processor in (bert, roberta, template, processors.Sequence([processors.ByteLevel(), template]), None):
        other = copies.copy(copy(tokenizer))
        other.post_processor = processor
        before = copy(other)
        change = other.prune(290, iter(some_lines(1)))
        check_like_tokenizers(other, ["a", "b a Foo", "<|2|>"])
        text = "<|2|> Foo"
        assert other.encode(text).ids == renamed(change, before.encode(text).ids)
        assert other.encode(text, "Foo").ids == renamed(change, before.encode(text, "Foo").ids)
        assert other.padding["pad_id"] == other.token_to_id("<|1|>") == change.old_to_new[ids["<|1|>"]]
        assert [e.ids for e in other.encode_batch(["Foo", "Foo<|2|>"])] == [
            renamed(change, e.ids) for e in before.encode_batch(["Foo", "Foo<|2|>"])
        ]


def test_tokens_of_steps_stay_though_they_are_not_special():
    """A token that the post-processor or the padding names stays, even if the text has it nowhere."""
    tokenizer = byte_level(some_lines(0), 360, n_added=0)
    last = tokenizer.id_to_token(359)
    tokenizer.post_processor = processors.TemplateProcessing(f"$A {last}", f"$A $B {last}", [(last, 359)])
    tokenizer.enable_padding(pad_id=358, pad_token=tokenizer.id_to_token(358))
    change = tokenizer.truncate(280)
    assert (change.old_to_new[[358, 359]] >= 0).all() and tokenizer.get_vocab_size() == 280
    assert tokenizer.encode("a").ids[-1] == tokenizer.token_to_id(last)
    assert tokenizer.id_to_token(tokenizer.padding["pad_id"]) == tokenizer.padding["pad_token"]


def test_what_is_refused():
    tokenizer = byte_level(some_lines(0), 360)
    before = tokenizer.to_str()
    for n_tokens, message in ((364, "the tokenizer has 363"), (258, "of which 259 must stay"), (-1, "at least 0")):
        with pytest.raises(ValueError, match=message):
            tokenizer.truncate(n_tokens)
        with pytest.raises(ValueError, match=message):
            tokenizer.prune(n_tokens, iter(["a"]))
    tokenizer.enable_padding(pad_id=999)
    with pytest.raises(ValueError, match="uses the id 999, which no token has"):
        tokenizer.truncate(300)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<|1|>"), pad_token="<|1|>")
    assert tokenizer.to_str() == before
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    for operation in (lambda: words.truncate(1), lambda: words.prune(1, iter(["a"]))):
        with pytest.raises(ValueError, match="needs a BPE model, not WordLevel"):
            operation()
    twins = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 1}, [("a", "b")]))
    with pytest.raises(ValueError, match="'b' and 'ab' have the same id, 1"):
        twins.truncate(2)


def test_the_same_size_closes_gaps():
    tokenizer = Tokenizer(models.BPE({"b": 7, "a": 3, "ab": 9}, [("a", "b")]))
    change = tokenizer.truncate(3)
    assert tokenizer.get_vocab() == {"a": 0, "b": 1, "ab": 2}
    assert change.old_to_new.tolist() == [-1, -1, -1, 0, -1, -1, -1, 1, -1, 2]


def test_commands(tmp_path, monkeypatch, capsys):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    tokenizer, lines = byte_level(some_lines(0), 360), some_lines(1)
    tokenizer.save("t.json")
    (tmp_path / "text.txt").write_text("".join(lines), newline="")

    def gputok(*arguments):
        with pytest.raises(SystemExit) as exit:
            cli.main([*arguments])
        return (exit.value.code, *capsys.readouterr())

    size = "-t", "t.json", "--vocab-size", "300", "--change", "c.json", "-o"
    status, out, err = gputok("prune", "text.txt", *size, "pruned.json")
    assert status == 0 and out.startswith("pruned.json: 300 tokens, 363 before, in ")
    pruned = copy(tokenizer)
    assert VocabularyChange.load("c.json") == pruned.prune(300, iter(lines))
    assert Tokenizer.from_file("pruned.json").to_str() == pruned.to_str()
    status, out, err = gputok("truncate", *size, "truncated.json")
    assert status == 0 and out.startswith("truncated.json: 300 tokens, 363 before, in ")
    assert VocabularyChange.load("c.json") == tokenizer.truncate(300)
    assert Tokenizer.from_file("truncated.json").to_str() == tokenizer.to_str()
    status, out, err = gputok("truncate", "-t", "t.json", "--vocab-size", "9", "-o", "x.json")
    assert status == 1 and "9 tokens can't be left" in err and not (tmp_path / "x.json").exists()


# ---- real tokenizers and corpora


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "corpus", "most"),
    [("llama3", "code", 0.02), ("qwen3", "code", 0.02), ("llama3", "zh", 0.01), ("llama2", "code", 0.05)],
)
def test_real_tokenizers(name, corpus, most, shared_tokenizer, corpus_sample):
    """To 32,000 tokens (Llama 2: 16,000), on every fifth line, which was left out."""
    old, tokenizer = (Tokenizer.from_file(str(shared_tokenizer(name))) for _ in range(2))
    lines = corpus_sample(corpus, -1).splitlines(keepends=True)
    held_out = lines[::5]
    change = tokenizer.prune(16_000 if name == "llama2" else 32_000, (line for i, line in enumerate(lines) if i % 5))

    def ids_of(tokenizer):
        found = tokenizer.encode_corpus(iter(held_out), add_special_tokens=False)
        return [
            ids.tolist()
            for batch in found
            for ids in itertools.starmap(lambda a, b, i=batch.ids: i[a:b], itertools.pairwise(batch.rows))
        ]

    before, after = ids_of(old), ids_of(tokenizer)
    n_before, n_after = sum(map(len, before)), sum(map(len, after))
    assert n_after < (1 + most) * n_before
    for old_ids, new_ids in zip(before, after, strict=True):
        found = change.old_to_new[old_ids]
        if (found >= 0).all():
            assert found.tolist() == new_ids
    theirs, text = tokenizers.Tokenizer.from_str(tokenizer.to_str()), "".join(held_out)[:400_000]
    assert tokenizer.encode(text).ids == theirs.encode(text).ids and tokenizer.get_vocab() == theirs.get_vocab()
    split = prune.splits(tokenizer.model)
    added = [tokenizer.token_to_id(token.content) for token in tokenizer.get_added_tokens_decoder().values()]
    unreached = np.setdiff1d(np.flatnonzero(split[:, 0] < 0), added)
    assert all(tokenizer.id_to_token(id).startswith("<0x") for id in unreached.tolist())
