"""Writes kernels/cpu/walk/windows.npy: the tables of windows of well-known pre-tokenizers.

Making them takes some milliseconds for each, a tenth of the time in which 30 MB are encoded. Run this when the automata
or the tables change; a test says so.
"""

import numpy as np
from gputok.kernels import Automaton
from gputok.kernels.cpu.walk.windows import READY, digest, window_tables

from gputok.automaton import compile_pattern
from gputok.text.pieces import IDEOGRAPHS, PUNCTUATION, SPACE_PREFIXED_RUN, cuts_beside
from gputok.text.way import Way
from tests.text.test_split_plans import WALKS, ours_of


def automata() -> list[Automaton]:
    """The automata of well-known pre-tokenizers, and of the cuts between parts of text."""
    cuts = SPACE_PREFIXED_RUN, cuts_beside(PUNCTUATION), cuts_beside(PUNCTUATION + IDEOGRAPHS)
    return [ours_of(form).way(Way()).automaton for form in WALKS.values()] + [compile_pattern(cut) for cut in cuts]


def rows() -> np.ndarray:
    """The digest and the tables of each automaton that has some, in order: uint8[n, DIGEST_BYTES + N_BYTES]."""
    made = {digest(automaton): window_tables(automaton) for automaton in automata()}
    found = [name + tables.tobytes() for name, tables in sorted(made.items()) if len(tables)]
    return np.frombuffer(b"".join(found), np.uint8).reshape(len(found), -1)


if __name__ == "__main__":
    np.save(READY, rows())
