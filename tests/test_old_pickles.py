"""Objects that version 0.1.0 pickled (commit aa42b4d) load, and new pickles name the modules that users import."""

import enum
import functools
import importlib
import lzma
import pathlib
import pickle
import pickletools
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from make_old_pickles import samples as make_samples

import gputok

OLD: dict[str, bytes] = pickle.loads(
    lzma.decompress((pathlib.Path(__file__).parent / "data" / "pickles-0.1.0.xz").read_bytes())
)
# The modules that users import from, and the two whose names pickles hold besides.
PUBLIC = {
    "gputok",
    *(
        f"gputok.{name}"
        for name in ("decoders", "implementations", "models", "normalizers", "pre_tokenizers")
    ),
    *(f"gputok.{name}" for name in ("pretrained", "processors", "report", "text", "tools", "trainers")),
}
INSIDE = {"gputok.text.pre_tokenized_string", "gputok.files.token_files"}
# Reports hold pipelines; nobody keeps their pickles for long.
INSIDE |= {f"gputok.pipeline.{name}" for name in ("added_vocabulary", "limits", "pipeline")}


@functools.cache
def samples() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small corpus gives few pieces
        return make_samples()


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
    if isinstance(kept, dict) and not isinstance(value, enum.Enum):
        kept = state({key: item for key, item in kept.items() if key not in DERIVED})
    return type(value), kept


DERIVED = {"mapping", "tokens", "names", "order", "strings"}  # of a Vocabulary: made when they are asked for


def test_all_kinds_of_pickles_exist():
    assert OLD.keys() == samples().keys()


# A report of that version has other samples, and lacks the tokenizer that its page needs now.
@pytest.mark.parametrize("name", sorted(OLD.keys() - {"report"}))
def test_loads(name):
    assert state(pickle.loads(OLD[name])) == state(samples()[name])


@pytest.mark.parametrize("name", OLD)
def test_pickled_again(name):
    value = samples()[name]
    assert state(pickle.loads(pickle.dumps(value))) == state(value)
    assert set(named_modules(pickle.dumps(value))) <= PUBLIC | INSIDE


def named_modules(pickled: bytes) -> list[str]:
    strings = [argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)]
    return [text for text in strings if text.startswith("gputok") and importlib.util.find_spec(text)]


def test_in_a_fresh_process(tmp_path):
    """What unpickling imports first is the module of the old name."""
    path = tmp_path / "trainer.pickle"
    path.write_bytes(OLD["trainers.BpeTrainer"])
    code = f"import pickle; print(type(pickle.load(open({str(path)!r}, 'rb'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "<class 'gputok.trainers.BpeTrainer'>\n", done.stderr


def test_reprs_name_public_modules():
    kinds = {type(value) for value in samples().values() if not isinstance(value, list)}
    assert {kind.__module__ for kind in kinds} <= PUBLIC | INSIDE
    for kind in kinds - {list}:
        assert getattr(sys.modules[kind.__module__], kind.__name__) is kind
