"""The script for the first half hour with a GPU (.ci/card): its calls run here, on a stand-in for a card."""

import lzma
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "card"


def run(call: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT), call], env=os.environ | variables, capture_output=True, text=True, timeout=1200
    )


SITE = """
from tests.emulation import stand_in
from gputok.kernels.cuda.device import Sizes
stand_in.install(Sizes(rounds_per_look=2, pair_slots=1 << 10))
from gputok.bench import device
device.measure.__defaults__ = (device.Sizes(steps=4, steps_in_graph=2, values=100, keys=500, distinct=100),)
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
        (data / f"{name}.txt.xz").write_bytes(
            lzma.compress(f"a few words of {name}, the words\n".encode() * 50)
        )
    (tests / "test_some.py").write_text("import pytest\n\n@pytest.mark.gpu\ndef test_memcheck(): assert 0\n")
    (tests / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
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
@pytest.mark.parametrize(
    ("call", "n_ok", "n_same"), [("smoke", 9, 2), ("figures", 14, 0), ("whole", 16, 2), ("why", 3, 0)]
)
def test_each_call_runs_on_a_stand_in(call, n_ok, n_same, machine, tmp_path):
    """Results are compared, and what fails (a test, above) is logged and does not end the call."""
    done = run(call, **machine)
    log = (tmp_path / "out" / call / "log").read_text()
    assert log.count(" ok  ") == n_ok and log.count("same: ") == n_same and "decides: " in log, (
        log + done.stderr
    )
    assert log.count("FAILED (1)") == (call in ("smoke", "why")), log
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
        limits = [int(n) for n in re.findall(r"\b(?:limit|gputok) (\d+) ", body)]
        assert limits and max(limits) <= 200 and "decides " in body
        commands = re.findall(r"^ *(?:\"\$python\"|ncu|nvidia-smi|dd|gputok [a-z])", body, re.MULTILINE)
        assert not [command for command in commands if command.strip() != "dd"]  # each has a limit
