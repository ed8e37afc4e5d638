"""The script for the first half hour with a GPU (.ci/card): its smoke step runs here, on the CPU."""

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


@pytest.mark.full
def test_the_smoke_step_runs_and_compares(tmp_path):
    """With a CPU instead of the device, so that its files are equal; what fails is logged and does not end it."""
    data, tests, bin = tmp_path / "data", tmp_path / "tests", tmp_path / "bin"
    for folder in (data, tests, bin):
        folder.mkdir()
    for name in ("en", "code", "multi", "zh"):
        (data / f"{name}.txt.xz").write_bytes(lzma.compress(b"a few words, the words\n" * 500))
    (tests / "test_some.py").write_text("import pytest\n\n@pytest.mark.gpu\ndef test(): assert 0\n")
    (tests / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    smi = bin / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho a card\n")
    smi.chmod(0o755)
    pytest.importorskip("cupy")
    variables = {
        "CARD": str(tmp_path),
        "DEVICE": "cpu",
        "PYTHON": sys.executable,
        "SMOKE_BYTES": "5000",
        "SLOWER": "9",
    }
    done = run("smoke", **variables, TESTS=str(tests), PATH=f"{bin}{os.pathsep}{os.environ['PATH']}")
    log = (tmp_path / "out" / "smoke" / "log").read_text()
    assert "a card" in (tmp_path / "out" / "smoke" / "output").read_text(), done.stderr
    assert log.count(" ok  ") == 9 and log.count("FAILED (1)") == 1, log  # the test above
    assert log.count("same: ") == 2 and "decides: " in log


def test_it_says_what_its_calls_are():
    done = run("")
    assert done.returncode == 2 and all(f".ci/card {call} " in done.stdout for call in CALLS)


CALLS = ("smoke", "figures", "whole", "why")


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
