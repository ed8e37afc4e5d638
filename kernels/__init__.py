"""The kernels of gputok: every loop over bytes, words or pairs.

A *stage* is a function that Python calls. Each stage has one name, one signature, and the same arrays in and out in up
to three versions; `tests/stages.py` lists all of them:

    tests/reference/       plain Python: the specification, and the slow oracle of the tests
    kernels/cpu/           Numba
    kernels/cuda/          CUDA C++ through CuPy

Kernels work with arrays and numbers, and know no class of the Python layer. They trust their inputs.
"""

from __future__ import annotations

from typing import Any

from gputok.kernels.signatures import F64s, I32s, I64s, NamedTuple, U8s, U8x2, U16s, U16x2, U32s, U32x2, U64s, U64x2

Array = Any  # numpy.ndarray or cupy.ndarray; a comment beside each name gives dtype and shape
DEAD = 0xFFFF  # in place of the next state of an Automaton: the walk dies, since no longer match is possible


def rises_by_one(numbers: Array) -> bool:
    """Whether each number of uint32[n] is the number before it plus 1."""
    n = len(numbers)
    return not n or (int(numbers[-1]) - int(numbers[0]) == n - 1 and bool((numbers[1:] > numbers[:-1]).all()))


class Veto(NamedTuple):
    """Limits of merged tokens, which may contain spaces. Training BPE does not count pairs that would break a limit.

    A token may have at most `max_words` words (parts between spaces), and fewer than `max_characters` characters. It
    has no colon before a space, unless `colons`.
    """

    max_words: int = 2**28 - 1
    max_characters: int = 2**28 - 1
    colons: bool = True
    space: bytes = b" "  # what stands for a space in the strings of the tokens


class BpeLimits(NamedTuple):
    """The settings of BPE training: when to stop, and which pairs count."""

    vocab_size: int
    min_frequency: int = 0
    max_token_length: int = 2**62  # in initial symbols; pairs of this length or more are not counted
    prefix: bytes = b""  # continuing_subword_prefix, stripped from the right part of a merge
    veto: Veto | None = None  # None: every token may be merged
    # True: of equally frequent pairs, that of fewer initial symbols comes first, then that of the smaller string, as in
    # SentencePiece; False: the smaller pair of ids, as in tokenizers
    shorter_first: bool = False


class ParityLimits(NamedTuple):
    """The settings of parity-aware BPE training: when to stop, which pairs count, and how languages are balanced."""

    languages: int
    merges: int
    min_frequency: int = 0
    max_token_length: int = 2**62
    prefix: bytes = b""
    global_merges: int = 0  # how many first merges use the sum of the counts of all languages
    dev: bool = False  # balance the lengths of development words instead of training words
    # Target compression of each language (only proportions matter); empty: that with the most symbols comes first
    ratio: tuple[float, ...] = ()
    # If `window` isn't 0, a language waits while its share of the last `window` choices is above `threshold`
    window: int = 0
    threshold: float = 0.0


class BpeMerges(NamedTuple):
    """The merges that training BPE learnt, in order, and the strings of all tokens."""

    left: U32s  # uint32[m], token ids
    right: U32s  # uint32[m]
    merged: U32s  # uint32[m]
    # int64[m], how often each pair occurred when it was chosen. A count is at most that of the merge before, unless
    # languages take turns, or two merges make the same string
    count: I64s
    tokens: U8s  # uint8[bytes], the strings of all tokens, one after the other
    token_offsets: I64s  # int64[tokens + 1]


class Automaton(NamedTuple):
    """The tables of a pattern: a deterministic automaton over classes of characters, one character looked ahead.

    The walk begins in state 0 at the first character of a match. If `accept[state, class]` is 1 for the class of the
    next character, a match may end before that character. The match ends at the last such position before the walk
    dies (comes to DEAD): the tables are made so that a regular expression prefers this match, too (leftmost-first). If
    there is none, the first character is a *gap* character; neighbouring gap characters are one piece.
    """

    ascii_class: U8s  # uint8[128], class of each ASCII character
    page: U16s  # uint16[0x110000 >> 7]
    member: U8x2  # uint8[n_pages, 128]; class of code point c: member[page[c >> 7], c & 127]
    delta: U16x2  # uint16[n_states, n_classes + 1], next state or DEAD; the last column is end of text
    accept: U8x2  # uint8[n_states, n_classes + 1], 1: a match may end before a character of that class
    # uint8[n_classes, n_classes]; strong[a, b] is 1 if a text may always be cut between characters of classes a and b,
    # and each part walked alone. The left part needs an end of text after it: without that, or b, the walk may not know
    # where its last match ends
    strong: U8x2
    gapless: bool  # no text has a gap character

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.delta.shape[0]

    @property
    def n_classes(self) -> int:
        """Number of classes of characters."""
        return self.delta.shape[1] - 1


class CharacterMap(NamedTuple):
    """The replacement of each character, which does not depend on its neighbours."""

    page: U16s  # uint16[8704]
    member: U16x2  # uint16[pages, 128]: the rule of a code point, see `cpu/normalize.py`
    ascii: U8s  # uint8[128]: the ASCII character that replaces an ASCII character; 255: look at its rule
    text: U8s  # uint8[n], all replacements
    offsets: I32s  # int32[rules + 1]; rule r >= 3 puts text[offsets[r]:offsets[r + 1]]


