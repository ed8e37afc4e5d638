"""SentencePiece files, read and written: the same ids as the installed SentencePiece."""

import base64
import io
import random
import tracemalloc

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
    for text, ids, encoding in zip(texts, processor.encode(texts), tokenizer.encode_batch(texts), strict=True):
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
        tokenizer, model, ["", " ", "  ", "  a", "nooooo wwww", "a <s> b</s>", *NEXT_LINES, *lines, *random_texts]
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
    model = trained(lines[::5], model_type=kind, vocab_size=4000, byte_fallback=True, character_coverage=0.995)
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
    model = trained(lines[::20], model_type=kind, vocab_size=16_000, byte_fallback=True, character_coverage=0.9995)
    tokenizer = gputok.from_sentencepiece(model)
    for part in in_parts(lines):
        assert_same_ids(tokenizer, model, part)


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "multi"])
def test_a_model_trained_here_on_a_whole_corpus_is_the_same_everywhere(name, corpus_sample, tmp_path):
    """In tokenizers, and as a SentencePiece file; over a corpus that it was trained on and one that it was not."""
    tokenizer, trainer = recipe("unigram", vocab_size=16_000)
    tokenizer.train_from_iterator(lines_of(corpus_sample(name, -1)), trainer)
    gputok.save_sentencepiece(tokenizer, tmp_path / "x.model")
    model, upstream = (tmp_path / "x.model").read_bytes(), tokenizers.Tokenizer.from_str(tokenizer.to_str())
    for part in in_parts(lines_of(corpus_sample("multi", -1))):
        assert_same_ids(gputok.from_sentencepiece(model), model, part)
        ours, theirs = tokenizer.encode_batch(part), upstream.encode_batch_fast(part)
        assert all(a.ids == b.ids for a, b in zip(ours, theirs, strict=True))


def test_decoding():
    model = trained(lines_of(OWN_TEXT), model_type="unigram", vocab_size=700, byte_fallback=True)
    tokenizer, processor = gputok.from_sentencepiece(model), spm.SentencePieceProcessor(model_proto=model)
    for text in ["the lazy dog 😀", "Dès l'aube"]:
        assert tokenizer.decode(tokenizer.encode(text).ids) == processor.decode(processor.encode(text)) == text


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
    gputok.save_sentencepiece(tokenizer, tmp_path / "x.model")
    model = (tmp_path / "x.model").read_bytes()
    texts = [*lines, "the  fox", "lazy dogs", "é", "unknown: ☃☃ ß"]
    assert_same_ids(tokenizer, model, texts)
    assert_same_ids(gputok.from_sentencepiece(tmp_path / "x.model"), model, texts)


def unigram(*arguments) -> gputok.Tokenizer:
    tokenizer = gputok.Tokenizer(models.Unigram(*arguments))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


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
    with pytest.raises(ValueError, match="it has no unknown token"):
        gputok.save_sentencepiece(unigram([("a", 0.0)]), tmp_path / "x.model")
    with pytest.raises(ValueError, match="'<0x00>' is missing"):
        gputok.save_sentencepiece(unigram([("a", 0.0)], 0, True), tmp_path / "x.model")


