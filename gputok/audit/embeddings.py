"""Embeddings of a model: reading them, and finding rows that training never saw.

Land and Bartolo 2024 (arXiv 2405.05417): the rows of tokens that no training text had lie close together, since nothing but
weight decay, or the same push away from every prediction, moved them. So the distance to the mean of rows that surely were
never seen (ids without a token, tokens that no text gives) tells the others.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import numpy as np

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_NAMES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight", "embed_in.weight")


def read_embeddings(given: Any, tensor: str | None, n_ids: int) -> Any:
    """Reads embeddings.

    Args:
        given: an array of shape [n_rows, n_dimensions], or the path of a .npy or .safetensors file.
        tensor: which tensor of a .safetensors file; None: the one whose name is usual for input embeddings.
        n_ids: the largest id + 1.

    Returns:
        The array, float32[n_rows, n_dimensions].

    Raises:
        ValueError: the array, or the file, is of another kind, or has fewer rows than there are ids.
    """
    shown = str(given) if isinstance(given, str | os.PathLike) else "embeddings"
    if tensor is not None and not shown.endswith(".safetensors"):
        raise ValueError(f"tensor={tensor!r}: only a .safetensors file has tensors with names, not {shown}")
    if isinstance(given, str | os.PathLike):
        path = pathlib.Path(given)
        found = _safetensors(path, tensor) if path.suffix == ".safetensors" else _npy(path)
    else:
        found = np.asarray(given)
    if found.ndim != 2 or found.dtype.kind != "f":
        raise ValueError(
            f"{shown}: embeddings are an array of two dimensions, of floats, not {found.dtype}{list(found.shape)}"
        )
    if len(found) < n_ids:
        raise ValueError(
            f"{shown}: has {len(found):,} rows, but ids of the tokenizer go up to {n_ids - 1:,}: it is of another model"
        )
    return found.astype(np.float32, copy=False)


def _npy(path: pathlib.Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: expected a .npy or a .safetensors file") from None


def _safetensors(path: pathlib.Path, tensor: str | None) -> Any:
    """One tensor of a .safetensors file: a length in 8 bytes, a JSON object of that length, and the numbers."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            head = json.loads(file.read(length) if length <= size else b"")
            tables = {name: one for name, one in head.items() if name != "__metadata__" and len(one["shape"]) == 2}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"{path}: is no .safetensors file") from None
        usual = [name for name in tables if name.endswith(_NAMES)] or ([*tables] if len(tables) == 1 else [])
        chosen = tensor if tensor is not None else usual[0] if len(usual) == 1 else None
        if chosen not in tables or tables[chosen].get("dtype") not in _DTYPES:
            listed = ", ".join([*tables][:8])
            raise ValueError(f"{path}: name the tensor of the embeddings by tensor= (--tensor), of {listed or 'none'}")
        (rows, columns), (first, last) = tables[chosen]["shape"], tables[chosen]["data_offsets"]
        dtype = np.dtype(_DTYPES[tables[chosen]["dtype"]])
        if last - first != rows * columns * dtype.itemsize or 8 + length + last > size:
            raise ValueError(f"{path}: the tensor {chosen} is cut off")
        file.seek(8 + length + first)
        found = np.frombuffer(file.read(last - first), dtype).reshape(rows, columns)
    if tables[chosen]["dtype"] == "BF16":  # the upper half of a float32
        return (found.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return found


def unseen(matrix: Any, known: set[int]) -> dict[int, str]:
    """Finds the rows that training never saw.

    Args:
        matrix: float32[n_rows, n_dimensions].
        known: rows that it surely never saw: their mean is the reference, and 95 % of them lie within the limit. If there
            are fewer than three, the reference is 0, and the limit is six median deviations below the median.

    Returns:
        Row -> its distance to the reference, as text.
    """
    rows = np.array(sorted(known), np.int64)
    has_reference = len(rows) >= _FEWEST
    center = matrix[rows].mean(axis=0) if has_reference else np.zeros(matrix.shape[1], np.float32)
    # In parts: the difference of all rows would take as much memory as they do
    starts = range(0, len(matrix), _ROWS)
    distance = np.concatenate([np.linalg.norm(matrix[at : at + _ROWS] - center, axis=1) for at in starts])
    middle = float(np.median(distance))
    if has_reference:
        limit = min(float(np.quantile(distance[rows], 0.95)), middle)
    else:
        limit = middle - 6 * float(np.median(np.abs(distance - middle)))
    what = f"the mean of {len(rows):,} rows never seen" if has_reference else "0"
    return {
        i: f"{distance[i]:.4g} from {what}; the median row: {middle:.4g}"
        for i in np.flatnonzero(distance <= limit).tolist()
    }


_FEWEST, _ROWS = 3, 4096
