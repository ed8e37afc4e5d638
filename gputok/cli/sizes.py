"""`gputok sizes`: what each vocabulary size would make of a text, from one training."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gputok.cli import options
from gputok.recipes import recipe

if TYPE_CHECKING:
    from gputok import WordCounts


def sizes(
    inputs: options.Inputs,
    vocab_sizes: Annotated[
        str, typer.Option(help="Numbers of tokens, such as 8k,16k,32k (k: thousand).", metavar="N,N,...")
    ] = "8k,16k,32k,64k",
    held_out: Annotated[
        list[str] | None, typer.Option(help="Text that is measured and not learnt from; can be repeated.")
    ] = None,
    chart: Annotated[
        str | None, typer.Option(help="Chart to write: .svg, or .png and .pdf by matplotlib.", metavar="FILE")
    ] = None,
    pattern: options.Pattern = None,
    regex: options.Expression = None,
    *,
    reading: options.Reading,
    running: options.Counting,
    as_json: options.AsJson = False,
) -> None:
    """Learn the largest vocabulary, and measure it and the smaller ones, which are its beginnings.

    Each input is measured by itself, too, if there are several: parity and Gini compare them.
    """
    from gputok import WordCounts
    from gputok.report.sizes import measure_sizes

    wanted = _numbers(vocab_sizes)
    options.check_standard_input([*inputs, *(held_out or [])])
    tokenizer, trainer = recipe("bpe", vocab_size=max(wanted), pattern=pattern, regex=regex)

    def counted(name: str) -> WordCounts:
        return tokenizer.count_words(reading.sources([name]), **reading.options, **running.options)

    of_inputs = {name: counted(name) for name in dict.fromkeys(inputs)}
    merge = partial(WordCounts.merge, **running.limits)
    training = next(iter(of_inputs.values())) if len(of_inputs) == 1 else merge(of_inputs.values())
    asked = {"threads": running.threads, "progress": running.progress, "memory_limit": running.memory_limit}
    tokenizer.train_from_word_counts(training, trainer, **asked)
    texts = {"training": training}
    if held_out:
        texts["held out"] = merge(map(counted, held_out))
    if len(of_inputs) > 1:
        texts |= of_inputs
    most = tokenizer.get_vocab_size()
    if max(wanted) > most:
        print(
            f"gputok: note: the text gives no more than {most:,} tokens, not the {max(wanted):,} of --vocab-sizes",
            file=sys.stderr,
        )
    reached = sorted({min(size, most) for size in wanted})
    measured = measure_sizes(tokenizer.pipeline, reached, texts, [*of_inputs])
    if chart is not None:
        with options.output_file(chart, reading.storage, [*inputs, *(held_out or [])]) as written:
            kind = chart.rpartition(".")[2].lower()
            if kind == "svg":
                written.write_text(measured.to_svg(), encoding="utf-8", newline="\n")
            else:
                measured.figure().savefig(written, format=kind)
    print(json.dumps(measured.to_dict(), indent=2, ensure_ascii=False) if as_json else measured)


def _numbers(text: str) -> list[int]:
    """Reads numbers such as 8k,16000."""
    found = []
    for item in text.split(","):
        try:
            found.append(options.whole_number(item))
        except typer.BadParameter as error:
            raise ValueError(f"--vocab-sizes {text}: {error}") from None
        if not found[-1]:
            raise ValueError(f"--vocab-sizes {text}: expected numbers such as 8k,16000, not {item!r}")
    return found
