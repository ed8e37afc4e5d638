"""Files of other formats, read and written: the same ids as the installed library that the format belongs to."""

import base64
import io
import itertools
import json
import os
import pathlib
import pickle
import random
import struct
import sys

import pytest
import tiktoken
import tiktoken.load
import tokenizers
import transformers

import gputok
from gputok import (
    AddedToken,
    AutoTokenizer,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from gputok.automaton import PATTERNS
from gputok.files import tokenizer_kinds
from gputok.formats.gguf import SPLITS, read_gguf, read_metadata
from gputok.formats.sentencepiece import sentencepiece_bytes
from gputok.formats.tiktoken import by_ranks, tiktoken_parts

gguf = pytest.importorskip("gguf")
spm = pytest.importorskip("sentencepiece")
from sentencepiece import sentencepiece_model_pb2  # noqa: E402

TEXT = """The quick brown fox jumps over the lazy dog; the dogs were lazier than www.example.com/foxes.
    def __init__(self, x): return self.x1234567 + 890   # it's, they'LL and we'Ve   done\t\n
Dès l'aube, à l'heure où blanchit la campagne, je partirai. Vois-tu, je sais que tu m'attends.
床前明月光,疑是地上霜。舉頭望明月,低頭思故鄉。  Съешь же ещё этих мягких французских булок, да выпей чаю.
가나다라마바사 ①②③ ﬁne ½ नमस्ते दुनिया สวัสดีชาวโลก 🎉🎉👩‍👩‍👧 ABCdefGHI
"""


def texts_of(seed: int, n: int = 200) -> list[str]:
    """Lines, and random text of their parts."""
    r = random.Random(seed)
    lines = TEXT.splitlines(keepends=True)
    parts = [*TEXT, *TEXT.split(), "  ", "\n\n", " \n ", "'s", "12345", "abab", "aaaa"]
    return ["", " ", *lines, *("".join(r.choices(parts, k=r.randrange(1, 30))) for _ in range(n))]


def byte_level(pattern: str = "llama3", vocab_size: int = 700, special: tuple[str, ...] = ()) -> Tokenizer:
    """A trained byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(gputok.Regex(PATTERNS[pattern]), "isolated")
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, last])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": [*special], "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(vocab_size=vocab_size, **options))
    return tokenizer


def spm_model(kind: str, **options) -> bytes:
    file = io.BytesIO()
    lines = [line for line in TEXT.splitlines() if line.strip()] * 3
    options = {"vocab_size": 700, "hard_vocab_limit": False, "minloglevel": 2, "model_type": kind, **options}
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=file, **options)
    return file.getvalue()


def ids(tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


# -- tiktoken


def encoding_of(path, options: dict) -> tiktoken.Encoding:
    return tiktoken.Encoding("mine", mergeable_ranks=tiktoken.load.load_tiktoken_bpe(str(path)), **options)


@pytest.mark.parametrize("pattern", ["gpt2", "llama3", "o200k", "qwen3", "tekken"])
def test_tiktoken_files(pattern, tmp_path):
    """A tokenizer is written, read by tiktoken, and read back: the ids are the same, and so is the tokenizer."""
    original = byte_level(pattern)
    original.add_special_tokens(["<|end|>", "<|begin|>"])
    options = gputok.save_tiktoken(original, tmp_path / "x.tiktoken")
    theirs = encoding_of(tmp_path / "x.tiktoken", options)
    again = gputok.from_tiktoken(tmp_path / "x.tiktoken", pattern=pattern, special_tokens=options["special_tokens"])
    texts = [*texts_of(1), "a<|end|>b<|begin|>", "<|end"]
    expected = [theirs.encode(text, allowed_special="all") for text in texts]
    assert ids(original, texts) == ids(again, texts) == expected
    assert ids(gputok.from_tiktoken(theirs), texts) == expected
    assert [again.decode(row, skip_special_tokens=False) for row in expected] == texts
    assert ids(tokenizers.Tokenizer.from_str(again.to_str()), texts) == expected
    gputok.save_tiktoken(again, tmp_path / "y.tiktoken")
    assert (tmp_path / "y.tiktoken").read_bytes() == (tmp_path / "x.tiktoken").read_bytes()
    plain = gputok.from_tiktoken(theirs)
    plain.encode_special_tokens = True
    assert ids(plain, texts) == [theirs.encode(text, disallowed_special=()) for text in texts]


def random_ranks(seed: int) -> dict[bytes, int]:
    """A vocabulary that training can't give: tokens that two others don't form, and gaps between ranks."""
    r = random.Random(seed)
    tokens = [bytes([byte]) for byte in range(256)]
    r.shuffle(tokens)
    known = [token for token in tokens if token in b"ab c"]
    while len(tokens) < 256 + 60:
        token = r.choice(known) + r.choice(known) if r.random() < 0.8 else bytes(r.choices(b"abc", k=r.randint(3, 6)))
        if token not in tokens and len(token) < 12:
            tokens.append(token)
            known.append(token)
    if r.random() < 0.5:  # ranks in no order of making
        rest = tokens[256:]
        r.shuffle(rest)
        tokens[256:] = rest
    return dict(zip(tokens, sorted(r.sample(range(1000), len(tokens))), strict=True))


def test_any_ranks_give_the_ids_of_tiktoken():
    """Merges found from ranks alone, for vocabularies of every kind."""
    for seed in range(60):
        ranks = random_ranks(seed)
        special = {"<x>": 2000, "<y>": 1500}
        theirs = tiktoken.Encoding("x", pat_str=r"\s?\w+|\s+|.", mergeable_ranks=ranks, special_tokens=special)
        ours = gputok.from_tiktoken(theirs)
        r = random.Random(seed)
        texts = [
            "".join(r.choices(["a", "b", "c", " ", "<x>", "<y>", "é"], [9, 9, 9, 2, 1, 1, 1], k=40)) for _ in range(40)
        ]
        expected = [theirs.encode(text, allowed_special="all") for text in texts]
        assert ids(ours, texts) == expected, seed
        assert ids(tokenizers.Tokenizer.from_str(ours.to_str()), texts) == expected, seed
        found, options = tiktoken_parts(ours)
        assert found == dict(sorted(ranks.items(), key=lambda item: item[1]))
        assert options["special_tokens"] == dict(sorted(special.items(), key=lambda item: item[1]))


def test_cl100k_s_own_pattern():
    """Possessive quantifiers and `$` mean something else in Ruby's syntax."""
    pattern = (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s"
    )
    ranks, _ = tiktoken_parts(byte_level("cl100k"))
    theirs = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    ours = gputok.from_tiktoken(theirs)
    texts = [*texts_of(2), "end  \n", "12345678", "a\n  \n b   "]
    expected = [theirs.encode(text) for text in texts]
    assert ids(ours, texts) == ids(tokenizers.Tokenizer.from_str(ours.to_str()), texts) == expected
    back = tiktoken.Encoding("y", mergeable_ranks=ranks, **tiktoken_parts(ours)[1])
    assert [back.encode(text) for text in texts] == expected


def test_files_that_are_not_tiktoken_files(tmp_path):
    ranks = {bytes([byte]): byte for byte in range(256)}
    with pytest.raises(ValueError, match="pass pattern="):
        gputok.from_tiktoken(b"IQ== 0\n")
    for data, said in (
        (b"{}", "line 1"),
        (b"", "the file is empty"),
        (b"IQ== 0\n", "byte 0x00"),
        (b"IQ== 0\nIQ== x\n", "line 2"),
    ):
        with pytest.raises(ValueError, match=said):
            gputok.from_tiktoken(data, pattern="gpt2")
    with pytest.raises(ValueError, match="same rank, 7"):
        by_ranks({**ranks, b"ab": 7}, "gpt2", {}, "x")
    with pytest.raises(ValueError, match="equals an ordinary token"):
        by_ranks({**ranks, b"ab": 300}, "gpt2", {"ab": 400}, "x")
    with pytest.raises(ValueError, match="equals an ordinary token"):
        by_ranks({**ranks, b"ab": 256}, "gpt2", {"ab": 257}, "x")
    with pytest.raises(ValueError, match="not -1"):
        by_ranks({**ranks, b"ab": -1}, "gpt2", {}, "x")
    with pytest.raises(FileNotFoundError):
        gputok.from_tiktoken(tmp_path / "nothing", pattern="gpt2")


def test_tokenizers_that_tiktoken_cannot_express(tmp_path):
    def refused(said: str, **changes):
        tokenizer = byte_level(vocab_size=300)
        for name, value in changes.items():
            setattr(tokenizer, name, value)
        with pytest.raises(ValueError, match=said):
            gputok.save_tiktoken(tokenizer, tmp_path / "x")
        assert not (tmp_path / "x").exists()

    bpe = byte_level(vocab_size=300).model
    vocab, merges = bpe.get_vocab(), [tuple(pair) for pair in bpe.to_dict()["merges"]]
    last = max(vocab, key=vocab.__getitem__)
    refused("normalizer", normalizer=normalizers.NFC())
    refused("ByteLevel", pre_tokenizer=pre_tokenizers.Whitespace())
    refused("add_prefix_space", pre_tokenizer=pre_tokenizers.ByteLevel())
    refused(
        "one pattern", pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(False)])
    )
    refused("WordLevel, not a BPE", model=models.WordLevel({"a": 0}))
    refused("dropout", model=models.BPE(vocab, merges, dropout=0.1))
    refused("another order", model=models.BPE(vocab, merges[::-1]))
    refused(f"no merge for {last!r}|which tokens of its vocabulary form", model=models.BPE(vocab, merges[:-1]))
    refused("no merges make 'zzzz'", model=models.BPE({**vocab, "zzzz": 999}, merges))
    refused("does not consist of", model=models.BPE({**vocab, "日": 999}, merges))
    refused("the byte 0x41", model=models.BPE({t: i for t, i in vocab.items() if "A" not in t}, []))
    tokenizer = byte_level(vocab_size=300)
    tokenizer.add_tokens([AddedToken("<x>", lstrip=True)])
    with pytest.raises(ValueError, match="the text around it"):
        gputok.save_tiktoken(tokenizer, tmp_path / "x")
    whole = byte_level(vocab_size=300)
    whole.model = models.BPE({**vocab, "zzzz": 999}, merges, ignore_merges=True)
    theirs = tiktoken.Encoding("x", mergeable_ranks=tiktoken_parts(whole)[0], **tiktoken_parts(whole)[1])
    assert theirs.encode("zzzz zzzz") == whole.encode("zzzz zzzz").ids


