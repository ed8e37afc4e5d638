"""Real text and real tokenizers for the tests, found through GPUTOK_TEST_DATA (a folder with data/ and tokenizers/).

Where the variable is not set, tests that use these fixtures skip; smaller data of the tests' own covers the same paths.
How many were skipped, and why, is said at the end of each run; `--max-skips=N` fails it if more than N were skipped for
other reasons. Tests that can't show anything of these kernels, by their markers in pyproject.toml, are left out.
"""

import collections
import functools
import gc
import lzma
import os
import pathlib
import shutil
from collections.abc import Callable

import invariants
import pytest
from gputok.kernels.native import choose

import gputok

_NO_DATA = "GPUTOK_TEST_DATA is not set: no corpora and tokenizers of real size here"

# What is imported stays until the end: looking through it for garbage took a third of the time to collect tests.
gc.disable()
# Else each process that a test starts compiles the source tree, which takes half of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# `tokenizers` finds the same with one thread. Others wait busily for the few texts of a test: a quarter of the time.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config, items):
    there = {
        "jit_only": choose().calls is None,
        "wheel_only": choose().calls is not None,
        "builtins": choose().has_builtins,
        "source_tree": pathlib.Path(gputok.__file__).parents[1] == pathlib.Path(__file__).parents[1],
        "unchecked": os.environ.get("GPUTOK_CHECK", "0") in ("", "0"),
    }
    left_out = [item for item in items if not all(there.get(mark.name, True) for mark in item.iter_markers())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_addoption(parser):
    parser.addoption(
        "--max-skips", type=int, metavar="N", help="fail if more than N tests that need no data are skipped"
    )


def _skipped(config) -> list[str]:
    """The reasons of the tests (or files of tests) that were skipped."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []  # a worker of pytest-xdist has none
    return [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports]


def _too_many(config) -> bool:
    most = config.getoption("--max-skips")
    return most is not None and sum(reason != _NO_DATA for reason in _skipped(config)) > most


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.OK and _too_many(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    reasons = collections.Counter(_skipped(config))
    if not reasons:
        return
    total = f"{reasons.total()} tests skipped"
    if _too_many(config):
        total += f", but --max-skips is {config.getoption('--max-skips')}"
    terminalreporter.section(total, red=_too_many(config))
    for reason, n in reasons.most_common():
        terminalreporter.write_line(f"{n:6}  {reason}")


@pytest.fixture(scope="session", autouse=True)
def checked_steps():
    """Checks the result of each step of each pipeline, in all tests (in this process)."""
    with invariants.installed() as checked:
        yield checked


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder with data/*.txt.xz and tokenizers/*.json.xz."""
    if "GPUTOK_TEST_DATA" not in os.environ:
        pytest.skip(_NO_DATA)
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


@pytest.fixture(scope="module")  # while it is open, an event loop runs, and asyncio.run of other tests can't
def browser():
    """Debian's Chromium, headless."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser is driven without playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here to open a report's page in")
    quiet = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags = [*quiet.split(), "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()
