"""A program as users write it, with the names and arguments of `tokenizers`; test_types.py runs and type-checks it."""

from collections.abc import Iterator

from gputok import (
    AddedToken,
    Encoding,
    NormalizedString,
    PreTokenizedString,
    Regex,
    Tokenizer,
    WordCounts,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

LINES = ["The quick brown fox jumps over the lazy dog.", "Pack my box with five dozen liquor jugs!"] * 20


class Hyphens:
    """A pre-tokenizer written in Python."""

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        pretok.split(lambda i, text: self.cut(text))

    def cut(self, text: NormalizedString) -> list[NormalizedString]:
        return text.split("-", "removed")


def trained(lines: Iterator[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" +"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.PreTokenizer.custom(Hyphens()), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", AddedToken("<unk>")],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    start = tokenizer.token_to_id("<s>")
    if start is not None:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", start)])
    tokenizer.enable_truncation(max_length=16, stride=2)
    tokenizer.enable_padding(pad_id=0, pad_token="<s>", length=20)
    tokenizer.add_tokens(["[TOOL]", AddedToken("[END]", lstrip=True)])
    return tokenizer


def describe(encoding: Encoding) -> list[tuple[int, str, tuple[int, int], int | None]]:
    return list(zip(encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids, strict=True))


def words_of(texts: list[str]) -> dict[str, int]:
    counts = WordCounts.from_dict({"fox": 2, "dog": 1})
    learned = trainers.WordLevelTrainer(vocab_size=10, special_tokens=["<unk>"]).train(counts)
    model = models.WordLevel(learned.vocab, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ids: list[list[int]] = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    assert len(ids) == len(texts)
    return tokenizer.get_vocab()


def main() -> None:
    tokenizer = trained(iter(LINES))
    encoding = tokenizer.encode("The quick fox", "a well-known dog")
    for number, text, (start, end), word in describe(encoding):
        assert number >= 0 and text and start <= end and (word is None or word >= 0)
    assert len(encoding) == 20 and encoding.attention_mask[0] == 1
    assert tokenizer.decode(tokenizer.encode("lazy dog").ids) == "lazy dog"
    total = 0
    for ids, rows in tokenizer.encode_corpus(iter(LINES), add_special_tokens=False, progress=False):
        total += len(ids)
        assert rows[-1] == len(ids)
    assert total > len(LINES)
    assert words_of(["fox dog", "cat"]) == {"<unk>": 0, "fox": 1, "dog": 2}
    print("ok")


if __name__ == "__main__":
    main()