@pytest.mark.parametrize("file", ["tokenizer.model", "tiktoken.model"])
def test_folders_whose_model_is_a_tiktoken_file(file, tmp_path):
    """As transformers opens them: its pattern, and names for the ids between the added tokens."""
    gputok.save_tiktoken(byte_level(), tmp_path / file)
    n = byte_level().get_vocab_size()
    token = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    added = {str(n): {"content": "<s>", **token}, str(n + 3): {"content": "</s>", **token}}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": added, "bos_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = AutoTokenizer.from_pretrained(tmp_path)
    # Transformers itself doesn't look for the other name
    theirs = (
        transformers.PreTrainedTokenizerFast.from_pretrained(
            tmp_path, vocab_file=str(tmp_path / file) if file == "tiktoken.model" else None
        )
        if file == "tokenizer.model"
        else None
    )
    texts = [*texts_of(3), "<s>a</s><|reserved_token_701|>"]
    if theirs is not None:
        assert ours(texts)["input_ids"] == [theirs.encode(text, add_special_tokens=False) for text in texts]
        assert ours.get_vocab() == theirs.get_vocab()
    assert ours.bos_token_id == n and ours.convert_tokens_to_ids("</s>") == n + 3


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizer"])
@pytest.mark.parametrize(
    "added",
    [
        *({"added_tokens_decoder": {"700": {"content": "<x>"}}}, {"added_tokens_decoder": {"5": {"content": "<x>"}}}),
        *({"extra_special_tokens": {"image_token": "<x>"}}, {"extra_special_tokens": ["<x>", "<y>"]}),
        *({"additional_special_tokens": ["<x>", "<y>"]}, {"bos_token": "<s>"}),
        {"added_tokens_decoder": {"700": {"content": "<x>"}}, "extra_special_tokens": ["<y>", "<x>"]},
        {"added_tokens_decoder": {"700": {"content": "<s>"}}, "bos_token": "<s>", "add_bos_token": True},
        {"model_specific_special_tokens": {"image_token": "<x>"}},
    ],
    ids=str,
)  # fmt: skip
def test_settings_beside_a_tiktoken_file(kind, added, tmp_path):
    gputok.save_tiktoken(byte_level(), tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, **added}))
    ours, theirs = (one.AutoTokenizer.from_pretrained(tmp_path) for one in (gputok, transformers))
    texts = ["a<x> <y>image_token<s>b </s> c<unk>", *texts_of(3)]
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    assert ours.get_vocab() == theirs.get_vocab() and ours.special_tokens_map == theirs.special_tokens_map


