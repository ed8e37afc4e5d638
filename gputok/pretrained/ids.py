"""Conversions between ids, tokens and text."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.pretrained import calls
from gputok.pretrained.special_tokens import SpecialTokens

if TYPE_CHECKING:
    from gputok.tokens.added_token import AddedToken

_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""Texts whose spaces are removed when a text is cleaned up."""


class TokenIds(SpecialTokens):
    """The vocabulary of a tokenizer with its special tokens, and the conversion of ids to text."""

    clean_up_tokenization_spaces: bool

    @property
    def vocab_size(self) -> int:
        """The size of the model's vocabulary, without added tokens."""
        return self._tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def get_vocab(self) -> dict[str, int]:
        """Returns token -> id, including added tokens."""
        return self._tokenizer.get_vocab()

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
        """Returns added token -> id, by rising id."""
        return self.added_tokens_encoder

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Converts a token to its id, or several tokens to a list of ids.

        A token that the vocabulary lacks has the id of `unk_token`, or None if that is not set.
        """
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
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        is_bpe = type(self._tokenizer.model).__name__ == "BPE"
        if clean_up_tokenization_spaces and is_bpe:
            warnings.warn(
                "clean_up_tokenization_spaces=True does nothing for BPE: its spaces are the text's", stacklevel=2
            )
        return without_spaces(text) if clean and not is_bpe else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """Converts several lists of ids, or the rows of an array, to texts; the options are those of `decode`."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]


def without_spaces(text: str) -> str:
    """Removes the spaces before punctuation and English contractions."""
    for spaced in _SPACED:
        text = text.replace(spaced, spaced.strip())
    return text
