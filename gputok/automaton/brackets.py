r"""What the brackets of a pattern (`[a-z]`) contain, stored as in Oniguruma, whose errors `tokenizers` has as well.

Oniguruma stores 256 bits, one for each byte, which decide about ASCII, and ranges of numbers up to 2**32, which decide
about other characters. A negated bracket has the bits and ranges of what it excludes, and a flag. Only if it stands in
another bracket, its bits and ranges are inverted. So some brackets do not contain what they mean:

* If a negated bracket has no ranges, the bit of the first byte in UTF-8 decides about a character beyond ASCII. To
  invert a bracket sets the bits of these bytes, too: `[^[^[:^ascii:]]]` contains nothing.
* Inverted ranges also contain the ASCII numbers in the gaps after the first range, and, if the ranges begin at 0, all
  numbers beyond ASCII. If there are no ranges, everything beyond ASCII is their inverse, and it replaces the ranges of
  the parts that stand before this part in the outer bracket.
* The ranges of a negated class such as `\D` are made in the same way: they contain the ASCII characters after the first
  range of the class, and not those before it. So they do not begin at 0, which matters if they are inverted again.
* A range from an ASCII character to one beyond ASCII sets the bits of all bytes up to the number of the latter, at most
  0xFF.

In Oniguruma 6.9.10, these rules are in `or_cclass`, `not_code_range_buf`, `add_ctype_to_cc_by_range` and `cc_char_next`
of regparse.c, and in OP_CCLASS_NOT of regexec.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

from gputok.automaton.charset import END, NOTHING, CharSet, union
from gputok.automaton.unicode_tables import any_case, property_set

ASCII_END = 0x80
_ALL_BITS = (1 << 256) - 1
_ASCII, _OTHERS = CharSet.of((0, ASCII_END)), CharSet.of((ASCII_END, END))
_NUMBERS = CharSet.of((ASCII_END, END + 1))  # END stands for all numbers after the last code point


class Bracket(NamedTuple):
    """The inside of a bracket."""

    bits: int = 0  # bit i is that of byte i
    ranges: CharSet = NOTHING  # its member END stands for all numbers after the last code point
    replaces: bool = False  # as a part of another bracket, its ranges replace those of the parts before it

    @classmethod
    def of_range(cls, first: str, last: str) -> Self:
        """Makes the bracket of the characters from `first` to `last`."""
        start, stop = ord(first), ord(last) + 1
        bits = _run_of_bits(start, min(stop, 0x100)) if start < ASCII_END else 0
        return cls(bits, CharSet.of((start, stop)) if stop > ASCII_END else NOTHING)

    @classmethod
    def of_class(cls, chars: CharSet, negated: bool) -> Self:
        r"""Makes the bracket of a class, property or POSIX bracket; chars: its characters before negation."""
        if chars == property_set(r"\w"):
            # Outside of brackets, \w also matches ², ³, ¹, ¼, ½ and ¾: there, Oniguruma uses a table of Latin-1
            chars = property_set("[:word:]")
        if negated:
            return cls(_bits_of(~chars), _between(chars))
        return cls(_bits_of(chars), chars & _OTHERS)

    @classmethod
    def union(cls, parts: Iterable[Bracket]) -> Self:
        """Makes the bracket of what at least one of the parts contains."""
        bits = 0
        ranges: list[CharSet] = []
        for part in parts:
            bits |= part.bits
            ranges = [part.ranges] if part.replaces else [*ranges, part.ranges]
        return cls(bits, union(*ranges))

    def __and__(self, other: Bracket) -> Bracket:
        """The bracket of what both contain."""
        return Bracket(self.bits & other.bits, self.ranges & other.ranges)

    def negated(self) -> Bracket:
        """The bracket of everything else, as part of another bracket."""
        outside = _between(self.ranges)
        if self.ranges and self.ranges.runs()[0][0] == 0:
            outside |= _NUMBERS
        return Bracket(self.bits ^ _ALL_BITS, outside, replaces=not self.ranges)

    def stored(self) -> CharSet:
        """The characters that Oniguruma finds in bits and ranges."""
        ascii_ones = [i for i in range(ASCII_END) if self.bits >> i & 1]
        return CharSet.chars("".join(map(chr, ascii_ones))) | self.ranges & _OTHERS

    def any_case(self) -> Bracket:
        """The bracket of all characters that match one of its characters under `(?i:...)`."""
        added = any_case(self.stored())
        return Bracket(self.bits | _bits_of(added), self.ranges | added & _OTHERS)

    def characters(self, *, negated: bool) -> CharSet:
        """The characters that the bracket matches, if no other bracket contains it."""
        if not negated:
            return self.stored()
        if self.ranges:
            return ~self.stored()
        return ~self.stored() - CharSet.of(*(_led_by(byte) for byte in range(0xC2, 0xF5) if self.bits >> byte & 1))


def _run_of_bits(start: int, stop: int) -> int:
    return (1 << stop) - (1 << start)


def _bits_of(chars: CharSet) -> int:
    return sum(_run_of_bits(start, stop) for start, stop in (chars & _ASCII).runs())


def _between(ranges: CharSet) -> CharSet:
    """The inverse of ranges as in Oniguruma: before the first range only from 0x80 on, after it also in ASCII."""
    if not ranges:
        return _NUMBERS
    start, stop = ranges.runs()[0]
    return ranges.negated_look() & CharSet.of((ASCII_END, start), (stop, END + 1))


def _led_by(byte: int) -> tuple[int, int]:
    """The code points whose first byte in UTF-8 is `byte`, as a half-open run."""
    for lead, shift, start in ((0xF0, 18, 0x10000), (0xE0, 12, 0x800), (0xC0, 6, ASCII_END)):
        if byte >= lead:
            return max(byte - lead << shift, start), min(byte - lead + 1 << shift, END)
    raise AssertionError(byte)
