"""One short text at a time: the same as the long way and `tokenizers` give, whatever is asked of the encoding."""

import copy
import lzma
import pickle
import random
import threading

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from gputok import (
    AddedToken,
    PreTrainedTokenizer,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from gputok.encoding.rows import DTYPES, Columns, Rows
from gputok.pipeline.encode import stepwise
from gputok.pipeline.encode.handle import HEAD, Scratch, TextEngine
from gputok.pipeline.encode.text import texts_of
from tests.plain_steps import plain_encoder
from tests.reference import encode_one

NAMES = "ids", "type_ids", "tokens", "offsets", "attention_mask", "special_tokens_mask", "word_ids"
CORPUS = [
    "The quick brown fox jumps over the lazy dog; isn't it? 1234 lower lowest newest",
    "héllo wörld naïve 漢字かな交じり文 🙂🙃 Ωμέγα о́чень",
    "  spaces   and\ttabs\nand\r\nlines  ",
] * 3
TEXTS = [
    *CORPUS[:3],
    "",
    " ",
    "a",
    "é",
    "🙂",
    "\u0301",
    "e\u0301 \u1100\u1161 ﬁ Ⅷ \u2126 \ufb01",
    "<s>lowest</s> <s> </s><s>",
    "  <mask>  <mask>x <mask> low<word>est <word> e\u0301<word>",
    "x" * 200,
    "漢" * 300,
    "a b " * 700,
    "unseen wxyzzy qqqqq " * 3,
    "\0\x01\x7f\x80\xa0\u2028\u3000",
    "I'll they'Re 12345 _a_b '' 's",
]


def walk(normalizer=None, processor=None, pattern=None, **options):
    """A byte-level tokenizer."""
    tokenizer = Tokenizer(models.BPE(**options))
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is not None:
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), cut])
    tokenizer.pre_tokenizer = cut
    train(tokenizer)
    tokenizer.normalizer = normalizer
    tokenizer.post_processor = processor
    add_tokens(tokenizer)
    return tokenizer


def train(tokenizer, size=400):
    from gputok import trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)


def add_tokens(tokenizer):
    tokenizer.add_tokens(
        [
            AddedToken("<mask>", lstrip=True),
            AddedToken("<right>", rstrip=True, normalized=False),
            AddedToken("<word>", single_word=True),
            AddedToken("é", normalized=True),
        ]
    )


def template():
    return processors.TemplateProcessing("<s>:1 $A:2 </s>", "$A $B", [("<s>", 0), ("</s>", 1)])


def made(model, normalizer=None, pre_tokenizer=None, processor=None):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor = (normalizer, pre_tokenizer, processor)
    add_tokens(tokenizer)
    return tokenizer


WORDS = [
    "the",
    "The",
    "quick",
    "lower",
    "low",
    "est",
    "un",
    "seen",
    "1",
    "12",
    "a",
    "b",
    "x",
    "e",
    "é",
    "漢",
    "字",
    "🙂",
]


def wordpiece():
    tokens = ["[UNK]", *WORDS, *(f"##{word}" for word in WORDS), *"fjodvz;'?.,!", "##q", "##w", "##o", "##s", "##t"]
    return models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]")


def unigram(byte_fallback=False):
    tokens = [("<unk>", 0.0), *((word, -1.0 - i / 7) for i, word in enumerate(WORDS)), ("▁", -3.0), ("▁low", -2.5)]
    tokens += [("▁the", -2.0), ("qu", -4.0), ("ick", -4.5), (" ", -5.0), ("é", -6.0)]
    tokens += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)] * byte_fallback
    return models.Unigram(tokens, unk_id=0, byte_fallback=byte_fallback)


def wordlevel():
    return models.WordLevel({word: i for i, word in enumerate(["<unk>", *WORDS, "▁low", "Ġlow"])}, unk_token="<unk>")


