"""The manifest beside files of ids: which tokenizer made them, what is in them, and a checksum of each file."""

from __future__ import annotations

import hashlib
import pathlib
from typing import Any, NamedTuple

from gputok.checks import checked, file_name, in_file
from gputok.files.json_text import read_object

INSIDE = "manifest.json"
"""The name of the manifest of an output that is a folder."""

_ENDING = ".manifest.json"
_FIELDS: dict[str, type] = {"format": str, "tokenizer": dict, "dtype": str, "shards": list}
_FIELDS |= dict.fromkeys(("documents", "tokens", "bytes_in", "bytes_out"), int)


class FileFacts(NamedTuple):
    """A file, and the size and checksum that it must have."""

    name: str  # in the folder of the manifest
    bytes: int  # the size
    sha256: str  # the checksum, in hexadecimal digits

    @classmethod
    def of(cls, path: pathlib.Path, name: str) -> FileFacts:
        """Measures a file, which will be called `name`."""
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(name, path.stat().st_size, digest)

    def check(self, folder: pathlib.Path) -> None:
        """Raises ValueError if the file has another size or checksum; FileNotFoundError if there is none."""
        path = folder / self.name
        if (size := path.stat().st_size) != self.bytes:
            raise ValueError(f"{path}: has {size:,} bytes; the manifest says {self.bytes:,}")
        if FileFacts.of(path, self.name).sha256 != self.sha256:
            raise ValueError(f"{path}: has another checksum than the manifest says: its content has changed")


class Manifest:
    """Reads the manifest `path`; `content` is its JSON object. Raises ValueError, which names the wrong field."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, content = path, read_object(path)
        for field, kind in _FIELDS.items():
            if not isinstance(content.get(field), kind) or isinstance(content[field], bool):
                raise ValueError(f"{path}: {field}: is missing or has another type")
        self.content = content
        self._shards = [self._files(i, shard) for i, shard in enumerate(content["shards"])]

    def _files(self, i: int, shard: Any) -> list[FileFacts]:
        """Returns the files of a shard, the file of ids first."""
        field = f"{self.path}: shards[{i}].files"
        try:
            files = [FileFacts(file["name"], file["bytes"], file["sha256"]) for file in shard["files"]]
            shapes = [(isinstance(n, str), isinstance(b, int), isinstance(s, str)) for n, b, s in files]
        except (KeyError, TypeError):
            raise ValueError(f"{field}: is missing or has another form") from None
        if not all(map(all, shapes)) or not files:
            raise ValueError(f"{field}: expected name, bytes and sha256 of at least one file")
        with in_file(self.path):
            for file in files:
                checked(f"shards[{i}].files", file_name, file.name)
        return files

    @property
    def data_names(self) -> list[str]:
        """The names of the files of ids."""
        return [files[0].name for files in self._shards]

    @property
    def files(self) -> list[FileFacts]:
        """All files but the manifest."""
        index = self.content.get("index")
        of_index = [] if index is None else self._files(-1, {"files": [index]})
        return [file for files in self._shards for file in files] + of_index

    def check(self) -> None:
        """Checks size and checksum of all files; raises the errors of `FileFacts.check`."""
        for file in self.files:
            file.check(self.path.parent)


def manifest_name(output: str, is_folder: bool) -> str:
    """Returns the name of the manifest of an output, beside the output or in it."""
    return INSIDE if is_folder else output + _ENDING


def manifests_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the manifests in a folder, in the order of their names."""
    found = [path for path in folder.iterdir() if path.name == INSIDE or path.name.endswith(_ENDING)]
    return sorted(path for path in found if not path.name.startswith("."))
