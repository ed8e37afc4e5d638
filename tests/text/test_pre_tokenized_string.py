"""PreTokenizedString, and pre-tokenizers written in Python, against tokenizers."""

import pickle

import numpy as np
import pytest
import tokenizers
from tokenizers import pre_tokenizers as theirs

import gputok
from gputok import pre_tokenizers as ours
from gputok.text.pieces import Pieces, TextBatch

TEXTS = ["", "a", "Héllo  wörld 1٣", " \n中文 👩‍👧 Ⅷ", "ﬁn’s ½ x", "  é́ "]
REFERENTIALS = [(r, t) for r in ("original", "normalized") for t in ("byte", "char")]


def both(text):
    return gputok.PreTokenizedString(text), tokenizers.PreTokenizedString(text)


def splits(text):
    def shown(token):
        return (token.id, token.value, token.offsets)

    return [
        [(part, offsets, tokens and [shown(t) for t in tokens]) for part, offsets, tokens in text.get_splits(*how)]
        for how in REFERENTIALS
    ]


def run(text, actions):
    for action in actions:
        action(text)


def split(pattern, behavior):
    return lambda text: text.split(lambda i, part: part.split(pattern, behavior))


def normalize(name, *arguments):
    return lambda text: text.normalize(lambda part: getattr(part, name)(*arguments) and None)


def tokenize(token):
    def tokens(part):
        half = part[: len(part) // 2]
        at, n = len(half.encode()), len(part.encode())
        return [token(0, half, (0, at)), token(1, part, (at, n)), token(2, "", (n, n)), token(3, "?", (0, n + 9))]

    return lambda text: text.tokenize(tokens)


ACTIONS = [
    [],
    [split(" ", "removed")],
    [split(" ", "isolated"), normalize("uppercase")],
    [split("l", "merged_with_next"), normalize("nfkd"), split("e", "isolated")],
    [normalize("strip"), normalize("nfd"), split(" ", "contiguous")],
    [normalize("prepend", "▁▁"), split("▁", "isolated")],
    [normalize("append", "é"), split("é", "merged_with_previous")],
    [normalize("clear")],
    [lambda text: text.split(lambda i, part: [part.slice((0, 1)), part] if i else [part])],
]


@pytest.mark.parametrize("text", TEXTS)
def test_splits(text):
    for actions in ACTIONS:
        mine, upstream = both(text)
        run(mine, actions)
        run(upstream, actions)
        assert splits(mine) == splits(upstream)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_and_encodings(text):
    for actions in ACTIONS:
        mine, upstream = both(text)
        run(mine, [*actions, tokenize(gputok.Token)])
        run(upstream, [*actions, tokenize(tokenizers.Token)])
        assert splits(mine) == splits(upstream)
        for arguments in ({}, {"type_id": 3}, {"word_idx": 5}):
            a, b = mine.to_encoding(**arguments), upstream.to_encoding(**arguments)
            for name in ("ids", "type_ids", "tokens", "offsets", "word_ids", "attention_mask", "special_tokens_mask"):
                assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.ByteLevel(),
        lambda p: p.Metaspace(prepend_scheme="first"),
        lambda p: p.Metaspace("é", split=False),
        lambda p: p.ByteLevel(False, False, use_regex=False),
        lambda p: p.Whitespace(),
        lambda p: p.FixedLength(2),
        lambda p: p.Sequence([p.UnicodeScripts(), p.ByteLevel(use_regex=False), p.Digits(True)]),
    ],
)
def test_pre_tokenizers_work_on_it(make):
    """After normalizers, and beside splits that have their tokens already.

    Not on the empty text: what is appended to that comes twice out of the ByteLevel of tokenizers.
    """
    for text in TEXTS[1:]:
        for actions in ACTIONS:
            mine, upstream = both(text)
            run(mine, actions)
            run(upstream, actions)
            make(ours).pre_tokenize(mine)
            make(theirs).pre_tokenize(upstream)
            assert splits(mine) == splits(upstream)
    for library, p in ((gputok, ours), (tokenizers, theirs)):
        text = library.PreTokenizedString("one 1")
        text.tokenize(lambda part, library=library: [library.Token(0, part, (0, 5))])
        make(p).pre_tokenize(text)
        assert [part for part, *_ in text.get_splits()] == ["one 1"]


class Words:
    """Words in upper case, of which the last is `!`."""

    def pre_tokenize(self, pretok):
        pretok.split(lambda i, part: part.split(" ", "removed"))
        pretok.normalize(lambda part: part.uppercase())


def test_components_in_python():
    for text in TEXTS:
        for make in (
            lambda p: p.PreTokenizer.custom(Words()),
            lambda p: p.Sequence([p.Digits(), p.PreTokenizer.custom(Words()), p.ByteLevel()]),
            lambda p: p.Sequence([p.Metaspace(), p.PreTokenizer.custom(Words()), p.Punctuation()]),
        ):
            assert make(ours).pre_tokenize_str(text) == make(theirs).pre_tokenize_str(text)
    custom = ours.PreTokenizer.custom(Words())
    for fails in (lambda: pickle.dumps(custom), custom.to_dict, ours.Sequence([custom]).to_dict):
        with pytest.raises(TypeError):
            fails()


class WithoutLetters:
    def pre_tokenize(self, pretok):
        pretok.normalize(lambda part: part.filter(lambda c: not c.isalpha()))


