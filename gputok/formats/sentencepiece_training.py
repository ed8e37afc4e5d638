"""Training as SentencePiece trains: its normalization, its words, its pieces, its file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gputok.automaton import compile_literal
from gputok.checks import short
from gputok.corpus import Source
from gputok.files.locations import StorageOptions
from gputok.files.sentencepiece_proto import BPE, NORMAL, message
from gputok.formats.sentencepiece import tokenizer_of
from gputok.kernels.cpu.rewrite import gather
from gputok.models.bpe.sentencepiece_trainer import SentencePieceBpeTrainer, TrainedPiece
from gputok.normalizers import Precompiled
from gputok.pipeline.count.words import count_words, words_of_parts
from gputok.pipeline.run import Run
from gputok.pipeline.way import automaton_of
from gputok.pre_tokenizers import cut_pieces
from gputok.progress import Progress, reporting
from gputok.text.pieces import Pieces, TextBatch, regroup, rewrite
from gputok.text.way import Apart, Way
from gputok.tokenizer import Tokenizer

_MARK = "▁".encode()


def train_sentencepiece(
    files: Any,
    trainer: SentencePieceBpeTrainer | None = None,
    *,
    normalization_rule_name: str = "nmt_nfkc",
    max_sentence_length: int = 4192,
    threads: int | None = None,
    progress: Progress = None,
    memory_limit: int | str | None = None,
    temporary: str | os.PathLike[str] | None = None,
    storage_options: StorageOptions = None,
) -> tuple[Tokenizer, bytes]:
    """Trains SentencePiece's BPE on files of text: the same pieces, order and scores as SentencePiece 0.2.

    In contrast to SentencePiece, memory holds the distinct words and not the text. Text in which a mark follows a
    ligature, or several marks follow one character, is normalized as `Precompiled` (and `tokenizers`) does, which there
    differs from SentencePiece.

    Args:
        files: paths, folders, globs or URLs of text; each line is a sentence.
        trainer: the options; None: SentencePiece's defaults.
        normalization_rule_name: "nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf" or "identity".
        max_sentence_length: longer lines, in bytes, are left out, as SentencePiece does.
        threads: as for `Tokenizer.train`.
        progress: as for `Tokenizer.train`.
        memory_limit: as for `Tokenizer.count_words`.
        temporary: as for `Tokenizer.count_words`.
        storage_options: as for `Tokenizer.train`.

    Returns:
        The tokenizer, as `from_sentencepiece` would read it, and the bytes of the `.model` file, with which
        `sentencepiece` gives the same ids.

    Raises:
        ValueError: the name of the rule is unknown, or the trainer refuses the text (`SentencePieceBpeTrainer.train`).
        ImportError: the package `sentencepiece` is missing.
    """
    run = Run.of(None, threads, progress, memory_limit, temporary)
    model = train_model(files, trainer, run, storage_options, normalization_rule_name, max_sentence_length)
    return tokenizer_of(model), model.SerializeToString()


def train_model(
    files: Any,
    trainer: SentencePieceBpeTrainer | None,
    run: Run,
    storage_options: StorageOptions = None,
    normalization_rule_name: str = "nmt_nfkc",
    max_sentence_length: int = 4192,
) -> Any:
    """Returns the ModelProto that `train_sentencepiece` makes a tokenizer of."""
    trainer = SentencePieceBpeTrainer() if trainer is None else trainer
    spec = _normalizer_spec(normalization_rule_name)
    normalizer = Precompiled(spec.precompiled_charsmap) if spec.precompiled_charsmap else None
    words_of = partial(_words, normalizer=normalizer, as_suffix=trainer.treat_whitespace_as_suffix)
    # Lines may be cut before each space, without other words, if the parts, normalized one by one, give the same text
    in_parts = normalizer is None or bool(normalizer.way(Way()).apart)
    source = Source.of(files, separator="\n", storage_options=storage_options)
    working: dict[str, Any] = {"threads": run.threads, "memory": run.memory}
    way = Way(automaton=automaton_of(Apart.SPACES)) if in_parts else words_of
    with reporting(run.progress) as report:
        lines = _short(source.read(run.threads), max_sentence_length)
        words = count_words(lines, way, **working, report=report, total=source.total_bytes)
        if in_parts:
            words = words_of_parts(words, words_of, **working)
        pieces = trainer.train(words, threads=run.threads, progress=report)
    return _proto(pieces, spec, trainer)


def _words(pieces: Pieces, normalizer: Precompiled | None, *, as_suffix: bool) -> Pieces:
    """Cuts lines at spaces into words, each with a `▁` before it (as_suffix: after), and cuts at a text's own `▁`."""
    if normalizer is not None:
        pieces = normalizer.apply(pieces)
    pieces = pieces.without_empty()
    data, first = pieces.data, int(pieces.start[0]) if pieces.n_pieces else 0
    # Pieces follow each other without gaps. A word is a run without spaces that stays in one piece
    is_text = data[first : pieces.end[-1] if pieces.n_pieces else 0] != ord(" ")
    begins, ends = is_text.copy(), is_text.copy()
    begins[1:] &= ~is_text[:-1]
    begins[pieces.start - first] = is_text[pieces.start - first]
    ends[:-1] &= ~is_text[1:]
    ends[pieces.end - 1 - first] = is_text[pieces.end - 1 - first]
    start = np.flatnonzero(begins) + first
    rows = np.append(np.searchsorted(start, pieces.start), len(start))
    has_mark = _MARK in data.tobytes()
    pieces = regroup(pieces, start, np.flatnonzero(ends) + (first + 1), rows)
    pieces = rewrite(pieces, {}, _MARK, np.ones(len(start), bool))
    if as_suffix:  # moves each word by one mark: it begins after its own mark, and ends after that of the next word
        data = np.concatenate([pieces.data, np.frombuffer(_MARK, np.uint8)])
        pieces = pieces._replace(data=data, start=pieces.start + len(_MARK), end=pieces.end + len(_MARK))
    if not has_mark:
        return pieces
    return cut_pieces(pieces, compile_literal("▁"), "merged_with_previous" if as_suffix else "merged_with_next")