def test_what_sentencepiece_refuses_is_refused_with_the_file_and_the_piece(tmp_path):
    from sentencepiece import sentencepiece_model_pb2 as pb2

    path = tmp_path / "x.model"
    for kind, fallback, name, score, piece_type, message in (
        ("unigram", False, "a", -1.0, 1, "a is already defined"),
        ("bpe", False, "<u>", 0.0, 2, "piece [0-9]+, '<u>', .*unk is already defined"),
        ("bpe", True, "<0x41>", 0.0, 1, "<0x41> is already defined"),
        ("unigram", False, "<0x41>", 0.0, 6, "<0x41> is found although"),
        ("bpe", False, "", -1.0, 1, "piece [0-9]+, '', .*must not be empty"),
        ("unigram", False, "a\0b", -1.0, 1, r"piece [0-9]+, 'a\\x00b', .*null character"),
        ("unigram", False, "qq", float("nan"), 1, "piece [0-9]+, 'qq', with the score nan"),
        ("bpe", False, "qq", float("nan"), 1, "piece [0-9]+, 'qq', with the score nan"),
        ("bpe", False, "☃", 0.0, 3, "piece [0-9]+, '☃', .*no tokenizer.json can express"),
    ):
        options = {"vocab_size": 460 if fallback else 200, "byte_fallback": fallback}
        proto = pb2.ModelProto.FromString(trained(lines_of(OWN_TEXT), model_type=kind, **options))
        proto.pieces.add(piece=name, score=score, type=piece_type)
        path.write_bytes(proto.SerializeToString())
        with pytest.raises(ValueError, match=f"x.model: .*{message}"):
            gputok.from_sentencepiece(path)
    proto.pieces.pop()
    for charsmap in (b"x", b"\0" * 5, b"\4\0\0\0abcde"):
        proto.normalizer_spec.precompiled_charsmap = charsmap
        with pytest.raises(ValueError, match="SentencePiece refuses this model"):
            gputok.from_sentencepiece(proto.SerializeToString())


def small_model(kind: str, pieces: list[tuple[str, float]], symbols=(), **options) -> bytes:
    from sentencepiece import sentencepiece_model_pb2 as pb2

    proto = pb2.ModelProto()
    proto.pieces.add(piece="<unk>", type=2)
    for name in symbols:
        proto.pieces.add(piece=name, type=4)
    for name, score in pieces:
        proto.pieces.add(piece=name, score=score)
    proto.trainer_spec.model_type = {"unigram": 1, "bpe": 2}[kind]
    for name, value in options.items():
        setattr(proto.normalizer_spec, name, value)
    return proto.SerializeToString()


def test_what_no_tokenizer_json_expresses_is_refused():
    letters = [(letter, -9.0) for letter in "ab▁"]
    for pieces, symbols, message in (
        ([("ab", -1.0), ("ba", -1.0), *letters], [], "equal scores near 'ab' and 'ba'"),
        ([("ab", -1.0), ("ca", -1.0), ("aba", 0.0), *letters], [], "whose letter 'c' is no piece"),
        ([("ab", -1.0), *letters], ["a b"], "user-defined symbol 'a b'"),
    ):
        with pytest.raises(ValueError, match=f"these bytes: .*{message}"):
            gputok.from_sentencepiece(small_model("bpe", pieces, symbols))
    # Of which the order doesn't matter
    equal = small_model("bpe", [("ab", -1.0), ("▁b", -2.0), ("ba", -2.0), *letters])
    assert_same_ids(gputok.from_sentencepiece(equal), equal, ["abab", "bab", "ba b", "bbaab"])


def test_a_symbol_with_a_mark_that_normalization_makes_a_space():
    """SentencePiece finds the symbol before it normalizes text, so a space beside its `▁` stays."""
    options = {"model_type": "unigram", "vocab_size": 10, "user_defined_symbols": ["▁>"]}
    with pytest.raises(ValueError, match="the user-defined symbol '▁>', whose ▁ its normalization joins with a space"):
        gputok.from_sentencepiece(trained(["a > b ab c"] * 9, **options))
    model = trained(["a > b ab c"] * 9, normalization_rule_name="identity", **options)
    assert_same_ids(gputok.from_sentencepiece(model), model, ["▁>", " ▁>", "a ▁>", "a▁> ▁> b", ">"])


def test_own_rules_of_normalization(tmp_path):
    """`tokenizers` applies rules to single characters, and to a letter and its marks."""
    for rule, text, works in (
        ("c\td\n", "ab abc", True),
        ("a b\tc\n", "ab abc", False),
        ("a 301\tc\n", "a\u0301b", True),
    ):
        codes = [" ".join(c if c == "301" else f"{ord(c):x}" for c in side.split()) for side in rule.split("\t")]
        (tmp_path / "rules.tsv").write_text("\t".join(codes) + "\n")
        own = {"normalization_rule_tsv": str(tmp_path / "rules.tsv")}
        model = trained(["ab abc ca"] * 9, model_type="bpe", vocab_size=8, **own)
        if works:
            assert_same_ids(gputok.from_sentencepiece(model), model, [text])
        else:
            with pytest.raises(
                ValueError, match="a rule of normalization for several characters, the last of them 'b'"
            ):
                gputok.from_sentencepiece(model)