@pytest.mark.slow
def test_llama_3_on_real_text(shared_tokenizer, corpus_sample, tmp_path):
    """Its own tokenizer.json, as a tiktoken file and back: the same model, merge for merge."""
    original = Tokenizer.from_file(str(shared_tokenizer("llama3")))
    options = gputok.save_tiktoken(original, tmp_path / "tokenizer.model")
    again = gputok.from_tiktoken(
        tmp_path / "tokenizer.model", pattern="llama3", special_tokens=options["special_tokens"]
    )
    expected, found = (json.loads(one.to_str()) for one in (original, again))
    assert found == {**expected, "post_processor": None}
    theirs = encoding_of(tmp_path / "tokenizer.model", options)
    for name in ("en", "code", "multi", "zh"):
        text = corpus_sample(name, 300_000)
        assert again.encode(text).ids == theirs.encode(text, allowed_special="all")


# -- SentencePiece

SPM_OPTIONS = [
    {},
    {"byte_fallback": True, "character_coverage": 0.98},
    {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True},
    {"normalization_rule_name": "nfkc", "add_dummy_prefix": False, "character_coverage": 0.98},
    {"split_by_whitespace": False, "control_symbols": ["<cls>"]},
    {"user_defined_symbols": ["<sep>"], "pad_id": 3},
]


@pytest.mark.parametrize("options", SPM_OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")
def test_sentencepiece_models_come_back(kind, options, tmp_path):
    """Read and written: the same pieces, scores, kinds and normalization, and the same tokenizer from them."""
    model = spm_model(kind, **options)
    tokenizer = gputok.from_sentencepiece(model)
    gputok.save_sentencepiece(tokenizer, tmp_path / "x.model")
    written = (tmp_path / "x.model").read_bytes()
    assert gputok.from_sentencepiece(written).to_str() == tokenizer.to_str()
    before, after = (sentencepiece_model_pb2.ModelProto.FromString(data) for data in (model, written))
    assert list(after.pieces) == list(before.pieces)
    for name in ("precompiled_charsmap", "add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"):
        assert getattr(after.normalizer_spec, name) == getattr(before.normalizer_spec, name), name
    for name in ("model_type", "byte_fallback", "unk_id", "bos_id", "eos_id", "pad_id", "unk_piece"):
        assert getattr(after.trainer_spec, name) == getattr(before.trainer_spec, name), name
    texts = texts_of(4)
    first, second = (spm.SentencePieceProcessor(model_proto=data) for data in (model, written))
    assert second.encode(texts) == first.encode(texts)
    assert second.decode(second.encode(texts)) == first.decode(first.encode(texts))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
@pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")
def test_a_tokenizer_trained_here_as_a_sentencepiece_model(kind, tmp_path):
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False, max_token_length=12)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Replace(gputok.Regex(r"\A +| +\z"), ""), normalizers.Replace(gputok.Regex(" {2,}"), " ")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    if kind == "unigram":  # scores whose sums single precision holds
        pieces = [(token, round(score * 4096) / 4096) for token, score in tokenizer.model.to_dict()["vocab"]]
        tokenizer.model = models.Unigram(pieces, 0)
    gputok.save_sentencepiece(tokenizer, tmp_path / "x.model")
    theirs = spm.SentencePieceProcessor(model_file=str(tmp_path / "x.model"))
    texts = [text for text in texts_of(5) if not any(c in text for c in "\n\t")]
    assert ids(tokenizer, texts) == theirs.encode(texts)
    assert [theirs.piece_to_id(token) for token in special] == [0, 1, 2, 3]
    assert (theirs.bos_id(), theirs.eos_id(), theirs.pad_id()) == (1, 2, 3)


