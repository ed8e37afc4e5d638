"""The options of `gputok train` and `gputok count` for superwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gputok.cli import options


@dataclass(frozen=True)
class Superwords(options.Group):
    """How superwords are learnt."""

    transition: Annotated[
        float | None,
        typer.Option(
            help="For superbpe: where superwords begin, as a share of the vocabulary or a number of tokens. [default: 0.8]"
        ),
    ] = None
    superword_pattern: Annotated[
        str | None,
        typer.Option(
            help="For superbpe: the expression that cuts text into pieces of words. [default: SuperBPE's]",
            metavar="REGEX",
        ),
    ] = None
    max_words: Annotated[
        int | None, typer.Option(help="For superbpe: most words of a token; 0: any number. [default: 4]", min=0)
    ] = None
    colon_space: Annotated[
        bool, typer.Option("--colon-space", help='For superbpe: a token may have ": " inside, as in "Answer: yes".')
    ] = False
    stage1: Annotated[
        str | None,
        typer.Option(
            help="For superbpe: a byte-level BPE tokenizer whose tokens to go on from. [default: learned here]",
            metavar="TOKENIZER",
        ),
    ] = None

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


@dataclass(frozen=True)
class Cuts(options.Group):
    """How runs of shards are cut."""

    pairs: Annotated[
        list[str] | None,
        typer.Option(
            help="For superbpe, runs of shards: pairs that `gputok count --what pairs` wrote; one for each shard.",
            metavar="FILE",
        ),
    ] = None
    threshold: Annotated[
        int | None,
        typer.Option(
            help="For superbpe, runs of shards: how often neighbours must occur. [default: found by the pairs]", min=1
        ),
    ] = None
