"""Compares the ids of gputok with those of each other package that is installed, on texts of your own.

>>> from gputok import Tokenizer, models
>>> print(verify(["so it goes"], Tokenizer(models.WordLevel({"so it goes": 0})), packages=["tokenizers"]))
1 documents, 10 bytes, 1 tokens of gputok
tokenizers ...  the same ids
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import itertools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gputok import corpus as corpora
from gputok.checks import first_difference, short, unwrapped
from gputok.formats.tiktoken import tiktoken_parts
from gputok.pretrained import PreTrainedTokenizer
from gputok.tokenizer import Tokenizer

Encode = Callable[[list[str]], list[list[int]]]
Path = str | None


class Difference(NamedTuple):
    """Where the ids of a package first differ from those of gputok.

    Attributes:
        source: the file, or "" for texts in memory.
        document: the number of the document in it, from 1: of the line, if each line is a document.
        token: the number of the token in the document, from 0.
        text: the text around it.
        ours: some ids of gputok from there on.
        theirs: some ids of the package.
    """

    source: str
    document: int
    token: int
    text: str
    ours: list[int]
    theirs: list[int]


@dataclasses.dataclass
class Compared:
    """A package: its name and version, how many documents differ, and where first; or why it wasn't compared."""

    name: str
    version: str = ""
    n_differing: int = 0
    first: Difference | None = None
    why_not: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class Verified:
    """What `verify` found: `print` shows it.

    Attributes:
        n_documents: the documents that were encoded.
        n_bytes: their bytes.
        n_tokens: the ids that gputok gave for them.
        packages: each package that was asked.
    """

    n_documents: int
    n_bytes: int
    n_tokens: int
    packages: list[Compared]

    @property
    def equal(self) -> bool:
        """True if no package gave other ids, and at least one was compared."""
        compared = [one for one in self.packages if not one.why_not]
        return bool(compared) and not any(one.n_differing for one in compared)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON values."""
        packages = [dataclasses.asdict(one) | {"first": one.first and one.first._asdict()} for one in self.packages]
        numbers = {"documents": self.n_documents, "bytes": self.n_bytes, "tokens": self.n_tokens}
        return {**numbers, "equal": self.equal, "packages": packages}

    def __str__(self) -> str:
        names = [f"{one.name} {one.version}".strip() for one in self.packages]
        width = max(map(len, names), default=0)
        lines = [f"{self.n_documents:,} documents, {self.n_bytes:,} bytes, {self.n_tokens:,} tokens of gputok"]
        for name, one in zip(names, self.packages, strict=True):
            said = f"not compared: {one.why_not}" if one.why_not else "the same ids"
            if one.first is not None:
                first = one.first
                at = f"{first.source or 'the texts'}, document {first.document}, token {first.token}, at {first.text!r}"
                said = f"other ids in {one.n_differing:,} documents; first in {at}: {first.theirs}, gputok {first.ours}"
            lines.append(f"{name:<{width}}  {said}")
        return "\n".join(lines)


def verify(
    corpus: Any,
    tokenizer: Tokenizer | PreTrainedTokenizer,
    *,
    path: str | os.PathLike[str] | None = None,
    packages: Sequence[str] | None = None,
    **reading: Any,
) -> Verified:
    """Compares the ids of gputok with those of other packages, by documents, without special tokens around them.

    Args:
        corpus: a list of texts, or the name of a file, a folder or a glob.
        tokenizer: the tokenizer.
        path: the file or folder of the tokenizer: `transformers` opens it itself, `sentencepiece` its `.model`.
        packages: names of `PACKAGES`; None: all that are installed. "encode_corpus" is that method of gputok.
        reading: other arguments of `gputok.corpus.read`, such as `column`.

    Returns:
        For each package, in how many documents it differs and where first, or why it can't be compared.

    Raises:
        ValueError: there is no such package.
    """
    if unknown := [name for name in packages or () if name not in PACKAGES]:
        raise ValueError(f"packages: {unknown[0]!r} is none of {', '.join(PACKAGES)}")
    given: Any = unwrapped(tokenizer)
    used = given.of(dataclasses.replace(given.pipeline, truncation=None, padding=None))
    found: list[tuple[Compared, Encode]] = []
    results: list[Compared] = []
    for name in PACKAGES if packages is None else packages:
        one, encode = _opened(name, used, None if path is None else str(path))
        if packages is not None or one.version:
            results.append(one)
        if encode is not None:
            found.append((one, encode))
    is_name = isinstance(corpus, str | os.PathLike)
    batches = corpora.read(corpus if is_name else corpora.Source(corpus, False), **reading)
    n_documents = n_bytes = n_tokens = 0
    for batch in batches:
        texts = [*batch.strings()]
        for first in range(0, len(texts), _AT_ONCE):
            some = texts[first : first + _AT_ONCE]
            ours = [encoding.ids for encoding in used.encode_batch(some, add_special_tokens=False)]
            for one, encode in found:
                _compare(one, encode, used, some, ours, (str(corpus) if is_name else "", n_documents))
            n_documents += len(some)
            n_bytes += sum(len(text.encode()) for text in some)
            n_tokens += sum(map(len, ours))
    return Verified(n_documents, n_bytes, n_tokens, results)


_AT_ONCE = 1000
_SHOWN, _AROUND = 5, 10


def _compare(
    one: Compared, encode: Encode, tokenizer: Tokenizer, texts: list[str], ours: list[list[int]], at: tuple[str, int]
) -> None:
    """Compares some documents, and adds the result to `one`; at: the name of their source, and how many came before."""
    if one.why_not:
        return
    try:
        theirs = encode(texts)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        failure = f"{type(error).__name__}: {short(str(error))}"
        one.why_not = f"it fails in documents {at[1] + 1} to {at[1] + len(texts)}: {failure}"
        return
    for i, (text, mine, other) in enumerate(zip(texts, ours, theirs, strict=True)):
        if mine == other:
            continue
        one.n_differing += 1
        if one.first is None:
            token = first_difference(mine, other)
            offsets = tokenizer.encode(text, add_special_tokens=False).offsets
            start = offsets[token][0] if token < len(offsets) else len(text)
            around = text[max(0, start - _AROUND) : start + _AROUND]
            ids = mine[token : token + _SHOWN], other[token : token + _SHOWN]
            one.first = Difference(at[0], at[1] + i + 1, token, around, *ids)


def _opened(name: str, tokenizer: Tokenizer, path: Path) -> tuple[Compared, Encode | None]:
    one = Compared(name)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        one.version = importlib.metadata.version("gputok" if name == "encode_corpus" else name)
    try:
        return one, PACKAGES[name](tokenizer, path)
    except ImportError:
        one.why_not = "it is not installed"
    except Exception as error:
        one.why_not = " ".join(str(error).split())
    return one, None


def _encode_corpus(tokenizer: Tokenizer, path: Path) -> Encode:
    def encode(texts: list[str]) -> list[list[int]]:
        batches = tokenizer.encode_corpus(iter(texts), add_special_tokens=False, progress=False)
        return [batch.ids[a:b].tolist() for batch in batches for a, b in itertools.pairwise(batch.rows.tolist())]

    return encode


def _tokenizers(tokenizer: Tokenizer, path: Path) -> Encode:
    import tokenizers

    if tokenizers.Tokenizer.__module__.partition(".")[0] == "gputok":
        raise ValueError("here it is gputok, by gputok.install_as_tokenizers")
    other = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    return lambda texts: [one.ids for one in other.encode_batch(texts, add_special_tokens=False)]


def _transformers(tokenizer: Tokenizer, path: Path) -> Encode:
    import transformers

    if path is None or not pathlib.Path(path).exists():
        raise ValueError("it opens a folder or a tokenizer.json: give its path")
    if pathlib.Path(path).is_dir():
        other: Any = transformers.AutoTokenizer.from_pretrained(path)
    elif path.endswith(".json"):
        other = transformers.PreTrainedTokenizerFast(tokenizer_file=path)
    else:
        raise ValueError(f"it opens folders and tokenizer.json files, not {path}")
    return lambda texts: other(texts, add_special_tokens=False, verbose=False)["input_ids"]


def _tiktoken(tokenizer: Tokenizer, path: Path) -> Encode:
    import tiktoken

    ranks, options = tiktoken_parts(tokenizer)
    other = tiktoken.Encoding("verify", mergeable_ranks=ranks, **options)
    return lambda texts: other.encode_batch(texts, allowed_special="all")


def _sentencepiece(tokenizer: Tokenizer, path: Path) -> Encode:
    import sentencepiece

    file = pathlib.Path(path or "")
    file = file / "tokenizer.model" if file.is_dir() else file
    if file.suffix != ".model" or not file.is_file():
        raise ValueError("it opens .model files: give the path of one, or of a folder with a tokenizer.model")
    other: Any = sentencepiece.SentencePieceProcessor(model_file=str(file))
    return other.encode


def _gigatoken(tokenizer: Tokenizer, path: Path) -> Encode:
    gigatoken: Any = importlib.import_module("gigatoken")
    return gigatoken.Tokenizer.from_json(tokenizer.to_str()).encode_batch_list


PACKAGES: dict[str, Callable[[Tokenizer, Path], Encode]] = {
    "encode_corpus": _encode_corpus,
    "tokenizers": _tokenizers,
    "transformers": _transformers,
    "tiktoken": _tiktoken,
    "sentencepiece": _sentencepiece,
    "gigatoken": _gigatoken,
}
"""Name -> a function of a tokenizer and its path, which returns the package's function from texts to ids."""
