"""Real text and real tokenizers for the tests, found through GPUTOK_TEST_DATA (a folder with data/ and tokenizers/).

Where the variable is not set, tests that use these fixtures skip; smaller data of the tests' own covers the same paths.
"""

import functools
import lzma
import os
import pathlib
from collections.abc import Callable

import invariants
import pytest


@pytest.fixture(scope="session", autouse=True)
def checked_steps():
    """What each step of each pipeline makes is checked in all tests (in this process)."""
    with invariants.installed() as checked:
        yield checked


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder that holds data/*.txt.xz and tokenizers/*.json.xz."""
    if "GPUTOK_TEST_DATA" not in os.environ:
        pytest.skip("GPUTOK_TEST_DATA is not set: no corpora and tokenizers of real size here")
    return pathlib.Path(os.environ["GPUTOK_TEST_DATA"])


@pytest.fixture(scope="session")
def corpus_sample(test_data) -> Callable[[str, int], str]:
    """`corpus_sample("en", 1_000_000)`: whole lines from the start of data/en.txt.xz, at most so many bytes.

    Names: en (documentation), code (C), multi (fifteen languages), zh (Chinese verse). With n_bytes=-1, all of it.
    """

    @functools.lru_cache(maxsize=8)
    def sample(name: str, n_bytes: int) -> str:
        with lzma.open(test_data / "data" / f"{name}.txt.xz") as file:
            text = file.read(n_bytes)
        return text[: text.rfind(b"\n") + 1].decode()

    return sample


@pytest.fixture(scope="session")
def shared_tokenizer(test_data, tmp_path_factory) -> Callable[[str], pathlib.Path]:
    """`shared_tokenizer("llama3")`: the path of an unpacked tokenizer.json.

    Names: llama2, llama3, qwen3, claude, minilm-bert.
    """

    @functools.cache
    def unpacked(name: str) -> pathlib.Path:
        path = tmp_path_factory.mktemp(name) / "tokenizer.json"
        path.write_bytes(lzma.decompress((test_data / "tokenizers" / f"{name}.json.xz").read_bytes()))
        return path

    return unpacked
