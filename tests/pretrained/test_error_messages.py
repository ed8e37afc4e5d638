"""Error messages that equal those of the installed `tokenizers`, and forms of arguments that both packages accept."""

import json

import pytest
import tokenizers

import gputok
from gputok import Tokenizer, decoders, models, normalizers, pre_tokenizers

MODELS = ["BPE", "WordPiece", "WordLevel", "Unigram"]
TRAINERS = ["BpeTrainer", "WordPieceTrainer", "WordLevelTrainer", "UnigramTrainer"]


def message(call) -> str:
    with pytest.raises(Exception) as found:
        call()
    return str(found.value)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("model", MODELS)
def test_a_trainer_of_another_model(model, trainer):
    if TRAINERS.index(trainer) == MODELS.index(model):
        return

    def train(package):
        tokenizer = package.Tokenizer(getattr(package.models, model)())
        before = tokenizer.to_str()
        try:
            tokenizer.train_from_iterator(["a b ab"] * 3, getattr(package.trainers, trainer)())
        finally:
            assert tokenizer.to_str() == before

    assert message(lambda: train(gputok)).startswith(message(lambda: train(tokenizers)))


def test_a_subclass_of_a_model_has_the_trainer_of_its_kind():
    class Mine(models.WordLevel):
        pass

    tokenizer = Tokenizer(Mine())
    tokenizer.train_from_iterator(["a", "a"], gputok.trainers.WordLevelTrainer(vocab_size=5))
    assert tokenizer.get_vocab() == {"a": 0}


class Nothing:
    pass


class NoArgument:
    def normalize(self): ...
    def pre_tokenize(self): ...
    def decode_chain(self): ...


@pytest.mark.parametrize("component", [Nothing(), NoArgument()])
@pytest.mark.parametrize("kind", ["normalizer", "pre_tokenizer", "decoder"])
def test_a_custom_component_of_a_wrong_signature(kind, component):
    def use(package):
        if kind == "normalizer":
            return package.normalizers.Normalizer.custom(component).normalize_str("a")
        if kind == "pre_tokenizer":
            return package.pre_tokenizers.PreTokenizer.custom(component).pre_tokenize_str("a")
        return package.decoders.Decoder.custom(component).decode(["a"])

    assert message(lambda: use(gputok)) == message(lambda: use(tokenizers))


def test_exceptions_of_custom_components_are_not_changed():
    class Mine:
        def normalize(self, normalized):
            raise TypeError("mine")

        pre_tokenize = decode_chain = normalize

    for use in (
        lambda: normalizers.Normalizer.custom(Mine()).normalize_str("a"),
        lambda: pre_tokenizers.PreTokenizer.custom(Mine()).pre_tokenize_str("a"),
        lambda: decoders.Decoder.custom(Mine()).decode(["a"]),
    ):
        assert message(use) == "mine"


@pytest.mark.parametrize("module", ["pre_tokenizers", "decoders", "processors"])
def test_byte_level_takes_its_json_form_as_arguments(module):
    """`type` is among them; `transformers` passes it."""
    for options in ({}, {"add_prefix_space": False}, {"trim_offsets": False, "use_regex": False}):
        theirs, ours = (getattr(package, module).ByteLevel for package in (tokenizers, gputok))
        state = json.loads(ours(**options).__getstate__())
        assert state == json.loads(theirs(**options).__getstate__())
        assert ours(**state).__getstate__() == theirs(**state).__getstate__() == ours(**options).__getstate__()
    if module == "processors":
        with pytest.raises(ValueError, match="'Fuse'"):
            ours(type="Fuse")
