"""BatchEncoding, the result of calling a tokenizer: named columns, and positions of tokens, words and characters."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.files.arrow import needing
from gputok.lazy import public


@public("gputok.pretrained")
class CharSpan(NamedTuple):
    """A range of characters of a text, `text[start:end]`."""

    start: int
    end: int


@public("gputok.pretrained")
class TokenSpan(NamedTuple):
    """A range of tokens of an encoding, `tokens[start:end]`."""

    start: int
    end: int


@public("gputok.pretrained")
class BatchEncoding(UserDict):
    """A dictionary of columns such as `input_ids` and `attention_mask`; the columns are attributes as well.

    Methods for a token, a word or a character take its index in the first text, or the index of a text and then the
    index in this text: `char_to_token(5)` or `char_to_token(batch_index, 5)`.

    Args:
        data: name -> a list of numbers (one text) or of lists (a batch), or an array or tensor.
        encodings: the encodings of the texts, one for each text or part of a text; None: not known.
        tensor_type: "np", "pt" or "cupy" makes arrays or tensors of all columns; None: columns stay as they are.

    Raises:
        ValueError: if a column is to be an array and its texts have different lengths.

    Example:
        >>> batch = BatchEncoding({"input_ids": [[1, 2], [3, 4]]}, tensor_type="np")
        >>> batch.input_ids.shape, list(batch)
        ((2, 2), ['input_ids'])
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encodings: Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
    ) -> None:
        super().__init__(data or {})
        self._encodings = None if encodings is None else list(encodings)
        self.convert_to_tensors(tensor_type)

    def __getitem__(self, item: str | int | slice) -> Any:
        """Returns a column by name, or encodings by index or slice; without encodings, a slice of all columns."""
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {name: column[item] for name, column in self.data.items()}
        raise KeyError(f"{item!r}: without encodings, pass the name of a column or a slice")

    def __getattr__(self, name: str) -> Any:
        columns = self.__dict__.get("data", {})
        if name not in columns:
            raise AttributeError(f"there is no column {name!r}; there are {', '.join(columns)}")
        return columns[name]

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "encodings": self._encodings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.data, self._encodings = state["data"], state["encodings"]

    @property
    def encodings(self) -> list[Encoding] | None:
        """The encodings, one for each text or part of a text."""
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether there are encodings; the methods below need them."""
        return self._encodings is not None

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs of texts."""
        return self._encodings[0].n_sequences if self._encodings else None

    def _encoding(self, batch_index: int) -> Encoding:
        if not self._encodings:
            raise ValueError("this BatchEncoding has no encodings; use the result of calling the tokenizer")
        return self._encodings[batch_index]

    def _asked(self, method: str, first: int, second: int | None, *more: int) -> Any:
        """Calls `method` of encoding 0 with index `first`; if `second` is given, of encoding `first` with `second`."""
        encoding, index = (self._encoding(0), first) if second is None else (self._encoding(first), second)
        if index < 0 and method.startswith("token"):
            index += len(encoding)
        return getattr(encoding, method)(index, *more)

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Returns the tokens of a text."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Returns for each token of a text the index of its word, or None for special tokens."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Returns for each token 0 or 1, the text of the pair that it belongs to, or None for special tokens."""
        return self._encoding(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Returns 0 or 1, the text of the pair that a token belongs to."""
        return self._asked("token_to_sequence", batch_or_token_index, token_index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Returns the index of the word that a token belongs to."""
        return self._asked("token_to_word", batch_or_token_index, token_index)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Returns the characters of a token."""
        return _span(CharSpan, self._asked("token_to_chars", batch_or_token_index, token_index))

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Returns the token of a character of the text, or of the text `sequence_index` of a pair."""
        return self._asked("char_to_token", batch_or_char_index, char_index, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Returns the index of the word of a character."""
        return self._asked("char_to_word", batch_or_char_index, char_index, sequence_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Returns the tokens of a word."""
        return _span(TokenSpan, self._asked("word_to_tokens", batch_or_word_index, word_index, sequence_index))

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Returns the characters of a word."""
        return _span(CharSpan, self._asked("word_to_chars", batch_or_word_index, word_index, sequence_index))

    def convert_to_tensors(self, tensor_type: str | None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Replaces all columns by arrays or tensors; those of lists of ints and of unsigned arrays are int64.

        Args:
            tensor_type: "np", "pt" or "cupy"; None changes nothing.
            prepend_batch_axis: makes each column a batch of one text first.

        Returns:
            This object.

        Raises:
            ValueError: if the texts of a column have different lengths.
        """
        if tensor_type is not None:
            convert = _converter(tensor_type)
            for name, column in self.data.items():
                self.data[name] = convert(name, [column] if prepend_batch_axis else column)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Moves all PyTorch tensors to a device, and returns this object."""
        for name, column in self.data.items():
            if hasattr(column, "to"):
                self.data[name] = column.to(device=device, non_blocking=non_blocking)
        return self


def batch_of(
    whole: Sequence[Encoding], columns: Mapping[str, Any], is_batch: bool, overflowing: bool, tensor_type: str | None
) -> BatchEncoding:
    """Makes the result of a call from the encodings of its texts.

    columns: name -> function that reads the column from an encoding; overflowing: the parts that truncation cut off
    are further rows, and the column `overflow_to_sample_mapping` has the index of the text of each row.
    """
    groups = [[one, *one.overflowing] if overflowing else [one] for one in whole]
    encodings = [encoding for group in groups for encoding in group]
    data = {name: [read(encoding) for encoding in encodings] for name, read in columns.items()}
    if overflowing:
        data["overflow_to_sample_mapping"] = [i for i, group in enumerate(groups) for _ in group]
    elif not is_batch and tensor_type is None:
        data = {name: column if name == "length" else column[0] for name, column in data.items()}
    return BatchEncoding(data, encodings, tensor_type)


def _span(kind: type, span: tuple[int, int] | None) -> Any:
    return None if span is None else kind(*span)


def _converter(tensor_type: Any) -> Callable[[str, Any], Any]:
    kind = getattr(tensor_type, "value", tensor_type)  # also takes the enumeration of transformers, TensorType
    if kind == "np":
        return _array
    if kind == "pt":
        with needing('return_tensors="pt" needs PyTorch: pip install torch'):
            import torch  # pyright: ignore[reportMissingImports]

        return lambda name, column: column if torch.is_tensor(column) else torch.as_tensor(_array(name, column))
    if kind == "cupy":
        with needing("return_tensors=\"cupy\" needs CuPy: pip install 'gputok[cuda13]'"):
            import cupy

        return lambda name, column: cupy.asarray(_array(name, column))
    raise ValueError(f'return_tensors={tensor_type!r}: must be "np", "pt" or "cupy"')


def _array(name: str, column: Any) -> np.ndarray:
    try:
        array = np.asarray(column)
    except ValueError:  # NumPy raises it for rows of different lengths
        lengths = sorted({len(row) for row in column})
        texts = f"its texts have {lengths[0]} to {lengths[-1]} tokens"
        how = "pass padding=True, and truncation=True if they are too long"
        raise ValueError(f"{name} cannot be an array: {texts}; {how}") from None
    if array.dtype == object:
        raise ValueError(f"{name} cannot be an array of numbers: it holds {column!r}"[:300])
    return array.astype(np.int64, copy=False) if array.dtype.kind == "u" or not array.size else array


def pad_columns(columns: dict[str, Any], lengths: list[int], length: int, side: str, fill: Mapping[str, int]) -> None:
    """Lengthens the rows of columns to `length`, in place; longer rows stay as they are.

    lengths: the number of tokens of each row; fill: column to change -> the number that stands for padding in it.

    >>> columns = {"input_ids": [[7], [8, 9]]}
    >>> pad_columns(columns, [1, 2], 3, "left", {"input_ids": 0})
    >>> columns
    {'input_ids': [[0, 0, 7], [0, 8, 9]]}
    """
    for name, number in fill.items():
        if name in columns:
            rows = zip(columns[name], ([number] * (length - n) for n in lengths), strict=True)
            columns[name] = [[*row, *more] if side == "right" else [*more, *row] for row, more in rows]
