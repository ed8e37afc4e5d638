"""The machine code on disk: used again, and never the wrong one."""

import gc
import importlib.util
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import gputok.kernels
import pytest

numba = pytest.importorskip("numba")

SOURCE = """
from gputok.kernels.cpu import kernel

@kernel
def double(x):
    return 2 * x
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Imports a module that holds a kernel, anew each time; its code lies beside it."""
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", "")
    path = tmp_path / "a_kernel.py"
    path.write_text(SOURCE)

    def imported():
        spec = importlib.util.spec_from_file_location("a_kernel", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double

    return imported


def hits(function) -> int:
    return sum(function.stats.cache_hits.values())


def test_code_is_compiled_once(load):
    first, second = load(), load()
    assert first(4) == second(4) == 8
    assert (hits(first), hits(second)) == (0, 1)


SPLIT = """
import sys
import numpy as np
import gputok.kernels

gputok.kernels.__path__[:] = [sys.argv[1]]
from gputok.kernels.cpu import text, utf8

text.line_ends(np.frombuffer(b"one\\ntwo\\n", np.uint8))
assert utf8.__file__.startswith(sys.argv[1])
stats = text._line_ends.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_changed_helpers_compile_anew(tmp_path):
    """A copy of the kernels is run three times: the second finds the code of the first, which the third must not read,
    as a helper in another file has changed; nor may the checked build."""
    kernels = tmp_path / "kernels"
    shutil.copytree(
        pathlib.Path(gputok.kernels.__file__).parent, kernels, ignore=shutil.ignore_patterns("*cache*")
    )

    def hits_and_misses(**more: str) -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "GPUTOK_CHECK": ""} | more
        command = [sys.executable, "-c", SPLIT, str(kernels)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert hits_and_misses() == "0 1\n"
    assert hits_and_misses() == "1 0\n"
    assert hits_and_misses(GPUTOK_CHECK="1") == "0 1\n"
    helper = kernels / "cpu" / "utf8.py"
    helper.write_text(helper.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert hits_and_misses() == "0 1\n"


def test_an_index_of_another_version_is_not_read(load, tmp_path):
    """It may name types that are gone, which Numba would take as an error of the call."""
    assert load()(4) == 8
    (index,) = tmp_path.rglob("*.nbi")
    gone = b"cgputok.kernels\nNoSuchType\n."  # a pickle that asks for a class by this name
    index.write_bytes(pickle.dumps(numba.__version__, protocol=-1) + gone)
    again = load()
    assert again(4) == 8
    assert hits(again) == 0


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(load, on):
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        assert load()(4) == 8
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()
