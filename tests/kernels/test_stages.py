"""The stages of kernels/ are those of the list in tests/stages.py: names, signatures, modules, the guide's table."""

import ast
import importlib
import inspect
import pathlib
import pkgutil

import pytest

from tests.stages import STEPS, Stage, Step

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.unchecked
VERSIONS = ("reference", "cpu", "cuda")
STAGES = [pytest.param(step, stage, id=stage.name) for step in STEPS for stage in step.stages]


def module(version: str, step: Step):
    of_tests = version == "reference"
    name = f"{'tests.' if of_tests else 'gputok.kernels.'}{version}.{step.name}"
    folder = ROOT / ("tests" if of_tests else "kernels") / version / step.name
    return importlib.import_module(name) if folder.with_suffix(".py").exists() or folder.is_dir() else None


def function(version: str, step: Step, name: str):
    """A stage: of the module, or of one in the folder, of this name; None: the version has none."""
    found = module(version, step)
    inside = pkgutil.iter_modules(getattr(found, "__path__", []), f"{found.__name__}.") if found else ()
    modules = [found, *(importlib.import_module(each.name) for each in inside)]
    return next((getattr(each, name) for each in modules if hasattr(each, name)), None)


def of_cpu(step: Step) -> list[str]:
    return [*step.tables, *(stage.name for stage in step.stages if "cpu" in stage.versions)]


def parameters(version: str, step: Step, stage: Stage) -> list[str]:
    signature = inspect.signature(function(version, step, stage.name))
    # Of machine code: what a call needs besides
    names = [name for name in signature.parameters if name[0] != "_"]
    if version == "cuda":
        assert names.pop(0) == "device"
    own = {"cpu": stage.cpu_only, "cuda": stage.cuda_only}.get(version, ())
    n = len(names) - len(own)
    assert tuple(names[n:]) == own
    return names[:n]


@pytest.mark.parametrize(("step", "stage"), STAGES)
def test_a_stage_exists_where_the_list_says_and_nowhere_else(step, stage):
    for version in VERSIONS:
        assert (function(version, step, stage.name) is not None) == (version in stage.versions), version


@pytest.mark.parametrize(("step", "stage"), STAGES)
def test_the_list_says_why_a_stage_has_no_reference(step, stage):
    assert bool(stage.no_reference) == ("reference" not in stage.versions)


@pytest.mark.parametrize(("step", "stage"), STAGES)
def test_versions_of_a_stage_have_one_signature(step, stage):
    found = {version: parameters(version, step, stage) for version in stage.versions}
    assert len(set(map(tuple, found.values()))) == 1, found


def test_every_function_that_the_package_calls_is_listed():
    """Functions of kernels/cpu that gputok/ imports, by themselves or as attributes of an imported module."""
    listed = {(step.name, name) for step in STEPS for name in of_cpu(step)}
    called = {}
    for path in (ROOT / "gputok").rglob("*.py"):
        tree, aliases = ast.parse(path.read_text()), {}
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("gputok.kernels.cpu"):
                continue
            for alias in node.names:
                if alias.name == "jit":  # which needs Numba, and holds no stage
                    continue
                value = getattr(importlib.import_module(node.module), alias.name, None)
                if value is None or inspect.ismodule(value):
                    value = importlib.import_module(f"{node.module}.{alias.name}")
                    aliases[alias.asname or alias.name] = value
                else:
                    called[node.module, alias.name] = value
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
                owner = aliases[node.value.id]
                called[owner.__name__, node.attr] = getattr(owner, node.attr)
    functions = {
        (module.removeprefix("gputok.kernels.cpu.").partition(".")[0], name)
        for (module, name), value in called.items()
        if callable(value)
        and not inspect.isclass(value)
        and not module.endswith(".jit")
        and ".primitives." not in module
    }
    assert functions == listed


def test_the_guide_says_what_runs_where():
    lines = (ROOT / "notebooks/guide/gpu.md").read_text(encoding="utf-8").splitlines()
    first = lines.index("| step | on a GPU | on the CPU |") + 2
    rows = [line.strip("| ").split(" | ") for line in lines[first : lines.index("", first)]]
    told = {step: gpu not in ("", "-") for steps, gpu, _ in rows for step in steps.split(", ")}
    assert told == {step.does: any("cuda" in s.versions for s in step.stages) for step in STEPS if step.stages}
