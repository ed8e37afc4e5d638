"""Options that several commands have, and the meaning of their values."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import glob
import inspect
import json
import os
import pathlib
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, dataclass_transform, get_type_hints

from gputok.cli.help import declaration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gputok.tokenizer import Tokenizer

STANDARD = "-"
"""The name of standard input, or of standard output."""


@dataclass_transform(frozen_default=True)
class OptionGroup:
    """The base class of options that several commands have: `grouped` makes an option of each field."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True)(cls)

    @property
    def options(self) -> dict[str, Any]:
        """The values by the names of the fields, which are those of the methods of Tokenizer."""
        return {**vars(self)}

    @property
    def given(self) -> dict[str, Any]:
        """The values that are not the default ones."""
        defaults = {one.name: one.default for one in dataclasses.fields(self)}
        return {name: value for name, value in vars(self).items() if value not in (defaults[name], [])}


class Reading(OptionGroup):
    """How files of text are read."""

    column: str | None = None
    separator: str | None = None
    errors: str = "strict"
    storage_option: list[str] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The attributes of `gputok.corpus.Source`."""
        given = vars(self) | {"storage_options": self.storage}
        return {name: value for name, value in given.items() if name != "storage_option"}

    @property
    def storage(self) -> dict[str, Any]:
        """The values of --storage-option by their names."""
        return storage_options(self.storage_option)

    def refuse_from_counts(self) -> None:
        """Raises ValueError for an option that reads text, where --from-counts reads counts."""
        why = "reads text: with --from-counts, words are counted already"
        refuse(why, dataclasses.replace(self, storage_option=None))

    def sources(self, names: Sequence[str]) -> list[Any]:
        """Converts inputs for `corpus.read`, as `sources` below does."""
        return sources(names, self.column)


class Running(OptionGroup):
    """How a command runs."""

    threads: int | None = None
    progress: bool | None = None


class Counting(Running):
    """How a command that counts words runs."""

    memory_limit: str | None = None
    temporary: str | None = None

    @property
    def limits(self) -> dict[str, Any]:
        """The options of `WordCounts.load` and `WordCounts.merge`."""
        return {name: value for name, value in vars(self).items() if name != "progress"}


class Weighting(OptionGroup):
    """What inputs count for, and where their counts are kept."""

    resume: str | None = None
    weight: list[str] | None = None
    temperature: str | None = None


class TokenFileOptions(OptionGroup):
    """What files of ids are like."""

    format: str | None = None
    shard_tokens: int | None = None
    shuffle: int | None = None
    dtype: str | None = None
    sequence_length: int | None = None


def grouped(command: Callable[..., None], words: str) -> Callable[..., None]:
    """Makes a function for typer, with an option for each field of the `OptionGroup`s that a command takes.

    words: the command in the shell, such as "bench train", by which the help texts are found.
    """
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[inspect.Parameter] = []
    for name, kind in get_type_hints(command).items():
        if inspect.isclass(kind) and issubclass(kind, OptionGroup):
            groups[name] = kind
            own, kinds = inspect.signature(kind).parameters, get_type_hints(kind)
            parameters += [one.replace(annotation=kinds[one.name]) for one in own.values()]
        elif name != "return":
            parameters.append(inspect.signature(command).parameters[name].replace(annotation=kind))
    for i, one in enumerate(parameters):
        shown = Annotated[one.annotation, declaration(words, one.name)]
        # typer calls by names, so options without a default may stand anywhere
        parameters[i] = one.replace(annotation=shown, kind=inspect.Parameter.KEYWORD_ONLY)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in dataclasses.fields(kind)})
        command(**given)

    del run.__wrapped__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # which typer reads
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def refuse(why: str, *groups: OptionGroup, **values: Any) -> None:
    """Raises ValueError for the first option of the groups, or of the values, that is given."""
    given = [name for name, value in values.items() if value not in (None, False, 0, [])]
    given += [name for group in groups for name in group.given]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} {why}")


_LONGEST_NAME = 255
_NEAR = 0.8  # the least similarity of two names; it is 1 for equal names


def as_text(given: str) -> str | None:
    """Returns an argument if it is a text, or None if it is a name. Raises FileNotFoundError if its file is missing."""
    from gputok.files.file_systems import is_url

    if given == STANDARD or is_url(given) or os.path.exists(given):
        return None
    if not _is_name(given):
        # The bytes of the argument are UTF-8, whatever the locale made of them
        return os.fsencode(given).decode(errors="replace")
    if glob.has_magic(given):
        return None
    meant = "".join(f"; is it {name}?" for name in _near(given))
    remedy = "(to use this as a text, give it on standard input, as -)"
    raise FileNotFoundError(f"{given}: no such file or folder{meant} {remedy}")


def _is_name(given: str) -> bool:
    """Says whether an argument that names no file is meant as a name or a glob, and not as a text.

    A name has no white space, and has the ending of a kind of files with documents, lies in a folder that exists, or
    looks like the name of a file beside it.
    """
    from gputok.corpus.document_kinds import file_kind
    from gputok.files.locations import LocalFile

    path = pathlib.Path(given)
    if not path.name or len(given) > _LONGEST_NAME or any(character.isspace() for character in given):
        return False
    is_of_documents = path.suffix.lower() == ".txt" or any(file_kind(LocalFile(path)))
    if is_of_documents and path.stem.strip("."):
        return True
    in_folder = path.parent != pathlib.Path() and path.parent.is_dir()
    return in_folder or (bool(path.suffix) and bool(glob.glob(given) or _near(given)))


def _near(name: str) -> list[str]:
    """Returns the name in the folder of a missing file that is most like its name, in a list, which may be empty."""
    folder, last = os.path.split(name)
    if not os.path.isdir(folder or "."):
        return []
    found = difflib.get_close_matches(last, os.listdir(folder or "."), 1, _NEAR)
    return [os.path.join(folder, one) for one in found]


def storage_options(given: list[str] | None) -> dict[str, Any]:
    """Reads the values of --storage-option: name -> value; `true` and `false` become bool."""
    options: dict[str, Any] = {}
    for item in given or []:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ValueError(f"--storage-option {item}: expected NAME=VALUE")
        options[name] = {"true": True, "false": False}.get(value.lower(), value)
    return options


def weights_of(given: list[str] | None, inputs: Sequence[str]) -> dict[str, str] | None:
    """Reads the values of --weight: input -> weight; None without any."""
    weights: dict[str, str] = {}
    for item in given or []:
        name, separator, value = item.rpartition("=")
        if not separator or not name:
            raise ValueError(f"--weight {item}: expected FILE=NUMBER")
        if name not in inputs:
            raise ValueError(f"--weight {item}: {name} is not one of the inputs {', '.join(inputs)}")
        weights[name] = value
    return weights or None


def check_standard_input(names: Sequence[str | None]) -> None:
    """Raises ValueError if more than one of the names of inputs is `-`."""
    if list(names).count(STANDARD) > 1:
        raise ValueError("-: standard input can be read only once; name files for the other inputs")


def sources(names: Sequence[str], column: str | None = None) -> list[Any]:
    """Converts inputs for `corpus.read`: `-` becomes the open standard input, as JSON Lines if a column is given."""
    from gputok.files.locations import OpenFile

    check_standard_input(names)
    name = "lines.jsonl" if column is not None else "text"
    return [OpenFile(sys.stdin.buffer, name=name, shown="standard input") if one == STANDARD else one for one in names]


def load_tokenizer(
    path: str, storage: Mapping[str, Any], inputs: Sequence[str | None] = (), *, pattern: str | None = None
) -> Tokenizer:
    """Opens a file of any format, a folder, a name on the hub, the URL of a tokenizer.json, or `-`, standard input.

    inputs: the other inputs of the command; only one of all may be `-`. pattern: how a tiktoken file splits text.
    """
    from gputok import Tokenizer
    from gputok.files.file_systems import is_url
    from gputok.pretrained import folders

    check_standard_input([*inputs, path])
    with local_file(path) as local:
        if is_url(local) or not (pathlib.Path(local).exists() or folders.could_be_name(local)):
            return Tokenizer.from_file(local, storage_options=storage)
        options: dict[str, Any] = {} if pattern is None else {"pattern": pattern}
        return folders.load(lambda tokenizer, **_: tokenizer, local, **options)


def load_tokenizers(paths: list[str], storage: Mapping[str, Any]) -> dict[str, Tokenizer]:
    """Opens the tokenizers of --tokenizer, by their shortest names that differ; see `load_tokenizer`."""
    from gputok.report.groups import short_names

    if len({*paths}) < len(paths):
        raise ValueError(f"--tokenizer {max(paths, key=paths.count)}: is given twice")
    return {name: load_tokenizer(path, storage) for name, path in zip(short_names(paths), paths, strict=True)}


def own_token(path: str, role: str, given: str | None) -> str | bool | None:
    """Returns the end ("eos") or begin token; "auto": that of tokenizer_config.json, or True: one of a usual name."""
    if given != "auto":
        return given
    from gputok.pipeline.special_tokens import configured

    return True if path == STANDARD else configured(path, role) or True


@contextlib.contextmanager
def local_file(path: str, name: str = "standard input") -> Iterator[str]:
    """Yields `path`, or for `-` the path of a temporary file of this name with all of standard input."""
    if path != STANDARD:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gputok-") as folder:
        copy = pathlib.Path(folder, name)
        with open(copy, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield str(copy)
        except (OSError, ValueError) as error:
            if str(copy) not in str(error):
                raise
            raise ValueError(str(error).replace(str(copy), "standard input")) from error


def _refuse_inputs(path: str, inputs: Sequence[str], storage: Mapping[str, Any]) -> None:
    """Raises ValueError if an output is an input, which it would replace. A name on the hub is no file."""
    from gputok import corpus

    files = [one for one in inputs if os.path.exists(one)]
    if len(files) < len(inputs):
        from gputok.pretrained.folders import could_be_name  # slow to import

        files = [one for one in inputs if os.path.exists(one) or not could_be_name(one)]
    corpus.refuse_output(path, sources(files), storage)


def check_second(name: str, path: str | None, output: str, storage: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Raises ValueError if a second output, the value of option `name`, is standard output, an input or `output`."""
    if path is None:
        return
    if path == STANDARD or os.path.abspath(path) == os.path.abspath(output):
        raise ValueError(f"--{name} {path}: name another file than that of --output, and not standard output")
    _refuse_inputs(path, inputs, storage)


