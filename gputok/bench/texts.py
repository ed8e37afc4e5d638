"""A program that times how a tokenizer encodes one short text at a time, or prompts, batches and its first text."""

from __future__ import annotations

import gc
import itertools
import json
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SENTENCE = "The quick brown fox jumps over the lazy dog, doesn't it? Ye"
_REPEATED = {
    "11 characters": "Hello world",
    "58 characters": _SENTENCE[:58],
    "900 characters": (_SENTENCE + "s, it does. ") * 12 + _SENTENCE[:48],
    "21, not ASCII": "Hëllo wörld 漢字 Ωμ 🙂 ok",
}
_SAMPLE_MICROSECONDS = 2000  # each measurement repeats one text for about this time
_NEW = {"7,000 characters": (7000, 21), "30,000 characters": (30_000, 15), "200,000 characters": (200_000, 5)}
"""Kind of prompt -> how many characters it has, and how many such prompts are encoded, each of them new text."""
_LINES, _DOCUMENT, _DOCUMENTS = 1000, 4096, 300
_LINE_GROUPS = 5  # groups of new lines, of 400,000 characters each
_BATCHES = 32, 256
_WORDS = 20, 400
_MAX_LENGTH = 256  # the most tokens of a text in batches for embeddings


def _main(kind: str, path: str, what: str, source: str, runs: str = "1") -> None:
    """Times a package with a tokenizer.json; what: "latency", or "doors" for prompts, batches and first texts.

    kind: the package; "gputok as tokenizers" is gputok, imported by the name of `tokenizers`.
    """
    if kind == "gputok as tokenizers":
        import gputok

        gputok.install_as_tokenizers()
    module = __import__(kind if kind in ("gputok", "gigatoken") else "tokenizers")
    start = time.process_time()
    load = module.Tokenizer if kind == "gigatoken" else module.Tokenizer.from_file
    try:
        tokenizer: Any = load(path)
    except Exception:
        if kind != "gigatoken":
            raise
        print("null")
        raise SystemExit from None
    loaded = time.process_time()
    encode, encode_batch = _lists_of_ids(kind, tokenizer)
    encode("A first text: it's 12 words, more or less, and naïve.")
    figures = {"load and first text, s": time.process_time() - start, "of that, the load, s": loaded - start}
    has_one_name = hasattr(tokenizer, "no_padding")  # 0.x; tokenizers 1.0 has attributes instead
    if has_one_name:
        tokenizer.no_padding()
        tokenizer.no_truncation()
    elif kind != "gigatoken":
        tokenizer.padding = tokenizer.truncation = None
    gc.collect()  # else Python looks through the objects of all imports while some package is timed
    if what == "latency":
        samples, checked = _latency(tokenizer, source, int(runs))
    else:
        text = _Text(source)
        figures |= _prompts(encode, text) | _batches(encode_batch, text)
        without = {} if kind == "gigatoken" else {"add_special_tokens": False}
        texts = [text.take(n) for n in (5, 50, 500, 20_000)]
        some = ((one, tokenizer.encode(one, **without)) for one in texts)
        checked = [(one, found.tolist() if kind == "gigatoken" else found.ids) for one, found in some]
        if kind != "gigatoken":
            figures |= _embeddings(module, tokenizer, text.passages(_BATCHES[-1]), has_one_name)
        if has_one_name:
            figures |= _pretrained(kind, path, text.passages(_BATCHES[-1]))
        samples = {figure: [value] for figure, value in figures.items()}
    name = kind if kind != "tokenizers" or what == "latency" else f"tokenizers {module.__version__}"
    print(json.dumps({"name": name, "figures": samples, "checked": checked}))


def _samples(encode: Callable[[Any], Any], groups: Sequence[Sequence[Any]]) -> list[float]:
    """Returns the microseconds for a text in each group of texts."""
    found: list[float] = []
    for texts in groups:
        start = time.process_time()
        for text in texts:
            encode(text)
        found.append((time.process_time() - start) / max(len(texts), 1) * 1e6)
    return found


