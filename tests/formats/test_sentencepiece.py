"""SentencePiece files, read and written: the same ids as the installed SentencePiece."""

import io
import random

import pytest
import tokenizers

import gputok
from gputok import models, pre_tokenizers, trainers
from gputok.recipes import recipe

spm = pytest.importorskip("sentencepiece")

OWN_TEXT = """The quick brown fox jumps over the lazy dog; the dogs were lazier than www.example.com/foxes.
Dès l'aube, à l'heure où blanchit la campagne, je partirai. Vois-tu, je sais que tu m'attends.
床前明月光,疑是地上霜。舉頭望明月,低頭思故鄉。
Съешь же ещё этих мягких французских булок, да выпей чаю. 1234567890
가나다라마바사 ①②③ ﬁne ½ e\u0301 नमस्ते दुनिया สวัสดีชาวโลก
"""


def lines_of(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def trained(lines: list[str], **options) -> bytes:
    """The bytes of a SentencePiece model."""
    file = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=file, hard_vocab_limit=False, minloglevel=2, **options
    )
    return file.getvalue()


def assert_same_ids(tokenizer, model: bytes, texts: list[str]) -> None:
    processor = spm.SentencePieceProcessor(model_proto=model)
    for text, ids, encoding in zip(
        texts, processor.encode(texts), tokenizer.encode_batch(texts), strict=True
    ):
        assert encoding.ids == ids, text


NEXT_LINES = ["\x85a", "a\x85", "a \x85", "\x85", " \x85 a\t", "\u3000a\u3000"]
"""White space that SentencePiece's rules make a space of, and U+0085, which they leave."""

OPTIONS = [
    {},
    {"byte_fallback": True, "character_coverage": 0.98},
    {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True},
    {"normalization_rule_name": "nfkc", "add_dummy_prefix": False, "character_coverage": 0.98},
    {"split_by_whitespace": False, "control_symbols": ["<cls>"]},
    {"normalization_rule_name": "identity"},
    {"normalization_rule_name": "identity", "add_dummy_prefix": False},
    {"treat_whitespace_as_suffix": True, "normalization_rule_name": "identity"},
    {"treat_whitespace_as_suffix": True, "add_dummy_prefix": False, "byte_fallback": True},
    {"treat_whitespace_as_suffix": True, "remove_extra_whitespaces": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")
def test_reading(kind, options, tmp_path):
    lines = lines_of(OWN_TEXT) * 3
    model = trained(lines, model_type=kind, vocab_size=700, **options)
    tokenizer = gputok.from_sentencepiece(model)
    rng = random.Random(0)
    alphabet = sorted(set(OWN_TEXT) - {"\n"}) + [" "] * 30 + ["▁", "😀", "\t", "<unk", "noo", "www"]
    random_texts = ["".join(rng.choices(alphabet, k=rng.randrange(25))) for _ in range(300)]
    if options.get("normalization_rule_name") != "identity":
        # Precompiled (that of tokenizers, which ours equals) replaces a grapheme cluster by what its shortest known
        # beginning becomes; SentencePiece takes the longest, and goes on after it.
        random_texts = [text for text in random_texts if text.isascii()]
    assert_same_ids(
        tokenizer,
        model,
        ["", " ", "  ", "  a", "nooooo wwww", "a <s> b</s>", *NEXT_LINES, *lines, *random_texts],
    )
    assert tokenizer.get_vocab_size() == spm.SentencePieceProcessor(model_proto=model).get_piece_size()
    again = gputok.Tokenizer.from_str(tokenizer.to_str())
    assert_same_ids(again, model, lines)
    if not options.get("control_symbols"):
        gputok.save_sentencepiece(again, tmp_path / "again.model")
        assert_same_ids(again, (tmp_path / "again.model").read_bytes(), ["", "  a ", *lines, *random_texts])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_reading_on_real_text(kind, corpus_sample):
    lines = lines_of(corpus_sample("multi", 1_500_000))
    model = trained(
        lines[::5], model_type=kind, vocab_size=4000, byte_fallback=True, character_coverage=0.995
    )
    assert_same_ids(gputok.from_sentencepiece(model), model, lines)


def in_parts(lines: list[str], n_bytes: int = 4_000_000):
    """Some lines at a time: lists of ids take memory."""
    part, size = [], 0
    for line in lines:
        part.append(line)
        size += len(line.encode())
        if size > n_bytes:
            yield part
            part, size = [], 0
    yield part


@pytest.mark.full
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_reading_over_a_whole_corpus(kind, corpus_sample):
    lines = lines_of(corpus_sample("multi", -1))
    model = trained(
        lines[::20], model_type=kind, vocab_size=16_000, byte_fallback=True, character_coverage=0.9995
    )
    tokenizer = gputok.from_sentencepiece(model)
    for part in in_parts(lines):
        assert_same_ids(tokenizer, model, part)


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "multi"])
def test_a_model_trained_here_on_a_whole_corpus_is_the_same_everywhere(name, corpus_sample, tmp_path):
    """In tokenizers, and as a SentencePiece file; over a corpus that it was trained on and one that it was not."""
    tokenizer, trainer = recipe("unigram", vocab_size=16_000)
    tokenizer.train_from_iterator(lines_of(corpus_sample(name, -1)), trainer)
    tokenizer.model.save_sentencepiece(tmp_path / "x.model")
    model, upstream = (tmp_path / "x.model").read_bytes(), tokenizers.Tokenizer.from_str(tokenizer.to_str())
    for part in in_parts(lines_of(corpus_sample("multi", -1))):
        assert_same_ids(gputok.from_sentencepiece(model), model, part)
        ours, theirs = tokenizer.encode_batch(part), upstream.encode_batch_fast(part)
        assert all(a.ids == b.ids for a, b in zip(ours, theirs, strict=True))