def test_pieces_that_a_component_in_python_empties_keep_their_places():
    for text in [*TEXTS, "", "a", "ab cd ef", "é1 ab", "1 ab", "ab 1 é"]:
        for make in (
            lambda p: [p.PreTokenizer.custom(WithoutLetters())],
            lambda p: [p.PreTokenizer.custom(WithoutLetters())] * 2,
            lambda p: [p.Whitespace(), p.PreTokenizer.custom(WithoutLetters())],
            lambda p: [p.Split(" ", "isolated"), p.PreTokenizer.custom(WithoutLetters()), p.ByteLevel()],
            lambda p: [p.UnicodeScripts(), p.PreTokenizer.custom(WithoutLetters()), p.Digits()],
        ):
            one, other = (p.Sequence(make(p)).pre_tokenize_str(text) for p in (ours, theirs))
            assert one == other, text


@pytest.mark.parametrize("more", [[], ["WhitespaceSplit"], ["Digits", "UnicodeScripts"]])
@pytest.mark.parametrize(
    ("model", "tokens"), [("WordLevel", ["?", "12"]), ("WordLevel", ["?", ""]), ("WordPiece", "?1")]
)
def test_what_a_component_in_python_empties_stays_a_word(model, tokens, more):
    def encoded(library):
        vocab = {token: id for id, token in enumerate(tokens)}
        made = library.Tokenizer(getattr(library.models, model)(vocab, unk_token="?"))
        steps = library.pre_tokenizers
        code = steps.PreTokenizer.custom(WithoutLetters())
        made.pre_tokenizer = steps.Sequence([*(getattr(steps, name)() for name in more), code])
        made.add_special_tokens(["<s>"])
        texts = [*TEXTS, "", "12 ab <s>c 3", "éa"]
        found = [made.encode(text) for text in texts]
        columns = [(one.ids, one.tokens, one.offsets, one.word_ids) for one in found]
        return columns, [one.ids for one in made.encode_batch(texts)], texts, made

    (columns, ids, texts, made), (*expected, _, _) = encoded(gputok), encoded(tokenizers)
    assert [columns, ids] == expected
    found = np.concatenate([batch.ids for batch in made.encode_corpus(iter(texts))])
    assert found.tolist() == [id for some in ids for id in some]
    assert b"" not in dict(made.count_words(iter(texts)).items())


def test_components_in_python_on_arrays():
    """In documents of several pieces; an added token stays, and a component that tokenizes makes one."""
    batch = TextBatch.from_strings(["a b", "<s>", "ﬁ c", "d e"])
    token = np.array([-1, 9, -1, -1], np.int64)
    pieces = Pieces.from_batch(batch, aligned=True)._replace(rows=np.array([0, 3, 4]), token=token)
    cut = ours.PreTokenizer.custom(Words()).apply(pieces)
    assert cut.strings() == ["A", "B", "<s>", "FI", "C", "D", "E"]
    assert cut.rows.tolist() == [0, 5, 7]
    assert cut.token.tolist() == [-1, -1, 9, -1, -1, -1, -1]
    assert cut.alignment.start[cut.start].tolist() == [0, 2, 0, 0, 4, 0, 2]
    assert cut.alignment.end[cut.end - 1].tolist() == [1, 3, 3, 3, 5, 1, 3]
    assert ours.PreTokenizer.custom(Words()).apply(pieces._replace(alignment=None)).alignment is None

    class Letters:
        def pre_tokenize(self, pretok):
            pretok.tokenize(lambda part: [gputok.Token(ord(c), c, (i, i + 1)) for i, c in enumerate(part)])

    cut = ours.PreTokenizer.custom(Letters()).apply(Pieces.from_batch(TextBatch.from_strings(["ab", "", "c"])))
    assert (cut.strings(), cut.token.tolist()) == (["a", "b", "c"], [97, 98, 99])
    assert cut.rows.tolist() == [0, 2, 2, 3]


def test_text_inserted_into_an_empty_piece_has_an_empty_range():
    def encoded(library, text):
        class Shout:
            def normalize(self, part):
                part.append("!")

        steps, words = library.normalizers, library.Tokenizer(library.models.WordLevel({"?": 0}, unk_token="?"))
        words.add_special_tokens(["<s>"])
        words.normalizer = steps.Sequence([steps.Strip(), steps.Normalizer.custom(Shout())])
        words.pre_tokenizer = library.pre_tokenizers.Whitespace()
        encoding = words.encode(text)
        return encoding.tokens, encoding.offsets

    for text in ("  <s>", " ", " <s> a", "a<s>b"):
        assert encoded(gputok, text) == encoded(tokenizers, text), text


def test_errors():
    for library in (gputok, tokenizers):
        text = library.PreTokenizedString("a")
        for method in (text.split, text.normalize, text.tokenize):
            with pytest.raises(TypeError):
                method(3)
        with pytest.raises(Exception, match="not an instance of 'NormalizedString'"):
            text.split(lambda i, part: ["a"])
        text = library.PreTokenizedString("a")
        for arguments in (("x",), ("original", "bytes")):
            with pytest.raises(ValueError):
                text.get_splits(*arguments)
        with pytest.raises(Exception, match="has not been tokenized"):
            text.to_encoding()
    token = gputok.Token(1, "a", (0, 1))
    assert token.as_tuple() == (token.id, token.value, token.offsets) == tokenizers.Token(1, "a", (0, 1)).as_tuple()
