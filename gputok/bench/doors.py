"""Times how a tokenizer encodes prompts, batches and its first text, in a process of its own: also for peers in other environments.

Run as a program, this file times one package in the Python that runs it, and needs nothing else: `tokenizers` 1.0 and 0.x have
one name, so only one of them can be in an environment. `doors` runs it for gputok and for each peer. gigatoken is a peer if it is
installed; it has no embedding batches, and can't load every tokenizer.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NEW = {"7,000 characters": (7000, 21), "30,000 characters": (30_000, 15), "200,000 characters": (200_000, 5)}
"""Kind of prompt -> its characters, and how many new ones are encoded."""
_LINES, _DOCUMENT, _DOCUMENTS = 1000, 4096, 300
_LINE_GROUPS = 5  # groups of new lines, of 400,000 characters each
_BATCHES = 32, 256
_WORDS = 20, 400
_MAX_LENGTH = 256  # texts have at most so many tokens in batches for embeddings
_KINDS = "gputok", "gputok as tokenizers", "tokenizers"
_CANNOT_LOAD = 3  # the exit status of a process whose peer can't load the tokenizer


class Door(NamedTuple):
    """One figure."""

    tokenizer: str  # the name of the file
    kind: str  # what was encoded, and the unit
    package: str  # with its version, and the Python if it is another one
    value: float  # microseconds or seconds of CPU time, or megabytes a second


def doors(tokenizers: Sequence[str], text: str, peers: Sequence[str] = ()) -> list[Door]:
    """Times gputok, gputok under the name of tokenizers, tokenizers, gigatoken, and tokenizers of other environments.

    tokenizers: paths of tokenizer.json files; text: a plain text file of at least 10 MB; peers: the Python of each other
    environment that has a package `tokenizers`. Leaves out what a package can't do; raises ValueError if a process fails, or
    packages give different ids.
    """
    found: list[Door] = []
    for path in tokenizers:
        ids: dict[str, str] = {}
        kinds = [*_KINDS, *(["gigatoken"] if importlib.util.find_spec("gigatoken") else [])]
        for python, kind in [*((sys.executable, kind) for kind in kinds), *((one, "tokenizers") for one in peers)]:
            if (timed := _process(python, kind, path, text)) is None:
                continue
            name, checked, figures = timed
            ids[name] = checked
            found += [Door(pathlib.Path(path).stem, row, name, value) for row, value in figures.items()]
        if len(set(ids.values())) > 1:
            raise ValueError(f"{path}: packages give different ids for the same texts: {ids}")
    return found


def _process(python: str, kind: str, path: str, text: str) -> tuple[str, str, dict[str, float]] | None:
    """Returns the name of a package, a hash of ids and the figures; None: the package can't load the tokenizer."""
    command = [python, __file__, kind, path, text]
    try:
        safe = os.environ | {"PYTHONSAFEPATH": "1"}  # else the modules beside this file come first
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=safe)
    except OSError as error:
        raise ValueError(f"--peer {python} can't be run: {error.strerror}") from None
    if ended.returncode == _CANNOT_LOAD:
        return None
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"{python}: {kind} failed with {path}: {last[0]}")
    name, ids, figures = json.loads(ended.stdout.splitlines()[-1])
    return (name if python == sys.executable else f"{name} ({python})"), ids, figures


def table(found: Sequence[Door]) -> str:
    """Returns the figures as a table: a line for each kind, a column for each package."""
    lines: list[str] = []
    for tokenizer in dict.fromkeys(door.tokenizer for door in found):
        own = [door for door in found if door.tokenizer == tokenizer]
        packages = list(dict.fromkeys(door.package for door in own))
        lines += [f"{tokenizer}: {', '.join(f'({i}) {name}' for i, name in enumerate(packages, 1))}"]
        value = {(door.kind, door.package): f"{door.value:10.4g}" for door in own}
        for kind in dict.fromkeys(door.kind for door in own):
            lines.append(f"  {kind:56}" + "".join(value.get((kind, name), f"{'-':>10}") for name in packages))
    return "\n".join(lines)


# -- in the process that is timed


def _timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _best(work: Callable[[], Any], times: int, runs: int = 9) -> float:
    """Returns the microseconds of one call, of the best of some runs."""

    def repeated() -> None:
        for _ in range(times):
            work()

    return min(_timed(repeated) for _ in range(runs)) / times * 1e6


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


