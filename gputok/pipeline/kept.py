"""What a pipeline keeps: made at the first call that needs it, and used by later calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable


class _Once:
    def once(self, name: str, made: Any) -> Any:
        """Sets a field for good, and returns what it is: of two threads, both get what the first one made."""
        return vars(self).setdefault(name, made)


class Engines(_Once):
    """What encodes texts; pipelines that differ only in limits share it.

    Attributes:
        corpus: encodes documents (`encode_units.Engine`); None: not made yet.
        texts: encodes a short text (`text_engine.Engine`); None: not made yet; False: a handle can't hold the pipeline.
    """

    corpus: Any = None
    texts: Any = None


class Kept(_Once):
    """What is kept of one pipeline.

    Attributes:
        texts: makes encodings (`encode_text.Texts`); None: not made yet; False: a handle can't hold the pipeline.
        bare_texts: the same, for encodings without offsets, words and texts of tokens.
        pairs: what encodes pairs and lists of words (`encode_pairs.Pairs`): True -> without offsets, words and texts of tokens,
            False -> with them; False: `encode_batch` encodes them.
        engines: what encodes texts.
        decodings: what decodes ids (`decode_ids`): True -> without special tokens, False -> with them.
        variants: other pipelines that were made of this one, by what they differ in.
    """

    texts: Any = None
    bare_texts: Any = None

    def __init__(self) -> None:
        self.engines = Engines()
        self.pairs: dict[bool, Any] = {}
        self.decodings: dict[bool, Any] = {}
        self.variants: dict[Hashable, Any] = {}