def test_llama_2_as_a_sentencepiece_model(shared_tokenizer, corpus_sample, tmp_path):
    tokenizer = Tokenizer.from_file(str(shared_tokenizer("llama2")))
    gputok.save_sentencepiece(tokenizer, tmp_path / "tokenizer.model")
    theirs = spm.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for name in ("en", "code", "multi", "zh"):
        lines = corpus_sample(name, 300_000).split("\n")
        assert ids(tokenizer, lines) == theirs.encode(lines), name


@pytest.mark.parametrize("name", ["T5Tokenizer", "XLMRobertaTokenizer"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_tokenizers_that_transformers_converted_as_sentencepiece_models(kind, name, tmp_path):
    """transformers strips a text by other components (Strip on one side, WhitespaceSplit) with the same effect."""
    for file in ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"):
        (tmp_path / file).write_bytes(spm_model(kind))
    backend = getattr(transformers, name).from_pretrained(tmp_path).backend_tokenizer
    tokenizer = Tokenizer.from_str(backend.to_str())
    gputok.save_sentencepiece(tokenizer, tmp_path / "again.model")
    again = spm.SentencePieceProcessor(model_file=str(tmp_path / "again.model"))
    texts = [text for text in texts_of(12) if "<" not in text and "👩" not in text]
    pairs = [*zip(ids(tokenizer, texts), again.encode(texts), strict=True)]
    equal = sum(ours == theirs for ours, theirs in pairs)
    # Single precision decides a tie
    assert equal == len(pairs) if kind == "bpe" else equal > 0.98 * len(pairs)


def test_tokenizers_that_sentencepiece_cannot_express(tmp_path):
    def refused(said: str, tokenizer: Tokenizer, **changes):
        for name, value in changes.items():
            setattr(tokenizer, name, value)
        with pytest.raises(ValueError, match=said):
            gputok.save_sentencepiece(tokenizer, tmp_path / "x.model")
        assert not (tmp_path / "x.model").exists()

    def bpe(**options) -> Tokenizer:
        vocab = {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "▁ab": 5}
        merges = options.pop("merges", [("a", "b"), ("▁", "ab")])
        options = {"unk_token": "<unk>", "fuse_unk": True, **options}
        tokenizer = Tokenizer(models.BPE(options.pop("vocab", vocab), merges, **options))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        return tokenizer

    sentencepiece_bytes(bpe())
    refused("neither a BPE nor a Unigram", Tokenizer(models.WordLevel({"a": 0})))
    refused("not a Metaspace", bpe(), pre_tokenizer=pre_tokenizers.ByteLevel())
    refused("Lowercase", bpe(), normalizer=normalizers.Lowercase())
    refused("spaces don't become", bpe(), pre_tokenizer=None)
    refused("at the ends", bpe(), normalizer=normalizers.Strip())
    two = [normalizers.Strip(), normalizers.Replace(gputok.Regex(" {2,}"), " ")]
    refused(r"Strip removes '\\t'", bpe(), normalizer=normalizers.Sequence(two))
    cuts = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    refused("WhitespaceSplit removes", bpe(), pre_tokenizer=pre_tokenizers.Sequence(cuts))
    one_side = [normalizers.Strip(left=False), normalizers.Replace(gputok.Regex(" {2,}"), " ")]
    refused(
        "not at its start",
        bpe(),
        normalizer=normalizers.Sequence(one_side),
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="never"),
    )
    refused("no unknown token", bpe(unk_token=None))
    refused("fuse_unk", bpe(fuse_unk=False))
    refused("dropout", bpe(dropout=0.5))
    refused("byte_fallback", bpe(byte_fallback=True))
    refused("no merge for", bpe(merges=[("a", "b")]))
    refused("no token has the id 6", bpe(vocab={"<unk>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "▁ab": 5, "c": 9}))
    refused(
        "but the token 'a▁' contains one", bpe(vocab={"<unk>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "▁ab": 5, "a▁": 6})
    )
    refused(
        "ignore_merges", bpe(vocab={"<unk>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "▁ab": 5, "zz": 6}, ignore_merges=True)
    )
    added = bpe()
    added.add_tokens([AddedToken("<x>", single_word=True)])
    refused("the text around it", added)


# -- tekken.json


def tekken() -> Tokenizer:
    """A tokenizer as Mistral's files number it: special tokens, bytes, then what is merged."""
    ranks = [token for token in tiktoken_parts(byte_level("tekken"))[0] if len(token) > 1]
    special = {"<unk>": 0, "<s>": 1, "</s>": 2, "[INST]": 3, "<pad>": 4}
    tokens = [*(bytes([byte]) for byte in range(256)), *ranks]
    return by_ranks({token: 5 + i for i, token in enumerate(tokens)}, "tekken", special, "x")


def test_tekken_files(tmp_path):
    original = tekken()
    path = tmp_path / "tekken.json"
    gputok.save_tekken(original, path)
    again = gputok.from_tekken(path)
    assert again.to_str() == original.to_str()
    assert ids(gputok.from_tekken(path.read_bytes()), ["a b"]) == ids(original, ["a b"])
    gputok.save_tekken(again, tmp_path / "again.json", version="v3")
    assert (tmp_path / "again.json").read_text() == path.read_text()
    texts = [*texts_of(6), "<s> as text [INST]"]
    from transformers.integrations.mistral.tokenizer import MistralConverter

    theirs = MistralConverter(str(path)).converted()
    assert json.loads(theirs.to_str()) == {
        **json.loads(again.to_str()),
        "post_processor": json.loads(processors.ByteLevel(trim_offsets=False).__getstate__()),
    }
    theirs.encode_special_tokens = True
    assert ids(again, texts) == ids(theirs, texts)
    folder = AutoTokenizer.from_pretrained(tmp_path, pad_token="<pad>")
    assert folder("a b")["input_ids"] == again.encode("a b").ids and folder.pad_token_id == 4

    common = pytest.importorskip("mistral_common.tokens.tokenizers.tekken", reason="mistral_common isn't installed")
    asked = common.Tekkenizer.from_file(path)
    assert ids(again, texts) == [asked.encode(text, bos=False, eos=False) for text in texts]


def test_tekken_files_without_a_list_of_special_tokens(tmp_path):
    value = json.loads(_saved(gputok.save_tekken, tekken(), tmp_path / "tekken.json"))
    old = {**value, "special_tokens": None}
    old["config"] = {**old["config"], "default_num_special_tokens": 25, "default_vocab_size": 25 + 400}
    tokenizer = gputok.from_tekken(json.dumps(old).encode())
    assert tokenizer.token_to_id("[INST]") == 3 and tokenizer.token_to_id("<SPECIAL_24>") == 24
    assert tokenizer.get_vocab_size() == 425  # further entries are for other sizes of the model
    for change, said in (
        ({"special_tokens": None, "config": {**value["config"], "version": "v11"}}, "special_tokens is missing"),
        ({"vocab": value["vocab"][:300]}, "each rank from 0"),
        ({"config": {}}, "expected a tekken.json"),
        ({"vocab": [{"rank": 0}]}, "expected a tekken.json"),
        ({"special_tokens": value["special_tokens"] * 2}, "ranks from 0 to 4"),
    ):
        with pytest.raises(ValueError, match=said):
            gputok.from_tekken(json.dumps({**value, **change}).encode())
    for data in (b"[]", b'{"a":' * 100_000):
        with pytest.raises(ValueError, match=r"expected a tekken\.json"):
            gputok.from_tekken(data)
    assert tokenizer_kinds.kind_of(b'{"a":' * 100_000) is None
    with pytest.raises(ValueError, match="from 0"):
        gputok.save_tekken(by_ranks({bytes([i]): i for i in range(256)}, "gpt2", {"<s>": 256}, "x"), tmp_path / "x")
    with pytest.raises(ValueError, match="256 bytes in order"):
        gputok.save_tekken(byte_level(special=("<s>",)), tmp_path / "x")


def _saved(save, tokenizer: Tokenizer, path: pathlib.Path) -> bytes:
    save(tokenizer, path)
    return path.read_bytes()


# -- GGUF


def convert(folder: pathlib.Path, path: pathlib.Path, pre: str | None = None) -> pathlib.Path:
    """Does what llama.cpp's converter does with a folder, with the classes of the `gguf` package."""
    writer = gguf.GGUFWriter(str(path), "llama")
    if pre is None:
        vocab = gguf.SentencePieceVocab(folder)
        writer.add_tokenizer_pre("default")
    else:
        vocab = gguf.BpeVocab(folder)
        writer.add_tokenizer_pre(pre)
    writer.add_tokenizer_model(vocab.tokenizer_model)
    tokens, scores, types = zip(*vocab.all_tokens(), strict=True)
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    gguf.SpecialVocab(folder, load_merges=pre is not None, n_vocab=len(tokens)).add_to_gguf(writer, quiet=True)
    return _closed(writer, path)


def _closed(writer, path: pathlib.Path) -> pathlib.Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
BYTE_LEVEL = [("gpt-2", "gpt2"), ("llama-bpe", "llama3"), ("qwen2", "qwen3"), ("gpt-4o", "o200k"), ("tekken", "tekken")]
"""The pre-tokenizers by llama.cpp's names, and here."""


def byte_level_gguf(pre: str, pattern: str, folder: pathlib.Path) -> tuple[Tokenizer, pathlib.Path]:
    """A tokenizer, and what llama.cpp's converter makes of a folder of it written here."""
    original = byte_level(pattern)
    original.add_special_tokens(["<s>", "</s>"])
    original.post_processor = processors.TemplateProcessing(
        "<s> $A", special_tokens=[("<s>", original.token_to_id("<s>"))]
    )
    gputok.PreTrainedTokenizer(original, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE).save_pretrained(
        folder
    )
    return original, convert(folder, folder / "x.gguf", pre)


@pytest.mark.parametrize(("pre", "pattern"), BYTE_LEVEL)
def test_gguf_of_byte_level_tokenizers(pre, pattern, tmp_path):
    """The file gives the ids of the tokenizer that was saved."""
    original, path = byte_level_gguf(pre, pattern, tmp_path)
    tokenizer = gputok.from_gguf(path)
    texts = [*texts_of(7), "a<s>b</s>"]
    assert [e.ids for e in tokenizer.encode_batch(texts)] == [e.ids for e in original.encode_batch(texts)]
    assert tokenizer.get_vocab() == original.get_vocab()
    named = AutoTokenizer.from_pretrained(path)
    assert named.special_tokens_map == {"bos_token": "<s>", "eos_token": "</s>"}
    assert named.chat_template == TEMPLATE
    assert AutoTokenizer.from_pretrained(path, eos_token="<s>").eos_token == "<s>"


@pytest.mark.parametrize(("pre", "pattern"), BYTE_LEVEL)
def test_gguf_as_transformers_reads_it(pre, pattern, tmp_path):
    pytest.importorskip("torch", reason="transformers reads .gguf files with it")
    _, path = byte_level_gguf(pre, pattern, tmp_path)
    texts = [*texts_of(7), "a<s>b</s>"]
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path), gguf_file=path.name)
    assert AutoTokenizer.from_pretrained(path)(texts)["input_ids"] == theirs(texts)["input_ids"]


@pytest.mark.parametrize("options", SPM_OPTIONS[1:3], ids=str)
def test_gguf_of_sentencepiece_bpe(options, tmp_path):
    """A `.model` written here goes through llama.cpp's converter."""
    options = {**options, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    original = gputok.from_sentencepiece(spm_model("bpe", **options))
    gputok.save_sentencepiece(original, tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False}))
    tokenizer = gputok.from_gguf(convert(tmp_path, tmp_path / "x.gguf"))
    texts = [text for text in texts_of(8) if "<" not in text]
    processor = spm.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert ids(tokenizer, texts) == ids(original, texts) == processor.encode(texts)
    assert tokenizer.get_vocab() == original.get_vocab()
    assert tokenizer.encode("a").ids == ids(original, ["a"])[0]  # the file says that no bos token is added


def written(path: pathlib.Path, model: str, tokens: list[str], **values) -> pathlib.Path:
    """A file with just a tokenizer."""
    writer = gguf.GGUFWriter(str(path), "test")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    for name, value in values.items():
        if isinstance(value, bool):
            writer.add_bool(f"tokenizer.ggml.{name}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"tokenizer.ggml.{name}", value)
        elif isinstance(value, str):
            writer.add_string(f"tokenizer.ggml.{name}", value)
        else:
            writer.add_array(f"tokenizer.ggml.{name}", value)
    return _closed(writer, path)


@pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")
@pytest.mark.parametrize("options", [SPM_OPTIONS[0], SPM_OPTIONS[2], {"add_dummy_prefix": False}], ids=str)
def test_gguf_of_unigram(options, tmp_path):
    model = spm_model("unigram", **options)
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    spec = proto.normalizer_spec
    values = {
        "scores": [piece.score for piece in proto.pieces],
        "token_type": [piece.type for piece in proto.pieces],
        "unknown_token_id": 0,
        "eos_token_id": 2,
        "add_space_prefix": spec.add_dummy_prefix,
        "remove_extra_whitespaces": spec.remove_extra_whitespaces,
    }
    if spec.precompiled_charsmap:
        values["precompiled_charsmap"] = spec.precompiled_charsmap
    tokenizer = gputok.from_gguf(written(tmp_path / "x.gguf", "t5", [p.piece for p in proto.pieces], **values))
    processor = spm.SentencePieceProcessor(model_proto=model)
    # Precompiled takes clusters of characters otherwise
    texts = [text for text in texts_of(9, 0) if "👩" not in text]
    assert ids(tokenizer, texts) == processor.encode(texts)
    assert tokenizer.encode("a").ids == [*processor.encode("a"), 2]  # eos, by the default of this kind


def test_gguf_takes_no_file_descriptor(tmp_path):
    """One that is read would be closed."""
    with open(tmp_path / "some", "wb") as file:
        with pytest.raises(TypeError, match=r"expected str, bytes or os\.PathLike object, not int"):
            gputok.from_gguf(file.fileno())
        os.fstat(file.fileno())


def test_what_is_no_gguf(tmp_path):
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "old.gguf").write_bytes(b"GGML")
    for path in (os.devnull, tmp_path / "empty.gguf", tmp_path / "old.gguf"):
        with pytest.raises(ValueError, match="expected a GGUF file, which begins with GGUF"):
            gputok.from_gguf(path)


def test_gguf_of_wordpiece(tmp_path):
    letters = sorted({c for c in TEXT.lower() if c.strip()})
    words = ["the", "qui", "##ck", "dog", "##s", "[x]", "##[", *letters, *(f"##{c}" for c in letters)]
    tokens = [*dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])]
    original = tokenizers.implementations.BertWordPieceTokenizer({t: i for i, t in enumerate(tokens)})
    special = range(5)
    phantom = [t if i in special else t[2:] if t.startswith("##") else f"▁{t}" for i, t in enumerate(tokens)]
    ids_of = {
        "unknown_token_id": 1,
        "cls_token_id": 2,
        "seperator_token_id": 3,
        "padding_token_id": 0,
        "bos_token_id": 2,
    }
    types = [3 if i in special else 1 for i in range(len(tokens))]
    path = written(tmp_path / "x.gguf", "bert", phantom, token_type=types, **ids_of)
    tokenizer, options = read_gguf(path)
    assert tokenizer.get_vocab() == original.get_vocab()
    texts = texts_of(10)
    assert [e.ids for e in tokenizer.encode_batch(texts)] == [e.ids for e in original.encode_batch(texts)]
    pairs = [*itertools.pairwise(texts)]
    assert [e.type_ids for e in tokenizer.encode_batch(pairs)] == [e.type_ids for e in original.encode_batch(pairs)]
    special = {"unk_token": "[UNK]", "bos_token": "[CLS]", "cls_token": "[CLS]"}
    assert options == {**special, "sep_token": "[SEP]", "pad_token": "[PAD]"}
    cased = {"normalizer.lowercase": False, "token_type": types, **ids_of}
    assert written(tmp_path / "y.gguf", "bert", phantom, **cased)
    assert gputok.from_gguf(tmp_path / "y.gguf").normalizer.normalize_str("Ésé") == "Ésé"


def test_every_name_of_a_pattern_in_gguf(tmp_path):
    model = byte_level(vocab_size=300).model
    tokens = list(model.vocabulary.tokens)
    merges = [" ".join(pair) for pair in model.to_dict()["merges"]]
    hf = tokenizers.pre_tokenizers
    digits = hf.Sequence([hf.Digits(individual_digits=True), hf.ByteLevel(add_prefix_space=False)])
    threes = hf.Split(tokenizers.Regex("[0-9][0-9][0-9]"), "isolated")
    falcon = hf.Sequence([hf.Punctuation("contiguous"), hf.ByteLevel(add_prefix_space=False), hf.Digits(), threes])
    for pre in SPLITS:
        path = written(tmp_path / "x.gguf", "gpt2", tokens, merges=merges, pre=pre)
        tokenizer = gputok.from_gguf(path)
        assert tokenizer.decode(tokenizer.encode(TEXT).ids) == TEXT
        reference = {"starcoder": digits, "falcon": falcon}.get(pre)
        if reference is not None and pre == "starcoder":
            found = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(TEXT)]
            assert found == [piece for piece, _ in reference.pre_tokenize_str(TEXT)]
    path = written(tmp_path / "x.gguf", "gpt2", tokens, merges=merges, pre="new-model")
    with pytest.raises(ValueError, match="unknown pattern 'new-model'"):
        gputok.from_gguf(path)
    assert gputok.from_gguf(path, pattern="gpt2").encode("a b").ids
    path = written(tmp_path / "x.gguf", "gpt2", tokens, merges=merges)
    with pytest.raises(ValueError, match="names no pattern"):
        gputok.from_gguf(path)


def test_added_tokens_of_gguf(tmp_path):
    model = byte_level(vocab_size=300).model
    tokens = [*model.vocabulary.tokens, "<|im_end|>", "<think>", "[PAD302]"]
    types = [1] * 300 + [3, 4, 5]
    values = {"merges": [" ".join(p) for p in model.to_dict()["merges"]], "pre": "gpt-2", "token_type": types}
    tokenizer = gputok.from_gguf(
        written(tmp_path / "x.gguf", "gpt2", tokens, eos_token_id=300, add_eos_token=True, **values)
    )
    encoding = tokenizer.encode("a<think><|im_end|>[PAD302]")
    assert encoding.ids[1:3] == [301, 300] and encoding.ids[-1] == 300 and 302 not in encoding.ids
    assert tokenizer.decode(encoding.ids) == "a<think>[PAD302]"
    assert tokenizer.encode("a", "b").tokens == ["a", "<|im_end|>", "b", "<|im_end|>"]


def test_a_tokenizer_json_inside_a_gguf(tmp_path):
    original = byte_level(vocab_size=300)
    writer = gguf.GGUFWriter(str(tmp_path / "x.gguf"), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(original.model.vocabulary.tokens)
    writer.add_string(gguf.Keys.Tokenizer.HF_JSON, original.to_str())
    assert gputok.from_gguf(_closed(writer, tmp_path / "x.gguf")).to_str() == original.to_str()


def test_broken_gguf(tmp_path):
    path = written(tmp_path / "x.gguf", "rwkv", ["a"])
    with pytest.raises(ValueError, match="model is 'rwkv'"):
        gputok.from_gguf(path)
    data = path.read_bytes()
    for cut in range(4, len(data) - 33, 3):
        (tmp_path / "cut.gguf").write_bytes(data[:cut])
        try:
            # Cut in the padding after the values
            assert isinstance(read_metadata(tmp_path / "cut.gguf"), dict)
        except ValueError as error:
            assert "broken GGUF" in str(error)
    one = struct.pack("<Q1sIB", 1, b"a", 0, 7)
    nested = struct.pack("<Q1sI", 1, b"a", 9) + struct.pack("<IQ", 9, 1) * 5000
    for wrong, said in (
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "8 bytes should follow byte 24, but the file ends at 24"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + one + one, "Duplicate a "),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + nested, "recursion"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63) + one, f"{1 << 63} bytes should follow byte 32"),
    ):
        (tmp_path / "wrong.gguf").write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"wrong\.gguf: is a broken GGUF file: .*{said}"):
            gputok.from_gguf(tmp_path / "wrong.gguf")
    nothing = gguf.GGUFWriter(str(tmp_path / "none.gguf"), "llama")
    with pytest.raises(ValueError, match="model is missing"):
        gputok.from_gguf(_closed(nothing, tmp_path / "none.gguf"))
    for tokens, values, said in (
        ([], {"pre": "gpt-2"}, "no tokens"),
        (["a", "a"], {"pre": "gpt-2"}, "occur twice"),
        (["a"], {"pre": "gpt-2"}, "needs merges"),
        (["a"], {"pre": "gpt-2", "merges": ["a b"]}, "isn't in the vocabulary"),
        (["aa", "a"], {"pre": "gpt-2", "merges": ["a a"], "eos_token_id": 9, "add_eos_token": True}, "is 9, but"),
        (["aa", "a"], {"pre": "gpt-2", "merges": ["a a"], "add_eos_token": True}, "eos_token_id is missing"),
        (["a"], {"pre": "gpt-2", "merges": ["a a"], "token_type": [1, 1]}, "2 values for 1 tokens"),
    ):
        if tokens:
            path = written(tmp_path / "y.gguf", "gpt2", tokens, **values)
        else:
            writer = gguf.GGUFWriter(str(tmp_path / "y.gguf"), "x")
            writer.add_tokenizer_model("gpt2")
            path = _closed(writer, tmp_path / "y.gguf")
        with pytest.raises(ValueError, match=said):
            gputok.from_gguf(path)


