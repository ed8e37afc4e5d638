"""An output that is also an input is refused, by whatever name, before anything is written."""

import os
import pathlib
import shutil
import subprocess
import sys

import fsspec
import pytest

from gputok import Tokenizer, cli
from gputok.files.locations import find
from gputok.files.outputs import refuse_inputs
from gputok.recipes import recipe

TEXT = "some words and some more words\n" * 20
COMMANDS = {  # a command that reads {input} and writes {output}
    "train": "train {input} -o {output} --vocab-size 270",
    "train from counts": "train --from-counts {input} -o {output} --vocab-size 270",
    "count": "count {input} -o {output}",
    "encode": "encode -t tokenizer.json {input} -o {output}",
    "encode with offsets beside": "encode -t tokenizer.json {input} -o {output}",
    "report": "report {input} -t tokenizer.json -o {output}",
}
NAMES = {"encode": "corpus.npy", "encode with offsets beside": "corpus.npy.rows.npy"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "text.txt").write_text(TEXT)
    tokenizer, trainer = recipe("bpe", vocab_size=270)
    counts = tokenizer.count_words(str(folder / "text.txt"))
    counts.save(folder / "counts.parquet")
    tokenizer.train_from_word_counts(counts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> pathlib.Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit:
        cli.main(command.split())
    return exit.value.code, capsys.readouterr().err


WAYS = {  # how the input is named -> (input, output) of a file's name; each may make links and folders
    "the same name": lambda name: (name, name),
    "another path": lambda name: (name, f"./{name}"),
    "a whole path": lambda name: (os.path.abspath(name), name),
    "file://": lambda name: (name, f"file://{os.path.abspath(name)}"),
    "input by file://": lambda name: (f"file://{os.path.abspath(name)}", name),
    "output a link": lambda name: (os.symlink(name, f"link-{name}"), (name, f"link-{name}"))[1],
    "input a link": lambda name: (os.symlink(name, f"link-{name}"), (f"link-{name}", name))[1],
    "links to links": lambda name: (
        os.symlink(name, "first"),
        os.symlink("first", f"link-{name}"),
        ("first", f"link-{name}"),
    )[2],
    "a folder that is a link": lambda name: (os.symlink(".", "here"), (name, f"here/{name}"))[1],
    "a second name": lambda name: (os.link(name, f"second-{name}"), (name, f"second-{name}"))[1],
    "a glob": lambda name: (f"{name[:3]}*", name),
    "a deep glob": lambda name: (f"**/{name[:3]}*", name),
    "a folder": lambda name: (os.mkdir("in"), os.rename(name, f"in/{name}"), ("in", f"in/{name}"))[2],
    "one of several": lambda name: (f"text.txt {name}", name),
}


def is_replaced(command: str, way: str) -> bool:
    """A link with the name of the file of offsets, which the user did not choose, is replaced, never followed."""
    return command == "encode with offsets beside" and ("link" in way or way == "a second name")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "way"), [(command, way) for command in COMMANDS for way in WAYS if not is_replaced(command, way)]
)
def test_an_output_that_is_an_input_is_refused(command, way, folder, capsys):
    name = NAMES.get(command, "corpus")
    source = folder / ("counts.parquet" if "counts" in command else "text.txt")
    shutil.copy(source, name)
    content = source.read_bytes()
    named, output = WAYS[way](name)
    output = output.removesuffix(".rows.npy")
    before = sorted(os.listdir())
    status, error = run(COMMANDS[command].format(input=named, output=output), capsys)
    assert (status, "is an input as well" in error) == (1, True), error
    assert sorted(os.listdir()) == before
    assert (pathlib.Path("in", name) if way == "a folder" else pathlib.Path(name)).read_bytes() == content


@pytest.mark.parametrize(
    "command", ["report text.txt -t tokenizer.json", "report text.txt -t tokenizer.json --beside b.json"]
)
def test_the_tokenizers_of_a_report_are_inputs(command, folder, capsys):
    shutil.copy("tokenizer.json", "b.json")
    output = command.split()[-1]
    status, error = run(f"{command} -o {output}", capsys)
    assert status == 1 and f"{output}: is an input as well" in error
    Tokenizer.from_file(output)


def test_standard_input_is_compared(folder):
    command = [sys.executable, "-m", "gputok", "count", "-", "-o", "text.txt"]
    with open("text.txt") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert done.returncode == 1 and "text.txt: is an input as well (standard input)" in done.stderr
    assert pathlib.Path("text.txt").read_text() == TEXT


def test_other_outputs_are_written(folder, capsys):
    os.mkdir("in")
    shutil.copy("text.txt", "in/text.txt")
    for i, output in enumerate(("a.json", "in/a.json", "a.json")):  # new, new in the folder of the input, and once more
        status, error = run(f"train {'in' if i < 2 else 'text.txt'} -o {output} --vocab-size 270", capsys)
        assert status == 0, error
    assert run("train in -o in/a.json --vocab-size 270", capsys)[0] == 1  # where it is an input by now
    assert run("count text.txt -o /dev/null", capsys)[0] == 0


def test_urls(folder):
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/a.npy", TEXT.encode())
    files.pipe("/bucket/b.npy", TEXT.encode())
    tokenizer = Tokenizer.from_file("tokenizer.json")
    for source in ("memory://bucket/a.npy", "memory://bucket/*.npy", ["text.txt", "memory://bucket"]):
        with pytest.raises(ValueError, match=r"memory://bucket/a\.npy: is an input as well \(memory://bucket/a\.npy\)"):
            tokenizer.encode_corpus(source, "memory://bucket/a.npy")
    assert files.cat("/bucket/a.npy") == TEXT.encode()
    refuse_inputs("memory://bucket/c.npy", find("memory://bucket/*"))
    refuse_inputs("a.npy", find("memory://bucket/*"))
    refuse_inputs("memory://bucket/a.npy", find("*"))


def test_texts_are_no_inputs(folder):
    tokenizer = Tokenizer.from_file("tokenizer.json")
    assert tokenizer.encode_corpus(iter([TEXT, "b"]), "ids.npy").n_documents == 2
    assert tokenizer.encode_corpus(iter([TEXT]), "ids.npy").n_documents == 1
