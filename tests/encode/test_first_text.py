"""What a first text needs: the tables made for it give the ids of those that much text gets, and no more is made."""

from __future__ import annotations

import subprocess
import sys

import pytest
import test_short_texts
import test_units
import tokenizers

from gputok import Regex, Tokenizer, models, normalizers, pre_tokenizers
from gputok.automaton import PATTERNS
from gputok.automaton.patterns import SPLITS
from gputok.automaton.ready import ready_splits
from gputok.pipeline.encode import handle
from gputok.text.way import Way
from gputok.tokens.vocabulary import Vocabulary, pack

REAL = ("llama2", "llama3", "qwen3", "claude", "minilm-bert")


def encoded(tokenizer, texts):
    """Ids and offsets as gputok or tokenizers give them."""
    return [(encoding.ids, encoding.offsets) for encoding in map(tokenizer.encode, texts)]


def is_complete(model):
    return "byte_tables" in model.__dict__ or "_tables" in model.__dict__


def check_both_tables(tokenizer, texts, *, are_later):
    """Ids before and after much text has been encoded. are_later: the other tables are made only then."""
    theirs = encoded(tokenizers.Tokenizer.from_str(tokenizer.to_str()), texts)
    assert encoded(tokenizer, texts) == theirs
    assert not are_later or not is_complete(tokenizer.model)
    tokenizer.encode(" ".join(texts)[:1000] * (1 + handle.RENEWED_AFTER // 1000))
    assert not are_later or is_complete(tokenizer.model)
    assert encoded(tokenizer, texts) == theirs


@pytest.mark.parametrize("kind", ["walk", "nfc", "llama", "gemma", "mistral"])
def test_tables_of_a_first_text(kind):
    # 40 texts of 120 characters: below the bytes after which all tables are made
    texts = [test_units.text_of(seed, 120) for seed in range(40)]
    check_both_tables(test_short_texts.KINDS[kind](), texts, are_later=kind in ("walk", "nfc"))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_tables_of_a_first_text_of_real_tokenizers(name, shared_tokenizer, corpus_sample):
    lines = [line for corpus in ("zh", "multi", "en", "code") for line in corpus_sample(corpus, 3000).split("\n")]
    check_both_tables(
        Tokenizer.from_file(str(shared_tokenizer(name))), lines, are_later=name in ("llama3", "qwen3", "claude")
    )


_NEEDS = """
import sys, numpy
from gputok.kernels.native import choose
has_code = choose().calls is not None
late = "pathlib", "urllib.parse", "hashlib", "glob", "queue", "heapq", "numpy.ctypeslib"
for name in late:
    sys.modules.pop(name, None)  # whoever looks for machine code in a source tree imports some of them
from gputok import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
assert tokenizer.encode("Some words, 123 of them.").ids
for name in ("automaton.parser", "automaton.subsets", "kernels.cpu.superwords"):
    assert "gputok." + name not in sys.modules, name
assert not {"byte_tables", "_tables"} & tokenizer.model.__dict__.keys()
ours = [name for name in sys.modules if name.startswith("gputok")]
if has_code:
    assert not [name for name in late if name in sys.modules]
    assert len(ours) <= 119, ours
"""


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


@pytest.mark.parametrize("splits", [*((pattern,) for pattern in dict.fromkeys(PATTERNS.values())), *SPLITS])
def test_a_first_text_needs_no_more(splits, tmp_path):
    """No superwords are looked for, no pattern is compiled, no more is imported: each module takes .1 ms and more."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({byte: i for i, byte in enumerate(sorted(alphabet))}, []))
    parts = [*map(split, splits), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), pre_tokenizers.Sequence(parts)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    if len(splits) == 1 and splits[0] in (PATTERNS["deepseek-v3"],):
        return  # of no file: it leaves characters out
    subprocess.run([sys.executable, "-c", _NEEDS, str(path)], check=True)


def test_looking_for_no_token_makes_no_dictionary():
    """A first text does, where all added tokens lie behind the vocabulary."""
    vocabulary = Vocabulary(*pack(["a", "b"]))
    assert vocabulary.find([]) == []
    assert "mapping" not in vocabulary.__dict__


def test_splits_are_ready():
    for patterns in SPLITS:
        ready = ready_splits(patterns)
        assert ready is ready_splits(patterns) and ready.gapless
        parts = [*map(split, patterns)]
        assert pre_tokenizers.Sequence(parts).way(Way()).automaton is ready
        others = [split(patterns[0]), pre_tokenizers.Split(Regex(patterns[1]), "removed"), *parts[2:]]
        assert pre_tokenizers.Sequence(others).way(Way()).automaton is not ready
        assert pre_tokenizers.Sequence(parts[1:]).way(Way()).automaton is not ready
