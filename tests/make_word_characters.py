"""Writes gputok/pipeline/word_characters.npz: the characters that must not touch a `single_word` token.

The installed `tokenizers` is the source. Run this when the version of `tokenizers` changes.
"""

import pathlib

import numpy as np
import tokenizers


def word_characters() -> np.ndarray:
    """bool[0x110000], as the installed `tokenizers` has it."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_tokens([tokenizers.AddedToken("x", single_word=True)])
    points = np.array([point for point in range(0x110000) if not 0xD800 <= point < 0xE000])
    parts = [points[at : at + 32] for at in range(0, len(points), 32)]  # it reads a text anew for each token in it
    is_word = np.ones(0x110000, bool)
    is_word[0xD800:0xE000] = False
    encodings = tokenizer.encode_batch(["".join(chr(point) + "x\n" for point in part) for part in parts])
    for part, encoding in zip(parts, encodings, strict=True):
        found = [begin for id, (begin, _) in zip(encoding.ids, encoding.offsets, strict=True) if id == 1]
        is_word[part[np.array(found, np.int64) // 3]] = False
    return is_word


if __name__ == "__main__":
    edges = np.diff(np.concatenate([[0], word_characters().astype(np.int8), [0]]))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    path = pathlib.Path(__file__).parents[1] / "gputok" / "pipeline" / "word_characters.npz"
    np.savez_compressed(path, first=first.astype(np.int32), last=last.astype(np.int32))
