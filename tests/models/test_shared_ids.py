"""Vocabularies in which several tokens have one id: as in `tokenizers`, or refused with the names of two of them."""

import pickle
import random

import pytest
import tokenizers
from test_models import random_bpe, random_texts, random_unigram, random_wordpiece

import gputok
from gputok.text.byte_alphabet import BYTE_CHARACTERS


def with_shared_ids(vocab: dict[str, int], rng: random.Random) -> dict[str, int]:
    """The vocabulary, in which about every fifth token gets the id of another one."""
    tokens = [*vocab]
    return {token: vocab[rng.choice(tokens)] if rng.random() < 0.2 else id for token, id in vocab.items()}


def spans(model, text: str) -> list[tuple] | str:
    try:
        return [(token.id, token.offsets) for token in model.tokenize(text)]
    except Exception:
        return "error"


def assert_equal_models(kind: str, arguments: dict, texts: list[str], *, named: bool = True) -> None:
    """Compares ids and offsets; the names of ids, which are any of the names in `tokenizers`; and what files keep."""
    libraries = gputok, tokenizers
    ours, theirs = (library.Tokenizer(getattr(library.models, kind)(**arguments)) for library in libraries)
    again = pickle.loads(pickle.dumps(ours))
    assert again.to_str() == ours.to_str()
    read = [again]
    if named:
        assert again.get_vocab() == ours.get_vocab() == theirs.get_vocab()
        assert ours.get_vocab_size() == theirs.get_vocab_size()
        read.append(tokenizers.Tokenizer.from_str(ours.to_str()))
        for token, id in ours.get_vocab().items():
            for tokenizer in (ours, theirs, *read):
                assert tokenizer.token_to_id(token) == id
                assert ours.token_to_id(tokenizer.id_to_token(id)) == id
            assert ours.token_to_id(ours.decode([id], False)) == id
    for text in texts:
        answer = spans(theirs.model, text)
        for tokenizer in (ours, *read):
            assert spans(tokenizer.model, text) == answer, text


@pytest.mark.parametrize("seed", range(150))
def test_bpe(seed):
    rng = random.Random(seed)
    arguments = random_bpe(rng)
    arguments["vocab"] = with_shared_ids(arguments["vocab"], rng)
    long = ["".join(rng.choices("abé", k=400))]
    assert_equal_models("BPE", arguments, [*random_texts(rng, 40), *long])


@pytest.mark.parametrize("seed", range(30))
def test_wordpiece_and_wordlevel(seed):
    rng = random.Random(seed)
    arguments = random_wordpiece(rng)
    arguments["vocab"] = with_shared_ids(arguments["vocab"], rng)
    assert_equal_models("WordPiece", arguments, random_texts(rng, 60, 12))
    words = {"vocab": arguments["vocab"], "unk_token": rng.choice([*arguments["vocab"]])}
    assert_equal_models("WordLevel", words, [*arguments["vocab"], *random_texts(rng, 30, 5)])


@pytest.mark.parametrize("seed", range(30))
def test_unigram_repeats_tokens_but_no_ids(seed):
    rng = random.Random(seed)
    arguments = random_unigram(rng)
    arguments["vocab"] += rng.choices(arguments["vocab"], k=5)
    assert_equal_models("Unigram", arguments, random_texts(rng, 60), named=False)


def byte_level_tokenizers(rng: random.Random):
    """A byte-level tokenizer of each library with the same merges, some of whose tokens share an id."""
    letters = [*BYTE_CHARACTERS[ord("a") : ord("h")], BYTE_CHARACTERS[ord(" ")], *BYTE_CHARACTERS[0xC3:0xC5]]
    tokens, merges = [*BYTE_CHARACTERS], []
    for _ in range(60):
        pair = rng.choice([*letters, *tokens[256:]]), rng.choice([*letters, *tokens[256:]])
        if len("".join(pair)) < 8 and pair not in merges:
            merges.append(pair)
            tokens += [*{"".join(pair)} - {*tokens}]
    vocab = {token: id for id, token in enumerate(tokens)}
    for _ in range(rng.randrange(1, 8)):
        vocab[rng.choice([*letters, *tokens[256:]])] = vocab[rng.choice([*letters, *tokens[256:]])]
    made = []
    for library in (gputok, tokenizers):
        tokenizer = library.Tokenizer(library.models.BPE(vocab, merges))
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        made.append(tokenizer)
    return made


@pytest.mark.parametrize("seed", range(60))
def test_byte_level_tokenizers(seed, tmp_path):
    rng = random.Random(seed)
    ours, theirs = byte_level_tokenizers(rng)
    ours.save(str(tmp_path / "ours.json"))
    read = gputok.Tokenizer.from_file(str(tmp_path / "ours.json"))
    assert read.to_str() == ours.to_str()
    by_them = tokenizers.Tokenizer.from_file(str(tmp_path / "ours.json"))
    texts = ["".join(rng.choices("abcdefg  éÄ", k=rng.randrange(300))) for _ in range(40)]
    expected = theirs.encode_batch(texts)
    ids, offsets = [e.ids for e in expected], [e.offsets for e in expected]
    for tokenizer in (ours, read, by_them):
        found = tokenizer.encode_batch(texts)
        assert [e.ids for e in found] == ids
        assert [e.offsets for e in found] == offsets
        assert [tokenizer.encode(text).ids for text in texts] == ids
        assert [tokenizer.encode(text).offsets for text in texts] == offsets
    batches = ours.corpus_encoder()(iter(texts))
    assert [row for batch in batches for row in batch.column("ids").to_pylist()] == ids
    ours.encode_corpus(iter(texts), tmp_path / "ours.parquet")
    assert [row.tolist() for row in gputok.open_tokens(tmp_path / "ours.parquet")] == ids


def test_the_example_of_a_lost_merge():
    """A token that occurs in no text has the id of one that does."""
    tokens = {character: id for id, character in enumerate(BYTE_CHARACTERS)} | {"##": 256}
    arguments = {"vocab": {**tokens, "zz": tokens["#"]}, "merges": [("#", "#")]}
    ours, theirs = (library.Tokenizer(library.models.BPE(**arguments)) for library in (gputok, tokenizers))
    assert ours.encode("##").ids == theirs.encode("##").ids == [256]


def test_what_must_tell_tokens_apart_names_both(tmp_path):
    vocab = {character: id for id, character in enumerate(BYTE_CHARACTERS)}
    vocab |= {"ab": 256, "abc": 257, "zz": 257, "<unk>": 258}
    tokenizer = gputok.Tokenizer(gputok.models.BPE(vocab, [("a", "b"), ("ab", "c")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = gputok.pre_tokenizers.ByteLevel(add_prefix_space=False)
    metaspace = gputok.Tokenizer(tokenizer.model)
    metaspace.pre_tokenizer = gputok.pre_tokenizers.Metaspace(split=False)
    wordpiece = gputok.models.WordPiece(vocab, unk_token="<unk>")
    attempts = [
        lambda: tokenizer.extend(iter(["abc"]), 3),
        lambda: tokenizer.prune(257, iter(["abc"])),
        lambda: tokenizer.truncate(257),
        lambda: gputok.save_tiktoken(tokenizer, tmp_path / "x.tiktoken"),
        lambda: gputok.save_sentencepiece(metaspace, tmp_path / "x.model"),
        lambda: wordpiece.save(str(tmp_path)),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=r"'abc' and 'zz' have the same id, 257"):
            attempt()
    assert not [*tmp_path.iterdir()]
