"""Superwords: tokens that span words, learned and encoded from the tokens of words.

joints.py  whether the tokens of neighbouring words are those of the whole text
pairs.py   counting neighbouring tokens without keys, and cutting text where no merge can reach across
runs.py    merging what lies between these cuts
"""

from gputok.kernels.cpu.superwords.joints import Joints, fit_tokens, joints, new_memory
from gputok.kernels.cpu.superwords.pairs import add_pairs, cut_runs, deal_pairs, frequent_cells
from gputok.kernels.cpu.superwords.runs import Runs, merge_runs, new_runs, run_tables

__all__ = [
    "Joints",
    "Runs",
    "add_pairs",
    "cut_runs",
    "deal_pairs",
    "fit_tokens",
    "frequent_cells",
    "joints",
    "merge_runs",
    "new_memory",
    "new_runs",
    "run_tables",
]
