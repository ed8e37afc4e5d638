"""Writes gputok/automaton/ready.npy: the automata of well-known patterns, and of the cuts between parts of text.

Run this when a pattern or the compiler of patterns changes; a test says so.
"""

import functools
import itertools

import numpy as np
from gputok.kernels import Automaton

from gputok.automaton.combine import completed, refined
from gputok.automaton.parser import parse
from gputok.automaton.patterns import PATTERNS, SPLITS
from gputok.automaton.ready import BERT_WORDS, FILE, forms, rounded, splits_key
from gputok.automaton.subsets import compile_node
from gputok.automaton.syntax import Chars, Choice, Repeat
from gputok.automaton.unicode_tables import property_set
from gputok.text.pieces import IDEOGRAPHS, PUNCTUATION, SPACE_PREFIXED_RUN, cuts_beside

CUTS = SPACE_PREFIXED_RUN, cuts_beside(PUNCTUATION), cuts_beside(PUNCTUATION + IDEOGRAPHS)


def data() -> np.ndarray:
    """The contents of the file, uint8[n]."""
    patterns = dict.fromkeys([*PATTERNS.values(), *itertools.chain(*SPLITS), *CUTS])
    automata = {one.encode(): compile_node(parse(one)) for one in patterns} | {BERT_WORDS: bert_words()}
    for one in SPLITS:
        splits = [completed(automata[pattern.encode()]) for pattern in one]
        automata[splits_key(one)] = functools.reduce(refined, splits)
    return np.frombuffer(b"".join(packed(*one) for one in automata.items()), np.uint8)


def packed(key: bytes, automaton: Automaton) -> bytes:
    """Returns the bytes of a key and its automaton in the file."""
    head = [len(key), automaton.n_states, automaton.n_classes, len(automaton.member), automaton.gapless]
    arrays = [np.frombuffer(key, np.uint8), *automaton[:-1]]
    for array, (dtype, shape) in zip(automaton[:-1], forms(head), strict=True):
        assert (array.dtype, array.shape) == (dtype, shape)
    body = b"".join(array.tobytes().ljust(rounded(array.nbytes), b"\0") for array in arrays)
    return np.array([len(body), *head], np.int64).tobytes() + body


def bert_words() -> Automaton:
    """The automaton of punctuation marks, and of runs of other characters except white space."""
    space, mark = property_set("rust:space"), property_set("rust:punctuation")
    others = Repeat(Chars(~(space | mark)), 1, None, True)
    return compile_node(Choice((others, Chars(mark - space))))


if __name__ == "__main__":
    np.save(FILE, data())
