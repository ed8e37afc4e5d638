"""SentencePiece's Unigram."""

from __future__ import annotations

from typing import Any

from gputok import decoders
from gputok.automaton.pattern import Regex
from gputok.implementations.base_tokenizer import BaseTokenizer, trained_by
from gputok.models import Unigram
from gputok.normalizers import NFKC, Nmt, Precompiled, Replace
from gputok.normalizers import Sequence as Normalizers
from gputok.pre_tokenizers import Metaspace
from gputok.tokenizer import Tokenizer
from gputok.trainers import UnigramTrainer
from gputok.types import public


@public("gputok.implementations")
class SentencePieceUnigramTokenizer(BaseTokenizer):
    """Unigram, with SentencePiece's normalizer, and spaces marked as SentencePiece does.

    Args:
        vocab: (token, score) pairs, the score being the logarithm of a probability; None: to be trained.
        replacement: the character that stands for a space.
        add_prefix_space: insert a space before the text, so that its first word is like the others.

    Example:
        >>> tokenizer = SentencePieceUnigramTokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 9, vocab_size=12, show_progress=False)
        >>> tokenizer.encode("so").tokens
        ['▁so']
    """

    def __init__(
        self, vocab: list[tuple[str, float]] | None = None, replacement: str = "▁", add_prefix_space: bool = True
    ) -> None:
        tokenizer = Tokenizer(Unigram(vocab) if vocab is not None else Unigram())
        tokenizer.normalizer = Normalizers([Nmt(), NFKC(), Replace(Regex(" {2,}"), " ")])
        _mark_spaces(tokenizer, replacement, "always" if add_prefix_space else "never")
        parameters = {"model": "SentencePieceUnigram", "replacement": replacement, "add_prefix_space": add_prefix_space}
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_spm(filename: str) -> SentencePieceUnigramTokenizer:
        """Reads a .model file of SentencePiece, with the steps that `tokenizers` gives it.

        `gputok.from_sentencepiece` reads BPE models as well, and takes all steps from the file.

        Args:
            filename: the path of the file.

        Returns:
            The tokenizer.

        Raises:
            ImportError: `sentencepiece` is not installed.
            ValueError: the model is no Unigram model.
        """
        try:
            from sentencepiece import sentencepiece_model_pb2
        except ImportError:
            raise ImportError("from_spm needs sentencepiece: pip install 'gputok[sentencepiece]'") from None
        # Made when it is imported, so that type checkers don't see them
        classes: Any = sentencepiece_model_pb2
        proto = classes.ModelProto()
        with open(filename, "rb") as file:
            proto.ParseFromString(file.read())
        if proto.trainer_spec.model_type != 1:
            raise ValueError(f"{filename} expected a Unigram model; this one was trained with another algorithm")
        vocab = [(piece.piece, piece.score) for piece in proto.pieces]
        spec = proto.trainer_spec
        tokenizer = Tokenizer(Unigram(vocab, spec.unk_id, spec.byte_fallback))
        charsmap = proto.normalizer_spec.precompiled_charsmap
        first = [Precompiled(charsmap)] if charsmap else []
        tokenizer.normalizer = Normalizers([*first, Replace(Regex(" {2,}"), " ")])
        _mark_spaces(tokenizer, "▁", "always")
        made = SentencePieceUnigramTokenizer.__new__(SentencePieceUnigramTokenizer)
        BaseTokenizer.__init__(made, tokenizer, {"model": "SentencePieceUnigram"})
        return made

    train, train_from_iterator = trained_by(
        UnigramTrainer,
        vocab_size=8000,
        show_progress=True,
        special_tokens=None,
        initial_alphabet=None,
        unk_token=None,
    )


def _mark_spaces(tokenizer: Tokenizer, replacement: str, scheme: str) -> None:
    tokenizer.pre_tokenizer = Metaspace(replacement=replacement, prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(replacement=replacement, prepend_scheme=scheme)
