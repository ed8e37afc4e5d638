"""Downloads the files of a tokenizer from the Hugging Face Hub."""

from __future__ import annotations

import pathlib
import re
from typing import Any

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_ENDINGS = (".json", ".model", ".tiktoken", ".gguf", ".txt")


def could_be_name(path: str) -> bool:
    """Whether a name on the hub may be meant, and not the path of a file that is missing.

    >>> could_be_name("meta-llama/Llama-3.1-8B"), could_be_name("tokenizer.json"), could_be_name("/data/x")
    (True, False, False)
    """
    return _NAME.fullmatch(path) is not None and not path.endswith(_ENDINGS)


OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
"""The options of `snapshot_download` that programs give."""


def download(name: str, files: list[str], options: dict[str, Any]) -> pathlib.Path:
    """Downloads files by their names or globs, and returns their folder in the cache of the hub."""
    instead = "pass the path of a folder or of a tokenizer.json"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ImportError(
            f"{name!r} is not a file or folder here, and names on the hub need huggingface_hub: "
            f"pip install 'gputok[hub]', or {instead}"
        ) from None
    try:
        folder = snapshot_download(name, allow_patterns=files, **options)
    except (OSError, ValueError) as error:
        raise OSError(
            f"{name!r} is not a file or folder here, and the Hugging Face Hub did not give it ({type(error).__name__}); "
            f"{instead}, or a hub name if there is a network or the cache of the hub has it"
        ) from error
    return pathlib.Path(folder)
