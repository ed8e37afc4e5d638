"""Describes a tokenizer, and says how its texts are encoded and counted, on the CPU and on a GPU, and why."""

from __future__ import annotations

from typing import Any

from gputok.automaton import PATTERNS
from gputok.pipeline.count.words import NOT_BY_DEVICES
from gputok.pipeline.encode.devices import ByDevice
from gputok.pipeline.encode.superwords import BySuperwords
from gputok.pipeline.encode.text import texts_of
from gputok.pipeline.encode.units import Walked, engine_of
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.serialize import sha256_of
from gputok.text.way import Apart, SpaceChange, Unit

_APART = {
    Apart.SPACES: "before spaces",
    Apart.MARKS: "before white space and beside marks",
    Apart.IDEOGRAPHS: "before white space, beside marks and beside Chinese characters",
}


def ways(pipeline: Pipeline) -> dict[str, str]:
    """Explains which of the ways that `gputok.pipeline` lists the texts of a `Tokenizer.pipeline` take on the CPU.

    Returns a sentence for each of "short texts", "other texts" (longer ones and corpora) and "count words". Each begins
    with the name of the way that most texts take, and then says which texts take another way.

    Example:
        >>> from gputok import Tokenizer, models
        >>> ways(Tokenizer(models.WordLevel({"a": 0})).pipeline)["other texts"]
        'steps: no pre-tokenizer cuts the text'
    """
    if pipeline.way.by_steps:
        return dict.fromkeys(("short texts", "other texts", "count words"), "steps: GPUTOK_WAY asks for them")
    return {"short texts": _short(pipeline), "other texts": _other(pipeline), "count words": _count(pipeline)[0]}


def facts(pipeline: Pipeline) -> dict[str, Any]:
    """Describes a tokenizer: the name of a fact -> a text, number, list or dictionary, or None.

    The facts are the model, how many tokens and merges it has, special and other added tokens, the normalizer, the
    pre-tokenizer and the patterns that it cuts by, the post-processor, the decoder, and the SHA-256 of the tokenizer,
    which is also in the manifest of encoded files.

    Example:
        >>> from gputok import Tokenizer, models
        >>> facts(Tokenizer(models.WordLevel({"a": 0})).pipeline)["tokens"]
        1
    """
    model: Any = pipeline.model
    added = [*pipeline.added.tokens.items()]
    known = {pattern: name for name, pattern in PATTERNS.items()}
    steps = getattr(pipeline.pre_tokenizer, "pretokenizers", [pipeline.pre_tokenizer])
    cuts = [step.pattern for step in steps if hasattr(step, "pattern")]
    patterns = [str(getattr(pattern, "pattern", pattern)) for pattern in cuts]
    merges = getattr(model, "merges", None)
    return {
        "model": type(model).__name__,
        "tokens": pipeline.get_vocab_size(),
        "tokens of the model": model.get_vocab_size(),
        **({} if merges is None else {"merges": len(merges)}),
        "special tokens": {token.content: number for number, token in added if token.special},
        "added tokens": {token.content: number for number, token in added if not token.special},
        "unknown token": getattr(model, "unk_token", None),
        "normalizer": _shown(pipeline.normalizer),
        "pre-tokenizer": _shown(pipeline.pre_tokenizer),
        "pattern": [f"{known[one]}: {one}" if one in known else one for one in patterns],
        "post-processor": _shown(pipeline.post_processor),
        "decoder": _shown(pipeline.decoder),
        "sha256": sha256_of(pipeline),
    }


def _shown(component: Any) -> str | None:
    return None if component is None else repr(component)


def _short(pipeline: Pipeline) -> str:
    if pipeline.model.is_random:
        return f"steps: {_RANDOM}"
    texts = texts_of(pipeline)
    longest = -1 if texts is None else texts.longest
    if longest < 0:
        return "steps: the kernel for short texts has no step for a component, or for what the post-processor adds"
    found = f"handle: for texts of up to {longest:,} bytes{_JOINED[texts.joins if texts else 0]}"
    return f"{found}; the parts that truncation cuts off take the steps"


