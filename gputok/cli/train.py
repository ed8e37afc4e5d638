"""`gputok train` and `gputok count`: learn a vocabulary from text, or from the word counts of its parts."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.cli import options
from gputok.files.arrow import needed_for
from gputok.recipes import recipe

if TYPE_CHECKING:
    from gputok.counts.word_counts import WordCounts
    from gputok.tokenizer import Tokenizer


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _value_of(text: str, default: Any) -> Any:
    """Reads a value of the kind of `default`; raises ValueError if it is none."""
    if isinstance(default, bool):
        if text.lower() not in _BOOLEANS:
            raise ValueError("expected true or false")
        return _BOOLEANS[text.lower()]
    if isinstance(default, list | tuple):
        return [item for item in text.split(",") if item]
    try:
        return type(default)(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ValueError(f"expected {kind}") from None


def options_of(given: list[str]) -> dict[str, Any]:
    """Reads options of the form NAME=VALUE; raises ValueError for an unknown one, or a value of another kind."""
    from gputok.trainers import SentencePieceBpeTrainer

    known: dict[str, Any] = vars(SentencePieceBpeTrainer())
    known = {name: value for name, value in known.items() if name != "vocab_size"}
    known |= {"normalization_rule_name": "nmt_nfkc", "max_sentence_length": 4192}
    found: dict[str, Any] = {}
    for option in given:
        name, equals, text = option.removeprefix("--").partition("=")
        if not equals or name not in known:
            raise ValueError(f"--sentencepiece-option {option}: expected NAME=VALUE, with one of {', '.join(known)}")
        try:
            found[name] = _value_of(text, known[name])
        except ValueError as error:
            raise ValueError(f"--sentencepiece-option {option}: {error}") from None
    return found


class SentencePiece(options.OptionGroup):
    """How a model of SentencePiece is learnt."""

    byte_fallback: bool = False
    character_coverage: float | None = None
    normalization: str | None = None
    sentencepiece_option: list[str] | None = None


def train_sentencepiece(
    inputs: list[str],
    output: str,
    vocab_size: int,
    asked: SentencePiece,
    storage: dict[str, Any],
    as_json: bool,
    running: options.Counting,
) -> None:
    """Trains as SentencePiece does, and writes a .model or a tokenizer.json."""
    from gputok.formats.sentencepiece_training import train_model
    from gputok.pipeline.run import Run
    from gputok.trainers import SentencePieceBpeTrainer

    start = time.perf_counter()
    named = asked.given
    given = options_of(named.pop("sentencepiece_option", [])) | named
    if "normalization" in given:
        given["normalization_rule_name"] = given.pop("normalization")
    reading = {name: given.pop(name) for name in ("normalization_rule_name", "max_sentence_length") if name in given}
    trainer = SentencePieceBpeTrainer(vocab_size=vocab_size, **given)
    with options.output_file(output, storage, inputs) as written:
        proto = train_model(options.sources(inputs), trainer, Run.of(**running.options), storage, **reading)
        if output.endswith(".model"):
            written.write_bytes(proto.SerializeToString())
        else:
            # A .model needs no Tokenizer, whose import takes 40 ms
            from gputok.formats.sentencepiece import tokenizer_of

            written.write_text(tokenizer_of(proto).to_str(pretty=True), encoding="utf-8", newline="\n")
    size, seconds = len(proto.pieces), time.perf_counter() - start
    shown = options.shown_output(output)
    facts = {"output": shown, "vocab_size": size, "model": "sentencepiece-bpe", "seconds": round(seconds, 3)}
    options.sum_up(f"{shown}: {size:,} pieces in {seconds:.2f} s", facts, output=output, as_json=as_json)


class SuperwordOptions(options.OptionGroup):
    """How superwords are learnt."""

    transition: float | None = None
    superword_pattern: str | None = None
    max_words: int | None = None
    colon_space: bool = False
    stage1: str | None = None

    def given_to_trainer(self, storage: dict[str, Any]) -> dict[str, Any]:
        """Returns the options of `SuperBpeTrainer` that were given."""
        asked = self.given
        if (transition := asked.get("transition")) is not None and transition >= 1:
            if not transition.is_integer():
                raise ValueError(f"--transition {transition}: expected a share below 1, or a whole number of tokens")
            asked["transition"] = int(transition)
        if "max_words" in asked:
            asked["max_words"] = self.max_words or None
        if asked.pop("colon_space", False):
            asked["allow_colon_space"] = True
        if self.stage1 is not None:
            asked["stage1"] = options.load_tokenizer(self.stage1, storage)
        return asked


class Cuts(options.OptionGroup):
    """How superword runs are cut from text, if the shards of a corpus are counted separately."""

    pairs: list[str] | None = None
    threshold: int | None = None


def train(
    inputs: list[str],
    output: str = "tokenizer.json",
    model: str = "bpe",
    vocab_size: int = 32_000,
    pattern: str | None = None,
    regex: str | None = None,
    special_token: list[str] | None = None,
    min_frequency: int = 0,
    min_count: int = 0,
    *,
    superwords: SuperwordOptions,
    cuts: Cuts,
    from_counts: bool = False,
    reading: options.Reading,
    device: str = "auto",
    running: options.Counting,
    weighting: options.Weighting,
    sentencepiece: SentencePiece,
    as_json: bool = False,
) -> None:
    """Learn a vocabulary from text and write it as a tokenizer.json."""
    from gputok.kernels.native.preparation import preparation

    if model == "sentencepiece-bpe":
        learning = {"pattern": pattern, "regex": regex, "special_token": special_token, "min_frequency": min_frequency}
        learning |= {"min_count": max(min_count, 1) - 1, "from_counts": from_counts}
        read = dataclasses.replace(reading, storage_option=None)
        options.refuse("is not for --model sentencepiece-bpe", read, weighting, superwords, cuts, **learning)
        train_sentencepiece(inputs, output, vocab_size, sentencepiece, reading.storage, as_json, running)
        return
    options.refuse("is for --model sentencepiece-bpe alone", sentencepiece)
    wanted: dict[str, Any] = {"vocab_size": vocab_size, "min_frequency": min_frequency}
    wanted |= {"pattern": pattern, "regex": regex, "special_tokens": special_token or None}
    wanted |= {"superwords": superwords.given_to_trainer(reading.storage)}
    tokenizer, trainer = recipe(model, **wanted)  # type: ignore[arg-type]  # recipe names what is wrong
    if not (model == "superbpe" and from_counts):
        options.refuse("is for --model superbpe --from-counts", cuts)
    with preparation.going_on():  # loads the code that counts
        tokenizer.count_words(iter(["word"]), progress=False)
    start = time.perf_counter() - preparation.seconds
    if model in ("bpe", "superbpe") and vocab_size <= (fixed := 256 + len(trainer.special_tokens)):
        taken = f"{fixed} tokens are special tokens and single bytes"
        raise ValueError(f"--vocab-size {vocab_size} leaves no room for a merge: {taken}")
    if from_counts:
        reading.refuse_from_counts()
        options.refuse("is for counting; with --from-counts the words are counted already", resume=weighting.resume)
    if model == "superbpe":
        why = "is not for --model superbpe: superwords are learned from one corpus, without weights"
        options.refuse(why, weight=weighting.weight, temperature=weighting.temperature)
    words = None
    with options.output_file(output, reading.storage, inputs) as written:
        given = {name: value for name, value in running.options.items() if name != "temporary"}
        if model == "superbpe" and from_counts:
            runs, pairs = merged_counts(inputs, reading.storage, **running.limits), pairs_of(cuts, reading, running)
            tokenizer.superwords.train_from_runs(runs, pairs, trainer, threshold=cuts.threshold, **given)
        elif model == "superbpe":
            asked = {**reading.options, **running.options, "resume": weighting.resume, "device": device}
            tokenizer.train(reading.sources(inputs), trainer, min_count=min_count, **asked)
        else:
            if from_counts:
                weights = options.weights_of(weighting.weight, inputs)
                words = merged_counts(inputs, reading.storage, weights, weighting.temperature, **running.limits)
            else:
                words = _count(tokenizer, inputs, device, reading, running, weighting)
            tokenizer.train_from_word_counts(words, trainer, device=device, min_count=min_count, **given)
        written.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    _remove_work(weighting.resume)
    _sum_up(tokenizer, words, time.perf_counter() - preparation.seconds - start, model, output, as_json)
    if (size := tokenizer.get_vocab_size()) < vocab_size:
        note = f"{size:,} tokens, not the {vocab_size:,} of --vocab-size: the text gives no more"
        print(f"gputok: note: {note}", file=sys.stderr)


def _sum_up(
    tokenizer: Tokenizer, words: WordCounts | None, seconds: float, model: str, output: str, as_json: bool
) -> None:
    """Prints what a training did; words: those that it learnt from, if it counted words."""
    shown, size = options.shown_output(output), tokenizer.get_vocab_size()
    facts: dict[str, Any] = {"output": shown, "vocab_size": size, "model": model}
    line = f"{shown}: {size:,} tokens"
    if words is not None:
        n_bytes = int(words.n_bytes_of_text() / words.scale)
        facts |= {"distinct_words": len(words), "words": int(words.n_occurrences() / words.scale)}
        facts["word_bytes"] = n_bytes
        line += f" from {options.amount(n_bytes)} of words in {seconds:.2f} s, {options.speed(n_bytes, seconds)}"
    else:
        line += f" in {seconds:.2f} s"
    options.sum_up(line, {**facts, "seconds": round(seconds, 3)}, output=output, as_json=as_json)


def count(
    inputs: list[str],
    output: str = "counts.parquet",
    model: str = "bpe",
    pattern: str | None = None,
    regex: str | None = None,
    what: str = "words",
    vocab_size: int | None = None,
    *,
    superwords: SuperwordOptions,
    cuts: Cuts,
    reading: options.Reading,
    device: str = "auto",
    running: options.Counting,
    weighting: options.Weighting,
    as_json: bool = False,
) -> None:
    """Count words and save them.

    Count the shards of a corpus on any machines, then run `gputok train --from-counts` with the same --model, --pattern
    and --regex.

    Superwords take three rounds: words, from which `gputok train --from-counts --model bpe` makes the tokenizer for
    --stage1; then --model superbpe --what pairs; then --what runs, with --pairs of all shards.
    """
    if what not in ("words", "pairs", "runs"):
        raise ValueError(f"--what {what}: expected words, pairs or runs")
    if what != "words" and model != "superbpe":
        raise ValueError(f"--what {what} is for --model superbpe alone")
    given: dict[str, Any] = {}
    if what == "words":
        why = "is for --model superbpe, with --what pairs or runs"
        options.refuse(why, superwords, cuts, vocab_size=vocab_size)
    else:
        options.refuse("is for --what words", weighting, device=device != "auto")
        given = {"superwords": superwords.given_to_trainer(reading.storage), "vocab_size": vocab_size or 32_000}
    if what == "pairs":
        options.refuse("is not for --what pairs", cuts, memory_limit=running.memory_limit, temporary=running.temporary)
    tokenizer, trainer = recipe(model, pattern=pattern, regex=regex, **given)  # type: ignore[arg-type]
    with needed_for(f"{options.shown_output(output)}: writing counts"):  # fails now, not after the work
        import pyarrow as pa  # noqa: F401
    options.check_standard_input(inputs)
    with options.output_file(output, reading.storage, inputs) as written:
        if what == "words":
            words = _count(tokenizer, inputs, device, reading, running, weighting)
        elif what == "pairs":
            asked = {**reading.options, "threads": running.threads, "progress": running.progress}
            words = tokenizer.superwords.count_pairs(reading.sources(inputs), trainer, **asked)
        else:
            asked = {**reading.options, **running.options, "threshold": cuts.threshold}
            pairs = pairs_of(cuts, reading, running)
            words = tokenizer.superwords.count_runs(reading.sources(inputs), trainer, pairs, **asked)
        words.save(written)
    _remove_work(weighting.resume)
    n_words = words.n_occurrences()
    kind = {"words": "words", "pairs": "pairs of tokens", "runs": "runs of tokens"}[what]
    facts = {"output": options.shown_output(output), f"distinct_{what}": len(words), what: n_words}
    line = f"{options.shown_output(output)}: {len(words):,} distinct {kind}, {n_words:,} in all"
    options.sum_up(line, facts, output=output, as_json=as_json)


def pairs_of(cuts: Cuts, reading: options.Reading, running: options.Counting) -> WordCounts:
    """Adds up the pairs of all shards."""
    if not cuts.pairs:
        raise ValueError("runs are cut by the pairs of all shards: give them, as --pairs FILE for each shard")
    return merged_counts(cuts.pairs, reading.storage, **running.limits)


def _remove_work(folder: str | None) -> None:
    """Removes the work folder, once the output is complete."""
    if folder is not None:
        from gputok.pipeline.count.resume import remove

        remove(folder)


def merged_counts(
    inputs: list[str],
    storage: dict[str, Any],
    weights: dict[str, str] | None = None,
    temperature: str | None = None,
    **limits: Any,
) -> WordCounts:
    """Adds up the word counts of all files, by their weights; limits: those of `WordCounts.load`."""
    from gputok import WordCounts
    from gputok.counts.word_counts import of_sources

    options.check_standard_input(inputs)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(options.local_file(path, "counts.parquet")) for path in inputs]
        load = partial(WordCounts.load, storage_options=storage, **limits)
        if weights is None and temperature is None:
            return load(files)
        return of_sources(load, dict(zip(inputs, files, strict=True)), weights, temperature, **limits)


def _count(
    tokenizer: Tokenizer,
    inputs: list[str],
    device: str,
    reading: options.Reading,
    running: options.Counting,
    weighting: options.Weighting,
) -> WordCounts:
    """Counts the words of the inputs."""
    if weighting.resume is not None and "-" in inputs:
        raise ValueError("--resume: standard input can't be read again; save it to a file first")
    found, weights = reading.sources(inputs), options.weights_of(weighting.weight, inputs)
    weighted = weights is not None or weighting.temperature is not None
    asked = {**reading.options, **running.options, "resume": weighting.resume, "device": device}
    asked |= {"weights": weights, "temperature": weighting.temperature}
    given = dict(zip(inputs, ([one] for one in found), strict=True)) if weighted else found
    words = tokenizer.count_words(given, **asked)
    if not len(words):
        names = ", ".join("standard input" if name == "-" else name for name in inputs)
        raise ValueError(f"{names}: contains no text to learn from")
    return words
