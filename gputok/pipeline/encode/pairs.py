"""Encodes pairs of texts, and lists of words: the ids at once, by the engine of single texts, and positions at first access.

Each text of a pair, and each word of a list, is encoded as a text of its own; then the ids are cut and joined, and get the special
tokens of the post-processor around them. What `Pairs` can't do, `encode.stepwise` does, with the same result.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.pipeline.encode import stepwise
from gputok.pipeline.encode.text import CUT, ID, Attributes, Made, Texts, bare_texts_of, texts_of
from gputok.pipeline.special_tokens import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gputok.pipeline.encode.stepwise import Given
    from gputok.pipeline.pipeline import Pipeline


def pairs_of(pipeline: Pipeline, *, bare: bool = False) -> Pairs | None:
    """Returns what encodes pairs and lists of words, made at the first call; None: `encode.stepwise` must encode them.

    bare: for encodings without offsets, words and texts of tokens.
    """
    kept = pipeline.kept
    if (found := kept.pairs.get(bare)) is None:
        texts = bare_texts_of(pipeline) if bare else texts_of(pipeline)
        found = kept.pairs.setdefault(bare, (None if texts is None else Pairs.of(pipeline, texts, bare)) or False)
    return found or None


class _Joined(NamedTuple):
    """One input whose ids are known."""

    ids: bytes  # with special tokens
    lengths: tuple[int, ...]  # tokens of each text, without special tokens
    is_cut: bool


class Pairs(Attributes):
    """Encodes inputs of one text or two, each a string or a list of words, and makes the attributes of their encodings.

    `Made` has the input, and how many tokens each of its texts has.
    """

    def __init__(self, pipeline: Pipeline, texts: Texts, bare: bool) -> None:
        super().__init__(pipeline, texts.engine)
        # Without limits: a text is encoded as a whole, before an input is cut and padded
        self._texts = Texts(pipeline.with_limits(truncation=None, padding=None), texts.engine)
        self._pipeline, self._bare = pipeline.with_limits(), bare
        self._frames = {
            (n, special): Frame.of(pipeline, bool(special), (0, 0 if bare else 1)[:n])
            for n, special in itertools.product((1, 2), (0, 1))
        }
        # The ids of special tokens: before the first text, and after each
        self._around = {
            which: [np.array(some["ids"], np.uint32).tobytes() for some in frame.around]
            for which, frame in self._frames.items()
            if frame is not None
        }
        truncation, added = pipeline.truncation, pipeline.num_special_tokens_to_add
        self._rooms = {
            (n, special): None if truncation is None else truncation.room(special and added(n == 2))
            for n, special in self._frames
        }

    @classmethod
    def of(cls, pipeline: Pipeline, texts: Texts, bare: bool) -> Self | None:
        """Returns None if the post-processor adds tokens to each text, or leaves it out, also without special tokens."""
        return cls(pipeline, texts, bare) if texts.engine.longest[0] >= 0 else None

    def rest(self) -> None:
        """Gives memory back, see `Texts.rest`."""
        self._texts.rest()

    @property
    def joins_two(self) -> bool:
        """True if pairs can be encoded, with and without special tokens."""
        return (2, 0) in self._around and (2, 1) in self._around

    def encode(
        self, inputs: Sequence[Given], add_special_tokens: bool, threads: int | None = None
    ) -> list[Encoding] | None:
        """Encodes inputs; None: `encode.stepwise` must encode them.

        inputs: as `stepwise.check_inputs` returns them. threads: None: one thread for few texts, else all cores.
        """
        special = 1 if add_special_tokens else 0
        if not all((n, special) in self._around for n in {*map(len, inputs)}):
            return None
        found = self._ids(inputs, threads)
        joined = None if found is None else self._joined(inputs, found, special)
        if joined is None:
            return None
        maker = self._padded_to(joined)
        encodings: list[Encoding] = []
        for given, (ids, lengths, is_cut) in zip(inputs, joined, strict=True):
            encoding = _new(Encoding)
            made: Made = maker, ids, given, special, lengths, self._flags + (CUT if is_cut else 0)
            encoding._later = made  # pyright: ignore[reportPrivateUsage]
            encodings.append(encoding)
        return encodings

    def _ids(self, inputs: Sequence[Given], threads: int | None) -> list[bytes] | None:
        """Returns the ids of each text of the inputs, without special tokens."""
        sequences = [sequence for given in inputs for sequence in given]
        if not sequences or isinstance(sequences[0], str):
            return self._texts.ids_of_each(sequences, threads)
        words = [word for words in sequences for word in words]
        return self._texts.ids_of_each(words, threads, [*map(len, sequences)])

    def _joined(self, inputs: Sequence[Given], found: list[bytes], special: int) -> list[_Joined] | None:
        """Cuts and joins the texts of each input; None: a cut raises an error, or leaves too little."""
        given = iter(found)
        parts = [[*itertools.islice(given, len(one))] for one in inputs]
        lengths = [tuple(len(ids) // ID for ids in some) for some in parts]
        targets = [*lengths]
        for n in (1, 2):
            room = self._rooms[n, special]
            if room is None:
                continue
            long = [i for i, some in enumerate(lengths) if len(some) == n and sum(some) > room]
            if long:
                aims = self._targets(np.array([lengths[i] for i in long]), room)
                if aims is None:
                    return None
                for i, aim in zip(long, aims, strict=True):
                    targets[i] = aim
                    parts[i] = [*map(self._cut, parts[i], aim)]
        joined: list[_Joined] = []
        for some, target, before in zip(parts, targets, lengths, strict=True):
            first, *after = self._around[len(some), special]
            pieces = [first, some[0], after[0]] if len(some) == 1 else [first, some[0], after[0], some[1], after[1]]
            joined.append(_Joined(b"".join(pieces), target, target is not before))
        return joined

    def _targets(self, lengths: Any, room: int) -> list[tuple[int, ...]] | None:
        """Returns how many tokens each text of some inputs keeps.

        lengths: int64[n_inputs, n_texts]. None: a text keeps less than the stride, which `encode.stepwise` must tell.
        """
        truncation = self._pipeline.truncation
        assert truncation is not None
        try:
            kept = np.array(stepwise.targets([*lengths.T], room, truncation.strategy)).T
        except ValueError:
            return None
        if room <= 0 or ((kept < lengths) & (kept <= truncation.stride)).any():
            return None
        return [*map(tuple, kept.tolist())]

    def _cut(self, values: Any, n: int) -> Any:
        """Keeps n tokens of a text; values: its ids, or a list with an item for each token."""
        n *= ID if isinstance(values, bytes) else 1
        if self._from_left:
            return values[max(len(values) - n, 0) :]
        return values[:n]

    @property
    def _from_left(self) -> bool:
        truncation = self._pipeline.truncation
        return truncation is not None and truncation.direction == "left"

    def _padded_to(self, joined: list[_Joined]) -> Pairs:
        """Returns what makes the attributes of a batch, in which padding may depend on the longest input."""
        padding = self._padding
        if padding is None or padding.length is not None:
            return self
        longest = max((len(one.ids) // ID for one in joined), default=0)
        other = copy.copy(self)
        other._padding = dataclasses.replace(padding, length=longest)
        other._pipeline = self._pipeline.with_limits(padding=other._padding)
        return other

    # -- attributes of an encoding

    def _frame(self, made: Made) -> Frame:
        frame = self._frames[len(made[2]), made[3]]
        assert frame is not None
        return frame

    def _lengths(self, made: Made) -> list[int]:
        return [*made[4]]

    def encoding(self, made: Made) -> Encoding:
        """Returns the same encoding, made by `encode.stepwise`."""
        given, special = made[2], bool(made[3])
        of_words = not isinstance(given[0], str)
        return stepwise.encode(self._pipeline, [given], of_words, special, offsets=not self._bare)[0]

    def tokens(self, made: Made) -> list[str] | None:
        """Makes `Encoding.tokens`; None if the text of a token depends on more than its id."""
        if self._bare:
            return self._column(made, "tokens", self._padding and self._padding.pad_token, "")
        return super().tokens(made)

    def offsets(self, made: Made) -> list[tuple[int, int]] | None:
        """Makes `Encoding.offsets`; None for lists of words if the post-processor trims offsets: by the start of the list."""
        if self._bare:
            return [(0, 0)] * self.length(made)
        of_words = not isinstance(made[2][0], str)
        if of_words and self._texts.engine.trims != []:
            return None

        def of_text(text: str) -> list[tuple[int, int]]:
            return self._whole(text).offsets

        def of_list(words: list[str]) -> list[tuple[int, int]]:
            return [offset for word in words for offset in of_text(word)]

        return self._positions(made, of_list if of_words else of_text, (0, 0))

    def word_ids(self, made: Made) -> list[int | None] | None:
        """Makes `Encoding.word_ids`: for lists of words, the index in the list."""
        if self._bare:
            nothing: list[int | None] = [None]
            return nothing * self.length(made)
        if isinstance(made[2][0], str):
            return self._positions(made, lambda text: self._whole(text).word_ids, None)
        found = self._texts.ids_of_each([word for words in made[2] for word in words], 1)
        if found is None:
            return None
        lengths = iter([len(ids) // ID for ids in found])

        def indices(words: list[str]) -> list[int]:
            return [i for i in range(len(words)) for _ in range(next(lengths))]

        return self._positions(made, indices, None)

    def _whole(self, text: str) -> Encoding:
        encoding = self._texts.encode(text, False)
        return (
            stepwise.encode(self._texts.pipeline, [(text,)], False, False, offsets=True)[0]
            if encoding is None
            else encoding
        )

    def _positions(self, made: Made, of_text: Callable[[Any], list[Any]], filler: Any) -> list[Any]:
        """A column of values that `of_text` gives for the tokens of each text; filler: the value of special tokens."""
        first, *others = self._frame(made).around
        found = [filler] * len(first["ids"])
        for text, n, after in zip(made[2], made[4], others, strict=True):
            found += self._cut(of_text(text), n)
            found += [filler] * len(after["ids"])
        return self._padded(found, filler)


_new = Encoding.__new__