def by_characters(byte_fallback=True, fuse_unk=True, **options):
    """A BPE of characters, as Llama 2 and Gemma have it."""
    merges = [
        ("l", "o"),
        ("lo", "w"),
        ("e", "s"),
        ("es", "t"),
        ("▁", "low"),
        ("▁", "t"),
        ("h", "e"),
        ("▁t", "he"),
        ("▁", "▁"),
    ]
    tokens = ["<unk>", *"abcdefghijklmnopqrstuvwxyzT▁1234,;é漢", *("".join(pair) for pair in merges)]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)] * byte_fallback
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=fuse_unk, **options)


def llama():
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return made(by_characters(), normalizer, None, template())


def gemma():
    return made(by_characters(), normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"))


def t5():
    squeezed = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()])
    cuts = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return made(unigram(), squeezed, cuts, template())


def bert(**options):
    processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made(wordpiece(), normalizers.BertNormalizer(**options), pre_tokenizers.BertPreTokenizer(), processor)


KINDS = {
    "walk": walk,
    "nfc": lambda: walk(normalizers.NFC(), processors.ByteLevel(trim_offsets=True)),
    "nfkd": lambda: walk(normalizers.Sequence([normalizers.NFKD()]), template(), r"\p{L}+|\s+|[^\p{L}\s]+"),
    "roberta": lambda: walk(None, processors.RobertaProcessing(("</s>", 1), ("<s>", 0), True, False)),
    "both": lambda: walk(None, processors.Sequence([processors.ByteLevel(), template()])),
    "whole": lambda: walk(ignore_merges=True),
    "bert": bert,
    "cased": lambda: bert(lowercase=False, strip_accents=True, clean_text=False),
    "llama": llama,
    "gemma": gemma,
    "mistral": lambda: made(by_characters(), None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "unknown": lambda: made(by_characters(False, False), normalizers.Lowercase(), pre_tokenizers.Whitespace()),
    "suffix": lambda: made(by_characters(False, end_of_word_suffix="e"), None, pre_tokenizers.WhitespaceSplit()),
    "t5": t5,
    "fallback": lambda: made(unigram(True), None, pre_tokenizers.Metaspace()),
    "level": lambda: made(wordlevel(), normalizers.StripAccents(), pre_tokenizers.Punctuation("merged_with_next")),
}


def prefixed():
    """With a space before each text, as GPT-2's relatives have it."""
    tokenizer = walk(processor=processors.ByteLevel())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


KINDS |= {"prefixed": prefixed}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    made = KINDS[request.param]()
    assert texts_of(made.pipeline) is not None
    return made


def long(tokenizer, text, special=True):
    return stepwise.encode(tokenizer.pipeline, [(text,)], False, special, offsets=True)[0]


def attributes(encoding, names=NAMES):
    return {name: getattr(encoding, name) for name in names}


def check(tokenizer, text, special=True, theirs=None):
    found, wanted = tokenizer.encode(text, add_special_tokens=special), long(tokenizer, text, special)
    assert attributes(found) == attributes(wanted), text
    assert len(found) == len(wanted)
    assert found.overflowing == []
    if theirs is not None:
        assert attributes(found) == attributes(theirs.encode(text, add_special_tokens=special)), text
    assert attributes(found) == attributes(wanted)  # the second access gives the same


def upstream(tokenizer):
    return tokenizers.Tokenizer.from_str(tokenizer.to_str())


def is_short(encoding):
    return encoding._later is not None


def test_texts(tokenizer):
    theirs = upstream(tokenizer)
    for text in TEXTS:
        for special in (True, False):
            check(tokenizer, text, special, theirs)
    assert is_short(tokenizer.encode(TEXTS[0]))
    assert is_short(tokenizer.encode(TEXTS[1])) or tokenizer.normalizer is None


def test_plain_version(tokenizer):
    """The kernel gives the same tokens as `tests/reference/encode_one.py`, with and without special tokens."""
    engine = TextEngine.of(tokenizer.pipeline)
    memory = Scratch(engine)
    columns = memory.steps.ids, memory.begins, memory.ends, memory.words
    for flags in (encode_one.POSITIONS, encode_one.POSITIONS | encode_one.SPECIAL):
        plain = plain_encoder(tokenizer, flags)
        for text in [*TEXTS[:3], *(text for text in TEXTS[3:] if len(text) <= 100)]:
            raw = text.encode()
            n = memory.steps.kernel(memory.steps.address, id(raw) + HEAD, len(raw), flags)
            assert list(zip(*(column[:n].tolist() for column in columns), strict=True)) == plain(text), text


@pytest.mark.parametrize("kind", ["nfc", "roberta", "both", "walk"])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 1), (0, 200), (3, 150), (199, 200)])
def test_trim(kind, first, last):
    """Of positions that no text has, too; `Rows.trim_offsets` gives the same."""
    tokenizer, draw = KINDS[kind](), np.random.default_rng(last)
    pipeline = tokenizer.pipeline
    engine = TextEngine.of(pipeline)
    memory, n_ids, spelling = Scratch(engine), tokenizer.get_vocab_size(), pipeline.names.spelling
    ids, lengths = draw.integers(0, n_ids, 200).astype(np.uint32), draw.integers(0, 6, 200)
    odd = np.isin(ids, [*pipeline.odd_tokens])
    ids[odd] = 5
    start = draw.integers(0, 4, 200)
    columns = [memory.steps.handle[name] for name in ("ids", "begins", "ends")]
    for column, values in zip(columns, (ids, start, start + lengths), strict=True):
        column[:200] = values
    if engine.trims and last > first:
        assert engine.trim(memory.steps.address, first, last) < 0  # nothing is known, and nothing is changed
        assert [column[:200].tolist() for column in columns[1:]] == [start.tolist(), (start + lengths).tolist()]
    engine.learn(ids[first:last].tolist())
    assert engine.trim(memory.steps.address, first, last) == last
    values = {"ids": ids, "start": start, "end": start + lengths, "text": -1}
    all_columns = Columns(200, **{**dict.fromkeys(DTYPES, 0), **values})
    rows = Rows(all_columns, np.array([first]), np.array([last]), spelling)
    for add_prefix_space in engine.trims:
        rows = rows.trim_offsets(add_prefix_space)
    found = [column[first:last].tolist() for column in columns[1:]]
    assert found == [rows.columns.start[first:last].tolist(), rows.columns.end[first:last].tolist()]
    assert columns[1][last:200].tolist() == start[last:].tolist()


