"""Reads tokenizer files from stdin, tries them one after the other, and writes the result of each to stdout."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pathlib
import re
import resource
import struct
import sys
import traceback
import warnings

import invariants
import numpy as np

from gputok import Tokenizer

BYTES = 2 << 30
TEXTS = [
    "",
    "Hello, world! The 12345 ﬁne é 字 漢字。 😀👩‍🚀",
    "  ab\n\n<s> [MASK]a <|endoftext|>a\tthe  \u3000 </s>",
    "a" * 300 + " " * 40,
    "\u0301\u200d\x00\ufffd\U0010ffff\x85İ",
]


RAW = re.compile(
    "is not (subscriptable|iterable|callable)|indices must be|not supported between|can't encode character"
    "|sequence item|has no (attribute|len)|unhashable|to unpack|invalid literal for|too large to convert"
    "|out of bounds for|out of range for|unexpected keyword|positional argument"
)
"""What Python says of its own objects, and not of a file."""


def is_clear(message: str) -> bool:
    return message.startswith("this buffer: ") and len(message) < 2000 and not RAW.search(message)


def attempt(data: bytes) -> str:
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except ValueError as error:
        return f"{'refused' if is_clear(str(error)) else 'fails: unclear'}: {str(error)[:500]}"
    stopped = None
    found = []
    for text in TEXTS:
        try:
            encoding = tokenizer.encode(text)
        except ValueError as error:
            stopped = f"stopped: {str(error)[:2000]}"
            continue
        invariants.check_encoding(encoding, text)
        found.append((text, encoding.ids))
    texts = [text for text, _ in found]
    for _, ids in found:
        for skip in (True, False):
            tokenizer.decode(ids, skip_special_tokens=skip)
    model = json.loads(data)["model"]
    if isinstance(model, dict) and model.get("dropout"):  # ids are random
        return stopped or "works"
    if texts and tokenizer.truncation is None and tokenizer.padding is None:
        batches = tokenizer.encode_corpus(iter(texts), threads=2)
        rows = [row.tolist() for batch in batches for row in np.split(batch.ids, batch.rows[1:-1])]
        assert rows == [ids for _, ids in found], "encode_corpus gives other ids than encode"
    batch = [encoding.ids for encoding in tokenizer.encode_batch(texts)] if texts else []
    if tokenizer.padding is None:
        assert batch == [ids for _, ids in found], "encode_batch gives other ids than encode"
    written = tokenizer.to_str()
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list) or len(set(vocabulary.values())) == len(vocabulary):
        again = Tokenizer.from_str(written)
        assert again.to_str() == written, "what is written is read as another tokenizer"
        read = [encoding.ids for encoding in again.encode_batch(texts)] if texts else []
        assert read == batch, "read again, it encodes otherwise"
    # Else: of the tokens that share an id a file is written with one, as in tokenizers.
    return stopped or "works"


def main() -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tries = attempt
    if len(sys.argv) > 1:
        from hostile_formats import Tried

        tries = Tried(pathlib.Path(sys.argv[1])).attempt
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr), invariants.installed():
        print("ready", file=answers, flush=True)
        while head := sys.stdin.buffer.read(8):
            data = sys.stdin.buffer.read(*struct.unpack("<q", head))
            try:
                outcome = tries(data)
            except Exception as error:
                steps = traceback.extract_tb(error.__traceback__)
                lines = " < ".join(f"{os.path.basename(step.filename)}:{step.name}" for step in steps[::-1][:4])
                outcome = f"fails: {type(error).__name__}: {str(error)[:300]} ({lines})"
            print(json.dumps(outcome), file=answers, flush=True)


if __name__ == "__main__":
    main()
