"""The walk of a gapless automaton over text, which finds the words.

windows.py     what five bytes tell, without a state: tables, and the proof that they are right
tables.py      the tables of an automaton
matches.py     the plain walk: one match, and where text may be cut
by_pairs.py    the walk of any text, by two bytes a step
by_windows.py  the walk of ASCII, 64 bytes at a time
blocks.py      text in blocks, each walked in the way that suits it

Helpers take views: an array as argument is reference-counted, up and down, by atomic instructions.
"""
