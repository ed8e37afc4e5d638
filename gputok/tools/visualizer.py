"""Text with its tokens in colours, in a notebook or as HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from gputok.encoding.html import Annotation, page, text_html
from gputok.files.arrow import needing
from gputok.lazy import public
from gputok.tokenizer import Tokenizer


@public("gputok.tools")
class EncodingVisualizer:
    """Shows texts with coloured tokens and annotations.

    Args:
        tokenizer: any Tokenizer.
        default_to_notebook: shows the result in the notebook; False: calls return HTML.
        annotation_converter: makes an Annotation of each annotation of the caller.

    Raises:
        ImportError: if the result is to be shown in a notebook and IPython is missing.

    Example:
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
        """Shows a text.

        Args:
            text: the text.
            annotations: ranges of the text with labels.
            default_to_notebook: replaces the choice of the constructor.

        Returns:
            HTML, or None if the result was shown in the notebook.
        """
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
        """Chooses a colour for each label; the same labels always have the same colours."""
        labels = sorted({annotation.label for annotation in annotations})
        step = max(255 // len(labels), 20) if labels else 0
        return {label: f"hsl({10 + i * step},32%,64%)" for i, label in enumerate(labels)}


def _notebook() -> tuple[Callable, Callable]:
    with needing("showing an encoding needs a notebook (IPython); pass `default_to_notebook=False` to get HTML"):
        from IPython.display import HTML, display  # pyright: ignore[reportMissingImports, reportPrivateImportUsage]
    return display, HTML
