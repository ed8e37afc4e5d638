"""The files in .github and the configuration of tools are well-formed, and refer to files and commands that exist."""

import pathlib
import re
import tomllib

import pytest

import gputok

yaml = pytest.importorskip("yaml")

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_parses_and_checks_the_repository_out(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["name"] and workflow[True]  # YAML reads the key `on` as True
    for job in workflow["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"] <= 360
    uses = [step.get("uses", "") for step in steps(workflow)]
    assert any(name.startswith("actions/checkout@") for name in uses)
    for name in uses:  # a release, not a branch that can change
        assert not name or "@v" in name or "@release/" in name


def test_the_workflows_call_what_the_readme_and_ci_run():
    commands = [step["run"] for path in WORKFLOWS for step in steps(yaml.safe_load(path.read_text())) if "run" in step]
    assert "bash .ci/run" in commands
    assert (ROOT / ".ci" / "run").exists()
    tests = re.search(r"python3 -m venv .*pytest", (ROOT / "README.md").read_text()).group()
    assert all(any(part in command for command in commands) for part in tests.split(" && "))


def test_each_python_version_from_the_lowest_on_is_tested():
    ci, wheels = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"] for name in ("ci", "wheels")
    )
    lowest = int(re.fullmatch(r">=3\.(\d+)", PROJECT["project"]["requires-python"])[1])
    for matrix in (ci["tests"]["strategy"]["matrix"], wheels["test"]["strategy"]["matrix"]):
        versions = [each for each in matrix["python"] if each[-1].isdecimal()]
        assert versions == [f"3.{minor}" for minor in range(lowest, lowest + len(versions))]


def test_wheels_are_made_where_the_tests_run():
    ci, wheels = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"] for name in ("ci", "wheels")
    )
    assert ci["tests"]["strategy"]["matrix"]["os"] == wheels["wheel"]["strategy"]["matrix"]["os"]


def test_pre_commit_uses_the_linter_that_ci_uses():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = (repo["rev"] for repo in hooks if "ruff" in repo["repo"])
    assert f"ruff=={ruff.removeprefix('v')}" in PROJECT["project"]["optional-dependencies"]["test"]


def test_pre_commit_checks_the_imports_by_a_test_that_exists():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (entry,) = (hook["entry"] for repo in hooks for hook in repo["hooks"] if hook["id"] == "imports")
    file, _, words = entry.removeprefix("python -m pytest -q ").partition(" -k ")
    assert words and f"def test_imports_run_{words}" in (ROOT / file).read_text()


def test_the_issue_form_asks_for_gputok_info():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    assert any("gputok info" in field["attributes"]["label"] for field in form["body"])


def test_the_changelog_has_this_version():
    changelog = (ROOT / ".github" / "CHANGELOG.md").read_text()
    assert f"## {gputok.__version__}" in changelog
    (oracle,) = (
        name for name in PROJECT["project"]["optional-dependencies"]["test"] if name.startswith("tokenizers==")
    )
    assert f"Equals `tokenizers` {oracle.split('==')[1]}" in changelog
