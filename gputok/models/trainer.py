"""Trainer, the base class of all trainers: its options are keyword arguments, attributes, its `repr` and its pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, dataclass_transform

import numpy as np

from gputok.automaton.pattern import Regex
from gputok.checks import (
    SIZE,
    WrongType,
    WrongValue,
    brief,
    checked,
    checks_of,
    field,
    integer,
    listed,
    short,
    string,
    wrong_type,
)
from gputok.components import Verbatim, described, no_attribute, users_own
from gputok.lazy import public
from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.counts.word_counts import WordCounts

_MOST_COUNT = 1000  # the largest `min_count` that an error proposes
_PROGRESS_FORMATS = {"indicatif": "Indicatif", "json": "JsonLines", "silent": "Silent"}


class CheckedOptions:
    """Options that are checked when they are set: the fields of a dataclass, and no other attributes."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # every subclass is a dataclass

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dataclass_fields__ and not users_own(self):
            raise no_attribute(self, name, self.__dataclass_fields__)
        check = checks_of(type(self)).get(name)
        super().__setattr__(name, value if check is None else checked(name, check, value))


class How(NamedTuple):
    """How a training runs: the arguments of `Trainer.train`."""

    threads: int | None
    progress: Callable[[str, int, int], None] | None
    devices: Sequence[Any]


@public("gputok.trainers")
class Trained(SimpleNamespace):
    """The part of a model that a trainer learns, by the names of the arguments of the model (of BPE: `TrainedBpe`)."""

    def into(self, model: Any) -> None:
        """Writes this part into a model of the kind that the trainer trains; the other options stay as they are."""
        model.update(**vars(self))


