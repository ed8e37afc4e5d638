"""Training SentencePiece's BPE: `sentencepiece` is asked live for pieces, their order, their scores, and the ids."""

import io
import itertools
import random

import pytest
import tokenizers
from resizing import some_lines

from gputok import Tokenizer, from_sentencepiece, train_sentencepiece
from gputok.trainers import SentencePieceBpeTrainer

sentencepiece = pytest.importorskip("sentencepiece")


def theirs(path, rule, **options) -> bytes:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=str(path),
        model_writer=out,
        model_type="bpe",
        normalization_rule_name=rule,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return out.getvalue()


def pieces(model: bytes) -> list[tuple[str, float, int]]:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return [(piece.piece, piece.score, piece.type) for piece in proto.pieces]


def check_equal(path, rule, lines, **options):
    expected = theirs(path, rule, **options)
    tokenizer, found = train_sentencepiece(
        [str(path)], SentencePieceBpeTrainer(**options), normalization_rule_name=rule
    )
    for i, (ours, other) in enumerate(itertools.zip_longest(pieces(found), pieces(expected))):
        assert ours == other, i
    processor = sentencepiece.SentencePieceProcessor(model_proto=expected)
    same = sentencepiece.SentencePieceProcessor(model_proto=found)
    hugging = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    for line in lines:
        ids = processor.encode(line)
        assert tokenizer.encode(line).ids == same.encode(line) == hugging.encode(line).ids == ids
    return tokenizer, found


def mixed_lines(seed):
    """Several scripts, digits of two widths, kana, punctuation, and what NFKC changes, beside ASCII."""
    r = random.Random(seed)
    letters = ["abcde", "абвг", "漢字語", "かなカナー", "١٢٣", "ابت", "éﬁ", "0123４５", ".,;()", "한글"]
    words = ["".join(r.choices("".join(r.choices(letters, k=r.randint(1, 2))), k=r.randint(1, 7))) for _ in range(150)]
    return [" ".join(r.choices(words, k=r.randint(1, 9))) + "\n" for _ in range(400)]


OPTIONS = [
    {},
    {"byte_fallback": True, "vocab_size": 370},
    {"split_digits": True},
    {"split_by_number": False},
    {"split_by_unicode_script": False},
    {"character_coverage": 0.98},
    {"character_coverage": 1.0},
    {"max_sentencepiece_length": 4},
    {"control_symbols": ["<ctl>"]},
    {"hard_vocab_limit": False},
    {"treat_whitespace_as_suffix": True},
    {"treat_whitespace_as_suffix": True, "byte_fallback": True, "vocab_size": 370},
    {"treat_whitespace_as_suffix": True, "split_by_number": False, "character_coverage": 0.98},
    {"treat_whitespace_as_suffix": True, "split_by_unicode_script": False, "split_digits": True},
]
# The normalizer of a tokenizer with suffixes removes spaces at the start of a text by such a pattern
look_behind = pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")


@look_behind
@pytest.mark.slow
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("make", [some_lines, mixed_lines])
def test_pieces_order_scores_and_ids(make, options, rule, tmp_path):
    path, lines = tmp_path / "text.txt", make(3)
    path.write_text("".join(lines), newline="", encoding="utf-8")
    options = {"vocab_size": 120 if make is some_lines else 250, **options}
    check_equal(path, rule, [line.rstrip("\n") for line in lines[:100]], **options)


