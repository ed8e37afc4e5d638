"""Estimates how long a GPU would take: bytes, launches and rounds of each stage, multiplied by the rates of cards.

`gputok bench device --model CORPUS` counts, on the CPU, the work of each stage for that corpus, and multiplies. **This is a
model: gputok has measured none of its rates on a GPU.** Bandwidths are those of the cards' data sheets; rates of kernels
are estimates from their instructions and from a simulator (see kernels/cuda/NOTES.md); rates of the host were measured
on two cores. Once a card has been measured, put its figures beside the estimates.

The number of rounds is a lower bound: a round has consecutive merges that share no token with each other, and use no token
that the round itself makes. On 6 MB of English, 8,000 merges took 498 rounds; the bound is 383.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gputok.text.word_counts import WordCounts

_READ = 1.4e9  # bytes a second that one thread reads, checks and cuts into lines (measured)
_STAGE = 11e9  # bytes a second that one thread copies into pinned memory (measured)
_LAUNCH = 2.5e-6  # seconds from one small kernel to the next in a stream
_LOOK = 20e-6  # seconds for the host to see a number of the device
_LOOKS_A_BATCH = 12  # of the host, while a batch is counted
_BATCH = 64 << 20  # bytes of text
_CHOOSE = 15e-6  # seconds of one block that puts candidates in order
_LAUNCHES_A_ROUND, _ROUNDS_A_LOOK = 4, 16


class Card(NamedTuple):
    """Rates of a GPU, in bytes a second."""

    name: str
    memory: float  # of its memory
    link: float  # from pinned memory
    split: float  # of text cut into words
    count: float  # of text, of words that are counted
    encode: float  # of text


CARDS = (
    Card("T4", 320e9, 12e9, 7e9, 3e9, 1.5e9),
    Card("A100", 1.9e12, 25e9, 40e9, 20e9, 5e9),
    Card("H100", 3.3e12, 50e9, 60e9, 30e9, 8e9),
)


class Work(NamedTuple):
    """The work of the stages for a corpus, counted on the CPU."""

    n_bytes: int  # of text
    n_words: int  # distinct ones
    n_symbols: int  # of the distinct words, before the first merge
    n_symbols_left: int  # after the last one
    n_merges: int
    n_rounds: int  # at least
    n_readers: int  # threads

    @classmethod
    def of(
        cls, n_bytes: int, words: WordCounts, merges: Iterable[Sequence[int]], n_tokens: int, readers: int
    ) -> Work:
        """Computes the work of counting words and learning merges.

        Args:
            n_bytes: Bytes of the corpus.
            words: The distinct words of the corpus.
            merges: Pairs of ids, in the order in which they were learned; the first makes the token n_tokens.
            n_tokens: Tokens before the first merge.
            readers: Threads that read.
        """
        pairs = [(int(a), int(b)) for a, b in merges]
        lengths = np.diff(words.offsets)
        n_symbols = int(lengths[lengths > 1].sum())
        # An assumption: merges shorten words to about a third
        return cls(
            n_bytes, len(lengths), n_symbols, n_symbols // 3, len(pairs), rounds_of(pairs, n_tokens), readers
        )


def rounds_of(merges: Sequence[tuple[int, int]], n_tokens: int) -> int:
    """The least number of rounds that can learn these merges, the first of which makes the token n_tokens.

    >>> rounds_of([(1, 2), (3, 2), (5, 1), (3, 3)], 5)
    3
    """
    n_rounds, left, right, first = 0, set(), set(), n_tokens
    for n, (a, b) in enumerate(merges):
        meets = a in right or b in left or a == b or max(a, b) >= first
        if n == 0 or meets:
            n_rounds, left, right, first = n_rounds + 1, set(), set(), n_tokens + n
        left.add(a)
        right.add(b)
    return n_rounds


def seconds(work: Work, card: Card) -> dict[str, float]:
    """The time of each stage by the model; in "end to end, count", reading, copying and counting overlap.

    >>> nothing = Work(0, 0, 0, 0, 0, 0, 1)
    >>> max(seconds(nothing, CARDS[0]).values())
    0.0
    """
    n_batches = -(-work.n_bytes // _BATCH)
    looks = n_batches * _LOOKS_A_BATCH * _LOOK
    found = {
        "read": work.n_bytes / (_READ * work.n_readers),
        "copy to pinned memory": work.n_bytes / _STAGE,
        "copy to the GPU": work.n_bytes / card.link,
        "split and count": work.n_bytes / card.split + work.n_bytes / card.count + looks,
        "encode": work.n_bytes / card.encode + looks,
    }
    places = 4 * (work.n_symbols + work.n_words)  # bytes that a round reads in the beginning ...
    places_left = 4 * (work.n_symbols_left + work.n_words)  # ... and in the end
    scan = (places + places_left) / 2 / card.memory
    launches = _LAUNCHES_A_ROUND * _LAUNCH + _CHOOSE + _LOOK / _ROUNDS_A_LOOK
    found["merge"] = work.n_rounds * (scan + launches)
    found["end to end, count"] = max(
        found["read"], found["copy to pinned memory"], found["copy to the GPU"], found["split and count"]
    )
    found["end to end, train"] = found["end to end, count"] + found["merge"]
    return found


def of_file(path: str, vocab_size: int, threads: int | None) -> Work:
    """Counts the work of training byte-level BPE on a text file, by training on the CPU."""
    from gputok import corpus
    from gputok.kernels.threads import thread_count
    from gputok.recipes import recipe

    tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
    words = tokenizer.count_words(path, device="cpu", threads=threads)
    learned = trainer.train(words, threads=threads)
    n_bytes = corpus.total_bytes(corpus.located(path)) or sum(len(batch.data) for batch in corpus.read(path))
    n_tokens = len(learned.vocabulary.ids) - len(learned.merges)
    return Work.of(n_bytes, words, learned.merges.tolist(), n_tokens, thread_count(threads))


def table(work: Work) -> str:
    """Formats the counted work, and the seconds of each stage on each card."""
    columns = [seconds(work, card) for card in CARDS]
    rows = [
        ["stage, seconds by the model", *(card.name for card in CARDS)],
        ["---"] * (1 + len(CARDS)),
        *([stage, *(f"{column[stage]:.3g}" for column in columns)] for stage in columns[0]),
    ]
    return "\n".join(
        [
            f"{work.n_bytes:,} bytes of text, {work.n_words:,} distinct words of {work.n_symbols:,} symbols, "
            f"{work.n_merges:,} merges in at least {work.n_rounds:,} rounds, {work.n_readers} readers",
            "a model, not a measurement: nothing here has run on a GPU",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )
