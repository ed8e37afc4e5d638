"""Joins outputs of ids that several processes or machines wrote, without decoding them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Unpack

from gputok.checks import short, shortened
from gputok.files.locations import StorageOptions, find
from gputok.files.outputs import refuse_inputs
from gputok.token_files.batches import TokenBatch
from gputok.token_files.formats import FORMATS, chosen
from gputok.token_files.token_files import FileOptions, TokenFiles, Written, layout_of, names, open_tokens, write
from gputok.token_files.work import Layout


def merge_tokens(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    storage_options: StorageOptions = None,
    **options: Unpack[FileOptions],
) -> Written:
    """Joins files of ids of any format into one output, in the order of the inputs; ids are copied, not decoded.

    So several processes can encode one corpus: each encodes some of the `gputok.corpus.parts`; or an engine such as
    Spark encodes Arrow batches by `Tokenizer.corpus_encoder` and writes Parquet. The documents keep the begin and end
    tokens that they have. An interrupted run resumes.

    Args:
        inputs: outputs of `Tokenizer.encode_corpus`, or what else `open_tokens` opens.
        output: the path or URL to write to.
        storage_options: of the file system of URLs, see `gputok.files.locations`.
        options: what the files are like (`FileOptions`). If neither `format` nor the ending of `output` names a format,
            the inputs' format is taken; without `sequence_length`, theirs. `shuffle` is for each new file.

    Returns:
        How many documents and ids there are, and how many bytes of text they were made of (0: not known).

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: the inputs are of different tokenizers, or have different tokens around documents; a file is
            damaged; or the format can't store these ids.

    Example:
        >>> import tempfile
        >>> from gputok import Tokenizer, models, open_tokens, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> folder = tempfile.mkdtemp()
        >>> for i, text in enumerate(["so it", "goes"]):
        ...     _ = tokenizer.encode_corpus(iter([text]), f"{folder}/part-{i}", format="megatron")
        >>> merge_tokens([f"{folder}/part-0", f"{folder}/part-1"], f"{folder}/whole").n_documents
        2
        >>> [ids.tolist() for ids in open_tokens(f"{folder}/whole")]
        [[0, 1], [2]]
    """
    paths = [os.fspath(path) for path in inputs]
    if not paths:
        raise ValueError("no files of ids to join: name at least one")
    opened = [open_tokens(path, storage_options=storage_options) for path in paths]
    tokenizer = _same_tokenizer(paths, opened)
    layout = _layout(output, opened, tokenizer.get("vocab_size"), options)
    sources = find([path for files in opened for path in files.paths])
    for name in names(output, layout):
        refuse_inputs(name, sources, storage_options)
    copied = [0, 0]  # documents and ids

    def batches(skip: int) -> Iterator[TokenBatch]:
        for files in opened:
            for batch in files.batches(skip):
                copied[0] += batch.n_documents
                copied[1] += len(batch.ids)
                yield batch
            skip = max(skip - len(files), 0)

    state = repr([(paths[i], [file.state() for file in find([*files.paths])]) for i, files in enumerate(opened)])
    n_bytes = [files.manifest.content["bytes_in"] if files.manifest else 0 for files in opened]
    known = sum(n_bytes) if all(n_bytes) else 0
    about: Any = {"tokenizer": tokenizer, "n_bytes": lambda: known}
    fingerprint = hashlib.sha256(state.encode()).hexdigest()
    n_documents, n_stored = write(output, batches, layout, fingerprint, storage_options, **about)
    return Written(n_documents, copied[0], copied[1], 0, known, n_stored)


def _layout(output: str | os.PathLike[str], opened: list[TokenFiles], vocab_size: Any, options: FileOptions) -> Layout:
    """Returns the layout of the output: what `options` leave out is as in the inputs."""
    form: Any = options.get("format")
    try:
        form = chosen(os.fspath(output), form).name
    except ValueError:
        of_inputs = {files.format for files in opened}
        if form is not None or len(of_inputs) > 1:
            raise
        form = of_inputs.pop()
    lengths = {files.manifest.content.get("sequence_length") if files.manifest else None for files in opened}
    if options.get("sequence_length") is None and len(lengths) == 1 and FORMATS[form].takes_blocks:
        options = {**options, "sequence_length": lengths.pop()}
    if not isinstance(vocab_size, int):  # no manifest says how large the vocabulary is, so the largest id decides
        each = (batch.ids for files in opened for batch in files.batches())
        vocab_size = 1 + max((int(ids.max()) for ids in each if len(ids)), default=0)
    return layout_of(output, vocab_size, **{**options, "format": form})


def _same_tokenizer(paths: list[str], opened: list[TokenFiles]) -> dict[str, Any]:
    """Returns what the manifests say of the tokenizer; raises ValueError if they don't all say the same."""
    found = zip(paths, (files.manifest for files in opened), strict=True)
    all_said = [(path, manifest.content["tokenizer"]) for path, manifest in found if manifest is not None]
    named, first = all_said[0] if all_said else ("", {})
    for path, said in all_said:
        for field in sorted({*first, *said}):
            if first.get(field) != said.get(field):
                differ = f"{short(said.get(field))}, but {short(first.get(field))} in {named}"
                raise ValueError(
                    f"{path}: tokenizer.{shortened(field)}: {differ}; only ids of the same tokenizer, with the same "
                    "tokens around documents, are joined"
                )
    return first
