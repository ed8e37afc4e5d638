"""Superwords: tokens that span words, learned and encoded from the tokens of words.

joints.py  whether the tokens of neighbouring words are the encoding of both words together
pairs.py   counting neighbouring tokens without keys, and cutting text where no merge can reach across
runs.py    merging what lies between two places that no merge can reach across
"""
