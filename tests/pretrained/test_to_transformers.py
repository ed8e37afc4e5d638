"""gputok inside the classes of `transformers`, side by side with `tokenizers` in the same process."""

import copy
import inspect
import json
import pickle
import warnings

import pytest
import tokenizers
import transformers
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

import gputok
from gputok import AddedToken, AutoTokenizer, PreTrainedTokenizer, Tokenizer

TEXTS = ["the quick <s> fox", "a lazy dog, and another. 日本", "", "[CLS] it is [MASK] so </s>"]
TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<mask>", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
CORPUS = ["the quick brown fox jumps over the lazy dog", "an apple, another apple and so on. it is so"] * 5


@pytest.fixture(scope="module")
def trained() -> dict[str, tokenizers.Tokenizer]:
    """Name of a model -> a small tokenizer of `tokenizers`."""
    m, p, t = tokenizers.models, tokenizers.pre_tokenizers, tokenizers.trainers
    options = {"special_tokens": TOKENS, "show_progress": False}
    alphabet = p.ByteLevel.alphabet()
    made = {
        "BPE": (m.BPE(), p.ByteLevel(), t.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, **options)),
        "WordPiece": (m.WordPiece(), p.BertPreTokenizer(), t.WordPieceTrainer(vocab_size=80, **options)),
        "Unigram": (m.Unigram(), p.Metaspace(), t.UnigramTrainer(vocab_size=70, unk_token="<unk>", **options)),
        "WordLevel": (m.WordLevel(unk_token="<unk>"), p.Whitespace(), t.WordLevelTrainer(**options)),
    }
    found = {}
    for name, (model, pre_tokenizer, trainer) in made.items():
        found[name] = tokenizers.Tokenizer(model)
        found[name].pre_tokenizer = pre_tokenizer
        found[name].train_from_iterator(CORPUS, trainer)
    # tokenizers reads a score of many digits as another one, if only by the last bit
    pieces = [(token, round(score, 3)) for token, score in json.loads(found["Unigram"].to_str())["model"]["vocab"]]
    found["Unigram"].model = m.Unigram(pieces, 0)
    return found


def fast_classes():
    """All classes of `transformers` that have a tokenizer of `tokenizers` inside."""
    names = set()
    for value in TOKENIZER_MAPPING_NAMES.values():
        names |= {value} if isinstance(value, str) else set(value or ())
    for name in sorted(names - {None}):
        try:
            kind = getattr(transformers, name)
        except (ImportError, AttributeError):
            continue  # a package that its module needs is missing
        if inspect.isclass(kind) and issubclass(kind, transformers.PreTrainedTokenizerFast):
            yield kind


ARGUMENTS = {
    "MarkupLMTokenizer": {"tags_dict": {"p": 0}},
    "PegasusTokenizer": {"vocab": [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]},
}


@pytest.mark.parametrize("kind", list(fast_classes()), ids=lambda kind: kind.__name__)
def test_every_class_takes_a_tokenizer(kind, trained):
    """A tokenizer of tokenizers and one of gputok give the same object inside and the same columns."""

    def made(tokenizer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outer = kind(tokenizer_object=tokenizer, **ARGUMENTS.get(kind.__name__, {}))
            outer.add_tokens([tokenizers.AddedToken("brown fox", lstrip=True), "dog"])
            outer.add_special_tokens({"additional_special_tokens": [tokenizers.AddedToken("<new>")]})
            try:
                columns = outer(TEXTS).data
            except (ValueError, IndexError, TypeError) as error:  # a class that wants boxes or pages rather than texts
                columns = type(error)
        assert type(outer.backend_tokenizer) is type(tokenizer)
        return json.loads(outer.backend_tokenizer.to_str()), columns, outer.special_tokens_map, len(outer)

    try:
        theirs = copy.deepcopy(trained[getattr(kind.model, "__name__", "BPE")])
        expected = made(theirs)
    except ImportError as error:
        pytest.skip(f"{kind.__name__} itself: {error}")
    assert made(Tokenizer.from_str(trained[getattr(kind.model, "__name__", "BPE")].to_str())) == expected


@pytest.mark.parametrize("model", ["BPE", "WordPiece", "Unigram", "WordLevel"])
def test_to_transformers(model, trained, tmp_path):
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=trained[model], pad_token="<pad>")
    ours = Tokenizer.from_str(trained[model].to_str()).to_transformers(pad_token="<pad>")
    assert isinstance(ours, transformers.PreTrainedTokenizerFast)
    assert isinstance(ours.backend_tokenizer, Tokenizer)
    options = {"padding": True, "return_offsets_mapping": True, "return_special_tokens_mask": True}
    assert ours(TEXTS, **options).data == theirs(TEXTS, **options).data
    assert ours.batch_decode(ours(TEXTS)["input_ids"]) == theirs.batch_decode(theirs(TEXTS)["input_ids"])
    assert pickle.loads(pickle.dumps(ours))(TEXTS).data == theirs(TEXTS).data
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    for path in (tmp_path / "theirs").iterdir():
        assert json.loads((tmp_path / "ours" / path.name).read_text()) == json.loads(path.read_text())
    if model in ("BPE", "WordLevel"):  # of the others, two trainings of tokenizers differ
        new, their_new = (one.train_new_from_iterator([CORPUS], 300) for one in (ours, theirs))
        assert new.backend_tokenizer.to_str() == their_new.backend_tokenizer.to_str()


