"""Skipped tests: each run reports how many and why, and fails if there are more than `--max-skips`."""

import os
import pathlib
import sys

import pytest
from gputok.kernels.native import choose

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.parametrize("i", range(3))
def test_data(i):
    pytest.skip("no corpora here")

def test_browser():
    pytest.importorskip("no_such_package", reason="no browser here")

@pytest.mark.skipif(True, reason="no browser here")
def test_page():
    pass

def test_tests_that_run():
    pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs tests in a process, with conftest.py of this project and the modules that it imports."""
    here = str(pathlib.Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))
    pytester.makeconftest((pathlib.Path(__file__).parents[1] / "conftest.py").read_text())
    pytester.makepyfile(
        test_some=TESTS, test_whole="import pytest\npytest.importorskip('none_such', reason='not at all')"
    )
    return pytester.runpytest_subprocess


@pytest.mark.slow
def test_skips_are_counted_with_their_reasons(run):
    done = run()
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*6 tests skipped*", "*3  no corpora here", "*2  no browser here", "*1  not at all"])


@pytest.mark.slow
@pytest.mark.parametrize(("most", "status"), [(0, 1), (5, 1), (6, 0), (7, 0)])
def test_more_skips_than_stated_fail(run, most, status):
    done = run("--max-skips", str(most))
    assert done.ret == status
    told = "6 tests skipped, but --max-skips is" in done.stdout.str()
    assert told == bool(status)


@pytest.mark.slow
def test_other_failures_stay_what_they_are(run):
    assert run("--max-skips", "0", "--no-such-option").ret == pytest.ExitCode.USAGE_ERROR
    assert run("--max-skips", "0", "-k", "none_of_these").ret != 0
    assert run("-k", "test_tests_that_run", "--max-skips", "1").ret == 0


def test_the_run_of_ci_states_a_number():
    assert "--max-skips" in (pathlib.Path(__file__).parents[2] / ".ci" / "run").read_text()


DATA = """
def test_corpus(corpus_sample):
    corpus_sample("en", 100)

def test_tokenizer(shared_tokenizer):
    shared_tokenizer("llama3")
"""


@pytest.mark.parametrize("is_set", [False, True])
def test_data_that_is_missing_is_no_skip_where_a_folder_is_named(pytester, monkeypatch, is_set):
    """So the nightly run needs no number: it names a folder."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pathlib.Path(__file__).parents[1]), *sys.path]))
    monkeypatch.delenv("GPUTOK_TEST_DATA", raising=False)
    if is_set:
        monkeypatch.setenv("GPUTOK_TEST_DATA", str(pytester.path))
    pytester.makeconftest((pathlib.Path(__file__).parents[1] / "conftest.py").read_text())
    pytester.makepyfile(test_some=DATA)
    outcomes = pytester.runpytest_subprocess("--max-skips", "0").parseoutcomes()  # which tell what needs no data
    assert outcomes == ({"failed": 2} if is_set else {"skipped": 2})


def test_the_nightly_run_names_a_folder():
    workflow = (pathlib.Path(__file__).parents[2] / ".github" / "workflows" / "nightly.yml").read_text()
    assert "GPUTOK_TEST_DATA: " in workflow.partition("-m full")[2]


MARKED = """
import pytest

@pytest.mark.{name}
def test_marked():
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("checked", [False, True])
def test_what_shows_nothing_of_these_kernels_is_left_out(pytester, monkeypatch, checked):
    """Not skipped: `.ci/run` needs no list of files to ignore, and no number of such tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pathlib.Path(__file__).parents[1]), *sys.path]))
    monkeypatch.setenv("GPUTOK_CHECK", str(int(checked)))
    pytester.makeconftest((pathlib.Path(__file__).parents[1] / "conftest.py").read_text())
    names = "jit_only", "wheel_only", "builtins", "source_tree", "unchecked"
    pytester.makepyfile(**{f"test_{name}": MARKED.format(name=name) for name in names})
    done = pytester.runpytest_subprocess("--collect-only", "-q", "-W", "ignore::pytest.PytestUnknownMarkWarning")
    is_compiled = checked or choose().calls is None
    left_out = {"wheel_only" if is_compiled else "jit_only", "source_tree"}
    left_out |= {"unchecked"} if checked else {"builtins"} if is_compiled else set()
    assert {name for name in names if f"test_{name}.py::test_marked" in done.stdout.str()} == {*names} - left_out