def test_decoding():
    model = trained(lines_of(OWN_TEXT), model_type="unigram", vocab_size=700, byte_fallback=True)
    tokenizer, processor = gputok.from_sentencepiece(model), spm.SentencePieceProcessor(model_proto=model)
    for text in ["the lazy dog 😀", "Dès l'aube"]:
        assert (
            tokenizer.decode(tokenizer.encode(text).ids) == processor.decode(processor.encode(text)) == text
        )


def test_user_defined_symbols_are_added_tokens():
    model = trained(lines_of(OWN_TEXT), model_type="unigram", vocab_size=700, user_defined_symbols=["<sep>"])
    tokenizer = gputok.from_sentencepiece(model)
    assert_same_ids(tokenizer, model, ["the <sep> dog", "fox<sep>dog"])


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_writing(tmp_path, byte_fallback):
    """A model that gputok trained is written for SentencePiece, and read back."""
    lines = lines_of(OWN_TEXT)
    tokenizer = gputok.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    trainer = trainers.UnigramTrainer(
        vocab_size=200 + len(byte_tokens),
        special_tokens=["<unk>", *byte_tokens],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    unigram = tokenizer.model
    if byte_fallback:
        form = unigram.to_dict()
        tokenizer.model = models.Unigram([tuple(pair) for pair in form["vocab"]], form["unk_id"], True)
    tokenizer.model.save_sentencepiece(tmp_path / "x.model")
    model = (tmp_path / "x.model").read_bytes()
    texts = [*lines, "the  fox", "lazy dogs", "é", "unknown: ☃☃ ß"]
    assert_same_ids(tokenizer, model, texts)
    assert_same_ids(gputok.from_sentencepiece(tmp_path / "x.model"), model, texts)


def test_models_that_cannot_be_read_or_written(tmp_path):
    lines = lines_of(OWN_TEXT)
    for kind in ("word", "char"):
        with pytest.raises(ValueError, match="neither unigram nor bpe"):
            gputok.from_sentencepiece(trained(lines, model_type=kind, vocab_size=100))
    with pytest.raises(ValueError, match="user-defined symbols and white space as a suffix"):
        gputok.from_sentencepiece(
            trained(lines, vocab_size=700, treat_whitespace_as_suffix=True, user_defined_symbols=["<sep>"])
        )
    with pytest.raises(ValueError, match="expected a SentencePiece model"):
        gputok.from_sentencepiece(b"{}")
    with pytest.raises(FileNotFoundError):
        gputok.from_sentencepiece(tmp_path / "none.model")
    with pytest.raises(ValueError, match="unk_id of the model is None"):
        models.Unigram([("a", 0.0)]).save_sentencepiece(tmp_path / "x.model")
    with pytest.raises(ValueError, match="the model has no '<0x00>'"):
        models.Unigram([("a", 0.0)], 0, True).save_sentencepiece(tmp_path / "x.model")
