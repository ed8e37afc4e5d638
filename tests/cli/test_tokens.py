"""`gputok tokens` counts what a person would paste, file by file, and leaves out what git would."""

import gzip
import json
import pathlib
import random
import signal
import subprocess

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from gputok import Tokenizer, cli
from gputok.files.repositories import LeftOut, walk
from gputok.recipes import recipe
from gputok.report import count_files, file_tokens

TEXTS = {
    "a.py": "def f(x):\n\n    return x\n\n\nprint(f('漢字'))\n",
    "docs/b.md": "# Title\n\n- one\n- two\n",
    "docs/empty.md": "",
    "Makefile": "all:\n\techo hello\n",
    ".github/c.yml": "on: push\n",
    "package.json": '{\n  "name": "x",\n  "text": "not a row"\n}\n',
    "one_line.json": '{"name": "x"}',
    "numbers.csv": "a,b\n1,2\n",
    "ids.jsonl": '{"ids": [1, 2], "n": 3}\n',
    "late.jsonl": '{"text": "a"}\nnot json\n',
}
ROWS = ["one row\n\nof text", "", "another"]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory) -> tuple[tokenizers.Tokenizer, str]:
    tokenizer, trainer = recipe("bpe", vocab_size=400, package="tokenizers")
    tokenizer.train_from_iterator([*TEXTS.values()] * 3, trainer)
    path = str(tmp_path_factory.mktemp("tokenizer") / "t.json")
    tokenizer.save(path)
    return tokenizer, path


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "src"


