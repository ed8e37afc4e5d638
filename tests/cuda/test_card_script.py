"""The script for the first half hour with a GPU (.ci/card): its calls run here, on a stand-in for a card."""

import json
import lzma
import os
import pathlib
import re
import subprocess
import sys

import pytest
from gputok.kernels.cuda.device import CUBINS

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "card"


def run(call: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT), call], env=os.environ | variables, capture_output=True, text=True, timeout=1200
    )


SITE = """
from tests.emulation import stand_in
from gputok.kernels.cuda.device import DeviceSizes
stand_in.install(DeviceSizes(rounds_per_look=2, pair_slots=1 << 10))
from tests.bench import device
device.measure.__defaults__ = (device.Sizes(steps=4, steps_in_graph=2, values=100, keys=500, distinct=100),)
"""
TEST = """
import pathlib, pytest, warnings
@pytest.mark.gpu
def test_memcheck():
    warnings.warn("of another version of CuPy")
    assert pathlib.Path(__file__).name != "test_device_corpora.py"
"""
NCU = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift 2; done
exec "$@"
"""
CALLS = ("smoke", "figures", "whole", "why")


@pytest.fixture
def machine(tmp_path) -> dict[str, str]:
    """A machine with a stand-in for a card, little text, and programs that do nothing; the variables of the script."""
    data, tests, bin, site = (tmp_path / name for name in ("data", "tests", "bin", "site"))
    for folder in (data, tests, bin, site):
        folder.mkdir()
    for name in ("en", "code", "multi", "zh"):
        (data / f"{name}.txt.xz").write_bytes(lzma.compress(f"a few words of {name}, the words\n".encode() * 50))
    for path in ("kernels/test_some.py", "cuda/test_device_corpora.py", "cli/test_bench.py"):
        (tests / path).parent.mkdir(exist_ok=True)
        (tests / path).write_text(TEST)
    (tests / "pytest.ini").write_text("[pytest]\nmarkers = gpu\nfilterwarnings = error\n")
    (site / "sitecustomize.py").write_text(SITE)
    for name, program in (("nvidia-smi", "#!/bin/sh\necho a card\n"), ("ncu", NCU)):
        (bin / name).write_text(program)
        (bin / name).chmod(0o755)
    return {
        "CARD": str(tmp_path),
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(map(str, (site, *(path for path in sys.path if path)))),
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
        "TESTS": str(tests),
        "SMOKE_BYTES": "5000",
        "COPIES": "2",
        "SLOWER": "9",
    }


@pytest.mark.full
@pytest.mark.parametrize(("call", "n_same"), [("smoke", 2), ("figures", 0), ("whole", 2), ("why", 0)])
def test_each_call_runs_on_a_stand_in(call, n_same, machine, tmp_path):
    """Results are compared; what fails (a test, above; a tree has no cubins) is logged and does not end the call."""
    done = run(call, **machine)
    log = (tmp_path / "out" / call / "log").read_text()
    assert log.count(" ok  ") > 6 and log.count("same: ") == n_same and "decides: " in log, log + done.stderr
    failed = [line for line in log.splitlines() if "FAILED" in line]
    tests = [line for line in failed if " -m pytest " in line]
    assert [line for line in failed if line not in tests and "CUBINS" not in line] == [], log + done.stderr
    assert sum("FAILED (1)" in line for line in tests) == (call in ("smoke", "why")), log
    assert ("no machine code in this wheel" in log) == (not any(CUBINS.glob("*.cubin")))
    assert "skipped" not in log
    for path in (tmp_path / "out" / call).glob("*.json"):
        json.loads(path.read_text())
    assert call != "smoke" or "a card" in (tmp_path / "out" / call / "output").read_text()


def test_it_says_what_its_calls_are():
    done = run("")
    assert done.returncode == 2 and all(f".ci/card {call} " in done.stdout for call in CALLS)


def test_each_call_has_limits_and_says_what_it_decides():
    """The limits of a call's commands, in turn, may sum up to more than its ten minutes; each is at most two."""
    text = SCRIPT.read_text()
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    for call in CALLS:
        (body,) = re.findall(rf"^{call}\(\) {{\n(.*?)^}}", text, re.MULTILINE | re.DOTALL)
        limits = [int(n) for n in re.findall(r"\b(?:limit|gputok|bench) (\d+) ", body)]
        assert limits and max(limits) <= 200 and "decides " in body
        commands = re.findall(r"^ *(?:\"\$python\"|ncu|nvidia-smi|dd|gputok [a-z]|bench [a-z])", body, re.MULTILINE)
        assert not [command for command in commands if command.strip() != "dd"]  # each has a limit


@pytest.mark.slow
def test_it_ends_in_time(machine, tmp_path):
    """What lasts too long is interrupted, and then there is no time for the rest."""
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "card").write_text(SCRIPT.read_text().replace(" * 590 ", " * 3 "))
    command, variables = ["bash", str(tmp_path / "card"), "smoke"], machine | {"SLOWER": "1"}
    subprocess.run(command, env=os.environ | variables, capture_output=True, timeout=60)
    log = (tmp_path / "out" / "smoke" / "log").read_text()
    assert "FAILED" in log and log.count("skipped, no time is left: ") > 5, log


GPU = re.compile(r"pytest\.mark\.gpu\b|from tests\.emulation\.devices import")


@pytest.mark.slow
def test_it_collects_all_that_needs_a_gpu_and_nothing_else():
    """Where `datasets` is not installed, as on a machine with a card, or does not import."""
    named = {*re.findall(r"\$tests/((?:cuda|kernels|cli)[\w./]*)", SCRIPT.read_text())}
    with_gpu = {path for path in (ROOT / "tests").rglob("test_*.py") if GPU.search(path.read_text())}
    inside = {path for name in named for path in (ROOT / "tests" / name).rglob("test_*.py")}
    inside |= {ROOT / "tests" / name for name in named}
    assert with_gpu - {pathlib.Path(__file__)} <= inside
    block = "import sys; sys.modules['datasets'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    paths = [str(ROOT / "tests" / name) for name in sorted(named)]
    command = [sys.executable, "-c", block, "-q", "-m", "gpu", "--collect-only", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"\d{3}/\d+ tests collected", done.stdout), done.stdout
