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
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    is_word = np.zeros(0x110000, bool)
    for at in range(0, len(points), 1 << 16):
        part = points[at : at + (1 << 16)]
        found = tokenizer.encode_batch_fast([chr(point) + "x" for point in part])
        is_word[part] = [len(encoding.ids) == 1 for encoding in found]
    return is_word


if __name__ == "__main__":
    edges = np.diff(np.concatenate([[0], word_characters().astype(np.int8), [0]]))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    path = pathlib.Path(__file__).parents[1] / "gputok" / "pipeline" / "word_characters.npz"
    np.savez_compressed(path, first=first.astype(np.int32), last=last.astype(np.int32))
