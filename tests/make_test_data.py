"""Makes a folder for GPUTOK_TEST_DATA of what packages ship: `python tests/make_test_data.py FOLDER`.

Corpora, FOLDER/data/*.txt.xz:

    en      documentation: README of each installed package, its .md, .rst and .txt files, and docstrings of Python
    code    C and C++: the headers and sources of installed packages, and of Python itself
    multi   translations of Django, a language after the other
    zh      Chinese: Django's translations, and the words of jieba's dictionary in lines

Tokenizers, FOLDER/tokenizers/*.json.xz: Claude's and Qwen's vocabularies come with anthropic (before 0.39) and with
dashscope; the others, and these without the packages, are trained by `tokenizers` with the steps of the real ones.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
import json
import lzma
import pathlib
import re
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_BYTES = 40_000_000  # a corpus has at most so many bytes
LEAST_BYTES = {"en": 5_000_000, "code": 2_000_000, "multi": 1_000_000, "zh": 100_000}
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def files(*endings: str) -> Iterator[pathlib.Path]:
    """The files of Python and of its packages, in sorted order."""
    folders = dict.fromkeys(
        [*map(sysconfig.get_path, ("stdlib", "include", "purelib", "platlib")), *filter(None, sys.path)]
    )
    for folder in map(pathlib.Path, folders):
        if folder.is_dir() and folder != pathlib.Path(__file__).parent:
            yield from sorted(path for path in folder.rglob("*") if path.suffix in endings and path.is_file())


def texts(paths: Iterable[pathlib.Path]) -> Iterator[str]:
    """The files that are UTF-8, each once."""
    seen = set()
    for path in paths:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = path.read_bytes().decode()
            if hash(text) not in seen:
                seen.add(hash(text))
                yield text


def docstrings(text: str) -> str:
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef
        found = (ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds))
        return "\n".join(filter(None, found))
    return ""


def readmes() -> Iterator[pathlib.Path]:
    for folder in map(pathlib.Path, filter(None, sys.path)):
        yield from sorted(folder.glob("*.dist-info/METADATA"))


def translations(languages: str) -> Iterator[str]:
    """The translated messages of Django's .po files."""
    found = importlib.util.find_spec("django")
    if found is None or found.origin is None:
        return
    folder = pathlib.Path(found.origin).parent
    for path in sorted(folder.rglob(f"locale/{languages}/LC_MESSAGES/*.po")):
        lines = path.read_text(encoding="utf-8").splitlines()
        quoted = itertools.dropwhile(lambda line: not line.startswith("msgid"), lines)
        wanted = False
        for line in quoted:
            wanted = (wanted and line.startswith('"')) or line.startswith("msgstr")
            if wanted and (text := line[line.find('"') + 1 : line.rfind('"')]):
                yield text.replace("\\n", "").replace('\\"', '"')


def chinese() -> Iterator[str]:
    yield from translations("zh_*")
    found = importlib.util.find_spec("jieba")
    if found is not None and found.origin is not None:
        words = (pathlib.Path(found.origin).parent / "dict.txt").read_text(encoding="utf-8").split("\n")
        names = (line.split(" ")[0] for line in words)
        while line := [*itertools.islice(names, 12)]:
            yield "".join(line[:6]) + "，" + "".join(line[6:]) + "。"


CORPORA: dict[str, Callable[[], Iterable[str]]] = {
    "en": lambda: itertools.chain(
        texts(itertools.chain(readmes(), files(".md", ".rst", ".txt"))), map(docstrings, texts(files(".py")))
    ),
    "code": lambda: texts(files(".h", ".c", ".hpp", ".cpp", ".cc", ".cuh")),
    "multi": lambda: translations("*"),
    "zh": chinese,
}


def corpus(name: str) -> bytes:
    parts, size = [], 0
    for text in CORPORA[name]():
        part = (text.rstrip("\n") + "\n").encode(errors="replace")
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            break
    if size < LEAST_BYTES[name]:
        raise SystemExit(f"{name}: found only {size:,} bytes; install more packages (see the workflow nightly.yml)")
    return b"".join(parts)


# -- tokenizers


def packaged(package: str, file: str) -> pathlib.Path | None:
    """A file that an installed package ships; the package is not imported."""
    found = importlib.util.find_spec(package)
    path = None if found is None or found.origin is None else pathlib.Path(found.origin).parent / file
    return path if path is not None and path.is_file() else None


def with_split(tokenizer: Any, pattern: str) -> Any:
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_level(lines: list[str], pattern: str, special: list[str], **model: Any) -> Any:
    tokenizer = with_split(tokenizers.Tokenizer(models.BPE(**model)), pattern)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=20_000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens(special)
    return tokenizer


def llama2(lines: list[str]) -> Any:
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    # Merges stay in words while it learns; without that, each line would be a word
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=2000,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    form = json.loads(tokenizer.to_str())
    form["pre_tokenizer"] = None
    form["added_tokens"] = [token for token in form["added_tokens"] if token["content"] in special]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(form))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    return tokenizer


def llama3(lines: list[str]) -> Any:
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    tokenizer = byte_level(
        lines, LLAMA3, [begin, end, *(f"<|reserved_special_token_{i}|>" for i in range(20))], ignore_merges=True
    )
    number = tokenizer.token_to_id(begin)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(f"{begin} $A", f"{begin} $A {begin}:1 $B:1", [(begin, number)]),
        ]
    )
    return tokenizer


def qwen3(lines: list[str]) -> Any:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    path = packaged("dashscope", "resources/qwen.tiktoken")
    if path is None:
        tokenizer = byte_level(lines, QWEN, special)
    else:
        from transformers.convert_slow_tokenizer import TikTokenConverter

        made = TikTokenConverter(vocab_file=str(path), pattern=QWEN, extra_special_tokens=special)
        tokenizer = with_split(made.converted(), QWEN)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def claude(lines: list[str]) -> Any:
    path = packaged("anthropic", "tokenizer.json")
    if path is not None:
        return tokenizers.Tokenizer.from_file(str(path))
    tokenizer = byte_level(
        lines, r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", ["<EOT>"]
    )
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


def minilm_bert(lines: list[str]) -> Any:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = (normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer())
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=20_000, special_tokens=special, limit_alphabet=1000, show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    return tokenizer


TOKENIZERS = {"llama2": llama2, "llama3": llama3, "qwen3": qwen3, "claude": claude, "minilm-bert": minilm_bert}


def main(folder: str) -> None:
    root = pathlib.Path(folder)
    sample: list[str] = []
    for kind in ("data", "tokenizers"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for name in CORPORA:
        content = corpus(name)
        (root / "data" / f"{name}.txt.xz").write_bytes(lzma.compress(content, preset=1))
        sample += re.findall(r"[^\n]*\n", content[:4_000_000].decode(errors="replace"))
        print(f"{name}: {len(content):,} bytes", flush=True)
    for name, make in TOKENIZERS.items():
        tokenizer = make(sample)
        (root / "tokenizers" / f"{name}.json.xz").write_bytes(lzma.compress(tokenizer.to_str().encode(), preset=1))
        print(f"{name}: {tokenizer.get_vocab_size():,} tokens", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
