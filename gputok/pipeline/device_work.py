"""Explains which stages of a tokenizer run on a CUDA device, and which on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.pipeline.count_words import NOT_BY_DEVICES
from gputok.pipeline.encode_devices import ByDevice
from gputok.text.way import Unit

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline


def device_work(pipeline: Pipeline) -> dict[str, str]:
    """Explains for each stage of a tokenizer where it runs if a CUDA device is requested.

    Args:
        pipeline: the parts of the tokenizer (`Tokenizer.pipeline`).

    Returns:
        A sentence for each of "count words", "merge" and "encode".

    Example:
        >>> from gputok import Tokenizer, models
        >>> device_work(Tokenizer(models.WordLevel()).pipeline)["merge"]
        'on the CPU: only BPE is trained on a GPU, not WordLevel'
    """
    return {"count words": _counting(pipeline), "merge": _merging(pipeline), "encode": _encoding(pipeline)}


def _counting(pipeline: Pipeline) -> str:
    unit, normalizer = pipeline.way.unit, pipeline.normalizer
    if unit is Unit.WORD and normalizer is None:
        where = "on the GPU"
    elif unit is Unit.WORD and normalizer is not None and normalizer.inert is not None:
        where = "on the GPU; on the CPU, text that the normalizer changes"
    elif unit is Unit.PART:
        where = "on the GPU, the parts between spaces; the CPU cuts each distinct part into words once"
    else:
        return f"on the CPU: {NOT_BY_DEVICES}"
    return f"{where}; on the CPU, text around an added token" if pipeline.added.tokens else where


def _merging(pipeline: Pipeline) -> str:
    model: Any = pipeline.model
    if type(model).__name__ != "BPE":
        return f"on the CPU: only BPE is trained on a GPU, not {type(model).__name__}"
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        return "on the CPU: the model has a prefix or a suffix"
    return "on the GPU; on the CPU, if merges spell a special token"


def _encoding(pipeline: Pipeline) -> str:
    if reason := ByDevice.why_not(pipeline):
        return f"on the CPU: {reason}"
    first = ["the normalizer"] if pipeline.normalizer else []
    first += ["the search for added tokens"] if pipeline.added.tokens else []
    return f"on the GPU, after {' and '.join(first)} on the CPU" if first else "on the GPU"
