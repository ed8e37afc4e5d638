"""The parts of a tokenizer, and the ways in which text becomes ids on the CPU.

- handle: one call of a kernel does all steps for a short text (`encode.handle`).
- walk: an automaton goes over the text once, and finds its units (words, parts or lines: `gputok.text.way`); each
  different unit is encoded once, and where it occurs again, its ids are looked up (`encode.units`).
- superwords: the tokens of words are looked up like those of units, and then merged to tokens of several words
  (`encode.superwords`).
- steps: each step runs for all texts before the next one begins, on packed arrays (`encode.stepwise`).

`about.ways` says which of these ways a tokenizer takes, and why.
"""
