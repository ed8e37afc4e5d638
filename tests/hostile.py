"""Makes damaged tokenizer files, and tries them one after the other in a process (hostile_worker.py)."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pathlib
import random
import select
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 20.0  # a file may take so much time of the processors
_PATIENCE = 10  # times as long on the clock, as others may keep the processors busy


class Format(NamedTuple):
    """A kind of file."""

    name: str  # of the file
    whole: Callable[[], bytes]
    attempt: Callable[[pathlib.Path], None]  # reads the file and uses it
    mutate: Callable[[Mutator, bytes], bytes]
    # Makes the other files of its folder, which are whole
    beside: Callable[[pathlib.Path], None] = lambda _: None


_DEEP = "\x01deep\x01"
_LONG = "long" * 25_000
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, float("inf"), float("nan")),
    *(2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64, 10**30, -(2**31), -(2**63) - 1),
    *("", " ", "a", "0", "\x00", "\ud800", "a\udfff", "字", "\U0010ffff", "Always", "first", "Right", "(", "[a", _LONG),
    *([], [[]], [None], ["a"], ["a", 0], [0, 1, 2], {}, {"a": 1}, {"type": "Sequence"}, {"Regex": "(a|aa)+$"}),
    *({"String": ""}, {"String": " "}, {"Fixed": 5}, _DEEP),
]


class _Doubled(dict):
    """A JSON object that is written with each of its keys twice."""

    def items(self) -> Any:
        return [*super().items(), *super().items()]


class Mutator(random.Random):
    """Damages files; the same way for the same seed."""

    def mutate(self, text: str) -> bytes:
        """By structure mostly, else by byte."""
        if self.random() < 0.3:
            return self.of_bytes(text.encode())
        root = [json.loads(text)]
        for _ in range(self.choice([1, 1, 1, 2, 3])):
            self.of_structure(root)
        return self.written(root[0])

    def written(self, value: Any) -> bytes:
        written = json.dumps(value, ensure_ascii=self.random() < 0.5, separators=(",", ":"))
        if self.random() < 0.7:  # a number that is too large is JSON, what Python writes for its value is not
            written = written.replace("-Infinity", "-1e400").replace("Infinity", "1e400")
        if json.dumps(_DEEP) in written:
            opening, closing = self.choice(["[]", ('{"a":', "}")])
            n = self.choice([100, 130, 2000, 200_000])
            written = written.replace(json.dumps(_DEEP), f"{opening * n}0{closing * n}", 1)
        return written.encode(errors="surrogatepass")

    def place(self, root: list[Any]) -> tuple[Any, Any]:
        """A container and a key of it. Fields are as likely as the thousands of tokens in a vocabulary."""
        container: Any = root
        key: Any = 0
        while isinstance(container[key], dict | list) and container[key] and self.random() < 0.9:
            container = container[key]
            keys = list(container) if isinstance(container, dict) else range(len(container))
            full = [key for key in keys[:50] if isinstance(container[key], dict | list) and container[key]]
            key = self.choice(full if full and self.random() < 0.6 else keys)
        return container, key

    def of_structure(self, root: list[Any]) -> None:
        container, key = self.place(root)
        value = container[key]
        kind = self.randrange(8)
        if kind == 0 and container is not root:
            del container[key]
        elif kind == 1:
            container[key] = self.near(value)
        elif kind == 2 and isinstance(container, dict) and container:
            root[0] = _replaced(root[0], container, _Doubled(container))
        elif kind == 2 and container is not root:
            container.insert(self.randrange(len(container) + 1), copy.deepcopy(value))
        elif kind == 3:
            other, at = self.place(root)
            other[at], container[key] = copy.deepcopy(value), copy.deepcopy(other[at])
        elif kind == 4 and isinstance(value, list):
            self.shuffle(value)
        elif kind == 4 and isinstance(value, dict):
            numbers = list(value.values())
            self.shuffle(numbers)
            value.update(zip(list(value), numbers, strict=True))
        elif kind == 5 and isinstance(container, dict):
            container[self.choice(["a", "", "\ud800", "type", "id", _LONG])] = container.pop(key)
        else:
            container[key] = copy.deepcopy(self.choice(ODD))

    def near(self, value: Any) -> Any:
        """Nearly the same."""
        if isinstance(value, bool):
            return self.choice([not value, int(value), str(value)])
        if isinstance(value, int):
            return self.choice([value + 1, value - 1, -value, value * 1000, float(value), str(value), value + 2**32])
        if isinstance(value, float):
            return self.choice([-value, value * 1e300, int(value) if abs(value) < 1e18 else 0, str(value)])
        if isinstance(value, str):
            return self.choice([value.swapcase(), value + value, value[1:], [value], value + "\ud83d", value * 1000])
        return self.choice([[], {}, "", [value], {"a": value}])

    def of_bytes(self, data: bytes) -> bytes:
        at = self.randrange(len(data) + 1)
        stop = min(at + self.choice([1, 1, 2, 8, 100]), len(data))
        kind = self.randrange(6)
        if kind == 0:
            return data[:at]
        if kind == 1:
            return data[:at] + data[stop:]
        if kind == 2:
            return data[:stop] + data[at:stop] * self.choice([1, 3]) + data[stop:]
        if kind == 3:
            return data[:at] + self.randbytes(stop - at) + data[stop:]
        if kind == 4:
            return data[:at] + self.choice(['"', "\\", "{", "]", ",", "-", "e9", "\0", "\\ud800"]).encode() + data[at:]
        changed = bytearray(data)
        for _ in range(self.choice([1, 1, 4])):
            changed[self.randrange(len(data))] ^= 1 << self.randrange(8)
        return bytes(changed)


def json_damaged(mutator: Mutator, data: bytes) -> bytes:
    if mutator.random() < 0.1:  # what a program wrote for a number of another kind
        value = json.loads(data)
        for _ in range(2):
            container, key = mutator.place([value])
            with contextlib.suppress(TypeError):
                container[key] = mutator.choice([10_000_000, 2**40, -5, "7", 1.5])
        return json.dumps(value).encode()
    return mutator.mutate(data.decode())


def _replaced(value: Any, old: Any, new: Any) -> Any:
    if value is old:
        return new
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    return [_replaced(item, old, new) for item in value] if isinstance(value, list) else value


def cut(text: str, n_tokens: int) -> str:
    """Shortens a tokenizer.json to n tokens and the merges of these tokens; the rest stays."""
    whole = json.loads(text)
    model = whole["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = model["vocab"][:n_tokens]
    else:
        model["vocab"] = {token: i for token, i in model["vocab"].items() if i < n_tokens}
        if "merges" in model:
            merges = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
            known = model["vocab"]
            model["merges"] = [[a, b] for a, b in merges if a in known and b in known and a + b in known]
    for i, token in enumerate(token for token in whole["added_tokens"] if token["id"] >= n_tokens):
        token["id"] = n_tokens + i
    return json.dumps(whole, ensure_ascii=False)


class Worker:
    """A process that tries files; it is replaced by a new process if it dies or takes too long."""

    def __init__(self, folder: pathlib.Path, *, of_formats: bool = False) -> None:
        """of_formats: files follow a key of hostile_formats.FORMATS and a null byte; else they are tokenizer.json."""
        self._errors, self._arguments = folder / "stderr.txt", [str(folder)] if of_formats else []
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> subprocess.Popen:
        self._stack.close()
        here = pathlib.Path(__file__).parent
        paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]  # for PYTHONSAFEPATH
        environment = {**os.environ, "MALLOC_PERTURB_": "85", "PYTHONPATH": os.pathsep.join(paths)}
        environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve a GB of the process's limit
        errors = self._stack.enter_context(open(self._errors, "wb"))
        command = [sys.executable, str(here / "hostile_worker.py"), *self._arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "env": environment}
        self._process = self._stack.enter_context(children.child(command, **pipes))
        assert self._process.stdout.readline() == b"ready\n", self._errors.read_text()
        return self._process

    def try_file(self, data: bytes, seconds_of_cpu: float = SECONDS) -> str:
        """Returns "refused: why", "stopped: why" (encoding a text raised), "works", or "fails: ..." for all else."""
        process = self._process if self._process and self._process.poll() is None else self._start()
        used, begin = children.cpu_seconds(process.pid) or 0.0, time.monotonic()
        try:
            process.stdin.write(struct.pack("<q", len(data)) + data)
            process.stdin.flush()
            while not select.select([process.stdout], [], [], 1.0)[0]:
                seconds = time.monotonic() - begin
                now = children.cpu_seconds(process.pid)
                spent = seconds if now is None else now - used
                if seconds > seconds_of_cpu * _PATIENCE or spent > seconds_of_cpu:
                    process.kill()
                    process.wait()
                    return f"fails: takes more than {seconds_of_cpu:.0f} seconds"
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if line:
            return json.loads(line)
        status = process.wait()
        return f"fails: the process ended with {status}: {self._errors.read_text(errors='replace')[-2000:]}"


def tried(worker: Worker, text: str, seed: str, n: int) -> Iterator[tuple[int, bytes, str]]:
    """Yields n damaged versions of a file and the result of each."""
    for i in range(n):
        data = Mutator(f"{seed} {i}").mutate(text)
        yield i, data, worker.try_file(data)
