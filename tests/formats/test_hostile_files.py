"""Damaged tokenizer files raise a clear ValueError, or work; they never crash, hang, or exhaust the memory."""

from __future__ import annotations

import base64
import collections
import json
import os
import random
import re
import select
import signal

import hostile
import pytest
from make_normalization_tables import charsmap

from gputok import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SEED = 0
STOPPED = re.compile(
    "stopped: (the unknown token .* is needed, but it isn't in the vocabulary"
    "|piece 0: a character isn't in the vocabulary, and unk_id is not set|padding to [0-9]+ tokens, by "
    "|FixedLength: expected a length of at least 1 |TemplateProcessing cannot come after "
    "|`stride` is [0-9]+, but must be less than |the template .* uses \\$B)",
    re.DOTALL,
)
"""Why a text may be refused by a tokenizer whose file was not, as in tokenizers."""
SHARED = ["llama2", "llama3", "qwen3", "claude", "minilm-bert"]
TOKEN = "<s>", 0
TEMPLATE = processors.TemplateProcessing("<s> $A:1 <s>:2", "<s> $A $B:1 <s>:1", [TOKEN])
COMPONENTS = {
    "normalizer": [
        *(normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Nmt(), normalizers.ByteLevel()),
        *(normalizers.NFD(), normalizers.NFKD(), normalizers.NFC(), normalizers.NFKC()),
        *(normalizers.BertNormalizer(), normalizers.Prepend("▁"), normalizers.Strip()),
        *(normalizers.Replace(" ", "▁"), normalizers.Replace(Regex(r"\s+(?=a)"), "é")),
        normalizers.Sequence([normalizers.NFC(), normalizers.Sequence([normalizers.Lowercase()])]),
    ],
    "pre_tokenizer": [
        *(pre_tokenizers.ByteLevel(), pre_tokenizers.Metaspace(), pre_tokenizers.FixedLength(3)),
        *(pre_tokenizers.Split(Regex(r"\w+|\s+(?!\S)"), "isolated", True), pre_tokenizers.Split(" ", "removed")),
        *(pre_tokenizers.CharDelimiterSplit("a"), pre_tokenizers.Digits(True), pre_tokenizers.Punctuation()),
        *(pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.BertPreTokenizer()),
        *(
            pre_tokenizers.UnicodeScripts(),
            pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()]),
        ),
    ],
    "post_processor": [
        *(processors.ByteLevel(), processors.BertProcessing(TOKEN, TOKEN)),
        *(processors.RobertaProcessing(TOKEN, TOKEN), TEMPLATE),
        processors.Sequence([processors.ByteLevel(), TEMPLATE]),
    ],
    "decoder": [
        *(decoders.BPEDecoder(), decoders.ByteFallback(), decoders.ByteLevel(), decoders.CTC(), decoders.Fuse()),
        *(decoders.Metaspace(), decoders.Replace("▁", " "), decoders.Replace(Regex("a+"), "b")),
        *(decoders.Strip(" ", 1, 2), decoders.WordPiece(), decoders.Sequence([decoders.Fuse(), decoders.Strip()])),
    ],
}
LETTERS = ["<s>", *"abcdehlorw ,.!", *pre_tokenizers.ByteLevel.alphabet()[:20], "▁", "字"]
VOCABULARY = {token: i for i, token in enumerate([*dict.fromkeys(LETTERS), "he", "ll", "hell", "##o", "<0xE5>"])}
MERGES = [("h", "e"), ("l", "l"), ("he", "ll")]
MODELS = {
    "BPE": lambda: models.BPE(VOCABULARY, MERGES, unk_token="<s>", fuse_unk=True, byte_fallback=True),
    "BPE with affixes": lambda: models.BPE(
        {**VOCABULARY, "a</w>": len(VOCABULARY)}, [], continuing_subword_prefix="##", end_of_word_suffix="</w>"
    ),
    "Unigram": lambda: models.Unigram([(token, -float(i)) for token, i in VOCABULARY.items()], 0, True),
    "WordLevel": lambda: models.WordLevel(VOCABULARY, "<s>"),
    "WordPiece": lambda: models.WordPiece(VOCABULARY, "<s>", 20),
}


def small_files() -> dict[str, str]:
    """A small file for each kind of component, model and option."""
    files = {}

    def put(name: str, model: str = "BPE", **parts: object) -> Tokenizer:
        tokenizer = Tokenizer(MODELS[model]())
        for part, component in parts.items():
            setattr(tokenizer, part, component)
        files[name] = tokenizer.to_str()
        return tokenizer

    for part, components in COMPONENTS.items():
        for component in components:
            name = f"{part} {type(component).__name__}"
            put(name if name not in files else f"{name} of a pattern", **{part: component})
    files["normalizer Precompiled"] = _with_charsmap(files["normalizer NFC"])
    for model in MODELS:
        put(f"model {model}", model, pre_tokenizer=pre_tokenizers.WhitespaceSplit())
    tokenizer = put("added tokens", normalizer=normalizers.Lowercase())
    switches = ("single_word", "lstrip", "rstrip", "normalized", "special")
    tokenizer.add_tokens([AddedToken(f"<{switch}>", **{switch: True}) for switch in switches])
    tokenizer.add_special_tokens(["<s>", "\n", "ab"])
    files["added tokens"] = tokenizer.to_str()
    tokenizer.enable_truncation(8, stride=2, strategy="only_first", direction="left")
    files["truncation"] = tokenizer.to_str()
    tokenizer.enable_padding(length=12, pad_to_multiple_of=8, pad_token="<s>")
    files["padding"] = tokenizer.to_str()
    return files


