"""gputok instead of `tokenizers`: unchanged libraries that import `tokenizers` give the same results."""

import importlib
import importlib.util
import json
import os
import pathlib
import pickle
import pkgutil
import subprocess
import sys

import pytest
import tokenizers

import gputok

SCRIPT = pathlib.Path(__file__).with_name("under_libraries.py")

NEEDS = {
    "trainer": ["torch", "accelerate"],
    "sentence_transformers": ["torch", "sentence_transformers"],
    "trl": ["torch", "accelerate", "trl"],
}
SCENARIOS = ["auto", "datasets", *NEEDS]


def run(arguments: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HOME": str(folder / "home")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | offline,
        capture_output=True,
        text=True,
    )


def results(arguments: list[str], folder: pathlib.Path) -> list:
    finished = run(arguments, folder)
    lines = [line for line in finished.stdout.splitlines() if line.startswith("RESULT ")]
    assert finished.returncode == 0 and lines, finished.stderr[-3000:]
    return json.loads(lines[0].removeprefix("RESULT "))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_library_gives_the_same(scenario, tmp_path):
    missing = [name for name in NEEDS.get(scenario, []) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    script = [str(SCRIPT), scenario]
    their_module, theirs = results([*script, "work"], tmp_path / "theirs")
    our_module, ours = results(["-m", "gputok.tokenizers", *script, "work"], tmp_path / "ours")
    assert (their_module, our_module) == ("tokenizers", "gputok.tokenizers")
    assert len(ours) == len(theirs)
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert our == their, number


def test_installing_after_an_import_is_an_error(tmp_path):
    """The error names the package that imported `tokenizers` before."""
    script = tmp_path / "late.py"
    script.write_text("import tokenizers\nfrom gputok import install_as_tokenizers\ninstall_as_tokenizers()\n")
    assert "tokenizers was imported before: call" in run([str(script)], tmp_path).stderr
    # In a process that multiprocessing started, the script has a second name
    script.write_text("import sys\nsys.modules['__mp_main__'] = sys.modules['__main__']\n" + script.read_text())
    assert "tokenizers was imported before: call" in run([str(script)], tmp_path).stderr
    script.write_text("import transformers.tokenization_utils_tokenizers, gputok\ngputok.install_as_tokenizers()\n")
    assert "it is in use by transformers" in run([str(script)], tmp_path).stderr


def test_installing_twice_has_no_effect_and_every_name_exists(tmp_path):
    names = [name for name in dir(tokenizers) if not name.startswith("_")]
    submodules = [m.name for m in pkgutil.iter_modules(tokenizers.__path__) if m.name != "tokenizers"]
    script = tmp_path / "names.py"
    script.write_text(
        f"""
import gputok, importlib, importlib.util, pickle, sys
gputok.install_as_tokenizers()
import tokenizers
gputok.install_as_tokenizers()
assert sys.modules["tokenizers"] is tokenizers and importlib.util.find_spec("tokenizers")
assert tokenizers.__version__ == {tokenizers.__version__!r}
import tokenizers.pre_tokenizers as steps
from tokenizers import AddedToken, Tokenizer, models
from tokenizers.models import BPE
from tokenizers.tokenizers import Regex
assert (steps, Tokenizer, BPE) == (gputok.pre_tokenizers, gputok.Tokenizer, gputok.models.BPE)
for name in {submodules}:
    assert importlib.import_module("tokenizers." + name) is getattr(gputok, name), name
lost = [name for name in {names} if not hasattr(tokenizers, name)]
assert lost == ["Enum", "List", "Tuple", "Union"], lost  # what its own module imports
assert isinstance(pickle.loads({pickle.dumps(tokenizers.Tokenizer(tokenizers.models.BPE()))!r}), gputok.Tokenizer)
try:
    tokenizers.nothing
except AttributeError as error:
    assert "it is gputok" in str(error)
"""
    )
    finished = run([str(script)], tmp_path)
    assert finished.returncode == 0, finished.stderr


def test_types_say_tokenizers_and_their_pickles_open_without_it(tmp_path):
    """chonkie, for one, looks for "tokenizers" in `type(tokenizer)`."""
    script = tmp_path / "kinds.py"
    script.write_text(
        """
import pickle, sys, gputok
gputok.install_as_tokenizers()
import tokenizers
tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
found = [tokenizer, tokenizer.encode("a"), tokenizers.AddedToken("x"), tokenizers.Regex("a")]
assert all("tokenizers." in str(type(one)) for one in found), found
try:
    tokenizer.wrong = tokenizer.model
except AttributeError:
    sys.stdout.buffer.write(pickle.dumps(found))
"""
    )
    program = [sys.executable, str(script)]
    data = subprocess.run(program, capture_output=True, check=True).stdout
    kinds = [gputok.Tokenizer, gputok.Encoding, gputok.AddedToken, gputok.Regex]
    assert [type(one) for one in pickle.loads(data)] == kinds
    with pytest.raises(AttributeError, match=r"'gputok.tokenizers' has no attribute 'Nothing'"):
        _ = importlib.import_module("gputok.tokenizers").Nothing


def test_scripts_and_modules_run_as_python_runs_them(tmp_path):
    (tmp_path / "beside.py").write_text("value = 7\n")
    (tmp_path / "script.py").write_text(
        "import sys, beside, tokenizers\nprint(__name__, sys.argv[1:], beside.value, tokenizers.Tokenizer.__module__)\n"
        "sys.exit(3)\n"
    )
    elsewhere = tmp_path / "elsewhere"
    start = ["-m", "gputok.tokenizers"]
    finished = run([*start, "../script.py", "a", "--b"], elsewhere)
    assert (finished.stdout, finished.returncode) == ("__main__ ['a', '--b'] 7 gputok.tokenizers\n", 3)
    finished = run([*start, "-m", "script", "x"], tmp_path)
    assert (finished.stdout, finished.returncode) == ("__main__ ['x'] 7 gputok.tokenizers\n", 3)
    for arguments, said in ([], "usage"), (["nothing.py"], "nothing.py: no such file"), (["--what"], "usage"):
        finished = run([*start, *arguments], tmp_path)
        assert finished.returncode == 1 and said in finished.stderr
    assert "usage" in run([*start, "--help"], tmp_path).stdout


def test_notebooks_load_it(tmp_path):
    IPython = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is not installed")
    script = tmp_path / "cell.py"
    script.write_text(
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "InteractiveShell.instance().run_line_magic('load_ext', 'gputok.tokenizers')\n"
        "import tokenizers\nprint(tokenizers.Tokenizer.__module__)\n"
    )
    assert IPython and run([str(script)], tmp_path).stdout.endswith("gputok.tokenizers\n")
