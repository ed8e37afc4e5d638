"""Post-processors insert special tokens around encoded texts, and exclude white space from offsets.

A post-processor maps the input sequences (one, or two for a pair) to the parts of the result, in order. Each part is a
`Rows` object, which holds the same part of many encodings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from collections.abc import Sequence as ListOf
from typing import Any, ClassVar, Self

from gputok import checks
from gputok.checks import WORD, WrongType, WrongValue, brief, checked, field, listed, needed, reading, string, switch
from gputok.components import Chain, Component, Verbatim, described
from gputok.encoding.encoding import Encoding
from gputok.encoding.rows import Rows, merge, named_rows
from gputok.kernels.signatures import NamedTuple

SpecialToken = tuple[str, int]

_number = checks.integer(0, WORD)  # an id, or a type id
_special_token = checks.tuple_of(string, _number)
_given = checks.optional(switch, True)  # None means True, as in tokenizers


class PostProcessor(Component):
    """Base class of all post-processors."""

    kind: ClassVar[str] = "post-processor"
    home: ClassVar[str] = "gputok.processors"

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """Returns how many tokens are added to one text or, if `is_pair`, to a pair."""
        return self._n_added(checked("is_pair", switch, is_pair))

    def _n_added(self, is_pair: bool) -> int:
        return 0

    def parts(self, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False) -> list[Rows]:
        """Returns the parts of the result, in order: texts and special tokens.

        sequences: the tokens of many texts or, for pairs, those of the first and those of the second texts; overflow:
        they are parts that truncation cut off.
        """
        raise NotImplementedError

    def renumbered(self, new_id: Callable[[int], int]) -> Self:
        """Returns a post-processor whose tokens have the ids that `new_id` gives; its errors are passed on."""
        raise NotImplementedError(f"{type(self).__name__} may hold ids, and does not say which")

    def process(self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True) -> Encoding:
        """Processes one encoding, or a pair of encodings.

        Args:
            encoding: the encoding of the first text.
            pair: the encoding of the second text, or None.
            add_special_tokens: False: add no tokens.

        Returns:
            A new encoding.
        """
        checked("add_special_tokens", switch, add_special_tokens)
        return process_one(self.frozen(), encoding, pair, add_special_tokens)


class ByteLevel(PostProcessor):
    """Excludes the white space of byte-level tokens from their offsets.

    Args:
        add_prefix_space: the pre-tokenizer added a space before the text: that space is not excluded.
        trim_offsets: False: leave offsets as they are.
        use_regex: accepted as in `tokenizers`, and without effect.
        type: "ByteLevel", so that the JSON form can be passed as arguments.

    Raises:
        ValueError: `type` is another word.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE({"a": 0, "Ġ": 1, "Ġa": 2}, [("Ġ", "a")]))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        >>> tokenizer.encode("a a").offsets
        [(0, 1), (1, 3)]
        >>> tokenizer.post_processor = ByteLevel()
        >>> tokenizer.encode("a a").offsets
        [(0, 1), (2, 3)]
    """

    add_prefix_space: bool = field(_given, default=True)
    trim_offsets: bool = field(_given, default=True)
    use_regex: bool = field(_given, default=True, may_lack=True)

    def __init__(
        self,
        add_prefix_space: bool | None = None,  # None means True, as in tokenizers
        trim_offsets: bool | None = None,
        use_regex: bool | None = None,
        *,
        type: str = "ByteLevel",
    ) -> None:
        if type != "ByteLevel":
            raise ValueError(f"expected type 'ByteLevel', got {checks.short(type)}")
        self._set(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets, use_regex=use_regex)

    def renumbered(self, new_id: Callable[[int], int]) -> Self:
        return self

    def parts(self, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False) -> list[Rows]:
        if self.trim_offsets:
            sequences = [rows.trim_offsets(self.add_prefix_space) for rows in sequences]
        return sequences if overflow else [rows.with_sequence(i) for i, rows in enumerate(sequences)]


def _read_token(given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list):
        raise WrongValue(f"must be a list of a token and its id, not {brief(given)}")
    return tuple(given)


# The arguments of `checks.field` for (text, id) of a special token: a list in JSON, and a tuple in Python
_TOKEN: dict[str, Any] = {
    "check": _special_token,
    "shown": lambda token: f'("{token[0]}", {token[1]})',
    "read": _read_token,
}


class BertProcessing(PostProcessor):
    """Adds BERT's special tokens: `[CLS] A [SEP]` and, for a pair, `[CLS] A [SEP] B [SEP]`.

    Args:
        sep: (text, id) of the token after each text.
        cls_token: (text, id) of the token before the first text.

    Example:
        >>> BertProcessing(("[SEP]", 102), ("[CLS]", 101)).num_special_tokens_to_add(True)
        3
    """

    sep: SpecialToken = field(**_TOKEN)
    cls: SpecialToken = field(**_TOKEN)

    def __init__(self, sep: SpecialToken, cls_token: SpecialToken) -> None:
        self.sep, self.cls = sep, cls_token

    def renumbered(self, new_id: Callable[[int], int]) -> Self:
        return type(self)((self.sep[0], new_id(self.sep[1])), (self.cls[0], new_id(self.cls[1])))

    def _n_added(self, is_pair: bool) -> int:
        return 3 if is_pair else 2

    def parts(self, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False) -> list[Rows]:
        if not add_special_tokens:
            return sequences
        return [
            _around(None if i else self.cls, rows, self.sep, min(i, 1), min(i, 1)) for i, rows in enumerate(sequences)
        ]


class RobertaProcessing(PostProcessor):
    """Adds RoBERTa's special tokens: `<s> A </s>` and, for a pair, `<s> A </s> </s> B </s>`. All type ids are 0.

    Args:
        sep: (text, id) of the token after each text, and before the second.
        cls_token: (text, id) of the token before the first text.
        trim_offsets: exclude white space from offsets, as `ByteLevel` does.
        add_prefix_space: as for `ByteLevel`.

    Example:
        >>> RobertaProcessing(("</s>", 2), ("<s>", 0)).num_special_tokens_to_add(True)
        4
    """

    sep: SpecialToken = field(**_TOKEN)
    cls: SpecialToken = field(**_TOKEN)
    trim_offsets: bool = field(switch)
    add_prefix_space: bool = field(switch)

    def __init__(
        self, sep: SpecialToken, cls_token: SpecialToken, trim_offsets: bool = True, add_prefix_space: bool = True
    ) -> None:
        self.sep, self.cls = sep, cls_token
        self.trim_offsets, self.add_prefix_space = trim_offsets, add_prefix_space

    def renumbered(self, new_id: Callable[[int], int]) -> Self:
        tokens = (self.sep[0], new_id(self.sep[1])), (self.cls[0], new_id(self.cls[1]))
        return type(self)(*tokens, self.trim_offsets, self.add_prefix_space)

    def _n_added(self, is_pair: bool) -> int:
        return 4 if is_pair else 2

    def parts(self, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False) -> list[Rows]:
        if self.trim_offsets:
            sequences = [rows.trim_offsets(self.add_prefix_space) for rows in sequences]
        # without special tokens, the parts that truncation cut off keep their type ids, as in tokenizers
        if add_special_tokens or not overflow:
            sequences = [rows.replace(type_ids=0) for rows in sequences]
        if not add_special_tokens:
            return sequences
        return [_around(self.sep if i else self.cls, rows, self.sep, min(i, 1), 0) for i, rows in enumerate(sequences)]


def _around(before: SpecialToken | None, rows: Rows, after: SpecialToken, sequence: int, type_id: int) -> Rows:
    """Puts special tokens around many texts; the tokens that these have count as text: neither special nor padding."""
    plain = rows.replace(special=0, attention=1)._replace(ranges={}).with_sequence(sequence)
    specials = [
        token and named_rows([token[1]], [token[0]], len(rows.first), type_id=type_id) for token in (before, after)
    ]
    whole = merge([part for part in (specials[0], plain, specials[1]) if part is not None])
    return whole._replace(sequence=rows.sequence)


def _type_id(digits: str | int) -> int:
    """Reads the type id of a template. Refuses too many digits first: to convert a very long number would take long."""
    if len(str(digits).lstrip("0")) > len(str(WORD)):
        raise WrongValue(f"must be a whole number from 0 to 2**32 - 1, not {brief(digits)}")
    return _number(int(digits))


class Piece(NamedTuple):
    """One part of a template: an input sequence ("A" or "B"), or a special token by its name in the template."""

    id: str
    type_id: int
    special: bool

    @classmethod
    def parse(cls, text: str) -> Piece:
        """Reads `$A`, `$B:1`, `$0` (A with the type id 0), `[CLS]` or `[CLS]:0`."""
        match = re.fullmatch(r"(\$(?:[ABab]?|\+?\d+)|[^$:][^:]*|)(?::\+?(\d+))?", text)
        if match is None:
            raise WrongValue(
                f'Cannot build Piece from string "{text}": expected $A, $B or a special token, and perhaps :type_id'
            )
        name, type_id = match.groups()
        if not name.startswith("$"):
            return cls._checked(name, type_id or 0, True)
        number = name[1:].lstrip("+")
        implied = number if number.isdigit() else 0
        return cls._checked("B" if name in ("$B", "$b") else "A", implied if type_id is None else type_id, False)

    @classmethod
    def _checked(cls, name: str, type_id: str | int, special: bool) -> Piece:
        return cls(checked("id", string, name), checked("type_id", _type_id, type_id), special)

    @classmethod
    def from_dict(cls, value: Any) -> Piece:
        """Makes a piece from its JSON form."""
        if not isinstance(value, dict) or [*value] not in (["Sequence"], ["SpecialToken"]):
            raise WrongValue(f"must be a Sequence or a SpecialToken, not {brief(value)}")
        ((kind, given),) = value.items()
        special = kind == "SpecialToken"

        def read(given: Any) -> Piece:
            name = checked("id", string if special else checks.choice("A", "B"), needed(given, "id"))
            return cls(name, checked("type_id", _number, needed(given, "type_id")), special)

        return reading(kind, read, given)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {"SpecialToken" if self.special else "Sequence": {"id": self.id, "type_id": self.type_id}}

    def __str__(self) -> str:
        return f"{'' if self.special else '$'}{self.id}:{self.type_id}"


class TemplateProcessing(PostProcessor):
    """Adds special tokens where a template has them.

    In a template, `$A` and `$B` are the texts and every other word is a special token. A number after a colon is the
    type id. `single` can be read and set as a template; in `tokenizers`, reading it gives a text for debugging.
    `num_special_tokens_to_add` always belongs to the present template.

    Args:
        single: the template for one text, a string or a list of its words; None: `"$A"`.
        pair: the template for a pair; None: `"$A:0 $B:1"`.
        special_tokens: for each special token its text and id, in either order, or a dictionary with `id` (its name in
            the template), `ids` and `tokens`.

    Raises:
        ValueError: a template can't be read, contains a special token that is not listed, or `pair` lacks `$A` or `$B`.
        TypeError: an argument has another type.

    Example:
        >>> tokens = [("[CLS]", 101), ("[SEP]", 102)]
        >>> bert = TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", tokens)
        >>> bert.num_special_tokens_to_add(is_pair=True)
        3
    """

    def __init__(
        self,
        single: str | ListOf[str] | None = None,
        pair: str | ListOf[str] | None = None,
        special_tokens: ListOf[SpecialToken | tuple[int, str] | dict[str, Any]] | None = None,
    ) -> None:
        self._single = checked("single", _template, "$A" if single is None else single)
        self._pair = checked("pair", _template, "$A:0 $B:1" if pair is None else pair)
        named = listed(_named_special_token)
        self._special_tokens = dict(checked("special_tokens", named, [] if special_tokens is None else special_tokens))
        if not {"A", "B"} <= {piece.id for piece in self._pair if not piece.special}:
            raise ValueError("Template for `pair` must use both sequences: $A and $B")
        self._check_known([*self._single, *self._pair])

    def _check_known(self, pieces: ListOf[Piece]) -> None:
        missing = {piece.id for piece in pieces if piece.special} - self._special_tokens.keys()
        if missing:
            names = ", ".join(sorted(missing))
            names = names if len(names) <= 200 else f"{names[:197]}..."
            raise ValueError(f"Missing SpecialToken(s) with id(s) `{names}`")

    @property
    def single(self) -> str:
        """The template for one text, as a string."""
        return " ".join(map(str, self._single))

    @single.setter
    def single(self, template: str | ListOf[str]) -> None:
        pieces = checked("single", _template, template)
        self._check_known(pieces)
        self._single = pieces

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "TemplateProcessing",
            "single": [piece.to_dict() for piece in self._single],
            "pair": [piece.to_dict() for piece in self._pair],
            "special_tokens": dict(sorted(self._special_tokens.items())),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        template, pieces = cls.__new__(cls), listed(Piece.from_dict)
        template._single = reading("single", pieces, needed(value, "single"))
        template._pair = reading("pair", pieces, needed(value, "pair"))
        special_tokens = needed(value, "special_tokens")
        if not isinstance(special_tokens, dict):
            raise WrongValue(f"must be an object, not {brief(special_tokens)}", "special_tokens")
        template._special_tokens = dict(
            reading(f"special_tokens.{name}", _named_special_token, token) for name, token in special_tokens.items()
        )
        template._check_known([*template._single, *template._pair])
        return template

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        def shown(kind: str, **fields: Any) -> Verbatim:
            return Verbatim(described(kind, fields, sys.maxsize))

        def shown_piece(id: str, type_id: int, special: bool) -> Verbatim:
            return shown("SpecialToken" if special else "Sequence", id=id if special else Verbatim(id), type_id=type_id)

        single, pair = ([shown_piece(*piece) for piece in pieces] for pieces in (self._single, self._pair))
        tokens = {name: shown("SpecialToken", **token) for name, token in sorted(self._special_tokens.items())}
        return shown("TemplateProcessing", single=single, pair=pair, special_tokens=tokens)

    def renumbered(self, new_id: Callable[[int], int]) -> Self:
        form = self.to_dict()
        for name, token in form["special_tokens"].items():
            form["special_tokens"][name] = {**token, "ids": [new_id(id) for id in token["ids"]]}
        return type(self).from_dict(form)

    def _n_added(self, is_pair: bool) -> int:
        pieces = self._pair if is_pair else self._single
        return sum(len(self._special_tokens[piece.id]["ids"]) for piece in pieces if piece.special)

    def parts(self, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False) -> list[Rows]:
        if len(sequences) > 2:  # parts that a post-processor before this one has made, with its special tokens
            raise ValueError("TemplateProcessing cannot come after a post-processor that adds tokens")
        parts, n_rows = [], len(sequences[0].first)
        for piece in self._pair if len(sequences) == 2 else self._single:
            if piece.special:
                token = self._special_tokens[piece.id]
                if add_special_tokens:
                    parts.append(named_rows(token["ids"], token["tokens"], n_rows, type_id=piece.type_id))
                continue
            if piece.id == "B" and len(sequences) == 1:
                template = checks.short(self.single)
                raise ValueError(f"the template {template} for one text uses $B, which only a pair has")
            i = 1 if piece.id == "B" else 0
            # The parts that truncation cut off keep the type ids that they have, as in tokenizers.
            rows = sequences[i] if overflow else sequences[i].replace(type_ids=piece.type_id)
            parts.append(rows if overflow else rows.with_sequence(i))
        return parts or [named_rows([], [], n_rows)]


def around(
    before: ListOf[SpecialToken], after: ListOf[SpecialToken], again: ListOf[SpecialToken]
) -> TemplateProcessing:
    """Returns the post-processor that adds tokens before and after a text; again: those before the second of a pair."""
    single, second = (
        [f"{word}:{i}" for word, _ in (*begin, (text, 0), *after)]
        for i, (begin, text) in enumerate(((before, "$A"), (again, "$B")))
    )
    return TemplateProcessing(single, single + second, [*dict.fromkeys((*before, *after))])


def _template(value: str | ListOf[str]) -> tuple[Piece, ...]:
    if isinstance(value, str):
        value = value.split(" ")
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise WrongType(f"Expected Union[str, List[str]] as a template, not {brief(value)}")
    return listed(Piece.parse)(value)


def _named_special_token(value: Any) -> tuple[str, dict[str, Any]]:
    """Returns the name of a special token in templates, and its JSON form."""
    if isinstance(value, dict):
        if missing := _NAMED.keys() - value.keys():
            raise WrongValue(f"`{sorted(missing)[0]}` must be specified in the special token {brief(value)}")
        token = {name: checked(name, check, value[name]) for name, check in _NAMED.items()}
        if len(token["ids"]) != len(token["tokens"]):
            raise WrongValue(f"ids and tokens must be of the same length: {brief(value)}")
        return token["id"], {name: [*item] if isinstance(item, tuple) else item for name, item in token.items()}
    if isinstance(value, tuple | list) and {type(item) for item in value} == {str, int} and len(value) == 2:
        text, number = _special_token(tuple(value) if isinstance(value[0], str) else tuple(value[::-1]))
        return text, {"id": text, "ids": [number], "tokens": [text]}
    raise WrongType(f"Expected Union[Tuple[str, int], Tuple[int, str], dict] as a special token, not {brief(value)}")


_NAMED = {"id": string, "ids": listed(_number), "tokens": listed(string)}


class Sequence(Chain, PostProcessor):
    """Calls post-processors one after the other. Each gets the parts that the one before made.

    Args:
        processors: the post-processors, in this order; a Sequence among them is replaced by its elements.

    Example:
        >>> bert = BertProcessing(("[SEP]", 102), ("[CLS]", 101))
        >>> Sequence([ByteLevel(), bert]).num_special_tokens_to_add(False)
        2
    """

    processors: ListOf[PostProcessor] = field(**checks.elements(PostProcessor))

    def renumbered(self, new_id: Callable[[int], int]) -> Self:
        return type(self)([processor.renumbered(new_id) for processor in self.processors])

    def _n_added(self, is_pair: bool) -> int:
        return sum(processor.num_special_tokens_to_add(is_pair) for processor in self.processors)

    def parts(self, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False) -> list[Rows]:
        for processor in self.processors:
            sequences = processor.parts(sequences, add_special_tokens, overflow)
        return sequences


def process_rows(
    processor: PostProcessor | None, sequences: list[Rows], add_special_tokens: bool, overflow: bool = False
) -> list[Rows]:
    """Calls a post-processor, or none, for many texts or pairs, as `PostProcessor.parts` says."""
    numbered = [rows._replace(sequence=i) for i, rows in enumerate(sequences)]
    if processor is None:
        pair = len(sequences) == 2
        return [rows.with_sequence(i) if pair and not overflow else rows for i, rows in enumerate(numbered)]
    numbered = [rows.with_sequence(i) for i, rows in enumerate(numbered)]
    if not overflow:
        numbered = [rows.replace(type_ids=i) for i, rows in enumerate(numbered)]
    return processor.parts(numbered, add_special_tokens, overflow)


def process_one(
    processor: PostProcessor | None, encoding: Encoding, pair: Encoding | None, add_special_tokens: bool
) -> Encoding:
    """Processes one text or pair. In a pair, a part that truncation cut off goes with what is kept of the other."""
    given = [encoding] if pair is None else [encoding, pair]
    rows = [one.row() for one in given]
    parts = process_rows(processor, rows, add_special_tokens, False)
    overflowing: list[list[Encoding]] = [[] for _ in parts]
    for i, one in enumerate(given):
        for other in one.overflowing:
            found = process_rows(processor, [*rows[:i], other.row(), *rows[i + 1 :]], add_special_tokens, True)
            for cut_off, part, own in zip(overflowing, found, parts, strict=True):
                if own.sequence == i:
                    cut_off.append(Encoding.of(part))
    finished = [Encoding.of(part, 0, cut_off) for part, cut_off in zip(parts, overflowing, strict=True)]
    return finished[0] if len(finished) == 1 else Encoding.merge(finished, growing_offsets=False)