_JOINED = (
    "; pairs and lists of words take the steps, since the post-processor adds tokens even if none are wanted",
    ", also in lists of words; pairs take the steps, since the post-processor does not put both texts in order",
    ", also in pairs and lists of words",
)
"""What `_short` says of pairs and lists of words; the index is how many texts an input can have (`Texts.joins`)."""
_RANDOM = "the model may encode the same word in different ways"


def _other(pipeline: Pipeline) -> str:
    engine, way = engine_of(pipeline), pipeline.way
    if isinstance(engine, BySuperwords):
        return "superwords: the merges of words come before those that make tokens of several words"
    if not isinstance(engine, Walked):
        return f"steps: {_RANDOM if pipeline.model.is_random else _why_whole(pipeline)}"
    if way.unit == Unit.WORD:
        text = "the text" if pipeline.normalizer is None else "the normalized text"
        return f"walk: finds the words in {text}, and the model encodes each different word once"
    if way.unit == Unit.LINE:
        return "walk: cuts where no token reaches across, and the model encodes each different line once"
    found = f"walk: cuts {_APART[way.apart]}, and each different part takes the steps once"
    if way.at_start and pipeline.added.tokens:
        found += "; documents with added tokens take the steps, since their start is not like that of other pieces"
    return found


def _why_whole(pipeline: Pipeline) -> str:
    """Returns why no part of a text can be encoded alone, so that all steps get whole texts."""
    way = pipeline.way
    if way.unit == Unit.LINE:
        return "the tokens of the model leave no character beside which text may be cut"
    if pipeline.normalizer is not None and any(token.normalized for token in pipeline.added.tokens.values()):
        return "an added token is looked for in the normalized text, so that text may not be cut before"
    if pipeline.pre_tokenizer is None and way.spaces != SpaceChange.WRITTEN:
        return "no pre-tokenizer cuts the text"
    return "one walk can't do what the pre-tokenizer does, and text may not be cut before spaces"


def _count(pipeline: Pipeline) -> tuple[str, str]:
    """Returns how words are counted on the CPU, and where they are counted if a CUDA device is requested."""
    way, normalizer, added = pipeline.way, pipeline.normalizer, bool(pipeline.added.tokens)
    around = "; batches with an added token take the steps" if added else ""
    on_cpu = "; on the CPU, text around an added token" if added else ""
    words = "walk: finds and counts the words in the text"
    if way.unit == Unit.WORD and normalizer is None:
        return words + around, f"on the GPU{on_cpu}"
    if way.unit == Unit.WORD and normalizer is not None and normalizer.inert is not None:
        words += f"; batches that the normalizer may change take the steps{around}"
        return words, f"on the GPU; on the CPU, text that the normalizer changes{on_cpu}"
    if way.unit == Unit.PART:
        where = "on the GPU, the parts between spaces; the CPU cuts each distinct part into words once"
        return f"walk: cuts {_APART[way.apart]}, and each different part is cut into words once{around}", where + on_cpu
    why = {Unit.WORD: "the normalizer may change any text", Unit.LINE: "lines without a pre-tokenizer are words"}
    return f"steps: {why.get(way.unit) or _why_whole(pipeline)}", f"on the CPU: {NOT_BY_DEVICES}"


def device_work(pipeline: Pipeline) -> dict[str, str]:
    """Explains where "count words", "merge" and "encode" run if a CUDA device is requested: a sentence for each.

    Example:
        >>> from gputok import Tokenizer, models
        >>> device_work(Tokenizer(models.WordLevel()).pipeline)["merge"]
        'on the CPU: only BPE is trained on a GPU, not WordLevel'
    """
    return {"count words": _count(pipeline)[1], "merge": _merging(pipeline), "encode": _encoding(pipeline)}


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
