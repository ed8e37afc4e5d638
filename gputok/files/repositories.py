"""Walks a folder as git does: without .git, and without what the files called .gitignore name."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gputok.files.arrow import needing
from gputok.lazy import public

_IGNORE = ".gitignore"
# Paths and patterns are decoded so that each byte is a character, since `?` of git matches one byte
_BYTES = "latin-1"


@public("gputok.report")
class LeftOut(NamedTuple):
    """A file or folder that is not read.

    Attributes:
        name: its path.
        why: the reason, in the same words for all that have it.
        detail: more of the reason, as an error has it; or empty.
    """

    name: str
    why: str
    detail: str = ""


class _Rules(NamedTuple):
    """The lines of one .gitignore."""

    folder: pathlib.Path
    # A pattern of pathspec, and True if it is for folders alone
    patterns: Sequence[tuple[Any, bool]]

    def ignores(self, path: pathlib.Path, is_folder: bool) -> bool | None:
        """Returns what the last line that matches says (True: leave the path out); None: no line matches."""
        below = os.fsencode(path.relative_to(self.folder).as_posix()).decode(_BYTES)
        for pattern, only_folders in reversed(self.patterns):
            if is_folder or not only_folders:
                found = pattern.match_file(below)
                # If the group matched (the slash after a folder), the pattern names a folder above this path. `_below`
                # asked about that folder before, as git does, and kept it: so this match does not count
                if found is not None and found.match.lastgroup is None:
                    return pattern.include
        return None


def walk(folder: pathlib.Path, *, gitignore: bool = True) -> Iterator[pathlib.Path | LeftOut]:
    """Yields the files below a folder in sorted order, hidden ones too, and what is left out: what .gitignore names.

    The .gitignore files of folders above it count too, up to the root of its git repository. Raises ImportError if
    there is a .gitignore to read, but pathspec is missing; PermissionError if a folder may not be read.
    """
    rules: list[_Rules] = []
    whole = folder.resolve()
    if gitignore:
        within = [whole, *whole.parents]
        root = next((i for i, above in enumerate(within) if (above / ".git").exists()), 0)
        rules = [found for above in reversed(within[1 : root + 1]) for found in _rules_of(above, above)]
    yield from _below(folder, whole, rules, gitignore)


def _below(
    folder: pathlib.Path, whole: pathlib.Path, rules: list[_Rules], gitignore: bool
) -> Iterator[pathlib.Path | LeftOut]:
    """Walks one folder; whole: its path without links, by which the rules know it."""
    if gitignore:
        rules = [*rules, *_rules_of(folder, whole)]
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path, is_folder = folder / entry.name, entry.is_dir(follow_symlinks=False)
        said = (each.ignores(whole / entry.name, is_folder) for each in reversed(rules))
        if entry.name == ".git":
            yield LeftOut(str(path), ".git")
        elif next((one for one in said if one is not None), False):
            yield LeftOut(str(path), f"named in {_IGNORE}")
        elif entry.is_symlink():
            yield LeftOut(str(path), "a link")
        elif is_folder:
            yield from _below(path, whole / entry.name, rules, gitignore)
        elif entry.is_file():
            yield path
        else:
            yield LeftOut(str(path), "no regular file")


def _rules_of(folder: pathlib.Path, whole: pathlib.Path) -> list[_Rules]:
    """Returns the rules of the .gitignore of a folder; whole: its path without links, by which the rules know it."""
    file = folder / _IGNORE
    if file.is_symlink() or not file.is_file():  # git follows no link there
        return []
    with needing(
        f"{file}: leaving out what it names needs pathspec: pip install 'gputok[repository]' "
        "(or count that, too: --no-gitignore, gitignore=False)"
    ):
        from pathspec import GitIgnoreSpec
    patterns: list[tuple[Any, bool]] = []
    for line in file.read_bytes().removeprefix(b"\xef\xbb\xbf").decode(_BYTES).split("\n"):
        line = line.removesuffix("\r")
        line = line if line.endswith("\\ ") else line.rstrip(" ")
        only_folders = line.endswith("/")
        try:
            found = GitIgnoreSpec.from_lines([line.removesuffix("/")]).patterns
        except ValueError:  # git, too, passes over what is no pattern
            continue
        patterns += [(pattern, only_folders) for pattern in found if pattern.include is not None]
    return [_Rules(whole, patterns)]