ANYTHING = st.text(max_size=40) | st.lists(
    st.sampled_from([*"ab é\u0301", "<s>", "</s>", "<mask>", "<right>", "<word>", "low", "\u1100\u1161", "  "])
).map("".join)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(text=ANYTHING)
def test_any_text(tokenizer, text):
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            tokenizer.encode(text)
        return
    check(tokenizer, text)


NORMALIZERS = [
    normalizers.NFC(),
    normalizers.NFD(),
    normalizers.NFKC(),
    normalizers.NFKD(),
    normalizers.Lowercase(),
    normalizers.StripAccents(),
    normalizers.Nmt(),
    normalizers.BertNormalizer(),
    normalizers.Prepend("▁"),
    normalizers.Prepend("ab "),
    normalizers.Replace(" ", "▁"),
    normalizers.Replace("a", ""),
    normalizers.Replace("low", "high漢"),
    normalizers.Replace("é", "e"),
    normalizers.Replace(Regex(r"\s+"), " "),
    normalizers.Replace(Regex(r"x*"), "-"),
    normalizers.Strip(),
    normalizers.Strip(left=False),
]
PRE_TOKENIZERS = [
    pre_tokenizers.ByteLevel(add_prefix_space=False),
    pre_tokenizers.ByteLevel(),
    pre_tokenizers.ByteLevel(use_regex=False),
    pre_tokenizers.Metaspace(),
    pre_tokenizers.Metaspace(prepend_scheme="first"),
    pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
    pre_tokenizers.Whitespace(),
    pre_tokenizers.WhitespaceSplit(),
    pre_tokenizers.BertPreTokenizer(),
    pre_tokenizers.Punctuation(),
    pre_tokenizers.Punctuation("contiguous"),
    pre_tokenizers.Digits(),
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.CharDelimiterSplit("e"),
    pre_tokenizers.UnicodeScripts(),
    pre_tokenizers.Split(" ", "merged_with_previous"),
    pre_tokenizers.Split(Regex(r"\d+"), "removed", invert=True),
    pre_tokenizers.Split(Regex(r"l?"), "isolated"),
]
PROCESSORS = [
    None,
    template(),
    processors.ByteLevel(),
    processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
    processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
    processors.Sequence([processors.ByteLevel(trim_offsets=True, add_prefix_space=False), template()]),
    processors.Sequence([template(), processors.ByteLevel()]),
]
MODELS = [wordpiece(), unigram(), unigram(True), wordlevel(), by_characters(), by_characters(False, False)]


