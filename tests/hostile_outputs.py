"""Corpora, and ids in formats of training frameworks: whole files, damages that keep their structure, and tries."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import io
import json
import lzma
import pathlib
import struct
import tempfile
from typing import TYPE_CHECKING

import numpy as np
from hostile import Format, json_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import hostile

TEXTS = ["some words", "", "pugs hug \u00e9\u6f22", 'a, "b"\nc', "x" * 300] * 8

# -- ids: the file that is damaged, of the outputs without and with a manifest

ODD = [0, 1, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def binary_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    """Bytes at random, or another number in a field of 1, 4 or 8 bytes, mostly at the start, where headers are."""
    if mutator.random() < 0.4:
        return mutator.of_bytes(data)
    changed = bytearray(data)
    for _ in range(mutator.choice([1, 1, 2])):
        at = mutator.randrange(min(len(data), mutator.choice([64, 1 << 30])))
        width, code = mutator.choice([(1, "B"), (4, "I"), (8, "Q")])
        changed[at : at + width] = struct.pack(f"<{code}", mutator.choice(ODD) % 256**width)
    return bytes(changed)


def gzip_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    """The packed bytes, or fields of the rows in them."""
    if mutator.random() < 0.4:
        return mutator.of_bytes(data)
    lines = [line.split(b",") for line in gzip.decompress(data).splitlines()]
    fields = mutator.choice(lines)
    fields[mutator.randrange(len(fields))] = mutator.choice(
        [b"", b"-1", b"x", b"\xff", b"1.5", str(mutator.choice(ODD)).encode(), b"9" * 5000, b'"', b"\xd9\xa3"]
    )
    return gzip.compress(b"\n".join(map(b",".join, lines)) + mutator.choice([b"\n", b""]))


def text_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    if mutator.random() < 0.5:
        return mutator.of_bytes(data)
    lines = data.splitlines()
    lines[mutator.randrange(len(lines))] = mutator.choice([b"", b"x" * 9999, b"\xff", b"a|9", b"TOKENIZER|9", b"-1"])
    return b"\n".join(lines)


@functools.cache
def output(kind: str) -> dict[str, bytes]:
    """Makes an output; returns its files by their names in the folder."""
    from gputok import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "some": 1, "words": 2, "hug": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tokenizer.encode_corpus(iter(TEXTS), folder / "ids", format=kind)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(folder: pathlib.Path, kind: str, manifest: bool) -> None:
    for name, data in output(kind).items():
        if manifest or "manifest" not in name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def try_output(kind: str, named: str | None, path: pathlib.Path) -> None:
    """Reads all documents, in order and at random, and what the manifests say."""
    from gputok import open_tokens

    given = path.parent if path.parent.name == "ids" else path.parent / "ids"
    if named in ("llmc", "olmo"):
        given = given.with_suffix(".bin" if named == "llmc" else ".npy")
    tokens = open_tokens(given, named)
    assert sum(len(ids) for ids in tokens) == tokens.n_tokens
    for i in (0, len(tokens) // 2, len(tokens) - 1):
        if 0 <= i < len(tokens):
            assert tokens[i].tolist() == next(iter(tokens[i : i + 1])).tolist()
    for batch in tokens.batches():
        assert batch.rows[-1] - batch.rows[0] == len(batch.ids)
    if tokens.manifest is not None:
        tokens.manifest.check()


def of_output(kind: str, file: str, damage: Callable[[hostile.Mutator, bytes], bytes], manifest: bool) -> Format:
    return Format(
        file,
        lambda: output(kind)[file],
        functools.partial(try_output, kind, None if manifest else kind),
        damage,
        lambda folder: put(folder, kind, manifest),
    )


OUTPUTS: list[tuple[str, str, Callable[[hostile.Mutator, bytes], bytes]]] = [
    ("megatron", "ids.idx", binary_damaged),
    ("megatron", "ids.bin", binary_damaged),
    ("megatron", "ids.manifest.json", json_damaged),
    ("datatrove", "ids_00000_unshuffled.ds.index", binary_damaged),
    ("datatrove", "ids_00000_unshuffled.ds.metadata", text_damaged),
    ("llmc", "ids.bin", binary_damaged),
    ("mds", "ids/index.json", json_damaged),
    ("mds", "ids/shard.00000.mds", binary_damaged),
    ("mds", "ids/manifest.json", json_damaged),
    ("litdata", "ids/index.json", json_damaged),
    ("litdata", "ids/chunk-0-0.bin", binary_damaged),
    ("olmo", "ids.csv.gz", gzip_damaged),
]

# -- ids: the work folder of a run that was stopped, of which a file is damaged

LENGTHS = [i % 9 for i in range(300)]


def go_on(folder: pathlib.Path, stop: int | None) -> None:
    """Writes documents, after those that an interrupted run has written."""
    from gputok.token_files import token_files
    from gputok.token_files.batches import TokenBatch

    def batches(first: int) -> Iterator[TokenBatch]:
        for i in range(first, len(LENGTHS)):
            if i == stop:
                raise KeyboardInterrupt
            yield TokenBatch(np.full(LENGTHS[i], i, np.uint16), np.array([0, LENGTHS[i]]))

    layout = token_files.layout_of("c", len(LENGTHS), format="megatron", shard_tokens=400)
    with contextlib.suppress(KeyboardInterrupt):
        token_files.write(folder / "c", batches, layout, "run")


@functools.cache
def work() -> dict[str, bytes]:
    """The work folder's files, by their names without the number of the shard that was being written."""
    with tempfile.TemporaryDirectory() as name:
        go_on(pathlib.Path(name), 280)
        found = {path.name: path.read_bytes() for path in pathlib.Path(name, ".c.part").iterdir()}
    return {name.replace("-00002", ""): data for name, data in found.items()}


