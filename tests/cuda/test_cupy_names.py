"""CuPy itself, which can be imported without a GPU, has the names that launchers use and that its stand-in defines."""

import ast
import functools
import inspect
import itertools
import pathlib

import pytest
from gputok.kernels.cuda.device import SOURCES

import gputok
from gputok.cli import info
from tests.emulation import stand_in

cupy = pytest.importorskip("cupy", reason="pip install cupy-cuda13x, to see that it has what is asked of it")
BENCH = pathlib.Path(gputok.__file__).parent / "bench"
FILES = [*SOURCES.glob("*.py"), pathlib.Path(gputok.__file__).parent / "backend.py", *BENCH.glob("*.py")]


def dotted(node: ast.AST) -> list[str]:
    """["cupy", "cuda", "Event"] of `cupy.cuda.Event`; [] of what is no such name."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before else []


def asked_of(path: pathlib.Path) -> list[tuple[str, ast.Call | None]]:
    """Each name of CuPy's in a file, and the call where it is called."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        call = node if isinstance(node, ast.Call) else None
        names = dotted(call.func if call else node)
        if ("device", "xp") in itertools.pairwise(names):  # self.device.xp, whatever follows
            names = names[names.index("xp") :]
        if names[:2] == ["self", "_cupy"]:
            names = ["cupy", *names[2:]]
        if names[:1] in (["xp"], ["cupy"]) and len(names) > 1:
            found.append((".".join(names[1:]), call))
    return found


# compiled: nothing says what they take
UNREADABLE = {
    *("RawModule", "cuda.Device", "cuda.alloc_pinned_memory", "cuda.get_elapsed_time"),
    "cuda.pinned_memory.is_memory_pinned",
    *("cuda.runtime.getDeviceCount", "cuda.runtime.getDeviceProperties"),
    *("cuda.nvrtc.getVersion", "cuda.MemoryPool", "cuda.MemoryPointer", "cuda.UnownedMemory"),
}
LEAST_BOUND = 60  # calls of all files whose arguments were held against a signature
# All that launchers ask of CuPy besides `cupy.cuda`. Each is memory, a type, or a copy. Any other function of CuPy
# would be a kernel, which NVRTC would have to compile at run time.
NEVER_COMPILED = {
    *("empty", "zeros", "asarray", "ndarray"),
    *("uint8", "uint16", "uint32", "uint64", "int32", "int64"),
    "RawModule",  # of a cubin, or where the wheel has none, of a source
}


def bound(path: pathlib.Path) -> list[str]:
    """The calls of a file that fit the signatures of what they call; AttributeError or TypeError if one does not."""
    fitting = []
    for name, call in asked_of(path):
        there = functools.reduce(getattr, name.split("."), cupy)
        if call is None or name in UNREADABLE:
            continue
        assert not any(isinstance(part, ast.Starred) for part in call.args), f"{name}: which arguments can't be seen"
        takes = inspect.signature(there)
        takes.bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})
        fitting.append(name)
    return fitting


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_cupy_has_the_names_that_launchers_use(path):
    bound(path)


def test_most_calls_are_checked_against_a_signature():
    assert sum(len(bound(path)) for path in FILES) >= LEAST_BOUND
    for name in UNREADABLE:
        with pytest.raises((TypeError, ValueError)):
            inspect.signature(functools.reduce(getattr, name.split("."), cupy))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("xp.searchsorted()", TypeError),
        ("cupy.full(3, 4, dtype=5, size=6)", TypeError),
        ("xp.argsort(1, 2, 3, 4)", TypeError),
        ("cupy.no_such_name(1)", AttributeError),
        ("self.device.xp.cuda.NoSuch(1)", AttributeError),
    ],
)
def test_a_wrong_call_is_found(tmp_path, call, error):
    path = tmp_path / "launcher.py"
    path.write_text(call)
    with pytest.raises(error):
        bound(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_launchers_ask_cupy_for_no_kernel(path):
    """Its stand-in, on which the stages run, has no arithmetic for arrays either."""
    names = {name for name, _ in asked_of(path) if not name.startswith("cuda")}
    assert names <= NEVER_COMPILED


def test_names_are_found_in_every_launcher():
    names = {f"{path.parent.name}/{path.name}": {name for name, _ in asked_of(path)} for path in FILES}
    assert {"cuda.Stream", "cuda.alloc_pinned_memory", "RawModule", "empty"} <= names["cuda/device.py"]
    assert {"empty", "zeros"} <= names["cuda/encode_corpus.py"] & names["cuda/count_words.py"]
    assert "cuda.runtime.getDeviceCount" in names["gputok/backend.py"]


def test_the_stand_in_has_only_names_of_cupy():
    def public(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    beside = {  # of the stand-in's own, not CuPy's
        "Device": {"now", "ordinal", "registers"},
        "Stream": {"made", "queue", "n_queued", "n_done", "captured", "device", "add", "catch_up", "ptr"},
        "Event": {"stream", "index", "seconds", "block"},
        "RawModule": {"turn", "source", "device", "cubin"},
    }
    assert public(stand_in.Cupy) <= {*dir(cupy)}
    assert public(stand_in.ndarray) <= {*dir(cupy.ndarray)} and public(stand_in.MemoryPool) <= {
        *dir(cupy.cuda.MemoryPool)
    }
    for name in ("Device", "Stream", "Event"):
        assert public(getattr(stand_in, name)) - beside[name] <= {*dir(getattr(cupy.cuda, name))}
    assert public(stand_in.RawModule) - beside["RawModule"] <= {*dir(cupy.RawModule)}
    assert {*vars(stand_in.Cupy.cuda)} <= {*dir(cupy.cuda)}
    assert {*vars(stand_in.Cupy.cuda.runtime)} <= {*dir(cupy.cuda.runtime)}


def test_exhausted_memory_raises_memory_error():
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)


def test_info_knows_its_version():
    assert info.facts()["cupy"] == cupy.__version__