@st.composite
def pipelines(draw):
    tokenizer = Tokenizer(draw(st.sampled_from([*MODELS, BYTES.model])))
    changes = draw(st.lists(st.sampled_from(NORMALIZERS), max_size=3))
    cuts = draw(st.lists(st.sampled_from(PRE_TOKENIZERS), max_size=2))
    tokenizer.normalizer = normalizers.Sequence(changes) if changes else None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts) if cuts else None
    tokenizer.post_processor = draw(st.sampled_from(PROCESSORS))
    if draw(st.booleans()):
        add_tokens(tokenizer)
    return tokenizer


BYTES = walk()


@pytest.mark.full
@settings(max_examples=1500, deadline=None)
@given(tokenizer=pipelines(), texts=st.lists(ANYTHING, max_size=3))
def test_any_pipeline(tokenizer, texts):
    for text in [*texts, "The lowest é漢字, é x  1 12 <mask>"]:
        if not any("\ud800" <= character <= "\udfff" for character in text):
            check(tokenizer, text)


def test_what_an_encoding_can_do(tokenizer):
    text = TEXTS[0]

    def fresh():
        return tokenizer.encode(text)

    assert is_short(fresh())
    for ask in (
        lambda e: pickle.loads(pickle.dumps(e)).ids,
        lambda e: attributes(copy.copy(e)),
        lambda e: attributes(copy.deepcopy(e)),
        lambda e: (e.n_sequences, e.sequence_ids),
        lambda e: [e.char_to_token(i) for i in range(len(text))],
        lambda e: [e.token_to_chars(i) for i in range(len(e))],
        lambda e: [e.token_to_word(i) for i in range(len(e))],
        lambda e: [e.word_to_tokens(i) for i in range(9)],
        lambda e: (e.pad(200), attributes(e)),
        lambda e: (e.pad(90, direction="left", pad_id=7, pad_token="!"), attributes(e), e.sequence_ids),
        lambda e: (e.truncate(3, stride=1), attributes(e), list(map(attributes, e.overflowing))),
        lambda e: (e.set_sequence_id(1), e.sequence_ids),
        lambda e: attributes(type(e).merge([e, fresh()])),
        lambda e: attributes(type(e).merge([fresh(), e], growing_offsets=False)),
        lambda e: attributes(tokenizer.post_process(e, fresh())),
        lambda e: e._repr_html_(),
        repr,
    ):
        assert ask(fresh()) == ask(long(tokenizer, text))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        fresh().missing()


def test_a_copy_stays_what_it_was(tokenizer):
    first = tokenizer.encode(TEXTS[0])
    second = copy.copy(first)
    first.truncate(2)
    assert len(first) == 2
    assert attributes(second) == attributes(long(tokenizer, TEXTS[0]))


