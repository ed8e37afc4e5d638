"""Every snippet of README.md runs as it is written there, on files of the names that it uses, without network.

Left out: what installs, what needs a GPU, and the first two commands, which whoever tries a fresh clone runs.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

import gputok
from gputok import Tokenizer, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent.parent
COMMIT = "0" * 40


def blocks(language: str) -> list[str]:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Where the snippets find their corpora, and the hub's cache with a tokenizer called gpt2."""
    folder = tmp_path_factory.mktemp("readme")
    sources = sorted(pathlib.Path(os.__file__).parent.glob("a*.py"))
    texts = [source.read_text(encoding="utf-8") for source in sources]
    (folder / "books.txt").write_text("".join(texts), encoding="utf-8")
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    with pa.output_stream(folder / "wiki.jsonl.zst", compression="zstd") as file:
        file.write(rows.encode())
    (folder / "shards").mkdir()
    for name in ("shards/1.parquet", "shard-1.parquet", "shard-2.parquet"):
        pyarrow.parquet.write_table(pa.table({"text": texts}), folder / name)

    old = Tokenizer(gputok.models.BPE())
    old.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
    old.train_from_iterator(texts[:3], trainer)
    repo = folder / "models--gpt2"
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for path in (repo / "snapshots" / COMMIT / "tokenizer.json", folder / "gpt2.json"):
        old.save(str(path))
    return folder


def run(folder: pathlib.Path, command: list[str]) -> str:
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder),
        "MPLBACKEND": "agg",
        "PYTHONPATH": os.pathsep.join(
            [str(pathlib.Path(gputok.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stderr}"
    return done.stdout


def test_the_snippets_run_one_after_the_other(folder):
    given = "import datasets\ndataset = datasets.Dataset.from_parquet('shard-1.parquet')\n"
    run(folder, [sys.executable, "-c", given + "\n".join(blocks("python"))])
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() > 1000
    assert (folder / "my-tokenizer" / "tokenizer_config.json").exists()
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")

    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("gputok ")]
    lines = [line for line in lines if "cuda" not in line and "bench device" not in line]
    assert len(lines) >= 7
    for line in lines:
        run(folder, ["bash", "-c", f'gputok() {{ "{sys.executable}" -m gputok "$@"; }}\n{line}'])
    assert (folder / "ids.npy").exists()