def test_gguf_names_the_extra_that_it_needs(monkeypatch, tmp_path):
    path = written(tmp_path / "x.gguf", "gpt2", ["a"], pre="gpt-2", merges=[])
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match=r"GGUF files need an extra: pip install 'gputok\[gguf\]'"):
        gputok.from_gguf(path)


def test_metadata_of_gguf_is_that_of_the_gguf_package(tmp_path):
    """Every type of value, in both orders of bytes."""
    for order in (gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG):
        writer = gguf.GGUFWriter(str(tmp_path / "x.gguf"), "x", endianess=order)
        values = {"uint8": 7, "int8": -7, "uint16": 700, "int16": -700, "uint32": 1 << 31, "int32": -5, "float32": 0.5}
        values |= {"uint64": 1 << 60, "int64": -(1 << 60), "float64": 1e-300, "bool": True, "string": "é\n"}
        for name, value in values.items():
            getattr(writer, f"add_{name}")(f"one.{name}", value)
        arrays = {"floats": [0.5, -1.0], "words": ["a", "é"], "numbers": [1, -2], "flags": [True, False]}
        for name, value in arrays.items():
            writer.add_array(f"many.{name}", value)
        _closed(writer, tmp_path / "x.gguf")
        found = read_metadata(tmp_path / "x.gguf")
        assert {name: found[f"one.{name}"] for name in values} == values
        assert {name: list(found[f"many.{name}"]) for name in arrays} == arrays
        assert found["general.architecture"] == "x"


