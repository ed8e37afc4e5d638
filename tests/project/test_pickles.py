"""Objects that users keep are the same after pickling, and pickles name the modules that users import."""

import copy
import enum
import functools
import importlib
import pickle
import pickletools
import sys
import warnings
from typing import Any

import numpy as np

import gputok
from gputok import (
    AddedToken,
    Regex,
    TextBatch,
    Tokenizer,
    WordCounts,
    decoders,
    implementations,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    tools,
    trainers,
)

# The modules that users import from, and those whose names pickles hold besides.
PUBLIC = {
    "gputok",
    *(f"gputok.{name}" for name in ("decoders", "implementations", "models", "normalizers", "pre_tokenizers")),
    *(f"gputok.{name}" for name in ("pretrained", "processors", "report", "text", "tools", "trainers")),
}
INSIDE = {"gputok.text.pre_tokenized_string", "gputok.token_files.token_files", "gputok.token_files.batches"}
# Reports hold pipelines.
INSIDE |= {f"gputok.pipeline.{name}" for name in ("added_vocabulary", "limits", "pipeline")}

VOCAB = {"<unk>": 0, "l": 1, "o": 2, "w": 3, "lo": 4, "low": 5, "[CLS]": 6, "[SEP]": 7, "##w": 8, "[PAD]": 9}
MERGES = [("l", "o"), ("lo", "w")]
COUNTS = {"low": 9, "lower": 5, "newest": 7}
CLS, SEP = ("[CLS]", 6), ("[SEP]", 7)