def _main(kind: str, path: str, source: str) -> None:
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
        raise SystemExit(_CANNOT_LOAD) from None
    loaded = time.process_time()
    encode, encode_batch = _lists_of_ids(kind, tokenizer)
    encode("A first text: it's 12 words, more or less, and naïve.")
    first = {"load and first text, s": time.process_time() - start, "of that, the load, s": loaded - start}
    has_one_name = hasattr(tokenizer, "no_padding")  # 0.x; in 1.0 these are attributes
    if has_one_name:
        tokenizer.no_padding()
        tokenizer.no_truncation()
    elif kind != "gigatoken":
        tokenizer.padding = tokenizer.truncation = None
    text = _Text(source)
    figures = first | _prompts(encode, text) | _batches(encode_batch, text)
    without = {} if kind == "gigatoken" else {"add_special_tokens": False}
    some = (tokenizer.encode(text.take(n), **without) for n in (5, 50, 500, 20_000))
    ids = ",".join(str(id) for one in some for id in (one.tolist() if kind == "gigatoken" else one.ids))
    checked = hashlib.sha256(ids.encode()).hexdigest()[:16]
    if kind != "gigatoken":
        figures |= _embeddings(module, tokenizer, text.passages(_BATCHES[-1]), has_one_name)
    if has_one_name:
        figures |= _pretrained(kind, path, text.passages(_BATCHES[-1]))
    name = kind if kind != "tokenizers" else f"tokenizers {module.__version__}"
    print(json.dumps([name, checked, figures]))


def _lists_of_ids(
    kind: str, tokenizer: Any
) -> tuple[Callable[[str], list[int]], Callable[[list[str]], list[list[int]]]]:
    """Returns what encodes a text, and what encodes a batch."""
    if kind == "gigatoken":
        return lambda text: tokenizer.encode(text).tolist(), tokenizer.encode_batch_list
    return (
        lambda text: tokenizer.encode(text).ids,
        lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts)],
    )


def _prompts(encode: Callable[[str], list[int]], text: _Text) -> dict[str, float]:
    for _ in range(20):  # as in a server that has run for a while
        encode(text.take(20_000))
    short, again = "Hello world", text.take(900)
    found = {"11 characters, us": _best(lambda: encode(short), 2000)}
    found["900 characters again, us"] = _best(lambda: encode(again), 300)
    groups = [list(dict.fromkeys(text.lines())) for _ in range(_LINE_GROUPS)]
    found["a new line, us"] = _median(encode, groups)
    for name, (n, times) in _NEW.items():
        found[f"new, {name}, us"] = _median(encode, [[text.take(n)] for _ in range(times)])
    return found


def _median(encode: Callable[[str], Any], groups: list[list[str]]) -> float:
    """Returns the microseconds for a new text: the median of the groups."""
    gc.collect()  # else Python looks through the objects of all imports while some package is timed
    found: list[float] = []
    for texts in groups:
        seconds = _timed(lambda: [encode(text) for text in texts])  # noqa: B023, called at once
        found.append(seconds / max(len(texts), 1) * 1e6)
    return statistics.median(found)


def _batches(encode: Callable[[list[str]], list[list[int]]], text: _Text) -> dict[str, float]:
    lines = text.lines()[:_LINES]
    documents = [text.take(_DOCUMENT) for _ in range(3 * _DOCUMENTS)]
    n_bytes = sum(len(document.encode()) for document in documents)
    seconds = min(_timed(lambda: encode(lines)) for _ in range(9))
    start, cpu = time.perf_counter(), 0.0
    for first in range(0, len(documents), _DOCUMENTS):
        cpu += _timed(lambda: encode(documents[first : first + _DOCUMENTS]))  # noqa: B023, called at once
    wall = time.perf_counter() - start
    return {
        f"a line in a batch of {len(lines)}, us": seconds / max(len(lines), 1) * 1e6,
        "batches of documents of 4 kB, MB/s of a core": n_bytes / cpu / 1e6,
        "batches of documents of 4 kB, MB/s": n_bytes / wall / 1e6,
    }


def _rates(encode: Callable[[list[str]], Any], passages: list[str], name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for n in _BATCHES:
        texts = passages[:n]
        n_bytes = sum(len(one.encode()) for one in texts)
        seconds = min(_timed(lambda: encode(texts)) for _ in range(7))  # noqa: B023, called at once
        found[f"embeddings, {n} texts, {name}, MB/s of a core"] = n_bytes / seconds / 1e6
    return found


def _embeddings(module: Any, tokenizer: Any, passages: list[str], has_one_name: bool) -> dict[str, float]:
    """Batches that are truncated, and padded to the longest text, as arrays."""
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
    """The same by the tokenizers of transformers, or of gputok's own AutoTokenizer."""
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