def _lists_of_ids(kind: str, tokenizer: Any) -> tuple[Callable[[str], Any], Callable[[list[str]], Any]]:
    """Returns what encodes a text, and what encodes a batch, to lists of ids."""
    if kind == "gigatoken":
        return lambda text: tokenizer.encode(text).tolist(), tokenizer.encode_batch_list
    return lambda text: tokenizer.encode(text).ids, lambda texts: [one.ids for one in tokenizer.encode_batch(texts)]


# -- latency


def _latency(tokenizer: Any, source: str, runs: int) -> tuple[dict[str, list[float]], list[Any]]:
    """Returns the microseconds by kind of text and by what is read of its encoding; and some encodings, to compare."""

    def all_lists(text: str) -> Any:
        encoding = tokenizer.encode(text)
        return encoding.ids, encoding.tokens, encoding.offsets

    asked: dict[str, Callable[[str], Any]] = {"ids": lambda text: tokenizer.encode(text).ids}
    asked["ids, tokens, offsets"] = all_lists
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    first, last = (special[0], special[-1]) if special else ("<s>", "</s>")
    texts = _REPEATED | {"with special tokens": f"{first}user: hello, you{last}{first}model: what else? {last}"}
    lines = _new_lines(source, _LINES * (len(asked) * runs + 1))
    if len(lines) < (least := _LINES * (len(asked) + 1)):
        there = f"{len(lines):,} different lines of 20 to 70 characters"
        raise SystemExit(f"{source} has {there}, but {least:,} are needed")
    # From here on, caches contain these lines and their words
    checked = [(text, all_lists(text)) for text in [*texts.values(), *lines[:_LINES]]]
    samples: dict[str, list[float]] = {}
    for name, encode in asked.items():
        for kind, text in texts.items():
            quickest = min(_samples(encode, [[text] * 3] * 5))
            times = max(1, round(_SAMPLE_MICROSECONDS / quickest))
            samples[f"{kind}: {name}"] = _samples(encode, [[text] * times] * runs)
    new = [lines[first : first + _LINES] for first in range(_LINES, len(lines), _LINES)]
    for i, (name, encode) in enumerate(asked.items()):
        samples[f"new lines, each once: {name}"] = _samples(encode, new[i :: len(asked)])
    return samples, checked


def _new_lines(source: str, n: int) -> list[str]:
    """Returns n distinct lines, or all lines if there are fewer; source: a text file, "" for lines of made-up words."""
    if source:
        with open(source, encoding="utf-8") as file:
            fitting = (line.rstrip("\n") for line in file if 20 < len(line) <= 70)
            return list(dict.fromkeys(itertools.islice(fitting, 2 * n)))[:n]
    rng = random.Random(n)
    parts = "ba be co da en fi go hu in ka lo ma ne or pu qui re st te un vo wa xi zo".split()

    def word() -> str:
        return "".join(rng.choices(parts, k=rng.randint(1, 4)))

    return [" ".join(word() for _ in range(7)).capitalize() + "." for _ in range(n)]


# -- doors