def _with_charsmap(text: str) -> str:
    form = json.loads(text)
    encoded = base64.b64encode(charsmap({"é", "a", "ﬁ", "\u0301"})).decode()
    form["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": encoded}
    return json.dumps(form)


SMALL = small_files()


class Failures:
    """The failures by kind; the first file of each kind is kept."""

    def __init__(self, folder, seed) -> None:
        self.folder, self.seed = folder, seed
        self.counts: collections.Counter[str] = collections.Counter()
        self.outcomes: collections.Counter[str] = collections.Counter()

    def run(self, worker: hostile.Worker, name: str, text: str, n: int) -> None:
        seed = f"{self.seed} {name}"
        for i, data, outcome in hostile.tried(worker, text, seed, n):
            self.outcomes[outcome.split(":")[0]] += 1
            if outcome.startswith(("works", "refused")) or STOPPED.match(outcome):
                continue
            if outcome not in self.counts:
                path = self.folder / f"{name.replace(' ', '-')}-{i}.json"
                path.write_bytes(data)
                print(f"{path} (seed {seed!r}, number {i}): {outcome}")
            self.counts[outcome] += 1

    def check(self) -> None:
        print(dict(self.outcomes))
        told = "\n".join(f"{n} times {outcome}" for outcome, n in self.counts.most_common())
        assert not self.counts, f"of {self.outcomes.total()} files, some in {self.folder}:\n{told}"
        assert self.outcomes["works"] and self.outcomes["refused"], self.outcomes


@pytest.fixture
def failures(tmp_path, request) -> Failures:
    seed = SEED if "full" not in request.keywords else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    return Failures(tmp_path, seed)


@pytest.fixture
def worker(tmp_path):
    with hostile.Worker(tmp_path) as started:
        # Where kernels are compiled, they are compiled now
        started.try_file(SMALL["normalizer NFC"].encode(), 300.0)
        yield started


def test_every_component_has_a_file():
    kinds = {
        "normalizer": normalizers.Normalizer,
        "pre_tokenizer": pre_tokenizers.PreTokenizer,
        "post_processor": processors.PostProcessor,
        "decoder": decoders.Decoder,
        "model": models.Model,
    }
    assert {f"{part} {name}" for part, base in kinds.items() for name in base.types()} <= SMALL.keys()


@pytest.mark.slow
def test_whole_files_work(worker):
    assert {name: worker.try_file(text.encode()) for name, text in SMALL.items()} == dict.fromkeys(SMALL, "works")


def test_a_file_that_ends_the_process_is_named(worker, failures, monkeypatch):
    """The file is kept, and the others are tried by another process."""
    name, wait = "decoder Fuse", select.select
    worker.try_file(SMALL[name].encode())
    os.kill(worker.pid, signal.SIGSTOP)  # or it might answer first

    def killing(*arguments):
        monkeypatch.undo()
        os.kill(worker.pid, signal.SIGKILL)
        return wait(*arguments)

    monkeypatch.setattr(hostile.select, "select", killing)
    failures.run(worker, name, SMALL[name], 4)
    (outcome,) = failures.counts
    assert "ended with -9" in outcome and failures.outcomes.total() == 4
    assert (failures.folder / "decoder-Fuse-0.json").exists()


@pytest.mark.slow
def test_some_damage(worker, failures):
    for name, text in SMALL.items():
        failures.run(worker, name, text, 6)
    failures.check()


@pytest.mark.slow
def test_some_damage_to_real_files(worker, failures, shared_tokenizer):
    for name in SHARED:
        failures.run(worker, name, hostile.cut(shared_tokenizer(name).read_text(), 1000), 10)
    failures.check()


@pytest.mark.full
@pytest.mark.parametrize("name", SMALL)
def test_a_thousand_damages(worker, failures, name):
    failures.run(worker, name, SMALL[name], 1000)
    failures.check()


@pytest.mark.full
@pytest.mark.parametrize("name", SHARED)
def test_a_thousand_damages_to_real_files(worker, failures, shared_tokenizer, name):
    text = shared_tokenizer(name).read_text()
    failures.run(worker, name, hostile.cut(text, 3000), 980)
    failures.run(worker, f"{name} whole", text, 20)
    failures.check()
