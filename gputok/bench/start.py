"""A program that does one task in a fresh process, and prints the CPU time of its parts, in milliseconds.

It prints null if a peer can't load. It imports nothing that a package may import, because the package's own import of
it would then take no time.
"""

from __future__ import annotations

import importlib._bootstrap as bootstrap
import json
import sys
import time

TYPE_CHECKING = False  # to import it from `typing` would be such an import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PARTS = "numpy", "imports", "work", "load", "first text", "first pass", "process"
"""`numpy` is the import of NumPy, `imports` that of all other modules, also of those that later parts import; the next
four are without imports; `process` is all, with the start and the end of Python, which only the caller can measure."""
TRAINED: dict[str, tuple[str, str, str, dict[str, Any], dict[str, Any]]] = {
    "BPE, encode, decode": ("BPE", "ByteLevel", "BpeTrainer", {}, {}),
    "WordPiece": ("WordPiece", "Whitespace", "WordPieceTrainer", {"unk_token": "?"}, {"special_tokens": ["?"]}),
    "Unigram": ("Unigram", "Metaspace", "UnigramTrainer", {}, {"unk_token": "?", "special_tokens": ["?"]}),
}
"""What is trained -> the model, the pre-tokenizer and the trainer, and options of the model and of the trainer."""
_figures: dict[str, float] = {}
_imported, _depth = 0.0, 0


def _clock_imports() -> None:
    """Makes every import from now on add its CPU time to `_imported`; an import within an import counts once."""
    find = bootstrap.__dict__["_find_and_load"]

    def timed_import(*names: Any) -> Any:
        global _imported, _depth
        start, _depth = time.process_time(), _depth + 1
        try:
            return find(*names)
        finally:
            _depth -= 1
            _imported += 0 if _depth else time.process_time() - start

    bootstrap.__dict__["_find_and_load"] = timed_import


def _timed(part: str, work: Callable[[], Any]) -> Any:
    start, before = time.process_time(), _imported
    made = work()
    _figures[part] = time.process_time() - start - _imported + before
    return made


def _train(package: str, task: str) -> None:
    module = __import__(package, fromlist=["models", "pre_tokenizers", "trainers"])
    model, pre_tokenizer, kind, of_model, of_trainer = TRAINED[task]
    tokenizer = module.Tokenizer(getattr(module.models, model)(**of_model))
    tokenizer.pre_tokenizer = getattr(module.pre_tokenizers, pre_tokenizer)()
    trainer = getattr(module.trainers, kind)(vocab_size=60, show_progress=False, **of_trainer)
    text = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20
    tokenizer.train_from_iterator(text, trainer)
    assert tokenizer.decode(tokenizer.encode("the lazy fox").ids)


def _load(package: str, path: str) -> Any:
    kind = __import__(package).Tokenizer
    try:
        return kind(path) if package == "gigatoken" else kind.from_file(path)
    except Exception:
        if package == "gputok":
            raise
        print("null")
        raise SystemExit from None


def _main(package: str, task: str, text: str = "") -> None:
    global _imported
    _clock_imports()
    if package == "gputok":
        import numpy  # noqa: F401
    _figures["numpy"], _imported = _imported, 0.0
    if task in TRAINED:
        _timed("work", lambda: _train(package, task))
    else:
        tokenizer = _timed("load", lambda: _load(package, task))
        some = "Hello world, this is a first text: it's 12 words, or so, naïve."
        first = _timed("first text", lambda: tokenizer.encode(some))
        assert len(first if package == "gigatoken" else first.ids)
        if text:
            with open(text, encoding="utf-8", errors="replace") as file:
                read = file.read()
            documents = [read[at : at + 4096] for at in range(0, len(read), 4096)]
            batch = {"gputok": "encode_batch_fast", "gigatoken": "encode_batch_list"}.get(package, "encode_batch")
            _timed("first pass", lambda: getattr(tokenizer, batch)(documents))
    _figures["imports"] = _imported
    figures = {part: [1000 * _figures[part]] for part in PARTS if part in _figures}
    print(json.dumps({"name": package, "checked": [], "figures": figures | {"process": []}}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
