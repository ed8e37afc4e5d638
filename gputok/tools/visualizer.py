"""Text with its tokens in colours, in a notebook or as HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gputok.encoding.html import Annotation, page, text_html
from gputok.types import public

if TYPE_CHECKING:
    from gputok.tokenizer import Tokenizer


@public("gputok.tools")
class EncodingVisualizer:
    """Shows how a tokenizer encodes texts.

    tokenizer: any Tokenizer.
    default_to_notebook: show the result in the notebook rather than return it.
    annotation_converter: makes an Annotation of whatever the caller has.

    >>> from gputok import Tokenizer, models
    >>> show = EncodingVisualizer(Tokenizer(models.WordLevel({"<b>": 0})), default_to_notebook=False)
    >>> show("<b>").count("&lt;b&gt;")
    2
    """

    unk_token_regex = re.compile("(.{1}\b)?(unk|oov)(\b.{1})?", flags=re.IGNORECASE)

    def __init__(
        self,
        tokenizer: Tokenizer,
        default_to_notebook: bool = True,
        annotation_converter: Callable[[Any], Annotation] | None = None,
    ) -> None:
        if default_to_notebook:
            _notebook()
        self.tokenizer = tokenizer
        self.default_to_notebook = default_to_notebook
        self.annotation_converter = annotation_converter

    def __call__(
        self, text: str, annotations: Sequence[Any] | None = None, default_to_notebook: bool | None = None
    ) -> str | None:
        """The text with its tokens and annotations: shown in the notebook, or returned as HTML."""
        convert = self.annotation_converter
        notes = list(annotations or []) if convert is None else [convert(one) for one in annotations or []]
        encoding = self.tokenizer.encode(text)
        special = encoding.special_tokens_mask
        spans = [(i, span) for i, span in enumerate(encoding.offsets) if not special[i]]
        shown = page(text_html(text, encoding.tokens, spans, notes, self.calculate_label_colors(notes)))
        if not (self.default_to_notebook if default_to_notebook is None else default_to_notebook):
            return shown
        display, html = _notebook()
        display(html(shown))
        return None

    @staticmethod
    def calculate_label_colors(annotations: Sequence[Annotation]) -> dict[str, str]:
        """A colour for each label, always the same for the same labels."""
        labels = sorted({annotation.label for annotation in annotations})
        step = max(255 // len(labels), 20) if labels else 0
        return {label: f"hsl({10 + i * step},32%,64%)" for i, label in enumerate(labels)}


def _notebook() -> tuple[Callable, Callable]:
    try:
        from IPython.display import HTML, display
    except ImportError:
        raise ImportError(
            "showing an encoding needs a notebook (IPython); pass `default_to_notebook=False` to get HTML back"
        ) from None
    return display, HTML
