"""Several pre-tokenizers, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok.automaton.pattern import Regex
from gputok.automaton.patterns import SPLITS
from gputok.automaton.ready import ready_splits
from gputok.checks import field, instances
from gputok.components import Chain
from gputok.pre_tokenizers.base import PreTokenizer, cut_pieces
from gputok.pre_tokenizers.byte_level import ByteLevel
from gputok.pre_tokenizers.splits import Split
from gputok.text.pieces import mark_starts, spell_out
from gputok.text.way import Unit, Way

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from gputok.kernels import Automaton
    from gputok.text.pieces import Pieces
    from gputok.text.pre_tokenized_string import PreTokenizedString


class Sequence(Chain, PreTokenizer):
    """Applies pre-tokenizers one after the other: each of them cuts the pieces that the one before it made.

    The elements can be read and replaced by index, and are the same objects that were passed.

    Args:
        pretokenizers: the elements; a Sequence among them is replaced by its elements.

    Example:
        >>> from gputok.pre_tokenizers import Punctuation, Whitespace
        >>> Sequence([Whitespace(), Punctuation()]).pre_tokenize_str("Hi, you!?")
        [('Hi', (0, 2)), (',', (2, 3)), ('you', (4, 7)), ('!', (7, 8)), ('?', (8, 9))]
    """

    pretokenizers: ListOf[PreTokenizer] = field(instances(PreTokenizer))

    def __init__(self, pretokenizers: list[PreTokenizer]) -> None:
        self.pretokenizers = self._flat(pretokenizers)

    def way(self, after: Way) -> Way:
        elements = [*self.pretokenizers]
        for patterns in SPLITS:
            n = len(patterns)
            if tuple(map(_isolated, elements[:n])) == patterns:
                after, elements = after.cut_by(ready_splits(patterns)), elements[n:]
        for element in elements:
            after = element.way(after)
        return after

    def _steps(self) -> list[PreTokenizer | Automaton]:
        """Returns the elements; consecutive elements that one walk can replace are the automaton of that walk."""
        steps: list[PreTokenizer | Automaton] = []
        for element in self.leaves():
            last = steps[-1] if steps else None
            both = _as_one(last, element)
            if both is None:
                steps.append(element)
            else:
                steps[-1] = both
        return steps

    def _apply(self, pieces: Pieces) -> Pieces:
        steps = self._steps()
        later = [step for step in steps[1:] if isinstance(step, PreTokenizer)]
        if pieces.alignment is None and any(step.way(Way()).at_start for step in later):
            return self._apply(mark_starts(pieces))._replace(alignment=None)
        for step in steps:
            pieces = (
                step.apply(pieces)
                if isinstance(step, PreTokenizer)
                else cut_pieces(spell_out(pieces), step, "isolated")
            )
        return pieces

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        for element in self.frozen().leaves():
            element.pre_tokenize(pretok)


def _as_one(step: PreTokenizer | Automaton | None, element: PreTokenizer) -> Automaton | None:
    """Returns the one walk that cuts as two steps do, or None."""
    if step is None or isinstance(element, ByteLevel):  # ByteLevel also writes bytes as characters
        return None
    first = step.way(Way()) if isinstance(step, PreTokenizer) else Way().cut_by(step)
    return None if first.unit is not Unit.WORD else element.way(first).automaton


def _isolated(element: PreTokenizer) -> str | None:
    """Returns the pattern whose matches an element makes pieces of their own, or None."""
    if not isinstance(element, Split) or element.behavior != "isolated" or element.invert:
        return None
    return element.pattern.pattern if isinstance(element.pattern, Regex) else None