@contextlib.contextmanager
def output_file(path: str, storage: Mapping[str, Any], inputs: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yields a path to write to, which becomes `path` if the block ends without exception; refuses an input."""
    from gputok.files.outputs import writing

    if path != STANDARD:
        _refuse_inputs(path, inputs, storage)
        with writing(path, storage) as temporary:  # fails before the work if the output can't be written
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="gputok-") as folder:
        temporary = pathlib.Path(folder, "output")
        yield temporary
        sys.stdout.flush()
        with open(temporary, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def sum_up(line: str, facts: Mapping[str, Any], *, output: str, as_json: bool) -> None:
    """Prints what was done, for people or as JSON; to standard error if standard output has the result."""
    file = sys.stderr if output == STANDARD else sys.stdout
    print(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else line, file=file)


def amount(n_bytes: float) -> str:
    """Writes a number of bytes for people.

    >>> amount(312), amount(4_210), amount(1_310_000), amount(0)
    ('312 bytes', '4.2 kB', '1.3 MB', '0 bytes')
    """
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    for size, unit in ((1e6, "kB"), (1e9, "MB"), (1e12, "GB")):
        if n_bytes < size:
            return f"{n_bytes / size * 1e3:.1f} {unit}"
    return f"{n_bytes / 1e12:,.1f} TB"


def speed(n_bytes: float, seconds: float) -> str:
    """Writes bytes per second for people.

    >>> speed(5e8, 2.0), speed(50_000, 2.0), speed(5e9, 2.0)
    ('250 MB/s', '25.0 kB/s', '2.5 GB/s')
    """
    each = n_bytes / seconds
    return f"{each / 1e6:.0f} MB/s" if 1e6 <= each < 1e9 else f"{amount(each)}/s"


def shown_output(output: str) -> str:
    """Returns the name of an output for a summary."""
    return "standard output" if output == STANDARD else output
