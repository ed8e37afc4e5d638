"""Special tokens by the names of their meanings for a model: `eos_token`, `pad_token_id`, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    from gputok.tokenizer import Tokenizer

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

Token = str | AddedToken


class _Token:
    """An attribute such as `eos_token`: the text of the token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, holder: SpecialTokens | None, owner: type) -> Any:
        if holder is None:
            return self
        token = holder._named.get(self.name)
        return None if token is None else str(token)

    def __set__(self, holder: SpecialTokens, token: Token | None) -> None:
        holder._named[self.name] = None if token is None else as_token(token, self.name)


class _TokenId(_Token):
    """An attribute such as `eos_token_id`: the id of the token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, holder: SpecialTokens | None, owner: type) -> Any:
        if holder is None:
            return self
        token = super().__get__(holder, owner)
        return None if token is None else holder.convert_tokens_to_ids(token)

    def __set__(self, holder: SpecialTokens, token_id: int | None) -> None:
        super().__set__(holder, None if token_id is None else holder.convert_ids_to_tokens(token_id))


class SpecialTokens:
    """The special tokens of a tokenizer: seven with names, others with names of the model's own, and some without a name."""

    bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token = (_Token() for _ in NAMES)
    bos_token_id, eos_token_id, unk_token_id, sep_token_id = (_TokenId() for _ in range(4))
    pad_token_id, cls_token_id, mask_token_id = (_TokenId() for _ in range(3))

    _tokenizer: Tokenizer

    def _name_tokens(self, named: Mapping[str, Token | None], extra: Iterable[Token]) -> None:
        """Sets all special tokens, and adds those that the vocabulary lacks."""
        self._named = {name: None if token is None else as_token(token, name) for name, token in named.items()}
        self._extra = [as_token(token, "extra_special_tokens") for token in extra]
        known = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        tokens = [token for token in (*self._named.values(), *self._extra) if token and str(token) not in known]
        self._tokenizer.add_special_tokens([*dict.fromkeys(tokens)])

    def __getattr__(self, name: str) -> Any:
        named = self.__dict__.get("_named", {})
        if name in named:
            return None if named[name] is None else str(named[name])
        if name.removesuffix("_id") in named:
            token = named[name.removesuffix("_id")]
            return None if token is None else self.convert_tokens_to_ids(str(token))
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("_"):
            message += f"; if transformers has it, to_transformers().{name} is it, and runs on gputok"
        raise AttributeError(message)

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens without a name."""
        return [str(token) for token in self._extra]

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: Iterable[Token] | None) -> None:
        self._extra = [as_token(token, "extra_special_tokens") for token in tokens or ()]

    additional_special_tokens = extra_special_tokens  # the name in older versions of transformers

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Name -> special token, for the names that are set."""
        return {name: str(token) for name, token in self._named.items() if token is not None}

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once."""
        return [*dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens])]

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of all special tokens."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_extra_special_tokens: bool = True
    ) -> int:
        """Sets special tokens by name, and adds those that the vocabulary lacks.

        Args:
            special_tokens_dict: for example `{"pad_token": "<pad>", "extra_special_tokens": ["<a>", "<b>"]}`.
            replace_extra_special_tokens: replaces the tokens without a name; False: extends them.

        Returns:
            How many tokens were new.

        Raises:
            ValueError: if a name is not that of a special token.
        """
        tokens = []
        for name, value in special_tokens_dict.items():
            if name in ("extra_special_tokens", "additional_special_tokens"):
                new = [as_token(token, name) for token in value]
                known = [] if replace_extra_special_tokens else self._extra
                self._extra = known + [token for token in new if token not in known]
                tokens += new
            elif name in self._named:
                self._named[name] = as_token(value, name)
                tokens.append(self._named[name])
            else:
                raise ValueError(
                    f"no special token is called {name!r}; there are {', '.join(self._named)} and extra_special_tokens"
                )
        return self._tokenizer.add_special_tokens(tokens)

    def add_tokens(self, new_tokens: Token | Iterable[Token], special_tokens: bool = False) -> int:
        """Adds tokens to the vocabulary.

        Args:
            new_tokens: one token or several, as strings or AddedTokens.
            special_tokens: makes them special: `decode` can leave them out.

        Returns:
            How many tokens were new.
        """
        is_one = isinstance(new_tokens, str | AddedToken) or hasattr(new_tokens, "content")
        given: list[Any] = [new_tokens] if is_one else [*cast("Iterable[Token]", new_tokens)]
        if special_tokens:
            given = [AddedToken.adopt(token, special=True) for token in given]
            return self._tokenizer.add_special_tokens([as_token(token, "new_tokens") for token in given])
        return self._tokenizer.add_tokens(
            [token if isinstance(token, str) else as_token(token, "new_tokens") for token in given]
        )

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Marks ids of special tokens by 1, and others by 0.

        Args:
            token_ids_0: the ids, with their special tokens.
            token_ids_1: None; a second text is not supported.
            already_has_special_tokens: True; ids without special tokens are not supported.

        Raises:
            NotImplementedError: for other arguments; call the tokenizer with `return_special_tokens_mask=True` instead.
        """
        if not already_has_special_tokens or token_ids_1 is not None:
            raise NotImplementedError(
                "get_special_tokens_mask needs one list of ids with already_has_special_tokens=True; for a text, call "
                "the tokenizer with return_special_tokens_mask=True"
            )
        special = set(self.all_special_ids)
        return [int(token_id in special) for token_id in map(int, token_ids_0)]


def as_token(value: Any, name: str) -> AddedToken:
    """Makes an AddedToken of a string, of its JSON form, or of an AddedToken of `tokenizers`."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    value = AddedToken.adopt(value)
    if isinstance(value, AddedToken):
        return value
    if isinstance(value, Mapping) and "content" in value:
        return AddedToken(**{"special": True, **{key: item for key, item in value.items() if key != "__type"}})
    raise TypeError(f"{name} must be a string or an AddedToken, not {value!r}")