class _Text:
    """Takes new text from a file, from its start to its end."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8", errors="replace") as file:
            self._text, self._at = file.read(12_000_000), 0

    def take(self, n: int) -> str:
        self._at += n
        if self._at > len(self._text):
            raise SystemExit(f"the text has {len(self._text):,} characters, and at least 10,000,000 are needed")
        return self._text[self._at - n : self._at]

    def lines(self) -> list[str]:
        """Returns the lines of 21 to 70 characters of the next 400,000."""
        return [line for line in self.take(400_000).split("\n") if 20 < len(line) <= 70]

    def passages(self, n: int) -> list[str]:
        """Returns n texts of 20 to 400 words."""
        least, most = _WORDS
        lengths = [least + (most - least) * (i * 37 % n) // max(n - 1, 1) for i in range(n)]
        return [" ".join(self.take(7 * length).split()[:length]) for length in lengths]


def _prompts(encode: Callable[[str], list[int]], text: _Text) -> dict[str, float]:
    for _ in range(20):  # as in a server that has run for a while
        encode(text.take(20_000))
    short, again = "Hello world", text.take(900)
    found = {"11 characters, us": min(_samples(encode, [[short] * 2000] * 9))}
    found["900 characters again, us"] = min(_samples(encode, [[again] * 300] * 9))
    groups = [list(dict.fromkeys(text.lines())) for _ in range(_LINE_GROUPS)]
    found["a new line, us"] = statistics.median(_samples(encode, groups))
    for name, (n, times) in _NEW.items():
        found[f"new, {name}, us"] = statistics.median(_samples(encode, [[text.take(n)] for _ in range(times)]))
    return found


def _batches(encode: Callable[[list[str]], list[list[int]]], text: _Text) -> dict[str, float]:
    lines = text.lines()[:_LINES]
    each = min(_samples(encode, [[lines]] * 9)) / max(len(lines), 1)
    batches = [[text.take(_DOCUMENT) for _ in range(_DOCUMENTS)] for _ in range(3)]
    n_bytes = sum(len(document.encode()) for batch in batches for document in batch)
    start = time.perf_counter()
    cpu = sum(_samples(encode, [[batch] for batch in batches]))
    wall = time.perf_counter() - start
    return {
        f"a line in a batch of {len(lines)}, us": each,
        "batches of documents of 4 kB, MB/s of a core": n_bytes / cpu,
        "batches of documents of 4 kB, MB/s": n_bytes / wall / 1e6,
    }


def _rates(encode: Callable[[list[str]], Any], passages: list[str], name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for n in _BATCHES:
        texts = passages[:n]
        n_bytes = sum(len(one.encode()) for one in texts)
        found[f"embeddings, {n} texts, {name}, MB/s of a core"] = n_bytes / min(_samples(encode, [[texts]] * 7))
    return found


def _embeddings(module: Any, tokenizer: Any, passages: list[str], has_one_name: bool) -> dict[str, float]:
    """Times batches that are truncated, padded to the longest text, and made arrays."""
    import numpy as np

    if has_one_name:
        tokenizer.enable_truncation(_MAX_LENGTH)
        tokenizer.enable_padding()
    else:
        tokenizer.truncation = module.Truncation(max_length=_MAX_LENGTH)
        tokenizer.padding = module.Padding()

    def encode(texts: list[str]) -> list[Any]:
        found = tokenizer.encode_batch(texts)
        if hasattr(found[0], "ids_array"):
            return [np.array([e.ids_array for e in found]), np.array([e.attention_mask_array for e in found])]
        return [np.array([e.ids for e in found]), np.array([e.attention_mask for e in found])]

    return _rates(encode, passages, "encode_batch")


def _pretrained(kind: str, path: str, passages: list[str]) -> dict[str, float]:
    """Times the same batches by gputok's own AutoTokenizer, or by transformers on another package."""
    options = {"padding": "longest", "truncation": True, "max_length": _MAX_LENGTH, "return_tensors": "np"}
    try:
        if kind == "gputok":
            from gputok.pretrained import AutoTokenizer

            made: Any = AutoTokenizer.from_pretrained(path)
        else:
            from transformers import PreTrainedTokenizerFast

            made = PreTrainedTokenizerFast(tokenizer_file=path)
    except ImportError:
        return {}
    if made.pad_token is None:
        made.pad_token = made.convert_ids_to_tokens(0)
    name = "AutoTokenizer or transformers"
    return _rates(lambda texts: made(texts, **options), passages, name)


if __name__ == "__main__":
    _main(*sys.argv[1:])