def _short(batches: Iterator[TextBatch], most: int) -> Iterator[TextBatch]:
    for batch in batches:
        kept = np.flatnonzero(np.diff(batch.offsets) <= most)
        whole = len(kept) == batch.n_documents
        yield batch if whole else TextBatch(*gather(batch.data, batch.offsets[kept], batch.offsets[kept + 1]))


def _normalizer_spec(name: str) -> Any:
    """Returns the NormalizerSpec of a rule, as the package `sentencepiece` has it."""
    message()  # says which extra is missing
    import sentencepiece

    try:
        made = sentencepiece.SentencePieceNormalizer(rule_name=name)
    except Exception as error:  # RuntimeError, or what an older version raises
        raise ValueError(f"normalization_rule_name={short(name)} is no rule of SentencePiece: {error}") from None
    spec = message(made.serialized_model_proto()).normalizer_spec
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = True
    return spec


def _proto(pieces: Sequence[TrainedPiece], spec: Any, trainer: SentencePieceBpeTrainer) -> Any:
    proto = message()
    for piece in pieces:
        added = proto.pieces.add(piece=piece.piece, score=piece.score)
        if piece.kind != NORMAL:
            added.type = piece.kind
    of = proto.trainer_spec
    of.model_type, of.vocab_size = BPE, len(pieces)
    for name in SentencePieceBpeTrainer.__dataclass_fields__:
        value = getattr(trainer, name)
        if isinstance(value, tuple):
            getattr(of, name).extend(value)
        elif name not in ("vocab_size", "split_by_whitespace"):
            setattr(of, name, value)
    proto.normalizer_spec.CopyFrom(spec)
    return proto
