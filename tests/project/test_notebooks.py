"""Every notebook runs from a new kernel, in an empty folder, and gives the outputs that are committed."""

import os
import pathlib

import pytest

import gputok

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPEATABLE = ("02_inside_the_pipeline",)  # prints no times and no floating-point numbers of other packages


def printed(notebook):
    """The text that each cell gives."""
    return [
        "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_all_are_here():
    names = ["01_new_from_old", "02_inside_the_pipeline", "03_entities", "04_training_time"]
    assert [path.stem for path in NOTEBOOKS] == [
        *names,
        "05_block_by_block",
        "06_any_size",
        "07_superwords",
        "08_text_that_grows",
    ]


def test_outputs_are_those_of_a_warm_start():
    """No page begins with the words that kernels are being compiled."""
    assert [path.stem for path in NOTEBOOKS if "compiling kernels" in path.read_text(encoding="utf-8")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.full] * (path.stem[:2] > "04")) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_runs_as_committed(path, tmp_path, monkeypatch):
    needed = ("nbformat", "nbclient", "ipykernel", "matplotlib", *(["torch"] if "torch" in path.read_text() else []))
    for package in needed:
        pytest.importorskip(package, reason="notebooks need the extra: pip install 'gputok[notebooks]'")
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it from top to bottom"
    committed = printed(notebook)

    # With what is there already: without its machine code, the kernel would say in a cell's output that it compiles
    paths = [str(pathlib.Path(gputok.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    (tmp_path / "tests").symlink_to(pathlib.Path(__file__).parents[1])  # as in a clone
    (tmp_path / "notebooks").mkdir()
    folder = {"metadata": {"path": str(tmp_path / "notebooks")}}
    # By default, output that comes 4 seconds after the end of a cell is left out, silently: busy machines are late
    patience = {"timeout": 300, "startup_timeout": 300, "iopub_timeout": 300, "raise_on_iopub_timeout": True}
    nbclient.NotebookClient(notebook, kernel_name="python3", resources=folder, **patience).execute()
    if path.stem in REPEATABLE:
        assert printed(notebook) == committed