@pytest.mark.parametrize(
    "padding",
    [
        {},
        {"length": 12, "direction": "left", "pad_id": 3, "pad_token": "<p>", "pad_type_id": 2},
        {"length": 90},
        {"pad_to_multiple_of": 8},
        {"length": 9, "pad_to_multiple_of": 8, "direction": "left"},
        {"length": 1 << 28, "pad_to_multiple_of": 1 << 30},
    ],
)
def test_padding(padding):
    tokenizer = walk(processor=template())
    tokenizer.enable_padding(**padding)
    for text in ("", "low", TEXTS[0]):
        if padding.get("length", 0) < 1 << 28:
            check(tokenizer, text, theirs=upstream(tokenizer))
        else:
            assert texts_of(tokenizer.pipeline) is None


@pytest.mark.parametrize("max_length", [0, 1, 2, 3, 12, 80])
@pytest.mark.parametrize("strategy", ["longest_first", "only_first"])
def test_truncation(max_length, strategy):
    tokenizer = walk(processor=template())
    theirs = upstream(tokenizer)
    try:
        tokenizer.enable_truncation(max_length, strategy=strategy)
    except ValueError:
        return
    theirs.enable_truncation(max_length, strategy=strategy)
    for text in ("", "low", TEXTS[0]):
        for special in (True, False):
            try:
                wanted = long(tokenizer, text, special)
            except ValueError as error:
                with pytest.raises(ValueError, match=str(error)):
                    tokenizer.encode(text, add_special_tokens=special)
                continue
            found = tokenizer.encode(text, add_special_tokens=special)
            assert attributes(found) == attributes(wanted)
            assert list(map(attributes, found.overflowing)) == list(map(attributes, wanted.overflowing))


@pytest.mark.parametrize("padding", [None, {"length": 30}, {}, {"pad_to_multiple_of": 8}])
def test_batches(padding):
    tokenizer = walk(processor=template())
    if padding is not None:
        tokenizer.enable_padding(**padding)
    for texts in (TEXTS[:8], [], [TEXTS[0], "x " * 9000], ["a", ("b", "c")], ("a", "b")):
        found = tokenizer.encode_batch(texts)
        given = [text if isinstance(text, tuple) else (text,) for text in texts]
        wanted = stepwise.encode(tokenizer.pipeline, given, False, True, offsets=True)
        assert list(map(attributes, found)) == list(map(attributes, wanted))
    assert is_short(tokenizer.encode_batch(TEXTS[:3])[0])
    with pytest.raises(TypeError):
        tokenizer.encode_batch(["a", 1])


def test_calls_with_many_limits():
    """Each makes another pipeline; a few are kept, and they share all that the limits do not change."""
    tokenizer = PreTrainedTokenizer(walk(processor=template()), pad_token="</s>")
    steps = tokenizer.backend_tokenizer.pipeline
    whole = tokenizer(TEXTS[0])["input_ids"]
    for length in range(3, 120):
        options = {"truncation": True, "padding": "max_length", "max_length": length}
        ids = tokenizer(TEXTS[0], **options)["input_ids"]
        assert len(ids) == length and ids[: length - 1] == (whole + [1] * length)[: length - 1]
        array = tokenizer(TEXTS[0], return_tensors="np", **options)
        assert array["input_ids"].tolist() == [ids] and array["attention_mask"].dtype == np.int64
    kept = steps.kept.made["variants"].values()
    assert 1 < len(kept) <= 64
    assert {id(texts_of(one).engine) for one in kept} == {id(texts_of(steps).engine)}


DECODERS = [
    None,
    decoders.ByteLevel(),
    decoders.WordPiece(prefix="##"),
    decoders.WordPiece(cleanup=False),
    decoders.Metaspace(),
    decoders.Metaspace(prepend_scheme="never"),
    decoders.BPEDecoder(suffix="e"),
    decoders.Fuse(),
    decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    ),
    decoders.Sequence([decoders.Replace(Regex("[lo]+"), "_"), decoders.Fuse(), decoders.Replace("_e", "!")]),
    decoders.Sequence([decoders.Strip("e", 1, 0), decoders.CTC(), decoders.Fuse()]),
]


