"""A page in which people type a text and see its tokens: the box of a report, without a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.types import public

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


@public("gputok.report")
def playground(
    tokenizers: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    text: str = "",
    title: str = "Tokenizer playground",
) -> str | None:
    """Makes a page that tokenizes what is typed or pasted, by each tokenizer, side by side.

    The page needs no network and no server, and sends nothing anywhere. It shows tokens in colours, ids, counts and
    offsets, without the special tokens around a text. A tokenizer.json that is dropped on it opens. What follows `#` in its
    address is the text.

    Args:
        tokenizers: tokenizers of gputok, `tokenizers` or `transformers`, by the names to show; may be empty.
        path: the file to write, atomically; None: the page is returned.
        text: the text that the box has at first.
        title: the title of the page.

    Returns:
        The page, or None if it was written.

    Raises:
        TypeError: if an argument is not a tokenizer.
        ValueError: if a page can't have one of the tokenizers; the message says why.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"it": 0, "goes": 1, "?": 2}, unk_token="?"))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> page = playground({"words": tokenizer}, text="it goes")
    """
    from gputok.report.measures import own_pipeline
    from gputok.report.page import filled, returned
    from gputok.report.portable import NotPortable, parts, portable

    kits: list[dict[str, Any]] = []
    for name, tokenizer in tokenizers.items():
        try:
            kits.append({"name": name, "kit": portable(own_pipeline(name, tokenizer), None)})
        except NotPortable as error:
            raise ValueError(f"{name}: a page can't have this tokenizer: {error}") from None
    return returned(filled("playground.html", title, {"tokenizers": kits, "parts": parts(), "text": text}), path)
