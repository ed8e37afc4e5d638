"""SentencePiece's BPE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok import decoders
from gputok.implementations.base_tokenizer import BaseTokenizer, from_bpe_files, shown, trained_by
from gputok.models import BPE
from gputok.normalizers import NFKC
from gputok.pre_tokenizers import Metaspace
from gputok.tokenizer import Tokenizer
from gputok.trainers import BpeTrainer
from gputok.types import public

if TYPE_CHECKING:
    from gputok.tokens.added_token import AddedToken


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
        parameters = shown("SentencePieceBPE", locals(), "merges", "fuse_unk")
        if vocab is None or merges is None:
            vocab = merges = None
        tokenizer = Tokenizer(BPE(vocab, merges, dropout=dropout, unk_token=str(unk_token), fuse_unk=fuse_unk))
        if tokenizer.token_to_id(str(unk_token)) is not None:
            tokenizer.add_special_tokens([str(unk_token)])
        tokenizer.normalizer = NFKC()
        scheme = "always" if add_prefix_space else "never"
        tokenizer.pre_tokenizer = Metaspace(replacement=replacement, prepend_scheme=scheme)
        tokenizer.decoder = decoders.Metaspace(replacement=replacement, prepend_scheme=scheme)
        super().__init__(tokenizer, parameters)

    from_file = from_bpe_files
    train, train_from_iterator = trained_by(
        BpeTrainer,
        vocab_size=30000,
        min_frequency=2,
        special_tokens=["<unk>"],
        limit_alphabet=1000,
        initial_alphabet=[],
        show_progress=True,
    )
