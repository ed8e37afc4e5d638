"""`gputok info`, `gputok compile` and `gputok demo`: show what is installed, and try it out."""

from __future__ import annotations

import contextlib
import json
import pathlib
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

from gputok.checks import short
from gputok.cli import options

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline


def info(folder: str | None = None, tokenizer: str | None = None, as_json: bool = False) -> None:
    """Show versions, device, threads and the cache of compiled code; or what a tokenizer is, or files of ids are."""
    if folder is not None and _is_tokenizer(folder):
        from gputok.pipeline.about import facts as facts_of

        pipeline = options.load_tokenizer(folder, {}).pipeline
        found = {"tokenizer": folder, **facts_of(pipeline), **_ways(pipeline)}
    else:
        found = facts() if folder is None else about_files(folder)
    if tokenizer is not None:
        from gputok import Tokenizer
        from gputok.pipeline.about import device_work

        pipeline = Tokenizer.from_file(tokenizer).pipeline
        found |= _ways(pipeline)
        found |= {f'device="cuda", {stage}': where for stage, where in device_work(pipeline).items()}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        width = max(map(len, found))
        print(*(f"{name:<{width}}  {_line(fact)}" for name, fact in found.items()), sep="\n")


_MOST_SHOWN = 8  # added tokens that are shown, if --json does not ask for all


def _line(fact: Any) -> str:
    """Writes a fact as one line; of a dict, the number of members and the first ones."""
    if fact is None or fact in ({}, []):
        return "none"
    if isinstance(fact, dict):
        shown = [f"{short(token)} {number}" for token, number in [*fact.items()][:_MOST_SHOWN]]
        return f"{len(fact):,}: {', '.join(shown)}{', …' if len(fact) > _MOST_SHOWN else ''}"
    if isinstance(fact, list):
        return "; ".join(fact)
    return f"{fact:,}" if isinstance(fact, int) else str(fact)


def _is_tokenizer(path: str) -> bool:
    """Says whether a path is a file or a folder of a tokenizer, and not files of ids."""
    from gputok.token_files.token_files import is_output

    found = pathlib.Path(path)
    if found.is_dir():
        names = ("tokenizer.json", "tokenizer_config.json", "tekken.json", "tokenizer.model", "vocab.json")
        return any((found / name).is_file() for name in names)
    return found.is_file() and not path.endswith(".manifest.json") and not is_output(path)


def _ways(pipeline: Pipeline) -> dict[str, str]:
    from gputok.pipeline.about import ways

    return {f'device="cpu", {texts}': way for texts, way in ways(pipeline).items()}


def facts() -> dict[str, Any]:
    """The facts that `gputok info` shows: name -> text or number."""
    import importlib.metadata

    from gputok import __version__
    from gputok.backend import choose
    from gputok.kernels.native import choose as kernels
    from gputok.kernels.threads import thread_count

    def version(*packages: str) -> str:
        for package in packages:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                return importlib.metadata.version(package)
        return "not installed"

    backend = choose()
    return {
        "gputok": __version__,
        "python": f"{platform.python_version()} on {platform.machine()} {platform.system()}",
        **{package: version(package) for package in ("numba", "numpy", "pyarrow", "tokenizers")},
        "cupy": version("cupy-cuda13x", "cupy-cuda12x", "cupy"),
        "threads": thread_count(),
        "device": f"{backend.name} ({backend.reason})",
        "kernels": kernels().reason,
        **({"jit cache": _jit_cache()} if kernels().calls is None else {}),
    }


def about_files(folder: str) -> dict[str, Any]:
    """What the manifests of files of ids say: name -> text or number. Raises an error if a file is missing or wrong."""
    from gputok.token_files.token_files import manifests

    found = manifests(folder)
    shown: dict[str, Any] = {}
    for manifest in found:
        manifest.check()
        content = manifest.content
        named = {role: content["tokenizer"].get(role) for role in ("bos", "eos")}
        counted = ("format", "dtype", "documents", "stored", "tokens", "bytes_in", "bytes_out")
        facts = {"manifest": str(manifest.path), **{key: content[key] for key in counted if key in content}}
        facts["tokenizer sha256"] = content["tokenizer"].get("sha256")
        facts |= {role: None if token is None else token.get("token") for role, token in named.items()}
        facts |= {key: content[key] for key in ("shuffle", "sequence_length") if content.get(key) is not None}
        facts["shards"] = len(content["shards"])
        facts["files"] = f"{len(manifest.files)}, all with the size and checksum of the manifest"
        before = f"{manifest.path.name}: " if len(found) > 1 else ""
        shown |= {before + key: "none" if fact is None else fact for key, fact in facts.items()}
    return shown


def _jit_cache() -> str:
    """Says where compiled code is kept, or why it isn't."""
    try:
        from gputok.kernels.cpu import jit
    except ImportError as error:
        return f"none: {error}"

    folder = jit.cache_folder()
    if folder is None:
        return f"none: {jit.not_kept()}"
    sizes = [path.stat().st_size for path in pathlib.Path(folder).glob("*.nb[ic]")]
    return f"{folder}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"


def compile_kernels(threads: int | None = None) -> None:
    """Compile every kernel now and keep it on disk, if no machine code came with the package."""
    from gputok.kernels.native import choose
    from gputok.kernels.threads import thread_count

    code = choose()
    if code.calls is not None:
        print(f"nothing to compile: {code.reason}")
        return
    from gputok.kernels.native.all import compile_all

    start = time.perf_counter()
    print(f"kernels are {code.reason}\ncompiling all of them, a minute or two", file=sys.stderr, flush=True)
    count = sum(versions for _, versions in compile_all(thread_count(threads)))
    print(f"{count} kernels in {time.perf_counter() - start:.0f} s; they are in {_jit_cache()}")


def demo(threads: int | None = None) -> None:
    """Train on the source of Python's standard library and show what was learnt."""
    from gputok.demo import run

    print(run(threads=threads))
