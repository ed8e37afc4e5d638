"""Writes gputok/automaton/ready.npy: the automata of well-known patterns, and of the cuts between parts of text.

Run this when a pattern or the compiler of patterns changes; a test says so.
"""

import functools
import itertools

import numpy as np

from gputok.automaton.combine import completed, refined
from gputok.automaton.parser import parse
from gputok.automaton.patterns import PATTERNS, SPLITS
from gputok.automaton.ready import BERT_WORDS, FILE, packed, splits_key
from gputok.automaton.subsets import compile_node
from gputok.automaton.words import bert_words
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


if __name__ == "__main__":
    np.save(FILE, data())
