"""The special tokens of a tokenizer by name (`eos_token`, `pad_token_id`, ...), its vocabulary, and ids to text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from gputok.checks import warn
from gputok.lazy import same_method
from gputok.pretrained import calls
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

Token = str | AddedToken

_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""Texts that `decode` replaces by the same without spaces at their ends, for `clean_up_tokenization_spaces`."""


class SpecialTokens:
    """The special tokens of a tokenizer: seven with names, others with names of the model's own, and some without.

    Each name is an attribute: the text of the token, or None. Each name with `_id` is one as well: its id, or None.
    """

    _tokenizer: Tokenizer
    clean_up_tokenization_spaces: bool

    def _name_tokens(self, named: Mapping[str, Token | None], extra: Iterable[Token]) -> None:
        """Sets all special tokens, and adds those that are not added tokens of the tokenizer yet."""
        self._named = {name: None if token is None else as_token(token, name) for name, token in named.items()}
        self._extra = [as_token(token, "extra_special_tokens") for token in extra]
        known = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        tokens = [token for token in (*self._named.values(), *self._extra) if token and str(token) not in known]
        self._tokenizer.add_special_tokens([*dict.fromkeys(tokens)])

    def __getattr__(self, name: str) -> Any:
        named = self.__dict__.get("_named", {})
        if (of := name.removesuffix("_id")) in named:
            token = None if named[of] is None else str(named[of])
            return token if of == name or token is None else self.convert_tokens_to_ids(token)
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("_"):
            message += f"; if transformers has it, to_transformers().{name} is it, and runs on gputok"
        raise AttributeError(message)

    def __setattr__(self, name: str, value: Any) -> None:
        named = self.__dict__.get("_named", {})
        if (of := name.removesuffix("_id")) not in named:
            super().__setattr__(name, value)
            return
        if of != name and value is not None:
            value = self.convert_ids_to_tokens(value)
        named[of] = None if value is None else as_token(value, of)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._named, *(f"{name}_id" for name in self._named)]

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
                known = f"{', '.join(self._named)} and extra_special_tokens"
                raise ValueError(f"no special token is called {name!r}; there are {known}")
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
        tokens = [token if isinstance(token, str) else as_token(token, "new_tokens") for token in given]
        return self._tokenizer.add_tokens(tokens)

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
            needs = "get_special_tokens_mask needs one list of ids with already_has_special_tokens=True"
            instead = "for a text, call the tokenizer with return_special_tokens_mask=True"
            raise NotImplementedError(f"{needs}; {instead}")
        special = set(self.all_special_ids)
        return [int(token_id in special) for token_id in map(int, token_ids_0)]

    # -- ids and text

    @property
    def vocab_size(self) -> int:
        """The size of the model's vocabulary, without added tokens."""
        return self._tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    get_vocab = same_method(Tokenizer.get_vocab)

    @property
    def vocab(self) -> dict[str, int]:
        """`get_vocab()`."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> AddedToken."""
        return self._tokenizer.get_added_tokens_decoder()

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added token -> id, by rising id."""
        return {token.content: token_id for token_id, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Returns `added_tokens_encoder`."""
        return self.added_tokens_encoder

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Converts one token or several to ids; a token that does not exist gets the id of `unk_token`, or None."""
        if isinstance(tokens, str):
            token_id = self._tokenizer.token_to_id(tokens)
            unknown = self._named.get("unk_token")
            return self._tokenizer.token_to_id(str(unknown)) if token_id is None and unknown else token_id
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Converts an id to its token, or several ids to a list of tokens; ids that do not exist become None."""
        if isinstance(ids, int | np.integer):
            return self._tokenizer.id_to_token(int(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._tokenizer.id_to_token(i) for i in map(int, ids) if i not in skipped]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Converts tokens to text, by the decoder."""
        decoder = self._tokenizer.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> Any:
        """Converts ids to text.

        Args:
            token_ids: one id, or a list, an array or a tensor of ids; or several lists or rows of ids.
            skip_special_tokens: leaves out special tokens.
            clean_up_tokenization_spaces: removes spaces before punctuation and English contractions; None: as the
                attribute says. Does nothing for BPE, whose spaces are those of the text.

        Returns:
            The text, or a list of texts for several lists.
        """
        ids = calls.plain(token_ids["input_ids"] if isinstance(token_ids, Mapping) else token_ids)
        if isinstance(ids, list | tuple) and ids and isinstance(ids[0], list | tuple):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
        text = self._tokenizer.decode(ids if isinstance(ids, list | tuple) else [ids], skip_special_tokens)
        asked, is_bpe = clean_up_tokenization_spaces, type(self._tokenizer.model).__name__ == "BPE"
        clean = self.clean_up_tokenization_spaces if asked is None else asked
        if asked and is_bpe:
            reason = "its spaces are the text's"
            warn(f"clean_up_tokenization_spaces=True does nothing for BPE: {reason}")
        for spaced in _SPACED if clean and not is_bpe else ():
            text = text.replace(spaced, spaced.strip())
        return text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """Converts several lists of ids, or the rows of an array, to texts; the options are those of `decode`."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]


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


DEFAULTS: dict[str, Any] = {
    "model_max_length": calls.UNLIMITED,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": ["input_ids", "attention_mask"],
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": False,
    "response_template": None,
    "chat_control_tokens": None,
}
"""Name -> default of the options that are attributes."""

_MORE = ("extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens", "chat_template")


def is_known(key: str, value: Any) -> bool:
    """Says whether a setting of a tokenizer_config.json is an option of the constructor that changes no step."""
    return key in DEFAULTS or key in _MORE or names_token(key, value)


def names_token(key: str, value: Any) -> bool:
    """Says whether an option sets a special token: a name of `NAMES`, or any name ending in `_token` with a token.

    Here a token is a string, an AddedToken, or its JSON form with `__type`.
    """
    if key in NAMES:
        return True
    marked = isinstance(value, Mapping) and value.get("__type") == "AddedToken"
    return key.endswith("_token") and (marked or isinstance(value, str) or type(value).__name__ == "AddedToken")