@public("gputok.trainers")
@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(field,))
class Trainer(CheckedOptions):
    """Base class of the trainers.

    The fields (`gputok.checks.field`) of a subclass, in order, are the JSON form of pickles and `repr` in `tokenizers`.
    """

    trains: ClassVar[str]
    """The name of the class of models that the trainer trains."""

    special_tokens: Sequence[str | AddedToken]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__.startswith("gputok."):
            dataclasses.dataclass(kw_only=True, eq=False, repr=False)(cls)
            cls.__module__ = "gputok.trainers"

    def train(
        self,
        words: WordCounts,
        *,
        threads: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        devices: Sequence[Any] = (),
    ) -> Any:
        """Learns from counted words; the trainer itself does not change.

        Args:
            words: the words of the corpus, and how often each occurs.
            threads: how many threads to use, at most; None: all cores. What is learned is the same for any number.
            progress: called as progress(stage, done, total) a few times a second; an exception that it raises ends the
                training. The stage of BPE and WordPiece is "merge"; WordLevel has none.
            devices: CUDA devices (`gputok.backend`); the first merges pairs, unless tokens have a prefix or suffix.

        Returns:
            What was learned (`Trained`, or `TrainedBpe`); `into(model)` writes it into a model.

        Raises:
            ValueError: if the bytes of all occurrences of the words are more than 2**63 - 1, or a Unigram's
                `vocab_size` is smaller than the number of special tokens and characters.
            TypeError: if the trainer learns from text alone, as that of superwords.
        """
        return self.learn(words, How(threads, progress, devices))

    def learn(self, words: WordCounts, how: How) -> Any:
        """Does what `train` says; how: the other arguments of `train`."""
        raise NotImplementedError

    def why_not_on_device(self) -> str:
        """Returns why a CUDA device can't do the work of `train`, or "" if it can."""
        return f"only BPE is trained on a GPU, not {self.trains}"

    def memory_needed(self, n_words: int, n_bytes: int, threads: int = 1) -> int | None:
        """About how many bytes of memory training takes, besides the words themselves; None: this was not measured.

        Args:
            n_words: the number of distinct words.
            n_bytes: the bytes of all distinct words together.
            threads: how many threads may train.
        """
        return None

    def check_memory(self, words: WordCounts, limit: int, threads: int = 1) -> int | None:
        """Returns `memory_needed` for these words and this number of threads.

        Raises:
            MemoryError: more is needed than the limit allows; the message says which `min_count` would do.
        """
        needed = self.memory_needed(len(words), len(words.data), threads)
        if needed is None or needed <= limit:
            return needed
        n_words, n_bytes = (np.cumsum(sizes[::-1])[::-1].tolist() for sizes in words.sizes_by_count(_MOST_COUNT))
        advice, counts = "raise the limit", range(1, _MOST_COUNT + 1)
        found = next((c for c in counts if (self.memory_needed(n_words[c], n_bytes[c], threads) or 0) <= limit), None)
        if found is not None:
            advice += ", or leave rare words out, which changes the result a little: "
            advice += f"min_count={found} (--min-count) keeps {n_words[found]:,} of them"
        return within(limit, needed, f"training on {len(words):,} distinct words", advice)

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if "special_tokens" in values:
            values["special_tokens"] = [token.to_dict() for token in values["special_tokens"]]
        if "progress_format" in values:
            values["progress_format"] = _PROGRESS_FORMATS[values["progress_format"]]
        return values

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a trainer from the values that `to_dict` returns; other keys are ignored."""
        options = {field.name: value[field.name] for field in dataclasses.fields(cls) if field.name in value}
        if "special_tokens" in options:
            options["special_tokens"] = [AddedToken(**token) for token in options["special_tokens"]]
        if "progress_format" in options:
            names = {shown: name for name, shown in _PROGRESS_FORMATS.items()}
            options["progress_format"] = names[options["progress_format"]]
        return cls(**options)

    def __repr__(self) -> str:
        return self._described(99, None)

    def __str__(self) -> str:
        return self._described(5, 100)

    def _state(self) -> dict[str, Any]:
        return {**self.to_dict(), "words": {}}

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        name, fields = type(self).__name__, self._state()
        if "special_tokens" in fields:
            tokens = (described("AddedToken", token, n_items, n_bytes) for token in fields["special_tokens"])
            fields["special_tokens"] = list(map(Verbatim, tokens))
        if "progress_format" in fields:
            fields["progress_format"] = Verbatim(fields["progress_format"])
        return f"{name}({described(name, fields, n_items, n_bytes)})"

    def __getstate__(self) -> bytes:
        value = {type(self).__name__: self._state()}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        options = json.loads(state)[type(self).__name__]
        self.__dict__.update(type(self).from_dict(options.get("bpe_trainer", options)).__dict__)


count = integer(0, SIZE)
"""Accepts whole numbers. It and most functions below are checks of options: they return a value, or raise an error."""


def within(limit: int, needed: int, what: str, advice: str) -> int:
    """Returns how many bytes are needed; raises MemoryError if that is more than the limit."""
    if needed > limit:
        raise MemoryError(
            f"{what} takes about {needed / 1e6:,.0f} MB, and memory_limit leaves {limit / 1e6:,.0f} MB: {advice}"
        )
    return needed


def contents(tokens: Sequence[str | AddedToken]) -> list[str]:
    """Returns the contents of special tokens."""
    return [token if isinstance(token, str) else token.content for token in tokens]


def real(value: Any) -> float:
    """Accepts all floats, also infinity and NaN, as tokenizers does."""
    if not hasattr(value, "__float__"):
        raise wrong_type(value, "float")
    return float(value)


def ratios(value: Any) -> list[float]:
    """Accepts lists of numbers."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise WrongType(f"must be a list of numbers or None, not {short(value)}")
    return [*listed(real)([*value])]


def progress_word(value: Any) -> str:
    """Accepts strings; another one than those of `_PROGRESS_FORMATS` means "indicatif", as in tokenizers."""
    return string(value) if string(value) in _PROGRESS_FORMATS else "indicatif"


def specials(value: Any) -> list[AddedToken]:
    """Accepts lists of special tokens."""
    if not isinstance(value, list):
        raise wrong_type(value, "list")
    return [*listed(_special_token)(value)]


def _special_token(value: Any) -> AddedToken:
    """Accepts strings and AddedTokens, and makes both special, as tokenizers does."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    token = AddedToken.adopt(value, special=True)
    if not isinstance(token, AddedToken):
        raise WrongType(f"must be a string or an AddedToken, not {brief(value)}")
    return token


def characters(value: Any) -> list[str]:
    """Accepts iterables of strings; returns the first character of each, sorted, as tokenizers does."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise WrongType(f"must be a list of strings, not {short(value)}")
    strings = listed(string)([*value])
    return sorted({item[0] for item in strings if item})


def share_or_count(value: Any) -> float | int:
    """Accepts a number of tokens, or a share of them."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise wrong_type(value, "float' or 'int")
    if isinstance(value, int | np.integer):
        return integer(0, SIZE)(int(value))
    if not 0 < value < 1:
        raise WrongValue(f"must be a share between 0 and 1, or a number of tokens as an int, not {value!r}")
    return float(value)


def expression(value: Any) -> str:
    """Accepts the patterns that `Regex` accepts."""
    try:
        return Regex(string(value)).pattern
    except ValueError as error:
        raise WrongValue(str(error)) from None
