"""Runs that are killed at any moment: no incomplete file has a final name, and the next run gives the same bytes.

A run of `gputok train`, `count` or `encode` gets SIGKILL or SIGINT at a random moment. A second run must then write the
same files as a run without interruption, and no others.
"""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from children import child, end

import gputok
from gputok.recipes import recipe

# output -> the command that writes it
COMMANDS = {
    "t.json": ("train", "text.txt", "--vocab-size", "2000", "-o", "t.json"),
    "counts.parquet": ("count", "text.txt", "-o", "counts.parquet"),
    "ids.npy": ("encode", "-t", "given.json", "text.txt", "-o", "ids.npy"),
    "ids.bin": ("encode", "-t", "given.json", "text.txt", "-o", "ids.bin"),
    "ids.arrow": ("encode", "-t", "given.json", "text.txt", "-o", "ids.arrow"),
    "ids.parquet": ("encode", "-t", "given.json", "text.txt", "-o", "ids.parquet"),
    "made.bin": ("encode", "-t", "given.json", "text.txt", "-o", "made.bin", "--format=megatron", "--shuffle=1"),
    "made.npy": ("encode", "-t", "given.json", "text.txt", "-o", "made.npy", "--format=olmo"),
    "super.json": ("train", "text.txt", "--model=superbpe", "--vocab-size=2000", "--resume=work", "-o", "super.json"),
}
STARTING = b"Could not import runpy module", b"Fatal Python error: init_import_site"  # what Python says while it starts
OLD = b"what had the name before"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> pathlib.Path:
    """A folder with 20 MB of text and a tokenizer."""
    folder, rng = tmp_path_factory.mktemp("inputs"), random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randrange(1, 9))) for _ in range(50_000)]
    lines = [" ".join(rng.choices(words, k=8)) + "\n" for _ in range(50_000)]
    (folder / "text.txt").write_text("".join(lines * 8))
    tokenizer, trainer = recipe("bpe", vocab_size=2000)
    tokenizer.train_from_iterator(lines[:5000], trainer)
    tokenizer.save(str(folder / "given.json"))
    return folder


class Undisturbed:
    """The files that each command writes, and the seconds that it takes with compiled kernels."""

    def __init__(self, inputs: pathlib.Path, folder: pathlib.Path) -> None:
        self.inputs, self.folder, self.known = inputs, folder, {}

    def __call__(self, output: str) -> tuple[dict[str, bytes], float]:
        if output not in self.known:
            for _ in range(1 if self.known else 2):  # the first one may compile kernels
                folder = self.folder / output
                shutil.rmtree(folder, ignore_errors=True)
                make(folder, self.inputs)
                begin = time.monotonic()
                run_again(output, folder)
                seconds = time.monotonic() - begin
            self.known[output] = written(folder), seconds
        return self.known[output]


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
    return Undisturbed(inputs, tmp_path_factory.mktemp("undisturbed"))


def make(folder: pathlib.Path, inputs: pathlib.Path) -> None:
    folder.mkdir()
    for name in ("text.txt", "given.json"):
        os.link(inputs / name, folder / name)


def written(folder: pathlib.Path) -> dict[str, bytes]:
    """The files beside the inputs, and in work folders."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: files[name].read_bytes() for name in sorted(set(files) - {"text.txt", "given.json"})}


def begin(output: str, folder: pathlib.Path):
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(gputok.__file__).parents[1])}
    command = [sys.executable, "-m", "gputok", *COMMANDS[output], "--threads", "2"]
    return child(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def run_again(output: str, folder: pathlib.Path) -> None:
    with begin(output, folder) as process:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def kill(output: str, how: signal.Signals, folder: pathlib.Path, moment: float) -> None:
    """Starts a run and kills it, unless it has ended before."""
    with begin(output, folder) as process:
        time.sleep(moment)
        seconds = end(process, how)
        # 130: as documented; -2, or an error of runpy: while Python itself still starts; 0: it was done
        usual = (130, -signal.SIGINT, 0) if how == signal.SIGINT else (-signal.SIGKILL, 0)
        errors = process.stderr.read()
        starts = how == signal.SIGINT and errors.startswith(STARTING)
        assert starts or process.returncode in usual, errors
        assert seconds < 1


N = [pytest.param(1), pytest.param(20, marks=pytest.mark.full)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(
    "group",
    [("t.json",), ("counts.parquet",), [*COMMANDS][2:6], [*COMMANDS][6:8], ("super.json",)],
    ids=lambda group: group[0],
)
@pytest.mark.parametrize("n", N)
def test_kills(n, group, how, inputs, undisturbed, tmp_path):
    rng = random.Random(f"{group} {how}")
    for i in range(n):
        output = group[i % len(group)]
        expected, seconds = undisturbed(output)
        folder = tmp_path / str(i)
        make(folder, inputs)
        before = {output: OLD} if rng.random() < 0.5 else {}
        for name, content in before.items():
            (folder / name).write_bytes(content)
        kill(output, how, folder, seconds * rng.uniform(0.2, 1.1))
        for name, content in written(folder).items():
            if not name.startswith((".", "work/")):
                assert content in (before.get(name), expected[name]), f"{name} is half-written"
        run_again(output, folder)
        assert written(folder) == expected
        shutil.rmtree(folder)


def test_an_interrupt_of_which_a_library_makes_another_error(tmp_path):
    """NumPy turns it into a TypeError if it comes while rows are compared, as in `np.unique(rows, axis=0)`."""
    script = """
import os, signal, time
from gputok.cli import entry

def app(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        raise TypeError("Cannot compare structured arrays") from None

entry.app = app
entry.main(["info"])
"""
    command = [sys.executable, "-c", script]
    with child(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
