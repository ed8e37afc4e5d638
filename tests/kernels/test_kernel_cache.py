"""The cache of machine code on disk: it is used again, and never for changed sources."""

import errno
import gc
import importlib.util
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import warnings

import gputok.kernels
import pytest
from gputok.kernels.native import choose

numba = pytest.importorskip("numba")
if choose().calls is not None:
    pytest.skip("the kernels are a wheel's machine code", allow_module_level=True)
pytestmark = [pytest.mark.jit_only, pytest.mark.unchecked]

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
from gputok.kernels.cpu import compiled
from gputok.kernels.cpu.primitives import hashing

compiled.checksum(np.zeros(3, np.uint64))
assert hashing.__file__.startswith(sys.argv[1])
stats = compiled._checksum.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_changed_helpers_compile_anew(tmp_path):
    """A copy of the kernels is run three times: the second finds the code of the first, which the third must not read,
    as a helper in another file has changed; nor may the checked build.
    """
    kernels = tmp_path / "kernels"
    shutil.copytree(pathlib.Path(gputok.kernels.__file__).parent, kernels, ignore=shutil.ignore_patterns("*cache*"))

    def hits_and_misses(**more: str) -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "GPUTOK_CHECK": ""} | more
        command = [sys.executable, "-c", SPLIT, str(kernels)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert hits_and_misses() == "0 1\n"
    assert hits_and_misses() == "1 0\n"
    assert hits_and_misses(GPUTOK_CHECK="1") == "0 1\n"
    helper = kernels / "cpu" / "primitives" / "hashing.py"
    helper.write_text(helper.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert hits_and_misses() == "0 1\n"


def test_an_index_of_another_version_is_not_read(load, tmp_path):
    """The index may name types that don't exist any more, and Numba would report that as an error of the call."""
    assert load()(4) == 8
    (index,) = tmp_path.rglob("*.nbi")
    gone = b"cgputok.kernels\nNoSuchType\n."  # a pickle that asks for a class by this name
    index.write_bytes(pickle.dumps(numba.__version__, protocol=-1) + gone)
    again = load()
    assert again(4) == 8
    assert hits(again) == 0


NO_FOLDER = """
import json, warnings
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    from gputok import corpus
    from gputok.cli.info import facts
    batch, = corpus.read("utf8.txt")
    info = facts()["jit cache"]
print(json.dumps({"documents": batch.n_documents, "warned": [str(w.message) for w in warned], "info": info}))
"""


def test_without_a_folder_to_write_code_is_compiled_in_memory(tmp_path):
    """Neither folder can be made, since files have these names; so this holds for root as well."""
    root = pathlib.Path(__file__).parents[2]
    for name in ("gputok", "kernels"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kernels" / "cpu" / "__pycache__").write_text("a file")
    (tmp_path / "utf8.txt").write_text("a\nb\n")
    home = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"}
    unset = {"NUMBA_CACHE_DIR", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | home

    def told(**more):
        done = subprocess.run(
            [sys.executable, "-c", NO_FOLDER], cwd=tmp_path, env=environment | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    found = told()
    assert found["documents"] == 2
    (message,) = found["warned"]  # once, for dozens of kernels
    assert "NUMBA_CACHE_DIR" in message
    assert str(tmp_path / "kernels" / "cpu") in message and "/dev/null/cache/numba" in message
    assert found["info"] == f"none: {message}"
    assert told(NUMBA_CACHE_DIR="/dev/null/x")["warned"][0].startswith(
        "compiled code can't be written to /dev/null/x or"
    )

    kept = told(NUMBA_CACHE_DIR=str(tmp_path / "kept"))
    assert kept["documents"] == 2 and kept["warned"] == []
    assert kept["info"].startswith(str(tmp_path / "kept")) and [*(tmp_path / "kept").rglob("*.nbc")]


@pytest.mark.parametrize("operation", ["save_overload", "load_overload"])
def test_a_cache_that_fails_later_does_not_fail_the_call(load, monkeypatch, operation):
    from gputok.kernels.cpu import jit
    from numba.core.caching import FunctionCache

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    jit._warn_once.cache_clear()
    monkeypatch.setattr(FunctionCache, operation, full)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        first, second = load(), load()
        assert first(4) == second(4) == 8 and second(0.5) == 1.0
    assert len(warned) == (operation == "save_overload")
    assert all("NUMBA_CACHE_DIR" in str(one.message) for one in warned)
    assert (hits(first), hits(second)) == (0, 0)


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(load, on):
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        assert load()(4) == 8
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()


def test_code_has_the_stamp_of_its_build_in_its_name(load, tmp_path):
    """Numba writes the index first: who reads it then must not find the code of another build under that name."""
    from gputok.kernels.cpu import jit

    assert load()(4) == 8
    (code,) = tmp_path.rglob("*.nbc")
    assert jit._sources_digest()[:16] in code.name
    code.unlink()  # as between the two writes
    again = load()
    assert again(4) == 8 and hits(again) == 0
