"""What works without the extras, and what the errors say if one is missing."""

import gzip
import json
import lzma
import os
import pathlib
import subprocess
import sys

import pytest

import gputok
from gputok.recipes import recipe

ROOT = pathlib.Path(gputok.__file__).parents[1]
ROWS = [{"text": "one two\nthree"}, {"text": None}, {"text": "vier \u00fcber \U0001f642", "id": 4}, {"id": 5}]
BLOCK = "import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\nimport gputok\n"


def run(code: str, folder: pathlib.Path, *blocked: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process that can't import some packages."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked=blocked) + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("extras")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "a.jsonl").write_text(lines, encoding="utf-8")
    (folder / "b.txt.xz").write_bytes(lzma.compress(b"eins zwei\ndrei\n"))
    (folder / "c.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    for name in ("d.parquet", "d.txt.zst"):
        (folder / name).write_bytes(b"\x28\xb5\x2f\xfd" if name.endswith("zst") else b"PAR1")
    (folder / "d.csv").write_text("text\none\n")
    (folder / "e.csv").write_text(CSV, encoding="utf-8", newline="")
    (folder / "f.csv").write_text("id,text\n1,one\n2\n")
    (folder / "g.csv").write_bytes(b"text\nok\ncaf\xe9\n")
    return folder


CSV = '\ufeffid,text\r\n1,"a ""quoted"" field,\nof two lines"\r\n\r\n2,\n3,naïve 漢字 \n'
WORK = """
from gputok.recipes import recipe
tokenizer, trainer = recipe("bpe", vocab_size=300)
counts = tokenizer.count_words(["a.jsonl", "b.txt.xz", "c.ndjson.gz"], progress=False)
print(sorted(counts.items()))
tokenizer.train_from_word_counts(counts, trainer, progress=False)
tokenizer.encode_corpus(["a.jsonl", "b.txt.xz"], "ids.npy", progress=False)
from_ids = gputok.Tokenizer.from_str(tokenizer.to_str())
for path in ("d.csv", "e.csv", "f.csv", "g.csv"):
    try:
        print(sorted(tokenizer.count_words(path, progress=False).items()))
    except ValueError as error:
        print(str(error).partition("(")[0])
print(from_ids.decode(from_ids.encode("zwei \\U0001f642").ids) == "zwei \\U0001f642")


class Columns:
    __arrow_c_stream__ = None


for ask in (
    lambda: tokenizer.count_words("d.parquet", progress=False),
    lambda: tokenizer.count_words("d.txt.zst", progress=False),
    lambda: tokenizer.count_words("s3://bucket/key", progress=False),
    lambda: tokenizer.count_words(Columns(), progress=False),
    lambda: tokenizer.encode_corpus("a.jsonl", "ids.parquet", progress=False),
    lambda: counts.save("counts.parquet"),
    lambda: gputok.WordCounts.load("d.parquet"),
):
    try:
        ask()
    except ImportError as error:
        print(error)
"""


@pytest.mark.filterwarnings("ignore:.* have no .text.")
def test_without_pyarrow(folder):
    """Text and JSON Lines give the same words; the rest says which extra to install."""
    done = run(WORK, folder, "pyarrow")
    assert done.returncode == 0, done.stderr
    words, *of_csv, decoded = done.stdout.splitlines()[:6]
    errors = done.stdout.splitlines()[6:]
    tokenizer, _ = recipe("bpe")
    names = [str(folder / name) for name in ("a.jsonl", "b.txt.xz", "c.ndjson.gz")]
    assert words == repr(sorted(tokenizer.count_words(names, progress=False).items()))
    assert decoded == "True"
    with_pyarrow = []
    for name in ("d.csv", "e.csv", "f.csv", "g.csv"):
        try:
            with_pyarrow.append(repr(sorted(tokenizer.count_words(str(folder / name), progress=False).items())))
        except ValueError as error:
            with_pyarrow.append(str(error).partition("(")[0].replace(f"{folder}{os.sep}", ""))
    assert of_csv == with_pyarrow and "not readable" in of_csv[2] and "row 1, byte 3" in of_csv[3]
    needs = [error.removesuffix(" needs PyArrow: pip install 'gputok[arrow]'") for error in errors]
    assert needs == [
        "d.parquet: reading Parquet",
        "d.txt.zst: unpacking .zst",
        "reading s3://",
        "reading Arrow data",
        "ids.parquet: writing .parquet files",
        "counts.parquet: writing word counts",
        "d.parquet: reading word counts",
    ]


def test_without_numba_a_source_tree_says_what_to_install(tmp_path):
    message = (
        "the kernels must be compiled here by Numba: GPUTOK_JIT is set. But Numba is not installed "
        "(the extra jit: pip install 'gputok[jit]')"
    )
    code = "gputok.Tokenizer(gputok.models.BPE()).encode('x')"
    done = run(code, tmp_path, "numba", "llvmlite", GPUTOK_JIT="1")
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == f"ImportError: {message}"
    code = "from gputok import cli; cli.main(['info'])"
    done = run(code, tmp_path, "numba", "llvmlite", GPUTOK_JIT="1")
    assert done.returncode == 0 and done.stdout.splitlines()[-1].endswith(f"none: {message}")