@functools.cache
def samples() -> dict[str, Any]:
    """An object of each kind that a user may keep, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small corpus gives few pieces
        return _samples()


def _samples() -> dict[str, Any]:
    return {
        **_top_level(),
        **_named("models", _models()),
        **_named("normalizers", _normalizers()),
        **_named("pre_tokenizers", _pre_tokenizers()),
        **_named("processors", _processors()),
        **_named("decoders", _decoders()),
        **_named("trainers", _trainers()),
        **_named("implementations", _implementations()),
        **_named("pretrained", _pretrained()),
    }


def _named(module: str, values: list[Any]) -> dict[str, Any]:
    return {f"{module}.{type(value).__name__}": value for value in values}


def tokenizer() -> Tokenizer:
    """One with every part and option."""
    whole = Tokenizer(models.BPE(VOCAB, MERGES, unk_token="<unk>"))
    whole.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" +"), " ")])
    whole.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    whole.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1", [CLS, SEP])
    whole.decoder = decoders.BPEDecoder()
    whole.add_tokens([AddedToken("<mask>", lstrip=True), "new"])
    whole.add_special_tokens(["[CLS]", "[SEP]"])
    whole.enable_truncation(9, stride=2, strategy="only_first", direction="left")
    whole.enable_padding(direction="left", pad_id=9, pad_type_id=1, pad_token="[PAD]", pad_to_multiple_of=4)
    return whole


def _top_level() -> dict[str, Any]:
    text = gputok.NormalizedString("Élan  low")
    text.nfd()
    cut = gputok.PreTokenizedString("low new")
    cut.split(lambda i, part: part.split(" ", "removed"))
    cut.tokenize(lambda part: [gputok.Token(len(part), part, (0, len(part)))])
    whole = tokenizer()
    return {
        "Tokenizer": whole,
        "AddedToken": AddedToken("<mask>", lstrip=True, single_word=True, normalized=False, special=True),
        "Encoding": whole.encode("low <mask> low low low low low low low", "lo"),
        "WordCounts": WordCounts.from_dict(COUNTS),
        "Regex": Regex(r"\p{N}{1,3}"),
        "TextBatch": TextBatch.from_strings(["low", "", "Élan"]),
        "NormalizedString": text,
        "PreTokenizedString": cut,
        "Token": gputok.Token(5, "low", (0, 3)),
        "OffsetReferential": gputok.OffsetReferential.NORMALIZED,
        "OffsetType": gputok.OffsetType.CHAR,
        "SplitDelimiterBehavior": gputok.SplitDelimiterBehavior.ISOLATED,
        "encode_corpus": [*whole.encode_corpus(iter(["low", "lo w"]), progress=False, device="cpu")],
        "report": whole.report(iter(["low lower", "Élan"]), progress=False),
        "decoders.DecodeStream": decoders.DecodeStream([5], True),
        "tools.Annotation": tools.Annotation(0, 3, "word"),
    }


def _models() -> list[Any]:
    unigram = models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0)], 0, True)
    return [
        models.BPE(VOCAB, MERGES, dropout=0.1, unk_token="<unk>", fuse_unk=True, end_of_word_suffix="w"),
        models.WordPiece(VOCAB, unk_token="<unk>", max_input_chars_per_word=7),
        models.WordLevel(VOCAB, unk_token="[PAD]"),
        unigram,
        models.Vocabulary.from_mapping(VOCAB),
        models.Tokens(*(np.arange(3, dtype=np.int64) for _ in range(4))),
    ]


def _normalizers() -> list[Any]:
    return [
        *(getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase")),
        normalizers.StripAccents(),
        normalizers.ByteLevel(),
        normalizers.BertNormalizer(clean_text=False, strip_accents=True, lowercase=False),
        normalizers.Precompiled(b"\0\0\0\0"),
        normalizers.Prepend("_"),
        normalizers.Replace(Regex("a+"), "b"),
        normalizers.Strip(left=False),
        normalizers.Sequence([normalizers.NFD(), normalizers.Prepend("_")]),
    ]


def _pre_tokenizers() -> list[Any]:
    return [
        pre_tokenizers.BertPreTokenizer(),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.CharDelimiterSplit("x"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.FixedLength(length=3),
        pre_tokenizers.Metaspace("_", "first", split=False),
        pre_tokenizers.Punctuation("removed"),
        pre_tokenizers.Split(Regex("a+"), "merged_with_next", invert=True),
        pre_tokenizers.UnicodeScripts(),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Split(",", "removed")]),
    ]


def _processors() -> list[Any]:
    return [
        processors.ByteLevel(trim_offsets=False),
        processors.BertProcessing(SEP, CLS),
        processors.RobertaProcessing(SEP, CLS, trim_offsets=False),
        processors.TemplateProcessing("[CLS] $A", "$A $B:1", [CLS]),
        processors.Sequence([processors.ByteLevel(), processors.BertProcessing(SEP, CLS)]),
    ]


def _decoders() -> list[Any]:
    return [
        decoders.BPEDecoder("w"),
        decoders.ByteFallback(),
        decoders.ByteLevel(),
        decoders.CTC(pad_token="p", cleanup=False),
        decoders.Fuse(),
        decoders.Metaspace("_", "never"),
        decoders.Replace(Regex("a+"), "b"),
        decoders.Strip("x", 1, 2),
        decoders.WordPiece(cleanup=False),
        decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]),
    ]


def _trainers() -> list[Any]:
    special = ["<unk>", AddedToken("[CLS]", lstrip=True)]
    words = WordCounts.from_dict(COUNTS)
    made = [
        trainers.BpeTrainer(vocab_size=20, special_tokens=special, show_progress=False, limit_alphabet=7),
        trainers.WordPieceTrainer(vocab_size=20, special_tokens=special, continuing_subword_prefix="_"),
        trainers.WordLevelTrainer(vocab_size=3, special_tokens=special, min_frequency=1),
        trainers.UnigramTrainer(vocab_size=20, special_tokens=special, unk_token="<unk>", seed_size=99),
    ]
    parity = trainers.ParityBpeTrainer(num_merges=2, variant="window", special_tokens=["<unk>"], alpha=1.5)
    return [*made, *(trainer.train(words) for trainer in made), parity]


def _implementations() -> list[Any]:
    return [
        implementations.BaseTokenizer(tokenizer(), {"model": "own"}),
        implementations.BertWordPieceTokenizer(VOCAB, unk_token="<unk>"),
        implementations.ByteLevelBPETokenizer(VOCAB, MERGES, lowercase=True),
        implementations.CharBPETokenizer(VOCAB, MERGES),
        implementations.SentencePieceBPETokenizer(VOCAB, MERGES),
        implementations.SentencePieceUnigramTokenizer([("<unk>", 0.0), ("a", -1.0)]),
    ]


def _pretrained() -> list[Any]:
    model = gputok.PreTrainedTokenizer(tokenizer(), cls_token="[CLS]", pad_token="[PAD]", model_max_length=99)
    batch = model(["low lo", "low"], padding=True)
    return [model, batch, batch.token_to_chars(0, 1)]


def state(value: Any) -> Any:
    """What an object holds, down to numbers and strings."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.tolist()
    if isinstance(value, list | tuple):
        return type(value), [state(item) for item in value]
    if isinstance(value, dict):
        return {key: state(item) for key, item in value.items()}
    if isinstance(value, gputok.Token):
        return value.as_tuple()
    kept = value.__getstate__() if type(value).__module__.startswith("gputok") else value
    # A class with __slots__ gives (None, its attributes)
    if isinstance(kept, tuple) and isinstance(kept[-1], dict):
        kept = kept[-1]
    if isinstance(kept, dict) and not isinstance(value, enum.Enum):
        kept = state({key: item for key, item in kept.items() if key not in DERIVED})
    return type(value), kept


DERIVED = {"mapping", "tokens", "names", "order", "strings"}  # a Vocabulary makes these when they are first used


def test_pickled():
    for name, value in samples().items():
        pickled = pickle.dumps(value)
        assert state(pickle.loads(pickled)) == state(value), name
        assert set(named_modules(pickled)) <= PUBLIC | INSIDE, name


def named_modules(pickled: bytes) -> list[str]:
    strings = [argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)]
    return [text for text in strings if text.startswith("gputok") and importlib.util.find_spec(text)]


def test_reprs_name_public_modules():
    kinds = {type(value) for value in samples().values() if not isinstance(value, list)}
    assert {kind.__module__ for kind in kinds} <= PUBLIC | INSIDE
    for kind in kinds - {list}:
        assert getattr(sys.modules[kind.__module__], kind.__name__) is kind


class _Steps(normalizers.Sequence):
    """A user's class, whose constructor has its own arguments."""

    def __init__(self, steps=(), tag=None):
        super().__init__(steps)


def test_sequences_of_users_are_copied_with_what_they_hold():
    steps = _Steps([normalizers.NFC()])
    steps._set(normalizers=[normalizers.NFC(), normalizers.Sequence([normalizers.NFD()])])
    for other in (copy.deepcopy(steps), pickle.loads(pickle.dumps(steps)), _Steps.from_dict(steps.to_dict())):
        assert type(other) is _Steps and other.to_dict() == steps.to_dict()