@pytest.mark.parametrize("remove_extra_whitespaces", [False, True])
@pytest.mark.parametrize("add_dummy_prefix", [False, True])
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")
def test_user_defined_symbols(kind, add_dummy_prefix, remove_extra_whitespaces):
    """No ▁ follows them; one stands before them at the start; a Unigram may prefer pieces that overlap them."""
    pieces = [(name, -float(i)) for i, name in enumerate(["hou", "se", "▁the", "▁<s", *"hetousp▁<>x"], 1)]
    model = small_model(
        kind,
        [*[("th", -0.5), ("▁th", -0.7), ("ho", -0.8), ("▁<", -0.9)], *pieces],
        ["<sep>", "<x>", "x▁h"],
        add_dummy_prefix=add_dummy_prefix,
        remove_extra_whitespaces=remove_extra_whitespaces,
    )
    texts = ["the<sep>house", "<sep>", " <sep><x> the", "x house", "the <sep>  ", "<sep><unk>", "<s<x>se", "x▁h x"]
    tokenizer = gputok.from_sentencepiece(model)
    assert_same_ids(tokenizer, model, texts)
    assert_same_ids(
        tokenizers.Tokenizer.from_str(tokenizer.to_str()), model, [text for text in texts if "unk" not in text]
    )


def test_what_is_left_of_a_name_that_no_merge_makes():
    """Neither "abc" nor "▁abc" is ever merged; of the second, cut behind "▁", the first is left."""
    pieces = [(name, -float(i)) for i, name in enumerate([*"▁abc", "abc", "▁abc"], 1)]
    model = small_model("bpe", pieces, ["x"])
    assert_same_ids(gputok.from_sentencepiece(model), model, ["abcx▁abc", "xabc", "abc", "x abcxabcabc"])


def test_a_long_text_of_a_unigram():
    """SentencePiece subtracts a sum that is large from all sums, so that their rounding stays small."""
    lines = lines_of(OWN_TEXT)
    model = trained(lines, model_type="unigram", vocab_size=300, normalization_rule_name="identity")
    rng = random.Random(1)
    text = " ".join(rng.choices(" ".join(lines).split(), k=60_000))
    assert_same_ids(gputok.from_sentencepiece(model), model, [text])


@pytest.mark.parametrize("form", ["model", "gguf", "tiktoken"])
def test_memory_and_time_are_in_proportion_to_the_file(form, tmp_path):
    """A file of a, aa, aaa, ... took 4,000 times its size, and a token of a megabyte many minutes."""
    tokens = ["a" * n for n in range(1, 1000)]
    path = tmp_path / "x"
    if form == "model":
        path.write_bytes(small_model("bpe", [(token, -float(i)) for i, token in enumerate(tokens)]))
    elif form == "gguf":
        gguf = pytest.importorskip("gguf")
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["<unk>", *tokens])
        writer.add_token_scores([0.0, *(-float(i) for i in range(len(tokens)))])
        writer.add_token_types([2, *[1] * len(tokens)])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
    else:
        byte_tokens = [bytes([byte]) for byte in range(256)]
        listed = [*byte_tokens, *(token.encode() for token in [*tokens[1:], "b" * 1_000_000])]
        path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % i for i, token in enumerate(listed)))
    read = {
        "model": gputok.from_sentencepiece,
        "gguf": gputok.from_gguf,
        "tiktoken": lambda path: gputok.from_tiktoken(path, pattern="gpt2"),
    }[form]
    tracemalloc.start()
    try:
        tokenizer = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * path.stat().st_size
    assert len(tokenizer.encode("a" * 1500).ids) == 2 + (form != "tiktoken")