def test_a_pretrained_tokenizer_keeps_its_options(trained):
    options = {
        "bos_token": "<s>",
        "pad_token": AddedToken("<pad>", lstrip=True, special=True),
        "extra_special_tokens": ["<a>"],
        "model_specific_special_tokens": {"image_token": "<image>"},
        "model_max_length": 9,
        "padding_side": "left",
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
        "model_input_names": ["input_ids"],
    }
    ours = PreTrainedTokenizer(Tokenizer.from_str(trained["BPE"].to_str()), **options)
    outer = ours.to_transformers()
    for name in ("special_tokens_map", "all_special_tokens", "model_max_length", "padding_side", "model_input_names"):
        assert getattr(outer, name) == getattr(ours, name), name
    assert outer.image_token == "<image>"
    call = {"padding": "max_length", "truncation": True}
    assert outer(TEXTS, **call).data == ours(TEXTS, **call).data
    chat = [{"role": "user", "content": "the dog"}]
    assert outer.apply_chat_template(chat).data == ours.apply_chat_template(chat).data
    assert outer.backend_tokenizer.get_added_tokens_decoder() == ours.backend_tokenizer.get_added_tokens_decoder()


def test_the_same_after_a_folder(trained, tmp_path):
    trained["BPE"].save(str(tmp_path / "tokenizer.json"))
    ours = AutoTokenizer.from_pretrained(tmp_path).to_transformers()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours(TEXTS).data == theirs(TEXTS).data


def test_components_and_added_tokens_of_tokenizers():
    hf = tokenizers
    theirs, ours = hf.Tokenizer(hf.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])), None
    ours = Tokenizer(hf.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    for tokenizer in (theirs, ours):
        tokenizer.normalizer = hf.normalizers.Sequence([hf.normalizers.NFC(), hf.normalizers.Lowercase()])
        tokenizer.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex(r"\s+"), "removed", invert=False)
        tokenizer.post_processor = hf.processors.TemplateProcessing("$A <e>", special_tokens=[("<e>", 3)])
        tokenizer.decoder = hf.decoders.Sequence([hf.decoders.ByteFallback(), hf.decoders.Fuse()])
        tokenizer.add_special_tokens([hf.AddedToken("<e>", rstrip=True)])
        tokenizer.add_tokens([hf.AddedToken("BB", normalized=True), "cc"])
    assert ours.to_str() == theirs.to_str()
    assert ours.encode("AB bb<e> cc").ids == theirs.encode("AB bb<e> cc").ids

    inside = [
        gputok.normalizers.Sequence([hf.normalizers.NFC()]),
        gputok.pre_tokenizers.Sequence([hf.pre_tokenizers.Digits(True)]),
        gputok.processors.Sequence([hf.processors.ByteLevel()]),
        gputok.decoders.Sequence([hf.decoders.Fuse()]),
    ]
    for sequence in inside:
        theirs = getattr(hf, type(sequence).__module__.split(".")[1]).Sequence
        assert sequence.__getstate__() == type(sequence).from_dict(json.loads(sequence.__getstate__())).__getstate__()
        assert theirs is not type(sequence)
    inside[0][0] = hf.normalizers.Strip()
    inside[1][0] = hf.pre_tokenizers.Punctuation()
    inside[2][0] = hf.processors.BertProcessing(("s", 1), ("c", 2))
    assert isinstance(inside[0][0], gputok.normalizers.Strip)
    assert isinstance(inside[1][0], gputok.pre_tokenizers.Punctuation)
    assert isinstance(inside[2][0], gputok.processors.BertProcessing)

    trainer = gputok.trainers.BpeTrainer(special_tokens=[hf.AddedToken("<s>"), "<t>"])
    their_trainer = hf.trainers.BpeTrainer(special_tokens=[hf.AddedToken("<s>"), "<t>"])
    assert trainer.__getstate__() == their_trainer.__getstate__()


def test_objects_that_are_not_components():
    tokenizer = Tokenizer(gputok.models.BPE())
    for name, value in {
        "normalizer": tokenizers.decoders.Fuse(),
        "pre_tokenizer": tokenizers.normalizers.NFC(),
        "decoder": "Fuse",
        "model": tokenizers.normalizers.NFC(),
    }.items():
        with pytest.raises(TypeError, match="of gputok or tokenizers"):
            setattr(tokenizer, name, value)

    class Mine:
        def normalize(self, normalized): ...

    with pytest.raises(TypeError, match="can't be used in gputok: "):
        tokenizer.normalizer = tokenizers.normalizers.Normalizer.custom(Mine())
