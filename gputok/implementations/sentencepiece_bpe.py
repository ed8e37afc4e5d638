"""SentencePiece's BPE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok import decoders
from gputok.implementations.base_tokenizer import BaseTokenizer, trained_by
from gputok.models import BPE
from gputok.normalizers import NFKC
from gputok.pre_tokenizers import Metaspace
from gputok.tokenizer import Tokenizer
from gputok.trainers import BpeTrainer
from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.tokens.added_token import AddedToken


def _trainer(
    vocab_size: int = 30000,
    min_frequency: int = 2,
    special_tokens: Sequence[str | AddedToken] = ("<unk>",),
    limit_alphabet: int = 1000,
    initial_alphabet: Sequence[str] = (),
    show_progress: bool = True,
) -> BpeTrainer:
    return BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        limit_alphabet=limit_alphabet,
        initial_alphabet=list(initial_alphabet),
        show_progress=show_progress,
    )


@public("gputok.implementations")
class SentencePieceBPETokenizer(BaseTokenizer):
    """BPE over characters, with spaces marked as SentencePiece does.

    Args:
        vocab: token -> id, or the path of a vocab.json; None: to be trained.
        merges: the merges, or the path of a merges.txt; None: to be trained.
        unk_token: the token for unknown characters.
        replacement: the character that stands for a space.
        add_prefix_space: insert a space before the text, so that its first word is like the others.
        dropout: the probability that a merge is skipped (BPE-dropout); None: none is.
        fuse_unk: make one unknown token of neighbouring unknown characters.

    Example:
        >>> tokenizer = SentencePieceBPETokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=40, show_progress=False)
        >>> tokenizer.encode("so it goes").tokens
        ['▁so', '▁it', '▁goes']
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | list[tuple[str, str]] | None = None,
        unk_token: str | AddedToken = "<unk>",
        replacement: str = "▁",
        add_prefix_space: bool = True,
        dropout: float | None = None,
        fuse_unk: bool | None = False,
    ) -> None:
        if vocab is None or merges is None:
            vocab = merges = None
        tokenizer = Tokenizer(BPE(vocab, merges, dropout=dropout, unk_token=str(unk_token), fuse_unk=fuse_unk))
        if tokenizer.token_to_id(str(unk_token)) is not None:
            tokenizer.add_special_tokens([str(unk_token)])
        tokenizer.normalizer = NFKC()
        scheme = "always" if add_prefix_space else "never"
        tokenizer.pre_tokenizer = Metaspace(replacement=replacement, prepend_scheme=scheme)
        tokenizer.decoder = decoders.Metaspace(replacement=replacement, prepend_scheme=scheme)
        parameters = {
            "model": "SentencePieceBPE",
            "unk_token": unk_token,
            "replacement": replacement,
            "add_prefix_space": add_prefix_space,
            "dropout": dropout,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **kwargs: Any) -> SentencePieceBPETokenizer:
        """Reads a vocab.json and a merges.txt.

        Args:
            vocab_filename: the path of vocab.json.
            merges_filename: the path of merges.txt.
            kwargs: further arguments of the class.

        Returns:
            The tokenizer.
        """
        return SentencePieceBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **kwargs)

    train, train_from_iterator = trained_by(_trainer)