@pytest.mark.slow
def test_real_tokenizers_as_gguf(shared_tokenizer, corpus_sample, tmp_path):
    """Llama 3, through the converter's classes and back."""
    original = Tokenizer.from_file(str(shared_tokenizer("llama3")))
    gputok.PreTrainedTokenizer(original, bos_token="<|begin_of_text|>").save_pretrained(tmp_path)
    tokenizer = gputok.from_gguf(convert(tmp_path, tmp_path / "x.gguf", "llama-bpe"))
    for name in ("en", "multi"):
        text = corpus_sample(name, 200_000)
        assert ids(tokenizer, [text]) == ids(original, [text])


# -- the table of formats

ROUND_TRIPS = {
    "tokenizer.json": (lambda: byte_level(), lambda t, p: t.save(str(p)), lambda p: Tokenizer.from_file(str(p))),
    "tiktoken": (
        lambda: gputok.from_tiktoken(_tiktoken_bytes(), pattern="o200k"),
        gputok.save_tiktoken,
        lambda p: gputok.from_tiktoken(p, pattern="o200k"),
    ),
    "tekken.json": (tekken, gputok.save_tekken, gputok.from_tekken),
    "SentencePiece BPE": (
        lambda: gputok.from_sentencepiece(spm_model("bpe")),
        gputok.save_sentencepiece,
        gputok.from_sentencepiece,
    ),
    "SentencePiece Unigram": (
        lambda: gputok.from_sentencepiece(spm_model("unigram")),
        gputok.save_sentencepiece,
        gputok.from_sentencepiece,
    ),
    "folder of transformers": (
        lambda: byte_level(),
        lambda t, p: t.to_transformers().save_pretrained(p),
        lambda p: AutoTokenizer.from_pretrained(p).backend_tokenizer,
    ),
    "pickle": (
        lambda: byte_level(),
        lambda t, p: p.write_bytes(pickle.dumps(t)),
        lambda p: pickle.loads(p.read_bytes()),
    ),
}