def put_work(folder: pathlib.Path) -> None:
    (folder / ".c.part").mkdir()
    for name, data in work().items():
        named = f"{name}-00002" if name in ("ids", "ends") else name
        (folder / ".c.part" / named).write_bytes(data)


def try_work(path: pathlib.Path) -> None:
    """Goes on; other ids are found by the checksums of finished shards, or are those of the damaged file."""
    from gputok import open_tokens

    folder = path.parent.parent
    if path.name in ("ids", "ends"):
        path = path.rename(f"{path}-00002")
    go_on(folder, None)
    tokens = open_tokens(folder / "c")
    tokens.manifest.check()
    assert len(tokens) == len(LENGTHS)
    if path.name not in ("ids-00002", "ends-00002"):
        assert [ids.tolist() for ids in tokens] == [[i] * n for i, n in enumerate(LENGTHS)]


def run_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    """Also with a checksum that is right."""
    if mutator.random() < 0.5:
        return mutator.of_bytes(data)
    text = json.dumps(json.loads(data.partition(b"\n")[2]) | {mutator.choice(["fingerprint", "more"]): "a"}).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


WORK: list[tuple[str, Callable[[hostile.Mutator, bytes], bytes]]] = [
    ("run.json", run_damaged),
    *((name, binary_damaged) for name in ("ids", "ends", "ids-00001", "c_00001.idx")),
]

# -- corpora


def rows(form: str) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"id": [*range(len(TEXTS))], "text": TEXTS})
    written = io.BytesIO()
    parquet.write_table(table, written, compression="zstd" if form == "zstd" else "none", row_group_size=16)
    return written.getvalue()


def json_lines() -> bytes:
    return "".join(
        json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in enumerate(TEXTS)
    ).encode()


def json_lines_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    lines = data.splitlines()
    at = mutator.randrange(len(lines))
    lines[at] = json_damaged(mutator, lines[at])
    return b"\n".join(lines)


def comma_separated() -> bytes:
    quoted = (text.replace('"', '""') for text in TEXTS)
    return ("id,text\r\n" + "".join(f'{i},"{text}"\r\n' for i, text in enumerate(quoted))).encode()


def packed_text(compression: str) -> bytes:
    text = "\n".join(TEXTS * 20).encode()
    if compression == ".gz":
        return gzip.compress(text[: len(text) // 2]) + gzip.compress(text[len(text) // 2 :])
    if compression == ".xz":
        return lzma.compress(text)
    import pyarrow as pa

    return pa.compress(text, "zstd", asbytes=True)


def bytes_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    return mutator.of_bytes(data)


def try_corpus(path: pathlib.Path) -> None:
    from gputok.recipes import recipe

    tokenizer = recipe("bpe")[0]
    assert tokenizer.count_words(path, threads=1) == tokenizer.count_words(path, threads=2)


CORPORA: dict[str, tuple[Callable[[], bytes], Callable[[hostile.Mutator, bytes], bytes]]] = {
    "corpus.parquet": (lambda: rows(""), binary_damaged),
    "zstd.parquet": (lambda: rows("zstd"), bytes_damaged),
    "corpus.jsonl": (json_lines, json_lines_damaged),
    "corpus.csv": (comma_separated, bytes_damaged),
    "corpus.txt.gz": (lambda: packed_text(".gz"), bytes_damaged),
    "corpus.txt.xz": (lambda: packed_text(".xz"), bytes_damaged),
    "corpus.txt.zst": (lambda: packed_text(".zst"), bytes_damaged),
}

FORMATS: dict[str, Format] = {
    **{
        f"work folder: {name}": Format(f".c.part/{name}", lambda name=name: work()[name], try_work, damage, put_work)
        for name, damage in WORK
    },
    **{
        f"{kind}: {file}{'' if manifest else ', alone'}": of_output(kind, file, damage, manifest)
        for kind, file, damage in OUTPUTS
        for manifest in (True, False)
        if manifest or "manifest" not in file
    },
    **{name: Format(name, functools.cache(whole), try_corpus, damage) for name, (whole, damage) in CORPORA.items()},
}
