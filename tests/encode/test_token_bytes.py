"""The bytes of tokens: what `tokenizers` decodes, ids that are not those of their text, two tokenizers side by side."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
import tokenizers

import gputok
from gputok import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

BYTE_LEVEL = ("llama3", "qwen3", "claude")
ATOMS = ("a", " ", "  ", "\n", "é", "e\u0301", "12", "hello", " world", "漢", "😀", "\u0600", "½", "ﬁ", "'s", "▁")


@pytest.fixture(scope="module")
def opened(shared_tokenizer):
    """`opened("llama3")`: the tokenizer here and in `tokenizers`."""
    made = {}

    def both(name):
        if name not in made:
            path = str(shared_tokenizer(name))
            made[name] = Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)
        return made[name]

    return both


def texts_of(theirs, n, seed=0):
    rng = random.Random(seed)
    atoms = [*[token.content for token in theirs.get_added_tokens_decoder().values()][:8], *ATOMS]
    return ["".join(rng.choices(atoms, k=rng.randint(0, 12))) for _ in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_bytes_of_all_byte_level_tokens(opened, name):
    ours, theirs = opened(name)
    for id in sorted(theirs.get_vocab().values()):
        found = ours.token_bytes(id)
        assert found.decode(errors="replace") == theirs.decode([id], skip_special_tokens=False), id
    for text in texts_of(theirs, 60):
        ids = theirs.encode(text, add_special_tokens=False).ids
        normal = theirs.normalizer.normalize_str(text) if theirs.normalizer else text
        assert ours.decode_bytes(ids) == normal.encode()
        assert ours.decode_bytes(np.array(ids, np.uint32), True).decode() == theirs.decode(ids)


def test_bytes_of_byte_fallback(opened):
    """A space that the tokenizer inserts is one of the bytes; the decoder takes it off."""
    ours, theirs = opened("llama2")
    for byte in range(256):
        assert ours.token_bytes(theirs.token_to_id(f"<0x{byte:02X}>")) == bytes([byte])
    start = theirs.token_to_id("<s>")
    for id in [*range(3), *range(259, theirs.get_vocab_size(), 7)]:
        assert "<s>" + ours.token_bytes(id).decode() == theirs.decode([start, id], skip_special_tokens=False)
    for text in ("so it 漢字 😀", " a", "\u0600\n"):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode_bytes(ids) == b" " + text.encode()


def test_bytes_of_a_byte_token_with_a_sign():
    """Rust and Python read it as a number."""
    tokenizer = Tokenizer(models.BPE({"<0x+1>": 0}, [], byte_fallback=True))
    theirs = tokenizers.decoders.ByteFallback().decode(["<0x+1>"])
    assert tokenizer.token_bytes(0) == theirs.encode() == b"\x01"


def test_bytes_of_other_tokens(opened):
    ours, theirs = opened("minilm-bert")
    for token in ("the", "##ing", "[CLS]", "漢"):
        assert ours.token_bytes(theirs.token_to_id(token)).decode() == token.removeprefix("##")
    assert ours.token_bytes(theirs.get_vocab_size()) is None
    assert ours.decode_bytes([theirs.get_vocab_size(), theirs.token_to_id("the")]) == b"the"
    assert ours.byte_ends([theirs.get_vocab_size(), theirs.token_to_id("the")]).tolist() == [0, 3]
    with pytest.raises(OverflowError):
        ours.token_bytes(-1)
    with pytest.raises(TypeError):
        ours.token_bytes("the")
    marked = Tokenizer(models.BPE({"▁a": 0, "_a": 1}, []))
    assert (marked.token_bytes(0), marked.token_bytes(1)) == ("▁a".encode(), b"_a")
    marked.pre_tokenizer = pre_tokenizers.Metaspace("_")
    assert (marked.token_bytes(0), marked.token_bytes(1)) == ("▁a".encode(), b" a")
    marked.pre_tokenizer, marked.decoder = None, decoders.Metaspace()
    assert (marked.token_bytes(0), marked.token_bytes(1)) == (b" a", b"_a")
    marked.add_tokens([AddedToken("▁A", special=True)])
    assert marked.token_bytes(2).decode() == "▁A" and marked.decode_bytes([2, 1], True) == b"_a"


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_ends_are_positions_in_the_text(opened, name):
    """Where tokens are whole characters, the ends are those of the offsets of `tokenizers`."""
    ours, theirs = opened(name)
    theirs.post_processor = None  # which takes spaces off the offsets
    for text in texts_of(theirs, 60, 1):
        text = unicodedata.normalize("NFKC", text)
        found = theirs.encode(text, add_special_tokens=False)
        ends = ours.byte_ends(found.ids)
        assert ends.dtype == np.int64 and (not len(ends) or ends[-1] == len(text.encode()))
        raw, begin = text.encode(), 0
        for end, offsets in zip(ends.tolist(), found.offsets, strict=True):
            try:
                is_whole = bool(raw[begin:end].decode())
            except UnicodeDecodeError:
                is_whole = False
            if is_whole:
                assert (len(raw[:begin].decode()), len(raw[:end].decode())) == offsets
            begin = end


# -- canonical ids


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@pytest.mark.parametrize("name", [*BYTE_LEVEL, "llama2"])
def test_canonical(opened, name):
    """Own ids are canonical. Of a token that is written as two, the first difference is found."""
    ours, theirs = opened(name)
    rng, vocab = random.Random(3), theirs.get_vocab()
    n_split = 0
    for text in texts_of(theirs, 300, 3):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.canonical(ids) is None, text
        assert ours.canonical(np.array(ids, np.int64)) is None
        if not ids:
            continue
        at = rng.randrange(len(ids))
        token = theirs.id_to_token(ids[at])
        cuts = [i for i in range(1, len(token)) if token[:i] in vocab and token[i:] in vocab]
        if cuts and ids[at] not in theirs.get_added_tokens_decoder():
            cut = rng.choice(cuts)
            split = [*ids[:at], vocab[token[:cut]], vocab[token[cut:]], *ids[at + 1 :]]
            # Two pieces of a word may also be what comes of another word, such as a `▁` after a special token
            assert ours.canonical(split) == first_difference(split, ids), (text, split)
            n_split += 1
    assert n_split > 50


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_random_ids(opened, name):
    """Any ids: the first one that `tokenizers` does not give for their text."""
    ours, theirs = opened(name)
    rng, n_valid = random.Random(4), 0
    for _ in range(400):
        ids = rng.choices(range(ours.get_vocab_size()), k=rng.randint(1, 6))
        raw = ours.decode_bytes(ids)
        try:
            text, wrong = raw.decode(), len(ids)
        except UnicodeDecodeError as error:
            text = raw[: error.start].decode()
            wrong = next(i for i, end in enumerate(ours.byte_ends(ids)) if end > error.start)
        expected = theirs.encode(text, add_special_tokens=False).ids
        place = min(first_difference(ids, expected), wrong)
        n_valid += wrong == len(ids)
        assert ours.canonical(ids) == (None if ids == expected else place)
    assert n_valid > 20


def test_special_tokens_that_are_spelled_differ(opened):
    ours, _ = opened("llama3")
    kept = ours.encode_special_tokens
    ours.encode_special_tokens = True
    ids = ours.encode("a<|eot_id|>", add_special_tokens=False).ids
    assert ours.canonical(ids) is None
    ours.encode_special_tokens = kept
    assert ours.canonical(ids) == 1
    assert ours.canonical([*ours.encode("a", add_special_tokens=False).ids, 128009]) is None


@pytest.mark.parametrize("name", [*BYTE_LEVEL, "llama2"])
def test_ids_that_go_on(opened, name):
    """No beginning of own ids differs, and what differs, no further text of `tokenizers` can undo."""
    pytest.importorskip("gputok.pipeline.encode.seams")
    ours, theirs = opened(name)
    rng, n_found = random.Random(6), 0
    for text in texts_of(theirs, 60, 6):
        ids = theirs.encode(text, add_special_tokens=False).ids
        for n in range(len(ids) + 1):
            assert ours.canonical(ids[:n], final=False) is None, (text, n)
            at = rng.randrange(n + 1)
            other = [*ids[:at], rng.randrange(ours.get_vocab_size()), *ids[at:n]]
            place = ours.canonical(other, final=False)
            if place is None:
                continue
            n_found += 1
            raw = ours.decode_bytes(other)
            if name == "llama2" or ours.canonical(other) < place:
                continue
            for more in (b"", b"a", b" ", b"1", b"\n", b"'s", b"\xcc\x81", b"|>", b"<|eot_id|>"):
                try:
                    whole = theirs.encode((raw + more).decode(), add_special_tokens=False).ids
                except UnicodeDecodeError:
                    continue
                assert whole[: place + 1] != other[: place + 1]
    assert n_found > 20


UNIGRAM = [
    ("<unk>", 0.0),
    *((token, -i / 2) for i, token in enumerate(["▁a", "▁", "a", "b", "ab", "▁b", "é", "▁▁", "<", "n", ">"], 1)),
]
KINDS = {
    "always": (models.Unigram(UNIGRAM, 0), None, pre_tokenizers.Metaspace()),
    "first": (models.Unigram(UNIGRAM, 0), None, pre_tokenizers.Metaspace(prepend_scheme="first")),
    "never": (models.Unigram(UNIGRAM, 0), None, pre_tokenizers.Metaspace(prepend_scheme="never", split=False)),
    "prepend": (
        models.Unigram(UNIGRAM, 0),
        normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
    ),
    "prefix space": (
        models.BPE({token: i for i, token in enumerate(["Ġ", "a", "b", "Ã", "©", "Ġa", "âĸģ", *"âĸģ"])}, [("Ġ", "a")]),
        None,
        pre_tokenizers.Sequence([pre_tokenizers.ByteLevel()]),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_own_ids_of_other_kinds(kind):
    model, normalizer, pre_tokenizer = KINDS[kind]
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens(
        [AddedToken("<s>"), AddedToken("<r>", rstrip=True), AddedToken("<n>", normalized=True)]
    )
    rng = random.Random(kind)
    for number in range(500):
        # The text of ids has a space for `▁`, which <r> would take
        odd = "▁" if number % 2 else "<r>"
        text = "".join(rng.choices(["a", "b", " ", "  ", "é", "<s>", "<n>", odd], k=rng.randint(0, 9)))
        ids = tokenizer.encode(text).ids
        assert tokenizer.canonical(ids) is None, (text, tokenizer.encode(text).tokens)
        if len(ids) > 1:  # without its first id, another text, or none
            assert tokenizer.canonical(ids[1:]) in (None, *range(len(ids)))


def test_ids_that_do_not_tell_their_text(opened):
    ours, _ = opened("minilm-bert")
    with pytest.raises(ValueError, match=r"do not tell the text .*BertPreTokenizer\(\) may remove text"):
        ours.canonical([5])
    plain = Tokenizer(models.BPE({"a": 0, "?": 1}, [], unk_token="?"))
    with pytest.raises(ValueError, match="id 1 stands for unknown text"):
        plain.canonical([0, 1])
    for wrong in (
        normalizers.Lowercase(),
        normalizers.Strip(),
        normalizers.Replace("a", "b"),
        normalizers.Prepend("x"),
    ):
        plain.normalizer = wrong
        with pytest.raises(ValueError, match=r"the normalizer .* changes text"):
            plain.canonical([0])
    plain.normalizer = None
    for wrong in (pre_tokenizers.Whitespace(), pre_tokenizers.Split(" ", "removed"), pre_tokenizers.UnicodeScripts()):
        plain.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), wrong])
        with pytest.raises(ValueError, match=r"the pre-tokenizer .* may remove text"):
            plain.canonical([0])
    for wrong in (pre_tokenizers.ByteLevel(), pre_tokenizers.Metaspace()):
        plain.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), wrong])
        with pytest.raises(ValueError, match=r"the pre-tokenizer .* inserts spaces within the text"):
            plain.canonical([0])
    plain.pre_tokenizer = pre_tokenizers.Split(gputok.Regex(r"\s+|\S+"), "removed", invert=True)
    assert plain.canonical([0]) is None
    plain.pre_tokenizer = None
    plain.model.dropout = 0.5
    with pytest.raises(ValueError, match="dropout"):
        plain.canonical([0])


# -- two tokenizers


def ends_of(ours, theirs, text, *, in_bytes):
    """Where each token ends, by its bytes, or by the offsets of `tokenizers`: they end with the character."""
    theirs.no_truncation()
    theirs.no_padding()
    found = theirs.encode(text, add_special_tokens=False)
    if in_bytes:
        return np.cumsum([len(ours.token_bytes(id)) for id in found.ids]).tolist()
    return [len(text[:end].encode()) for _, end in found.offsets]


@pytest.mark.parametrize(
    ("a", "b"), [("llama3", "qwen3"), ("llama3", "llama2"), ("qwen3", "minilm-bert"), ("claude", "claude")]
)
def test_all_common_ends_and_only_these(opened, a, b):
    n_places = 0
    for text in texts_of(opened("llama3")[1], 80, 5):
        text = unicodedata.normalize("NFKC", text).replace("▁", "").strip()
        ends = []
        for name in (a, b):
            ours, theirs = opened(name)
            in_bytes = name in BYTE_LEVEL
            ends.append(ends_of(ours, theirs, text, in_bytes=in_bytes))
        places, n_a, n_b = gputok.align(opened(a)[0], opened(b)[0], text)
        if "llama2" in (a, b):  # its tokens of one byte end inside of a character
            ours, theirs = opened("llama2")
            ids = theirs.encode(text, add_special_tokens=False).ids
            if ours.decode_bytes(ids) == b" " + text.encode():
                ends[1] = (ours.byte_ends(ids) - 1).tolist()
        assert places.tolist() == sorted({*ends[0]} & {*ends[1]})
        for place, i, j in zip(places.tolist(), n_a.tolist(), n_b.tolist(), strict=True):
            assert (i, j) == (sum(end <= place for end in ends[0]), sum(end <= place for end in ends[1]))
        n_places += len(places)
    assert n_places > 100


def test_align_ignores_limits(opened):
    ours = opened("llama3")[0]
    other = Tokenizer.from_str(ours.to_str())
    other.enable_truncation(1)
    other.enable_padding(length=9)
    assert [each.tolist() for each in gputok.align(ours, other, "so it goes")] == [[2, 5, 10], [1, 2, 3], [1, 2, 3]]