class NormalizationForm(NamedTuple):
    """Decompositions of characters, and the order of combining marks.

    A text of inert characters alone never changes; other characters may compose with them. Only the order of canonical
    combining classes matters, so `rank` numbers them: 0 for a starter, then 1, 2, ... by rising class. Hangul syllables
    are not in the tables; kernels compute their decomposition.
    """

    page: U16s  # uint16[8704]
    member: U16x2  # uint16[pages, 128]: the kind of a code point
    n_inert: int  # kinds below this one are inert
    rank: U8s  # uint8[kinds]
    offsets: I32s  # int32[kinds + 1]; kind k becomes parts[offsets[k]:offsets[k + 1]]; empty: it stays
    parts: U32s  # uint32[n]
    parts_rank: U8s  # uint8[n]


class Compositions(NamedTuple):
    """Pairs of characters that compose. Kernels compute the compositions of Hangul."""

    pair: U64s  # uint64[n], sorted: first << 32 | second; empty: no characters compose
    to: U32s  # uint32[n]: the character that replaces the pair


class Charsmap(NamedTuple):
    """SentencePiece's precompiled character map, and the classes of graphemes."""

    units: U32s  # uint32[t]: a double array (darts-clone) over bytes, whose values are offsets in `texts`
    texts: U8s  # uint8[n]: strings that end with a NUL
    page: U16s  # uint16[8704]
    member: U16x2  # uint16[pages, 128]: the classes of `cpu/precompiled.py`
    plain: U8s  # uint8[256], 1 for printable ASCII that the map leaves alone, else 0
    longest: int  # bytes of the longest replacement


class Strings(NamedTuple):
    """Distinct byte strings that can be found by their bytes."""

    slots: U64s  # uint64[capacity], upper half of the hash << 32 | index + 1; 0: free
    data: U8s  # uint8[n_bytes]
    offsets: I64s  # int64[n + 1]; string i is data[offsets[i]:offsets[i + 1]]


class Pairs(NamedTuple):
    """A hash table of pairs of numbers below 2**bits and their ranks; a slot has both in one 64-bit number."""

    slots: U64s  # uint64[capacity], (left << bits | right) << 64 - 2 * bits | rank; or FREE
    bits: int


class BpeTables(NamedTuple):
    """A BPE model as arrays. A symbol is the position of a token in the vocabulary; NONE means no token."""

    ids: U32s  # uint32[n], of each symbol
    pairs: Pairs  # of symbols
    merged: U32s  # uint32[m], the symbol that the pair of each rank becomes
    # uint32[256, 256], rank of each pair of bytes, or NONE; empty: symbols aren't bytes, or have affixes
    byte_ranks: U32x2
    # uint32[variants, n]: symbol + 1 of each character or, if n is 256, of each byte; 0: none
    symbols: U32x2
    variant: I64s  # int64[4]: row of `symbols` for a character that is (1: not first) + (2: last) in its word
    # both of `encode_words.characters.character_tables`, if there are `byte_ranks` and ranks are in order; else empty
    characters: U32s
    edges: U32s
    fallback: U32s  # uint32[256]: symbol of the token <0x..> of each byte, or NONE; empty: no byte fallback
    prefix: U8s  # uint8[n]: continuing_subword_prefix
    suffix: U8s  # uint8[n]: end_of_word_suffix
    whole: Strings  # the tokens, if a word that equals a token stays whole (ignore_merges); else empty
    unk: U32s  # uint32[0 or 1]: symbol of the unknown token, NONE if the vocabulary lacks it; empty: no unknown token
    fuse_unk: bool
    dropout: float
    # Words may be cut between two characters if no merge reaches across: no token has these characters side by side
    # (`inside`: the pairs of code points in tokens), and no token that begins or ends within a character has the last
    # byte of the first and the first byte of the second side by side (`crossing`)
    divisible: bool
    inside: Pairs
    crossing: U8x2  # uint8[256, 256]
    harmless: bool  # words with unknown characters may be cut too: each such character becomes the tokens of its bytes
    # a merge can make its own left part again: only merging in the order of the queue of `tokenizers` is right
    ordered: bool


class WordPieceTables(NamedTuple):
    """A WordPiece model as arrays."""

    edges: U64x2  # uint64[capacity, 2], the trie of tokens that `trie.build_trie` makes
    prefix: U8s  # uint8[n]: continuing_subword_prefix
    unk: int  # id of the unknown token, or NONE
    max_chars: int  # a longer word is unknown


class WordLevelTables(NamedTuple):
    """A WordLevel model as arrays."""

    strings: Strings  # the tokens
    ids: U32s  # of each
    unk: int  # id of the unknown token, or -1


class UnigramTables(NamedTuple):
    """A Unigram model as arrays."""

    edges: U64x2  # uint64[capacity, 2], the trie of tokens that `trie.build_trie` makes
    scores: F64s  # float64[n_tokens], by id
    unk: int  # id of the unknown token, or -1
    unk_score: float
    fallback: U32s  # uint32[256]: id of the token <0x..> of each byte, NONE; empty: no byte fallback
    # as SentencePiece does: sums are rounded to float32, and an unknown token never spells a known token
    single: bool