def _tiktoken_bytes() -> bytes:
    ranks, _ = tiktoken_parts(byte_level("o200k"))
    return b"".join(base64.b64encode(token) + f" {rank}\n".encode() for token, rank in ranks.items())


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_round_trip_of_each_format(name, tmp_path):
    """The tokenizer that is read equals the one that was written: the same JSON form and ids."""
    make, save, load = ROUND_TRIPS[name]
    original = make()
    save(original, tmp_path / "file")
    again = load(tmp_path / "file")
    ours, theirs = json.loads(again.to_str()), json.loads(original.to_str())
    if name == "folder of transformers":  # which sets an empty post-processor
        ours["post_processor"] = theirs["post_processor"] = None
    assert ours == theirs
    assert ids(again, texts_of(11)) == ids(original, texts_of(11))


OTHERS = {
    "gguf": ("x.gguf", lambda p: written(p, "gpt2", ["a"]), "gputok.from_gguf"),
    "sentencepiece": ("tokenizer.model", lambda p: p.write_bytes(spm_model("bpe")), "gputok.from_sentencepiece"),
    "tiktoken": ("tokenizer.model", lambda p: p.write_bytes(_tiktoken_bytes()), "gputok.from_tiktoken"),
    "tekken": ("tekken.json", lambda p: gputok.save_tekken(tekken(), p), "gputok.from_tekken"),
    "vocabulary": ("vocab.json", lambda p: p.write_text('{"a": 0, "model": 1}'), "gputok.models.BPE.from_file"),
    "merges": ("merges.txt", lambda p: p.write_text("#version: 0.2\na b\n"), "gputok.models.BPE.from_file"),
    "tokens": ("vocab.txt", lambda p: p.write_text("[UNK]\nthe\n"), "gputok.models.WordPiece.from_file"),
    "settings": ("tokenizer_config.json", lambda p: p.write_text('{"tokenizer_class": "X"}'), "AutoTokenizer"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_from_file_names_the_function_for_another_format(kind, tmp_path):
    file, write, said = OTHERS[kind]
    write(tmp_path / file)
    assert tokenizer_kinds.kind_of((tmp_path / file).read_bytes(), file) == kind
    with pytest.raises(ValueError, match=f"{file}: is no tokenizer.json, but .*{said}"):
        Tokenizer.from_file(str(tmp_path / file))
    if said.startswith("gputok.from_"):
        assert callable(getattr(gputok, said.removeprefix("gputok.")))


def test_other_files_keep_their_errors(tmp_path):
    assert set(OTHERS) == set(tokenizer_kinds.OPENED_BY)
    for text, said in (
        ("{", "is not a tokenizer.json"),
        ("{}", "Model missing"),
        ("\n\n\n\n", "is not a tokenizer.json"),
    ):
        (tmp_path / "x").write_text(text)
        with pytest.raises(ValueError, match=said):
            Tokenizer.from_file(str(tmp_path / "x"))
