"""Unigram: words to tokens along the best path, in plain Python."""

from __future__ import annotations

import itertools

import numpy as np

from tests.reference.strings import byte_strings, tokens_of, trie_strings

RESET = 100_000.0
"""As SentencePiece rounds sums (float32): one farther from 0 is subtracted from itself and all that follow."""


def viterbi(data, start, end, tables):
    """Finds the tokens of words by Unigram; kernels/cpu/viterbi.py explains the arguments and the result."""
    longest = trie_strings(tables.edges)
    found = []
    for number, word in enumerate(byte_strings(data, start, end)):
        text = word.decode()
        edges = [0, *itertools.accumulate(len(character.encode()) for character in text)]
        best = {0: (0.0, 0, -1)}  # end of a path -> its score, where its last token begins, that token
        for i, p in enumerate(edges[:-1]):
            if tables.single and abs(offset := best[p][0]) > RESET:
                best |= {
                    q: (float(np.float32(score - offset)), *origin) for q, (score, *origin) in best.items() if q >= p
                }
            arcs = [(q, longest[word[p:q]]) for q in edges[i + 1 :] if word[p:q] in longest]
            scored = [(q, tables.scores[token], token) for q, token in arcs]
            if not arcs or arcs[0][0] != edges[i + 1]:
                scored.append((edges[i + 1], tables.unk_score, tables.unk))
            for q, score, token in scored:
                total = score + best[p][0]
                total = float(np.float32(total)) if tables.single else total
                if q not in best or total > best[q][0]:
                    if token < 0:
                        return -1 - number, *tokens_of([], start)[:3], np.zeros(len(start) + 1, np.int64)
                    best[q] = total, p, token
        path, q = [], len(word)
        while q > 0:
            _, p, token = best[q]
            if token == tables.unk and path and path[-1][0] == tables.unk:
                path[-1] = token, p, path[-1][2]
            else:
                path.append((token, p, q))
            q = p
        found.append([])
        for token, p, q in reversed(path):
            byte_tokens = [int(tables.fallback[byte]) for byte in word[p:q]] if len(tables.fallback) else [2**32 - 1]
            if token == tables.unk and not tables.single:
                token = longest.get(word[p:q], token)  # several unknown characters may form a known token
            if token == tables.unk and word[p:q] not in longest and 2**32 - 1 not in byte_tokens:
                found[-1] += [(byte_token, p, q) for byte_token in byte_tokens]
            else:
                found[-1].append((token, p, q))
    ids, begins, stops, rows = tokens_of(found, start)
    return len(ids), ids, begins, stops, rows
