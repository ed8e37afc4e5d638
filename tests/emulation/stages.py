"""The stages as the tests call them, and those of CUDA."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import Automaton, BpeTables
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import encode_corpus as text
from gputok.kernels.cuda import encode_words as lookup
from gputok.kernels.cuda import lines, split
from gputok.kernels.cuda import train_bpe as bpe
from gputok.kernels.cuda.device import Device, indexes

from gputok.text.edit import inert_in
from gputok.text.pieces import TextBatch


class Stages(NamedTuple):
    """One version of each stage, brought to the same arguments and results."""

    split_words: Any  # (TextBatch, Automaton) -> where each word begins
    count_words: Any  # (TextBatch, Automaton) -> [(word, count)], in order of first occurrence
    train_bpe: Any  # as in kernels.reference
    encode_words: Any  # (data, start, end, BpeTables) -> ids, rows; not on a device: ids, start, end, rows
    encode_corpus: Any  # (TextBatch, token, Automaton, BpeTables) -> ids, and where those of each document end
    lines: Any  # bytes -> where each line begins, and whether they are UTF-8
    texts_with: Any  # (TextBatch, strings) -> the texts with one of the strings, and those that NFC may change


def in_cuda(device: Device) -> Stages:
    """The stages on a device."""

    def split_words(batch: TextBatch, automaton: Automaton) -> list[int]:
        tables = split.upload(device, automaton)
        with device.active():
            text, offsets = device.upload((batch.data, indexes(batch.offsets)))()
            starts = split.find_words(device, text, offsets, tables)
            return device.download(starts)[:-1].tolist()

    def count(batch: TextBatch, automaton: Automaton) -> list[tuple[bytes, int]]:
        batches = iter([words.Batch([batch.data], batch.offsets, 0)])
        data, offsets, counts, _ = words.count_batches(device, batches, automaton)
        pieces = [data[a:b].tobytes() for a, b in itertools.pairwise(offsets)]
        return [*zip(pieces, counts.tolist(), strict=True)]

    def encode_words(data: np.ndarray, start: np.ndarray, end: np.ndarray, tables: BpeTables) -> Any:
        """Each word is one of its own, whatever its bytes are."""
        xp, model, size = device.xp, lookup.upload(device, tables), np.asarray(end) - start
        memory, each = np.append(0, np.cumsum(size)), np.arange(len(size))
        arrays = [array.astype(np.uint32) for array in (np.asarray(start), size, memory, each)]
        with device.active():
            *there, numbers = device.upload((data, *arrays))()
            words = lookup.Words(*there, None, xp.zeros(len(size), xp.uint32), len(size))
            words = lookup.encoded(device, words, int(memory[-1]), model)
            rows = lookup.Rows(numbers, numbers, words.n_tokens, None, None, len(size))
            found = lookup.gathered(device, words, rows, model)
            return device.download(found.ids), device.download(found.offsets).astype(np.int64)

    def encode_corpus(batch: TextBatch, token: np.ndarray, automaton: Automaton, tables: BpeTables) -> Any:
        loaded = split.upload(device, automaton), lookup.upload(device, tables)
        return text.encode_corpus(device, *batch, token, *loaded)

    def find_lines(data: np.ndarray) -> tuple[np.ndarray, bool]:
        with device.active():
            offsets, is_valid = lines.lines(device, *device.upload((data,))())
            return device.download(offsets), is_valid

    def texts_with(batch: TextBatch, strings: list[bytes]) -> list[list[int]]:
        watched = lines.Watched(lines.Needles.of(strings)), lines.Watched(None, inert_in("nfc"))
        with device.active():
            (data,) = device.upload((batch.data,))()
            return [lines.texts_with(device, data, batch.offsets, each) for each in watched]

    return Stages(
        split_words,
        count,
        lambda *arguments: bpe.train_bpe(device, *arguments),
        encode_words,
        encode_corpus,
        find_lines,
        texts_with,
    )
