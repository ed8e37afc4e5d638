"""The machine code on disk: used again, and never the wrong one."""

import gc
import importlib.util
import pickle

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


def test_changed_helpers_compile_anew(load, monkeypatch):
    """A helper in another file of kernels/cpu changed: that file is in the digest, which is enough."""
    assert load()(4) == 8
    monkeypatch.setattr("gputok.kernels.cpu._sources_digest", lambda: "another")
    changed = load()
    assert changed(4) == 8
    assert hits(changed) == 0


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