@pytest.fixture
def gputok(capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        return (exit.value.code, *capsys.readouterr())

    return call


def expected(tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_each_text_file_is_one_document(folder, oracle):
    tokenizer, path = oracle
    found = count_files(folder, Tokenizer.from_file(path))
    of_files = {file.name: (file.n_tokens, file.n_bytes, file.n_documents) for file in found.files}
    assert of_files == {
        str(folder / name): ((expected(tokenizer, text),), len(text.encode()), 1) for name, text in TEXTS.items()
    }
    assert found.left_out == () and found.total.n_tokens == (sum(n for (n,), *_ in of_files.values()),)
    assert count_files(folder, tokenizer).files == found.files  # the tokenizer of the other package


@pytest.mark.parametrize("threads", [1, 3])
def test_files_are_encoded_together_or_apart_with_the_same_numbers(folder, oracle, monkeypatch, threads):
    tokenizer = Tokenizer.from_file(oracle[1])
    whole = count_files(folder, {"a": tokenizer, "b": tokenizer}).files
    assert all(file.n_tokens[0] == file.n_tokens[1] for file in whole)
    monkeypatch.setattr(file_tokens, "_TOGETHER", 20)
    apart = count_files(folder, {"a": tokenizer, "b": tokenizer}, threads=threads)
    assert apart.files == whole


def test_rows_and_lines_are_documents_where_they_are_for_training(folder, oracle):
    tokenizer, path = oracle
    rows = "".join(json.dumps({"id": "x", "text": text}) + "\n" for text in ROWS)
    lines = [line + "\n" for line in TEXTS["a.py"].splitlines()]
    (folder / "rows.json").write_text(rows)
    (folder / "packed.txt.gz").write_bytes(gzip.compress(TEXTS["a.py"].encode()))
    inputs = [folder / "rows.json", folder / "packed.txt.gz", folder / "a.py"]
    ours = Tokenizer.from_file(path)
    of_rows, of_packed, of_text = count_files(inputs, ours).files
    by_line = sum(expected(tokenizer, line) for line in lines)
    n_words = sum(len(row.split()) for row in ROWS)
    assert of_rows[2:] == (3, len("".join(ROWS).encode()), n_words, (sum(expected(tokenizer, row) for row in ROWS),))
    assert of_packed.n_documents == len(lines) and of_packed.n_tokens == (by_line,)
    assert by_line != of_text.n_tokens[0]  # else this tests nothing
    assert count_files(inputs[2], ours, lines=True).files[0].n_tokens == (by_line,)
    apart = count_files(inputs[2], ours, separator="\n\n").total
    assert apart.n_documents == 3 and apart.n_bytes == len(TEXTS["a.py"].encode()) - 4
    with pytest.raises(ValueError, match="has no column 'body'"):
        count_files(folder / "rows.json", ours, column="body")


def test_large_files_and_pipes_are_read_by_line(folder, oracle, gputok, monkeypatch):
    tokenizer, path = oracle
    lines = [line + "\n" for line in TEXTS["a.py"].splitlines()]
    text = TEXTS["a.py"].encode()

    def of_pipe() -> tuple[int, int]:
        import io

        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        facts = json.loads(gputok("tokens", "-", "-t", path, "--json")[1])
        assert facts["bytes"] == len(text)
        return facts["documents"], facts["tokens"]["t.json"]

    assert of_pipe() == (1, expected(tokenizer, TEXTS["a.py"]))
    for size in (len(text) - 1, 1):
        monkeypatch.setattr(file_tokens, "WHOLE_BYTES", size)
        by_line = (len(lines), sum(expected(tokenizer, line) for line in lines))
        assert of_pipe() == by_line
        (found,) = count_files(folder / "a.py", Tokenizer.from_file(path)).files
        assert (found.n_documents, *found.n_tokens) == by_line


def test_what_is_no_text_is_left_out_and_said(folder, oracle, gputok):
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (folder / "b.zip").write_bytes(b"PK\x03\x04\0")
    (folder / "latin.txt").write_bytes("é".encode("latin-1"))
    (folder / "tar.gz").write_bytes(gzip.compress(b"name\0\0\0"))
    (folder / "bad.parquet").write_bytes(b"PAR1")
    (folder / "link.txt").symlink_to("a.py")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    status, out, err = gputok("tokens", "src", "-t", oracle[1])
    reasons = "3 binary, 1 .git, 1 not readable, 1 a link, 1 not UTF-8"
    assert (status, err) == (0, "")
    assert sorted(out.splitlines()[-1].partition(": ")[2].split(", ")) == sorted(reasons.split(", "))
    assert out.splitlines()[-1].startswith("7 files or folders left out: ")
    facts = json.loads(gputok("tokens", "src", "-t", oracle[1], "--json", "--errors", "replace")[1])
    assert {one["name"] for one in facts["left_out"]} == {
        f"src/{name}" for name in ("image.png", "b.zip", "tar.gz", "bad.parquet", "link.txt", ".git")
    }
    assert facts["files"] == len(TEXTS) + 1
    assert gputok("tokens", "src/b.zip", "-t", oracle[1])[::2] == (
        1,
        "gputok: src/b.zip: no text to count: src/b.zip: is a zip file, not text in UTF-8: unpack it, or pack it as "
        ".gz, .xz or .zst; 1 left out\n",
    )


def test_the_table_and_the_price(folder, oracle, gputok):
    tokenizer, path = oracle
    total = sum(expected(tokenizer, text) for text in TEXTS.values())
    status, out, _ = gputok("tokens", "src", "-t", path, "--price", "2.50")
    tables = out.split("\n\n")
    assert status == 0 and tables[0].split("\n")[0].split() == ["ending", "files", "bytes", "tokens", "share"]
    assert tables[1].startswith("largest files") and len(tables[1].splitlines()) == 11
    assert f"{total * 2.5e-6:.2g} at 2.50 a million" in tables[2] and f"{total:,} tokens in 10 files" in tables[2]
    row = next(line for line in tables[0].splitlines() if line.startswith(".md"))
    assert row.split()[1:4] == ["2", str(len(TEXTS["docs/b.md"])), str(expected(tokenizer, TEXTS["docs/b.md"]))]
    (folder.parent / "other.json").write_bytes(pathlib.Path(path).read_bytes())
    status, out, _ = gputok("tokens", "src", "-t", path, "-t", "other.json", "--by", "file")
    assert "tokens, t.json  tokens, other.json" in out and f"\nother.json: {total:,} tokens" in out
    assert out.startswith("file") and "largest" not in out
    facts = json.loads(gputok("tokens", "src", "-t", path, "--json", "--price", "2", "--by", "file")[1])
    assert facts["cost"] == {"t.json": total * 2e-6} and len(facts["by_file"]) == len(TEXTS)
    assert sum(one["tokens"]["t.json"] for one in facts["by_file"]) == facts["tokens"]["t.json"] == total


def test_languages_are_those_of_pygments(folder, oracle, gputok):
    pygments = pytest.importorskip("pygments.lexers", reason="no Pygments (pip install 'gputok[repository]')")
    facts = json.loads(gputok("tokens", "src", "-t", oracle[1], "--json", "--by", "language")[1])
    names = {pathlib.PurePath(name).name for name in TEXTS}
    found = {pygments.find_lexer_class_for_filename(name) for name in names}
    assert {row["name"] for row in facts["by_language"]} == {one.name if one else "other" for one in found}


def test_bad_arguments_are_one_line(folder, oracle, gputok):
    for arguments, said in {
        ("src", "--by", "size"): "--by size: expected file, ending or language",
        ("src", "-t", oracle[1]): f"--tokenizer {oracle[1]}: is given twice",
        ("nothing",): "nothing: no such file or folder",
    }.items():
        status, out, err = gputok("tokens", "-t", oracle[1], *arguments)
        assert status == 1 and not out and err.startswith("gputok: ") and said in err and err.count("\n") == 1
    for price in ("-1", "nan", "much"):
        assert gputok("tokens", "src", "-t", oracle[1], "--price", price)[0] == 2
    counts = count_files(folder / "a.py", Tokenizer.from_file(oracle[1]))
    with pytest.raises(ValueError, match="by='size'"):
        counts.by("size")
    with pytest.raises(ValueError, match="price=inf"):
        counts.cost(float("inf"))
    with pytest.raises(ValueError, match="name one at least"):
        count_files(folder, {})


def test_without_pathspec_the_error_names_the_extra(folder, oracle, gputok, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pathspec", None)
    assert gputok("tokens", "src", "-t", oracle[1])[0] == 0  # no .gitignore, no need
    (folder / "docs" / ".gitignore").write_text("b.md\n")
    status, _, err = gputok("tokens", "src", "-t", oracle[1])
    assert status == 1 and "src/docs/.gitignore" in err and "pip install 'gputok[repository]'" in err
    facts = json.loads(gputok("tokens", "src", "-t", oracle[1], "--json", "--no-gitignore")[1])
    assert facts["files"] == len(TEXTS) + 1


# -- what git would list

NAMES = ["a", "b", "build", "x.py", "y.txt", ".h", "foo bar", "é"]
LINES = """* !*/ *.py !*.py build build/ /build/ foo* a/** !a/b **/b a/**/b a/* !a/*/ a/b/ /a !/a/ # \\# [ab] [!ab] ?
x.* !x.py ** **/ é b/x.py !b/x.py a/ !a/ */b */*/b !**/y.txt .* a/**/ !b b\\\\ /**/a !/ / [ a[ **a a**b/ [a-c] \\a
\\*""".split()
LINES += ["", " ", "foo bar", "x.py ", "a/b \r"]


def fill(folder: pathlib.Path, rng: random.Random, depth: int = 0) -> None:
    for name in rng.sample(NAMES, rng.randrange(2, 6)):
        if depth < 3 and rng.random() < 0.5:
            (folder / name).mkdir()
            fill(folder / name, rng, depth + 1)
        else:
            (folder / name).write_text("x")
    if rng.random() < (0.5 if depth else 1):
        (folder / ".gitignore").write_bytes("\n".join(rng.choices(LINES, k=rng.randrange(1, 6))).encode())


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 1 << 30))
def test_the_files_are_those_that_git_lists(tmp_path_factory, seed):
    pytest.importorskip("pathspec", reason="no pathspec (pip install 'gputok[repository]')")
    rng, root = random.Random(seed), tmp_path_factory.mktemp("repository")
    try:
        subprocess.run(["git", "init", "-q", root], check=True)
    except FileNotFoundError:
        pytest.skip("no git here")
    (root / ".gitignore").write_text("/.hidden\n/seven/x.py\n")
    for name in ("one", "two", "three", "four", "five", "six", "seven", ".hidden"):
        (root / name).mkdir()
        fill(root / name, rng)
    listed = ["git", "-c", "core.excludesFile=", "-C", root, "ls-files", "-o", "--exclude-standard", "-z"]
    theirs = subprocess.run(listed, capture_output=True, check=True).stdout.decode().split("\0")[:-1]

    def ours(folder: pathlib.Path) -> list[str]:
        return [one.relative_to(root).as_posix() for one in walk(folder) if not isinstance(one, LeftOut)]

    assert sorted(ours(root)) == sorted(theirs)
    inner = sorted(name for name in theirs if name.startswith("seven/"))
    assert sorted(ours(root / "seven")) == inner  # the rules above a folder count, too