@pytest.mark.parametrize("decoder", DECODERS, ids=str)
def test_decoding(decoder):
    rng = random.Random(5)
    for tokenizer in (made(by_characters()), made(wordpiece()), walk()):
        tokenizer.decoder = decoder
        theirs = upstream(tokenizer)
        size = tokenizer.get_vocab_size()
        for n in [0, 1, 1, 2, 3, 5, 8, 30] * 6:
            ids = [rng.randrange(size + 3) for _ in range(n)]
            for skip in (True, False):
                assert tokenizer.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip), ids
                assert tokenizer.decode(np.array(ids, np.int64), skip) == tokenizer.decode(ids, skip)
        for wrong in ([1.5], ["a"], [1, None]):
            with pytest.raises(TypeError):
                tokenizer.decode(wrong)
        with pytest.raises(OverflowError):
            tokenizer.decode([-1])


def test_steps_that_are_others():
    tokenizer = walk()
    assert texts_of(tokenizer.pipeline) is not None
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(3)
    assert texts_of(tokenizer.pipeline) is None
    assert tokenizer.encode("lowest").ids == long(tokenizer, "lowest").ids
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.model.dropout = 0.5
    assert texts_of(tokenizer.pipeline) is None


def test_changes_are_seen():
    tokenizer = walk()
    assert tokenizer.encode("low est").ids == long(tokenizer, "low est").ids
    tokenizer.add_tokens(["est"])
    check(tokenizer, "low est")
    assert "est" in tokenizer.encode("low est").tokens
    tokenizer.encode_special_tokens = True
    check(tokenizer, "<s>low est</s>")
    tokenizer.post_processor = template()
    check(tokenizer, "<s>low est</s>")
    tokenizer.enable_padding(length=30)
    check(tokenizer, "<s>low est</s>")


def test_an_encoding_stays_when_its_tokenizer_changes():
    tokenizer = walk()
    found, wanted = tokenizer.encode(TEXTS[0]), attributes(tokenizer.encode(TEXTS[0]))
    tokenizer.add_tokens(["quick"])
    tokenizer.post_processor = template()
    tokenizer.enable_padding(length=300)
    assert attributes(found) == wanted
    assert found.n_sequences == 1


def test_threads():
    tokenizer = walk(normalizers.NFC(), template())
    texts = [" ".join(random.Random(i).choices([*CORPUS[0].split(), "é", "<s>"], k=9)) for i in range(300)]
    wanted = [attributes(long(tokenizer, text)) for text in texts]
    wrong = []

    def work(seed):
        order = random.Random(seed).sample(range(len(texts)), len(texts))
        wrong.extend(i for i in order if attributes(tokenizer.encode(texts[i])) != wanted[i])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_many_different_words():
    """More than a cache holds, some of them longer than it takes."""
    tokenizer, rng = walk(), random.Random(7)
    words = ["".join(rng.choices("abcdeé漢", k=rng.randint(1, 30))) for _ in range(20_000)]
    for i in range(0, len(words), 400):
        text = " ".join(words[i : i + 400])[:4000]
        assert tokenizer.encode(text).ids == long(tokenizer, text).ids
    for i in range(0, len(words), 40):
        text = " ".join(words[i : i + 40])
        assert tokenizer.encode(text).ids == long(tokenizer, text).ids


@pytest.mark.full
@pytest.mark.parametrize("name", ["llama3", "qwen3", "claude"])
def test_lines_of_real_text(name, test_data, corpus_sample):
    with lzma.open(test_data / "tokenizers" / f"{name}.json.xz") as file:
        json = file.read().decode()
    ours, theirs = Tokenizer.from_str(json), tokenizers.Tokenizer.from_str(json)
    for tokenizer in (ours, theirs):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    for corpus in ("en", "code", "multi", "zh"):
        lines = [line for line in corpus_sample(corpus, 2_000_000).split("\n") if line]
        lines = random.Random(1).sample(lines, min(len(lines), 1000))
        for line, wanted in zip(lines, theirs.encode_batch(lines), strict=True):
            assert attributes(ours.encode(line)) == attributes(wanted), line
