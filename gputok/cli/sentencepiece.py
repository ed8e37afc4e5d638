"""The options of `gputok train --model sentencepiece-bpe`, and what it does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gputok.cli import options

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
    """Reads options of the form NAME=VALUE.

    Raises:
        ValueError: there is no such option, or its value is of another kind.
    """
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


@dataclass(frozen=True)
class SentencePiece(options.Group):
    """How a model of SentencePiece is learnt."""

    byte_fallback: Annotated[
        bool, typer.Option("--byte-fallback", help="For sentencepiece-bpe: a token for each byte.")
    ] = False
    character_coverage: Annotated[
        float | None,
        typer.Option(
            help="For sentencepiece-bpe: the share of characters to cover. [default: 0.9995]", metavar="SHARE"
        ),
    ] = None
    normalization: Annotated[
        str | None,
        typer.Option(
            help="For sentencepiece-bpe: SentencePiece's rule, such as identity. [default: nmt_nfkc]", metavar="NAME"
        ),
    ] = None
    sentencepiece_option: Annotated[
        list[str] | None,
        typer.Option(
            help="For sentencepiece-bpe, can be repeated: any option of SentencePieceBpeTrainer, named and written as "
            "SentencePiece's, such as split_digits=true or user_defined_symbols=<a>,<b>.",
            metavar="NAME=VALUE",
        ),
    ] = None


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
    from gputok.trainers import SentencePieceBpeTrainer

    start = time.perf_counter()
    named = asked.given
    given = options_of(named.pop("sentencepiece_option", [])) | named
    if "normalization" in given:
        given["normalization_rule_name"] = given.pop("normalization")
    reading = {name: given.pop(name) for name in ("normalization_rule_name", "max_sentence_length") if name in given}
    trainer = SentencePieceBpeTrainer(vocab_size=vocab_size, **given)
    with options.output_file(output, storage, inputs) as written:
        proto = train_model(options.sources(inputs), trainer, **reading, storage_options=storage, **running.options)
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
