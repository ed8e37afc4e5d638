"""Way: how the steps of a tokenizer take a text apart, so that equal parts of a corpus need to be handled only once.

The steps before the model answer one after the other: each gets the way of the steps before it, and returns the way of
those steps and itself (`Normalizer.way`, `PreTokenizer.way`). So each tells what it knows, and doesn't know the others.
"""

from __future__ import annotations

from gputok.kernels import Automaton
from gputok.kernels.signatures import NamedTuple


class Unit:
    """What a document is taken apart into. Equal units of a corpus are handled only once."""

    UNCUT = "the text as it is"  # no step has cut the text yet
    WORD = "the words"  # the walk of an automaton over the normalized text finds all words
    PART = "the parts between spaces"
    """The document may be cut at spaces (`Way.apart`), and all steps be done for each part alone."""
    LINE = "the lines between which no token reaches"
    """Each space is written as `▁`, and nothing else happens. The model may know edges that no token reaches across."""
    DOCUMENT = "whole documents"  # no way is known to take a document apart


class Apart:
    """Where a text may be cut before some steps, with the same result. A value includes the cuts of smaller values."""

    NOWHERE = 0
    SPACES = 1  # before each space (U+0020)
    MARKS = 2  # before each white space of ASCII, and on both sides of each punctuation mark
    IDEOGRAPHS = 3  # on both sides of each Chinese character


class SpaceChange:
    """What some steps have done to a text."""

    KEPT = "nothing"
    WRITTEN = "each space is written as `▁`, and nothing else but what `Way.space_before` says"
    CHANGED = "something else"


class Before:
    """Which texts between added tokens get a `▁` inserted before them."""

    NONE = "no text"
    ANY = "each text"
    BARE = "each text that begins neither with a space nor with `▁`"
    FIRST = "the same, but only at the start of a document"


class Way(NamedTuple):
    """How some steps of a tokenizer take a text apart.

    Attributes:
        unit: what a document is taken apart into, of `Unit`.
        automaton: WORD: finds the words. Else None.
        byte_level: True if the bytes of a word stand for characters of the ByteLevel alphabet.
        apart: where a text may be cut before these steps, of `Apart`.
        spaces: what has happened to the text, of `SpaceChange`.
        before: which texts get a `▁` inserted before them, of `Before`.
        at_start: True if the start of a document is handled in another way than the start of other pieces.
        rewritten: True if a pre-tokenizer changed the text, so that later steps don't cut the text of the normalizer.
        by_steps: True if GPUTOK_WAY asks for all steps, one by one, which shows whether a faster way is at fault.

    Example:
        >>> from gputok.pre_tokenizers import Whitespace
        >>> Whitespace().way(Way()).unit
        'the parts between spaces'
    """

    unit: str = Unit.UNCUT
    automaton: Automaton | None = None
    byte_level: bool = False
    apart: int = Apart.MARKS
    spaces: str = SpaceChange.KEPT
    before: str = Before.NONE
    at_start: bool = False
    rewritten: bool = False
    by_steps: bool = False

    @property
    def keeps_whole(self) -> bool:
        """True if no step has cut the text."""
        return self.unit == Unit.UNCUT

    def changed(self, apart: int = Apart.NOWHERE) -> Way:
        """Returns the way after a normalizer, before which a text may be cut as `apart` says: spaces stay spaces."""
        return self._replace(apart=min(self.apart, apart), spaces=SpaceChange.CHANGED)

    def cut_by(self, automaton: Automaton | None, byte_level: bool = False) -> Way:
        """Returns the way after a pre-tokenizer that cuts at the matches of an automaton; None: in another manner."""
        if self.unit == Unit.PART:  # all steps are done for each part alone, and this one only cuts its pieces further
            return self
        if automaton is not None and not self.rewritten and not self.byte_level:
            if self.unit == Unit.WORD and self.automaton is not None:
                from gputok.automaton.combine import refined

                automaton = refined(self.automaton, automaton)
            if automaton is not None and self.unit in (Unit.UNCUT, Unit.WORD):
                return self._replace(unit=Unit.WORD, automaton=automaton, byte_level=byte_level)
        return self.whole()

    def cut_at_spaces(self, apart: int = Apart.SPACES) -> Way:
        """Returns the way after a pre-tokenizer that cuts at each space, and elsewhere as `apart` says."""
        if self.unit == Unit.UNCUT and self.apart and not self.rewritten:
            return self._replace(unit=Unit.PART, apart=min(self.apart, apart))
        return self.cut_by(None)

    def whole(self) -> Way:
        """Returns the way after a pre-tokenizer that needs whole documents."""
        return self._replace(unit=Unit.DOCUMENT, automaton=None, byte_level=False)
