"""The walk of a gapless automaton over text, which finds the words.

windows.py     what five bytes tell, without a state: tables, and the proof that they are right
tables.py      the tables of an automaton
matches.py     the plain walk: one match, and where text may be cut
by_pairs.py    the walk of any text, by two bytes a step
by_windows.py  the walk of ASCII, 64 bytes at a time
blocks.py      text in blocks, each walked in the way that suits it

Helpers take views: an array as argument is reference-counted, up and down, by atomic instructions.
"""

from gputok.kernels.cpu.walk.blocks import BLOCK_BYTES, MARGIN, block_room, fill_block, next_block, walk_block
from gputok.kernels.cpu.walk.by_pairs import walk_rest
from gputok.kernels.cpu.walk.matches import slice_text
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, MUCH_TEXT, SOME_TEXT, Walk, Walks, prepare, steps_of

__all__ = [
    "BLOCK_BYTES",
    "END_OF_TEXT",
    "MARGIN",
    "MUCH_TEXT",
    "SOME_TEXT",
    "Walk",
    "Walks",
    "block_room",
    "fill_block",
    "next_block",
    "prepare",
    "slice_text",
    "steps_of",
    "walk_block",
    "walk_rest",
]
