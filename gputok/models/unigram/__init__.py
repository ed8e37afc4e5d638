"""Unigram: a word is cut into the tokens whose probabilities have the highest product."""