def test_pieces_of_one_character(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("so it goes\nso long\n")
    _, found = check_equal(path, "identity", ["so"], vocab_size=12, max_sentencepiece_length=1)
    assert len(pieces(found)) == 12
    with pytest.raises(RuntimeError, match="set it to a value <= 12"):
        theirs(path, "identity", vocab_size=13, max_sentencepiece_length=1)
    trainer = SentencePieceBpeTrainer(vocab_size=13, max_sentencepiece_length=1)
    with pytest.raises(ValueError, match="vocab_size=13 is too high: the text has 12 pieces"):
        train_sentencepiece([str(path)], trainer, normalization_rule_name="identity")


def test_marks_between_scripts_are_equal_or_refused(tmp_path):
    """A mark joins the script before it; with what follows it, SentencePiece would make a piece if that is frequent."""
    path = tmp_path / "text.txt"
    rare = [*some_lines(7), "a\u0301б e\u0301r\u0301e\u0301\n", "e\u0301r\u0301e\u0301\n"]
    path.write_text("".join(rare), newline="", encoding="utf-8")
    check_equal(path, "identity", [], vocab_size=100, character_coverage=1.0)
    path.write_text("".join([*rare, *["a\u0301б\n"] * 500]), newline="", encoding="utf-8")
    with pytest.raises(ValueError, match=r"combining marks.* 501 times"):
        train_sentencepiece(
            [str(path)],
            SentencePieceBpeTrainer(vocab_size=100, character_coverage=1.0),
            normalization_rule_name="identity",
        )


def test_user_defined_symbols_lines_that_are_too_long_and_symbols_in_text(tmp_path):
    path, lines = tmp_path / "text.txt", some_lines(4)
    lines += ["t<sep>o n<s>a <unk>\n", "x" * 5000 + "\n", "\n", "  a  b \n", "\n"] * 3
    path.write_text("".join(lines), newline="", encoding="utf-8")
    options = {"vocab_size": 120, "user_defined_symbols": ["<sep>", "ta"]}
    expected = theirs(path, "identity", **options)
    _, found = train_sentencepiece([str(path)], SentencePieceBpeTrainer(**options), normalization_rule_name="identity")
    assert pieces(found) == pieces(expected)
    assert "x" not in {piece for piece, _, _ in pieces(found)}


def test_a_model_file_and_a_tokenizer_json(tmp_path):
    path, lines = tmp_path / "text.txt", some_lines(5)
    path.write_text("".join(lines), newline="", encoding="utf-8")
    tokenizer, model = train_sentencepiece([str(path)], SentencePieceBpeTrainer(vocab_size=120))
    (tmp_path / "x.model").write_bytes(model)
    assert from_sentencepiece(tmp_path / "x.model").to_str() == tokenizer.to_str()
    again, same = train_sentencepiece(
        [str(path)], SentencePieceBpeTrainer(vocab_size=120), memory_limit="64MB", threads=1
    )
    assert same == model and again.to_str() == tokenizer.to_str()


def test_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("so it goes\nso long\n")

    def train(**options):
        return train_sentencepiece([str(path)], SentencePieceBpeTrainer(**options))

    with pytest.raises(ValueError, match="vocab_size=400 is too high: the text has 24 pieces"):
        train(vocab_size=400)
    with pytest.raises(ValueError, match="vocab_size=5 is too small: there are 3 symbols and 9 characters"):
        train(vocab_size=5)
    with pytest.raises(ValueError, match=r"character_coverage must be from 0\.98"):
        train(character_coverage=0.5)
    with pytest.raises(ValueError, match="'a b' contains a space"):
        train(user_defined_symbols=["a b"])
    with pytest.raises(ValueError, match="'<s>' is there twice"):
        train(control_symbols=["<s>"])
    with pytest.raises(ValueError, match="split_by_whitespace=False is not supported: whole lines"):
        train(split_by_whitespace=False)
    with pytest.raises(ValueError, match="user_defined_symbols and treat_whitespace_as_suffix don't go together"):
        train(treat_whitespace_as_suffix=True, user_defined_symbols=["<sep>"])
    with pytest.raises(TypeError, match="split_digits"):
        train(split_digits="false")
    with pytest.raises(TypeError, match="user_defined_symbols"):
        train(user_defined_symbols="<sep>")
    with pytest.raises(ValueError, match="is no rule of SentencePiece"):
        train_sentencepiece([str(path)], normalization_rule_name="nothing")
    path.write_text("a\u2585b\n")
    with pytest.raises(ValueError, match=r"U\+2585"):
        train(vocab_size=20)


def test_command(tmp_path, monkeypatch, capsys):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("".join(some_lines(6)), newline="", encoding="utf-8")

    def gputok(*arguments):
        with pytest.raises(SystemExit) as exit:
            cli.main([*arguments])
        return (exit.value.code, *capsys.readouterr())

    command = ("train", "text.txt", "--model", "sentencepiece-bpe", "--vocab-size", "370", "--byte-fallback", "-o")
    status, out, err = gputok(*command, "x.model")
    assert status == 0 and out.startswith("x.model: 370 pieces in "), err
    expected = theirs("text.txt", "nmt_nfkc", vocab_size=370, byte_fallback=True)
    assert pieces((tmp_path / "x.model").read_bytes()) == pieces(expected)
    one = "--sentencepiece-option"
    more = [one, "split_digits=true", one, "user_defined_symbols=<a>,<b>", one, "normalization_rule_name=nfkc"]
    assert gputok(*command, "z.model", *more)[0] == 0
    options = {"vocab_size": 370, "byte_fallback": True, "split_digits": True}
    expected = theirs("text.txt", "nfkc", **options, user_defined_symbols=["<a>", "<b>"])
    assert pieces((tmp_path / "z.model").read_bytes()) == pieces(expected)
    for wrong, message in (
        ("split_digits=maybe", "expected true or false"),
        ("max_sentencepiece_length=2.5", "expected a whole number"),
        ("pieces=3", "expected NAME=VALUE, with one of character_coverage, max_sentencepiece_length"),
    ):
        status, _, err = gputok(*command, "y.model", one, wrong)
        assert status == 1 and f"{one} {wrong}: {message}" in err
    assert gputok(*command, "x.json")[0] == 0
    assert Tokenizer.from_file("x.json").get_vocab_size() == 370
    status, _, err = gputok(*command, "y.model", "--min-frequency", "3")
    assert status == 1 and "--min-frequency is not for --model sentencepiece-bpe" in err
    status, _, err = gputok("train", "text.txt", "--byte-fallback", "-o", "y.json")
    assert status == 1 and "--byte-fallback is for --model sentencepiece-bpe alone" in err
    status, _, err = gputok("train", "text.txt", one, "split_digits=true", "-o", "y.json")
    assert status == 1 and f"{one} is for --model sentencepiece-bpe alone" in err


@look_behind
@pytest.mark.full
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize(
    ("name", "vocab_size", "as_suffix"),
    [
        ("en", 8000, False),
        ("en", 32_000, False),
        ("multi", 8000, False),
        ("multi", 32_000, False),
        ("zh", 32_000, False),
        ("code", 8000, False),
        ("en", 8000, True),
        ("multi", 32_000, True),
    ],
)
def test_whole_corpora(name, vocab_size, as_suffix, rule, corpus_sample, tmp_path):
    path = tmp_path / "text.txt"
    text = corpus_sample(name, -1)
    path.write_text(text, newline="", encoding="utf-8")
    options = {"vocab_size": vocab_size, "treat_whitespace_as_suffix": as_suffix}
    check_equal(path, rule, text.split("\n")[:2000], **options)


@pytest.mark.slow
@look_behind
@pytest.mark.parametrize("as_suffix", [False, True])
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc", "nfkc_cf"])
def test_spaces_of_all_kinds_and_the_mark_of_words_in_text(rule, as_suffix, tmp_path):
    """Lines are counted in parts that begin at spaces, some of which the map of characters makes or moves."""
    options = {"vocab_size": 40, "treat_whitespace_as_suffix": as_suffix}
    for seed in range(8):
        r = random.Random(seed)
        units = ["a", "b", "ab", "d", "▁", " ", "  ", "\u3000", "c¨", "\u00a0", "\t", "\u200b", "\u00b4", "\ufb01"]
        lines = ["".join(r.choices(units, k=r.randint(0, 9))) + "\n" for _ in range(300)]
        path = tmp_path / "text.txt"
        path.write_text("".join(lines), newline="", encoding="utf-8")
        expected = theirs(path, rule, **options)
        _, found = train_sentencepiece([str(path)], SentencePieceBpeTrainer(**options), normalization_rule_name=rule)
        assert pieces(found) == pieces(expected), seed
