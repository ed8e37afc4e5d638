"""The walk of a gapless automaton over text, which finds the words.

The automaton is the compiled pattern of a pre-tokenizer (`kernels.Automaton`). It is *gapless* if its words cover each
text. Text may be cut at *strong cuts*: positions between two characters that `Walk.strong` allows, also called seams.

windows.py     tables that tell from five or six bytes, without a state, whether a word begins; and why they are right
tables.py      the tables of an automaton
matches.py     the plain walk: one match, and where text may be cut
by_pairs.py    the walk of any text, by two bytes a step
by_windows.py  the walk by windows, 64 bytes at a time, of text in which they leave little open
blocks.py      text in blocks, each walked by windows or, if these leave too much open, by pairs

Inlined kernels take views instead of arrays: Numba counts references to an array argument by atomic instructions.
"""
