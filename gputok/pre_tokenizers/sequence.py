"""Several pre-tokenizers, one after the other."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from gputok.automaton import PATTERNS
from gputok.automaton.pattern import Regex
from gputok.fields import instances, per_field, wrong_type
from gputok.pre_tokenizers.base import Custom, PreTokenizer, SplitPlan
from gputok.pre_tokenizers.byte_level import ByteLevel
from gputok.pre_tokenizers.splits import Split
from gputok.text.pieces import mark_starts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as ListOf

    from gputok.text.pieces import Pieces
    from gputok.text.pre_tokenized_string import PreTokenizedString

# Patterns of consecutive `Split(..., "isolated")` -> the name of one pattern in gputok.automaton.PATTERNS that cuts any
# text in the same way.
_FUSED = {
    (
        r"\p{N}{1,3}",
        r"[一-龥぀-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ): "deepseek-v3",
}


@dataclass(eq=False, repr=False)
class Sequence(PreTokenizer):
    """Applies pre-tokenizers one after the other: each of them cuts the pieces that the one before it made.

    The elements can be read and replaced by index, and are the same objects that were passed.

    Args:
        pretokenizers: the elements; a Sequence among them is replaced by its elements.

    Example:
        >>> from gputok.pre_tokenizers import Punctuation, Whitespace
        >>> Sequence([Whitespace(), Punctuation()]).pre_tokenize_str("Hi, you!?")
        [('Hi', (0, 2)), (',', (2, 3)), ('you', (4, 7)), ('!', (7, 8)), ('?', (8, 9))]
    """

    elements = "pretokenizers"

    pretokenizers: ListOf[PreTokenizer]

    checks = per_field(pretokenizers=instances(PreTokenizer))

    def __init__(self, pretokenizers: list[PreTokenizer]) -> None:
        self.pretokenizers = pretokenizers
        self.pretokenizers = [
            element
            for pretokenizer in self.pretokenizers
            for element in (
                pretokenizer.pretokenizers if isinstance(pretokenizer, Sequence) else [pretokenizer]
            )
        ]

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a pre-tokenizer from its JSON form, in which a Sequence inside a Sequence stays a Sequence."""
        sequence = cls([])
        sequence.pretokenizers = cls._read_elements(value, PreTokenizer)
        return sequence

    def __getitem__(self, index: int) -> PreTokenizer:
        try:
            return self.pretokenizers[index]
        except IndexError:
            raise IndexError(
                f"Index not found: {index} of {len(self.pretokenizers)} pre-tokenizers"
            ) from None

    def __setitem__(self, index: int, value: PreTokenizer) -> None:
        self[index]  # raises IndexError
        value = PreTokenizer.adopt(value)
        if isinstance(value, Sequence):
            raise TypeError(
                "an element of a Sequence can't be replaced by a Sequence; make a new Sequence of all elements"
            )
        if not isinstance(value, PreTokenizer):
            raise wrong_type(value, "PreTokenizer")
        self._set_element(index, value)

    @property
    def needs_alignment(self) -> bool:  # type: ignore[override]
        """True if `apply` must know which pieces start a document."""
        return any(element.needs_alignment for element in self._elements())

    @property
    def apart_at_spaces(self) -> bool:  # type: ignore[override]
        """True if a document may be cut before each space (U+0020), and the parts handled as documents."""
        first, *others = [*self._elements()] or [self]
        alone = not any(other.needs_alignment or isinstance(other, Custom) for other in others)
        return alone and first is not self and first.apart_at_spaces

    def _elements(self) -> Iterator[PreTokenizer]:
        for element in self.pretokenizers:
            if isinstance(element, Sequence):
                yield from element._elements()
            else:
                yield element

    def _steps(self) -> list[PreTokenizer]:
        """Returns the elements, with consecutive elements that are known to equal one `Split` replaced by it."""
        steps = [*self._elements()]
        patterns = [_isolated_pattern(step) for step in steps]
        for several, name in _FUSED.items():
            for i in range(len(steps)):
                if tuple(patterns[i : i + len(several)]) == several:
                    steps[i : i + len(several)] = [_split(name)]
                    return steps
        return steps

    def _apply(self, pieces: Pieces) -> Pieces:
        elements = self._steps()
        if pieces.alignment is None and any(element.needs_alignment for element in elements[1:]):
            return self._apply(mark_starts(pieces))._replace(alignment=None)
        return functools.reduce(lambda cut, element: element.apply(cut), elements, pieces)

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cuts a PreTokenizedString in place, by each element in turn."""
        for element in self.frozen()._elements():
            element.pre_tokenize(pretok)

    def plan(self) -> SplitPlan | None:
        """Returns what the fused kernels need, or None if one walk does not suffice."""
        *others, last = self._steps() or [None]
        only_bytes = isinstance(last, ByteLevel) and not last.use_regex and not last.add_prefix_space
        first, *more = others if only_bytes and others else [*others, last]
        plan = first and not more and first.plan()
        if not plan or (
            only_bytes and plan.byte_level
        ):  # bytes written as characters twice: no kernel does that
            return None
        return plan._replace(byte_level=plan.byte_level or only_bytes)


@functools.cache
def _split(name: str) -> Split:
    """Returns a Split that isolates the matches of a pattern in gputok.automaton.PATTERNS. Callers don't change it."""
    return Split(Regex(PATTERNS[name]), "isolated")


def _isolated_pattern(element: PreTokenizer) -> str | None:
    """Returns the regular expression whose matches an element isolates, with escaped line ends, or None."""
    if isinstance(element, Split) and element.behavior == "isolated" and isinstance(element.pattern, Regex):
        return element.pattern.pattern.replace("\r", r"\r").replace("\n", r"\n")
    return None
