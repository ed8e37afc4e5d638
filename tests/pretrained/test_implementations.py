"""The ready-made tokenizers, compared with those of tokenizers in training and encoding."""

from __future__ import annotations

import pytest
import tokenizers

import gputok

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog barks: woof!",
    "Café déjà vu — naïve façade, Straße, ﬁne print, ½ cup.",
    "def f(x):\n    return x + 1  # fox\n",
    "the fox the dog the fox the dog thé",
] * 5
TEXTS = [*CORPUS[:4], "  a fox\tand Ünknown 字 letters ", "", "dog [MASK] </s> x"]

# The class, how it is made, how it is trained: where tokenizers gives one answer in all its runs.
CASES = {
    "byte level": ("ByteLevelBPETokenizer", {"lowercase": True}, {"vocab_size": 320, "special_tokens": ["</s>"]}),
    "byte level, plain": ("ByteLevelBPETokenizer", {"add_prefix_space": True, "unicode_normalizer": "nfkc"}, {}),
    "SentencePiece": ("SentencePieceBPETokenizer", {"add_prefix_space": False}, {"vocab_size": 150}),
    "SentencePiece, few": ("SentencePieceBPETokenizer", {"fuse_unk": True}, {"initial_alphabet": ["z", "ø"]}),
}
# It numbers letters with a prefix or suffix in hash order, and Unigram is better here: only encoding is compared.
OTHER_CASES = {
    "characters": ("CharBPETokenizer", {}, {"vocab_size": 120, "limit_alphabet": 30}),
    "characters, white space": (
        "CharBPETokenizer",
        {"split_on_whitespace_only": True, "lowercase": True, "unicode_normalizer": "nfd"},
        {"min_frequency": 6},
    ),
    "words": ("BertWordPieceTokenizer", {}, {"vocab_size": 90, "limit_alphabet": 40}),
    "Unigram": (
        "SentencePieceUnigramTokenizer",
        {},
        {"vocab_size": 60, "special_tokens": ["<unk>"], "unk_token": "<unk>"},
    ),
}


def answers(tokenizer):
    encodings = tokenizer.encode_batch(TEXTS)
    decoded = [tokenizer.decode(e.ids) for e in encodings]
    return [(e.ids, e.tokens, e.offsets) for e in encodings], decoded


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("source", ["texts", "file"])
def test_trained_as_tokenizers_does(case, source, tmp_path):
    name, made, trained = CASES[case]
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(CORPUS))
    results = []
    for package in (gputok, tokenizers):
        tokenizer = getattr(package.implementations, name)(**made)
        if source == "texts":
            tokenizer.train_from_iterator(iter(CORPUS), show_progress=False, **trained)
        else:
            tokenizer.train(str(path), show_progress=False, **trained)
        results.append((tokenizer.get_vocab(), repr(tokenizer), *answers(tokenizer)))
    ours, theirs = results
    assert ours == theirs


@pytest.mark.parametrize("case", OTHER_CASES)
def test_encodes_as_tokenizers_does(case, tmp_path):
    name, made, trained = OTHER_CASES[case]
    path = tmp_path / "corpus.txt"
    path.write_text("".join(CORPUS))
    trainings = []
    for source, train in ((iter(CORPUS), "train_from_iterator"), (str(path), "train")):
        tokenizer = getattr(gputok.implementations, name)(**made)
        getattr(tokenizer, train)(source, show_progress=False, **trained)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        same = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        assert answers(tokenizer) == answers(same)
        trainings.append(tokenizer.get_vocab())
    assert len(trainings[0]) > 50
    theirs = getattr(tokenizers.implementations, name)(**made)
    theirs.train_from_iterator(iter(CORPUS), show_progress=False, **trained)
    # the size of the vocabulary is first
    assert repr(theirs).split(", ")[1:] == repr(tokenizer).split(", ")[1:]
    assert len(theirs.get_vocab()) == pytest.approx(len(trainings[0]), abs=5)
