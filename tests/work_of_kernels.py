"""Trains and encodes a little with each kind of kernel; test_memory.py runs this program under valgrind."""

import random
import sys
import warnings

from gputok import Tokenizer, models, normalizers, pre_tokenizers, trainers

rng = random.Random(0)
STEMS = (
    "the of and a naïve façade 漢字 東京 한국어 नमस्ते 😀 👩‍👩‍👧 ﬁ Å e\u0301 don't 3.14 return self . , ( ) \n \t".split(
        " "
    )
)
TEXTS = ["".join(rng.choices([*STEMS, " ", "  "], k=rng.randrange(1, 200))) for _ in range(300)]
TEXTS += ["", " ", "a" * 2000, "é" * 700, "ab" * 700, "<s>and</s>", "x" * 40_000]


def encode(tokenizer: Tokenizer) -> None:
    for threads in (1, 2):
        for _ in tokenizer.encode_corpus(iter([TEXTS]), threads=threads):
            pass
    encodings = tokenizer.encode_batch(TEXTS)
    for encoding in encodings[::5]:
        assert len(encoding.offsets) == len(encoding.tokens) == len(encoding.word_ids)
    tokenizer.decode_batch([encoding.ids for encoding in encodings])
    tokenizer.encode("one of a pair", "and the other")
    for text in TEXTS[::3]:
        encoding = tokenizer.encode(text)
        assert len(encoding.ids) == len(encoding.offsets) == len(encoding.word_ids)


def main() -> None:
    warnings.simplefilter("ignore")
    size = {"show_progress": False, "vocab_size": 600}
    unknown = {"special_tokens": ["<unk>", "<s>"]}
    every = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace("a", "bb"),
            normalizers.Strip(),
            normalizers.NFC(),
            normalizers.Nmt(),
        ]
    )
    affixes = {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    punctuation = pre_tokenizers.Punctuation()
    recipes = [
        (models.BPE(), None, pre_tokenizers.ByteLevel(), trainers.BpeTrainer(**size, initial_alphabet=alphabet)),
        (models.BPE(), every, pre_tokenizers.Whitespace(), trainers.BpeTrainer(**size, **affixes)),
        (
            models.WordPiece(unk_token="<unk>"),
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
            trainers.WordPieceTrainer(**size, **unknown),
        ),
        (models.WordLevel(unk_token="<unk>"), every, punctuation, trainers.WordLevelTrainer(**size, **unknown)),
        (
            models.Unigram(),
            normalizers.NFKC(),
            pre_tokenizers.Metaspace(),
            trainers.UnigramTrainer(**size, **unknown, unk_token="<unk>"),
        ),
    ]  # fmt: skip
    for model, normalizer, pre_tokenizer, trainer in recipes:
        tokenizer = Tokenizer(model)
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
        for threads in (1, 2):
            tokenizer.train_from_iterator(iter(TEXTS), trainer, threads=threads)
        encode(tokenizer)
        if isinstance(model, models.BPE):
            tokenizer.model.dropout = 0.2
            encode(tokenizer)
    for path in sys.argv[1:]:
        encode(Tokenizer.from_file(path))
    print("done")


if __name__ == "__main__":
    main()
