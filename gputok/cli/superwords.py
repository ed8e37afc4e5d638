"""The options of `gputok train` and `gputok count` for superwords."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gputok.cli.options import load_tokenizer

Transition = Annotated[
    float | None,
    typer.Option(
        help="For superbpe: where superwords begin, as a share of the vocabulary or a number of tokens. [default: 0.8]"
    ),
]
SuperwordPattern = Annotated[
    str | None,
    typer.Option(
        help="For superbpe: the expression that cuts text into pieces of words. [default: SuperBPE's]", metavar="REGEX"
    ),
]
MaxWords = Annotated[
    int | None, typer.Option(help="For superbpe: most words of a token; 0: any number. [default: 4]", min=0)
]
ColonSpace = Annotated[
    bool, typer.Option("--colon-space", help='For superbpe: a token may have ": " inside, as in "Answer: yes".')
]
Stage1 = Annotated[
    str | None,
    typer.Option(
        help="For superbpe: a byte-level BPE tokenizer whose tokens to go on from. [default: learned here]",
        metavar="TOKENIZER",
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        help="For superbpe, runs of shards: pairs that `gputok count --what pairs` wrote; one for each shard.",
        metavar="FILE",
    ),
]
Threshold = Annotated[
    int | None,
    typer.Option(
        help="For superbpe, runs of shards: how often neighbours must occur. [default: found by the pairs]", min=1
    ),
]


def superword_options(
    transition: float | None,
    superword_pattern: str | None,
    max_words: int | None,
    colon_space: bool,
    stage1: str | None,
    storage: dict[str, Any],
) -> dict[str, Any]:
    """Returns the options of `SuperBpeTrainer` that were given."""
    options: dict[str, Any] = {}
    if transition is not None:
        options["transition"] = int(transition) if transition >= 1 else transition
    if superword_pattern is not None:
        options["superword_pattern"] = superword_pattern
    if max_words is not None:
        options["max_words"] = max_words or None
    if colon_space:
        options["allow_colon_space"] = True
    if stage1 is not None:
        options["stage1"] = load_tokenizer(stage1, storage)
    return options
