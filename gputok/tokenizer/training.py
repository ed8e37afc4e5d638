"""Training a tokenizer's model on text of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.text import Pieces, TextBatch
from gputok.tokenizer.steps import Pipeline

if TYPE_CHECKING:
    from gputok.locations import StorageOptions
    from gputok.progress import Progress
    from gputok.trainers import Trainer
    from gputok.word_counts import WordCounts


class WithTraining(Pipeline):
    """The half of a tokenizer that learns."""

    def train(
        self,
        files: Sequence[str],
        trainer: Trainer | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
        storage_options: StorageOptions = None,
    ) -> None:
        """Trains the model on files: text, JSON Lines or Parquet, each also compressed, folders or globs.

        files: paths or URLs (`gputok.locations` says whose `storage_options` are). A text file gives one document a line, its ending kept; `separator` cuts elsewhere.
        trainer: by default the model's own kind with its defaults.
        column: of JSON Lines and Parquet. errors: "strict" or "replace", for what is not UTF-8.
        threads: by default GPUTOK_NUM_THREADS, or all cores. device: "auto", "cpu", "cuda"
            or "cuda:N"; by default GPUTOK_DEVICE, or "auto" (see `gputok.backend.choose`).
        progress: None shows bars where somebody watches; see `gputok.progress`.

        Raises FileNotFoundError, or ValueError for a file that is broken or not UTF-8; the tokenizer is unchanged then.
        """
        trainer = self._model.get_trainer() if trainer is None else trainer
        progress = _asked_of(trainer, progress)
        options = {
            "column": column,
            "separator": separator,
            "errors": errors,
            "storage_options": storage_options,
        }
        counts = self.count_words(files, threads=threads, device=device, progress=progress, **options)
        self.train_from_word_counts(counts, trainer, threads=threads, device=device, progress=progress)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        trainer: Trainer | None = None,
        length: int | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
    ) -> None:
        """Trains the model on texts: strings, lists of strings, Arrow arrays or a `datasets.Dataset`.

        length: how many texts there are; nothing depends on it. The other arguments are those of `train`.
        """
        from gputok import corpus

        trainer = self._model.get_trainer() if trainer is None else trainer
        progress = _asked_of(trainer, progress)
        read = partial(corpus.read_texts, iterator, column=column, errors=errors)
        total = (
            corpus.total_bytes(iterator, column=column) if not isinstance(iterator, list | tuple) else None
        )
        counts = self._count(read, total, threads, device, progress)
        self.train_from_word_counts(counts, trainer, threads=threads, device=device, progress=progress)

    def train_from_word_counts(
        self,
        word_counts: WordCounts,
        trainer: Trainer | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
    ) -> None:
        """Trains the model on words that were counted before, perhaps in parts on many machines."""
        from gputok import backend
        from gputok.progress import reporting

        trainer = self._model.get_trainer() if trainer is None else trainer
        devices = backend.choose(device, word_counts.data.nbytes).devices
        with reporting(_asked_of(trainer, progress)) as report:
            learnt = trainer.train(word_counts, threads=threads, progress=report, devices=devices)
        learnt.into(self._model)
        self._spelling = None
        self._added.add(trainer.special_tokens, self._model, self._normalizer)

    def count_words(
        self,
        source: Any,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
        storage_options: StorageOptions = None,
    ) -> WordCounts:
        """How often each word of a corpus occurs, by this tokenizer's steps 1 and 2.

        source: as in `train`, parts of files (`corpus.parts`), or any iterable of texts.
        """
        from gputok import corpus

        source = corpus.located(source, storage_options)
        options = {"column": column, "separator": separator, "errors": errors, "threads": threads}
        read = partial(corpus.read, source, **options)
        return self._count(read, corpus.total_bytes(source, column=column), threads, device, progress)

    def _count(
        self,
        read: Callable[..., Iterator[TextBatch]],
        total: int | None,
        threads: int | None,
        device: str | None,
        progress: Progress,
    ) -> WordCounts:
        from gputok import backend
        from gputok.counting import count_words
        from gputok.progress import reporting

        chosen, batches = backend.choose_for(read, total, device)
        with reporting(progress) as report:
            return count_words(
                batches,
                self._plan() or self.words,
                apart_at_spaces=self.apart_at_spaces(),
                instead=self._around_added if self._added.tokens else None,
                threads=threads,
                report=report,
                total=total,
                devices=chosen.devices,
            )

    def _plan(self) -> Any:
        """The one walk over raw text that `words` is where no added token is, or None."""
        alone = self._normalizer is None and self._pre_tokenizer is not None
        return self._pre_tokenizer.plan() if alone else None

    def _around_added(self, batch: TextBatch) -> Callable[[Pieces], Pieces] | None:
        """What cuts a batch with added tokens in it into words: they are found in whole documents only."""
        return self.words if self.added_in(Pieces.from_batch(batch)) else None


def _asked_of(trainer: Trainer, progress: Progress) -> Progress:
    """A trainer's own options say what is shown where the call does not. TypeError: it is none."""
    from gputok.trainers import Trainer

    if not isinstance(trainer, Trainer):
        raise TypeError(
            f"{trainer!r} is no Trainer (a ParityBpeTrainer trains by its own train_from_iterator)"
        )
    if progress is not None:
        return progress
    if not getattr(trainer, "show_progress", True) or getattr(trainer, "progress_format", "") == "silent":
        return False
    return "json" if getattr(trainer, "progress_format", "") == "json" else None
