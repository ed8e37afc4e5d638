"""Models turn a piece of text (a word) into tokens.

>>> from gputok.models import BPE
>>> bpe = BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])
>>> [token.as_tuple() for token in bpe.tokenize("abb")]
[(2, 'ab', (0, 2)), (1, 'b', (2, 3))]
"""

from typing import TYPE_CHECKING

from gputok.lazy import attach

if TYPE_CHECKING:  # for type checkers and editors; the table below has the same names
    from gputok.models.base import Model, Tokens
    from gputok.models.bpe.model import BPE
    from gputok.models.unigram.model import Unigram
    from gputok.models.wordlevel.model import WordLevel
    from gputok.models.wordpiece.model import WordPiece
    from gputok.tokens.vocabulary import Vocabulary

__all__ = ["BPE", "Model", "Tokens", "Unigram", "Vocabulary", "WordLevel", "WordPiece"]

if not TYPE_CHECKING:  # else type checkers would take any name
    __getattr__, __dir__ = attach(
        __name__,
        {
            "models.base": "Model Tokens",
            "models.bpe.model": "BPE",
            "models.unigram.model": "Unigram",
            "models.wordlevel.model": "WordLevel",
            "models.wordpiece.model": "WordPiece",
            "tokens.vocabulary": "Vocabulary",
        },
    )
