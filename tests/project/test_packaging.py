"""Installation: the wheel in an empty environment and under another Python, the source tree, and the time of import."""

import ast
import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.source_tree
IMPORT = """
import json, sys, time
start = time.perf_counter()
import gputok
seconds = time.perf_counter() - start
heavy = sorted({"numba", "cupy", "pyarrow", "regex", "typer", "tqdm"} & set(sys.modules))
print(json.dumps({"heavy": heavy, "seconds": seconds}))
"""
SMOKE = """
import json, pathlib
import gputok
from gputok import Tokenizer, models, pre_tokenizers, trainers
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.train_from_iterator(["lowest"] * 4, trainers.BpeTrainer(vocab_size=30, show_progress=False))
import gputok.kernels.cuda
cuda = sorted(path.name for path in pathlib.Path(gputok.kernels.cuda.__file__).parent.glob("*.cu*"))
print(json.dumps({"tokens": tokenizer.encode("lowest").tokens, "cuda": cuda, "where": gputok.__file__}))
"""


def smoke(python, folder, code=SMOKE, **environment):
    """Runs code that uses gputok in a new process, in a folder."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", code], cwd=folder, env=variables | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """With machine code: the one at GPUTOK_WHEEL, or built here."""
    if os.environ.get("GPUTOK_WHEEL"):
        return pathlib.Path(os.environ["GPUTOK_WHEEL"])
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return next(out.glob("*.whl"))


@pytest.mark.slow  # builds the wheel
def test_the_wheel_holds_every_module_and_table(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"gputok/py.typed"}
    for folder, place in (("gputok", "gputok"), ("kernels", "gputok/kernels")):
        for path in (ROOT / folder).rglob("*"):
            if (
                path.suffix in {".py", ".npz", ".npy", ".bin", ".cu", ".cuh", ".html", ".css", ".js", ".json"}
                and "__pycache__" not in path.parts
            ):
                wanted.add(f"{place}/{path.relative_to(ROOT / folder).as_posix()}")
    assert wanted - held == set()
    assert not any(name.startswith(("tests/", "kernels/")) for name in held)


@pytest.mark.slow  # builds the wheel
def test_the_wheel_is_of_one_platform_and_any_python(wheel):
    assert re.fullmatch(r"gputok-[^-]+-py3-none-(?!any)\w+\.whl", wheel.name)
    assert wheel.stat().st_size < 3e6
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"gputok/kernels/native/calls.py", "gputok/kernels/native/kernels.so"} <= held


@pytest.mark.slow  # builds the wheel
def test_the_wheel_needs_neither_numba_nor_pyarrow(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    needs = [line.split()[1] for line in lines if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    assert {re.split(r"\W", name)[0] for name in needs} == {"numpy", "regex", "tqdm", "typer"}


@pytest.mark.slow  # builds the wheel
def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    """It needs no Numba."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    paths = [str(tmp_path / "site"), str(ROOT / ".ci" / "without_numba")]
    found = smoke(sys.executable, tmp_path, PYTHONPATH=os.pathsep.join(paths))
    assert found["where"].startswith(str(tmp_path / "site"))
    assert found["tokens"] == ["lowest"]
    assert {"common.cuh", "train_bpe.cu", "split.cu", "count_words.cu"} <= {*found["cuda"]}


@pytest.mark.slow
def test_a_pure_wheel_can_be_built(tmp_path):
    for name in ("gputok", "kernels"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    gone = tmp_path / "build" / "lib" / "gputok" / "normalizers" / "__init__.py"  # of an older build
    gone.parent.mkdir(parents=True)
    gone.touch()
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "out"), str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"GPUTOK_PURE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    (built,) = (tmp_path / "out").glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(built).namelist()
    assert not {"gputok/kernels/native/calls.py", "gputok/normalizers/__init__.py"} & {*names}


def test_the_plain_source_tree_works(tmp_path):
    for folder in ("gputok", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    found = smoke(sys.executable, tmp_path)
    assert found["where"].startswith(str(tmp_path)) and found["tokens"] == ["lowest"]


def other_python():
    """Another supported version of Python, if this machine has one."""
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        found = shutil.which(name, path="/usr/bin:/usr/local/bin:" + os.environ.get("PATH", ""))
        if found and name != f"python{sys.version_info.major}.{sys.version_info.minor}":
            works = subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True)
            if works.returncode == 0:
                return found
    return None


@pytest.mark.slow  # builds the wheel
def test_the_wheel_installs_under_another_python(wheel, tmp_path):
    python = other_python()
    if python is None:
        pytest.skip("this machine has no second Python")
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    inside = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run([inside, "-m", "pip", "install", "-q", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert smoke(inside, tmp_path)["tokens"] == ["lowest"]
    command = subprocess.run([tmp_path / "venv/bin/gputok", "--help"], capture_output=True, text=True)
    assert command.returncode == 0 and "train" in command.stdout


def test_importing_is_lean():
    found = smoke(sys.executable, ROOT, IMPORT)
    assert found["heavy"] == []
    assert found["seconds"] < 0.3


def test_type_checkers_see_the_existing_names():
    """Names that are imported at their first use are also imported for type checkers only."""
    import gputok

    (seen,) = [
        node
        for node in ast.parse(pathlib.Path(gputok.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imported = {alias.name: node.module for node in seen.body for alias in node.names}
    assert imported.keys() == {name for name in gputok.__all__ if not name.startswith("__")}
    for name, module in imported.items():
        seen_by_checkers = importlib.import_module(f"gputok.{name}" if module == "gputok" else module)
        expected = seen_by_checkers if module == "gputok" else getattr(seen_by_checkers, name)
        assert getattr(gputok, name) is expected


def test_every_dependency_is_declared():
    """Every package that gputok imports is a core dependency or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=!\[; ]", line)[0].lower().replace("-", "_") for line in declared}
    # Modules of cupy-cuda13x, protobuf and nvidia-cuda-nvrtc have other names
    names |= {"cupy", "google", "nvidia"} | {*sys.stdlib_module_names} | {"gputok", "llvmlite", "torch", "ipython"}
    found = set()
    for path in [*(ROOT / "gputok").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]:
        # what the bench compares with is each user's to install; wheels are built where setuptools is
        if path.name == "peers.py" or path.parent.name == "wheel":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    assert {name for name in found if name.lower() not in names} == set()


@pytest.mark.slow
def test_a_changed_helper_is_not_answered_from_the_cache(tmp_path):
    """Numba looks only at the file of a cached function; our decorator looks at all of kernels/cpu."""
    for folder in ("gputok", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path / "kernels" / "cpu"
    (folder / "helper.py").write_text("from . import kernel\n\n@kernel(inline=True)\ndef twice(x):\n    return 2 * x\n")
    (folder / "caller.py").write_text(
        "from . import kernel\nfrom .helper import twice\n\n@kernel\ndef f(x):\n    return twice(x)\n"
    )
    code = "from gputok.kernels.cpu.caller import f; print(f(21), sum(f.stats.cache_hits.values()))"

    def answer():
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert answer() == ["42", "0"]
    assert answer() == ["42", "1"]
    # Of another size, so that Python does not take its bytecode of the same second
    (folder / "helper.py").write_text((folder / "helper.py").read_text().replace("2 * x", "x + 2 * x"))
    assert answer() == ["63", "0"]
