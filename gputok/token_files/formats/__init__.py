"""The formats of files of ids, one module for each.

| name        | files                                             | for                                 |
|-------------|---------------------------------------------------|-------------------------------------|
| `npy`       | `NAME.npy`, `NAME.npy.rows.npy`                   | `numpy.load`                        |
| `bin`       | `NAME.bin`, `NAME.bin.rows.npy`                   | `numpy.memmap`                      |
| `arrow`     | `NAME.arrow`                                      | Arrow, `datasets`, ...              |
| `parquet`   | `NAME.parquet`                                    | Arrow, `datasets`, ...              |
| `megatron`  | `NAME.bin`, `NAME.idx`                            | Megatron-LM, NeMo, GPT-NeoX         |
| `datatrove` | `NAME_00000_unshuffled.ds`, `.ds.index`, `.ds.metadata` | datatrove, nanotron           |
| `nanogpt`   | `NAME.bin`, `NAME.bin.rows.npy`                   | nanoGPT                             |
| `llmc`      | `NAME.bin`, `NAME.bin.rows.npy`                   | llm.c, modded-nanogpt               |
| `mds`       | `NAME/index.json`, `NAME/shard.00000.mds`         | MosaicML streaming, LLM Foundry     |
| `litdata`   | `NAME/index.json`, `NAME/chunk-0-0.bin`           | litdata, litgpt                     |
| `olmo`      | `NAME.npy`, `NAME.csv.gz`                         | OLMo, dolma                         |
"""

from __future__ import annotations

import pathlib

from gputok.token_files.formats.arrays import Bin, NanoGPT, Npy
from gputok.token_files.formats.base import TokenFormat
from gputok.token_files.formats.datatrove import Datatrove
from gputok.token_files.formats.litdata import LitData
from gputok.token_files.formats.llmc import LlmC
from gputok.token_files.formats.mds import Mds
from gputok.token_files.formats.megatron import Megatron
from gputok.token_files.formats.olmo import Olmo
from gputok.token_files.formats.tables import Arrow, Parquet

# An output without a manifest is of the first format in this order whose `is_at` returns True.
FORMATS: dict[str, TokenFormat] = {
    form.name: form
    for form in (Npy(), LlmC(), Bin(), Arrow(), Parquet(), Megatron(), Datatrove(), NanoGPT(), Mds(), LitData(), Olmo())
}
KINDS = (".npy", ".bin", ".arrow", ".parquet")
"""Endings that choose a format without `format=`: the format with the name of the ending."""


def chosen(output: str, name: str | None) -> TokenFormat:
    """Returns the format of an output (a path or URL): the one that is asked for, or else that of the output's ending.

    Raises ValueError if there is no such format, or the ending is of no format or of another format.

    >>> chosen("ids.npy", None).name, chosen("corpus", "megatron").name
    ('npy', 'megatron')
    """
    suffix = pathlib.PurePath(output).suffix
    if name is None:
        if suffix not in KINDS:
            instead = f"use {', '.join(KINDS)}, or format= (--format): {', '.join(FORMATS)}"
            raise ValueError(f"{output}: cannot write ids as {suffix or 'a file without ending'}; {instead}")
        return FORMATS[suffix[1:]]
    if name not in FORMATS:
        raise ValueError(f"format={name!r}: expected one of {', '.join(FORMATS)}")
    form = FORMATS[name]
    if suffix in KINDS and suffix != form.suffix:
        raise ValueError(f"{output}: ends like a file of the format {suffix[1:]}, but format={name!r} is asked for")
    return form
