"""Writes the steps before a model into handles, one for each step, for the kernels of `gputok.kernels.cpu.short_texts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok import normalizers, pre_tokenizers
from gputok.automaton import PATTERNS, compile_literal, compile_pattern
from gputok.automaton.pattern import matcher
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.short_texts import steps as kernels
from gputok.pre_tokenizers.base import cut_rule
from gputok.text.pieces import byte_table
from gputok.text.unicode_maps import character_map, compositions, grapheme_classes, normalization_form
from gputok.text.way import Unit, Way

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.normalizers import Normalizer
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pre_tokenizers import PreTokenizer


class Steps(NamedTuple):
    """All steps of a pipeline before its model."""

    steps: list[Handle]
    byte_level: bool = False  # the bytes of words stand for characters of the ByteLevel alphabet
    n_changes: int = 0  # steps of the normalizer, between the two that find added tokens


class OtherStepError(Exception):
    """Raised if a component does something that none of the steps does."""


def steps_of(pipeline: Pipeline) -> Steps | None:
    """Returns the steps of a pipeline; None if one of its components does something that none of the steps does."""
    try:
        changes = _changes(pipeline.normalizer)
        cuts = _cuts(pipeline.pre_tokenizer, pipeline.way)
    except OtherStepError:
        return None
    steps = [_extract(pipeline, False), *changes, _extract(pipeline, True), *cuts.steps]
    return cuts._replace(steps=steps, n_changes=len(changes))


class UnitSteps(NamedTuple):
    """The steps for texts that `gputok.kernels.cpu.short_texts.units` cuts into units."""

    before: list[Handle]  # for the whole text
    inside: list[Handle]  # for each unit
    alone: bool = False  # only texts without added tokens


def unit_steps(pipeline: Pipeline, steps: Steps) -> UnitSteps | None:
    """Returns the steps, as the way of the pipeline takes a text apart; None: the normalizer changes the whole text."""
    first, *others = steps.steps
    changes, second, cuts = others[: steps.n_changes], others[steps.n_changes], others[steps.n_changes + 1 :]
    if pipeline.way.unit is Unit.WORD:
        seldom = all(step.of is kernels.Form for step in changes)
        return UnitSteps([first, *changes, second], []) if seldom else None
    before = [first, second] if pipeline.normalizer is None else [first]
    if pipeline.way.unit is Unit.LINE:
        return UnitSteps(before, [_spaces({ord(" "): "▁".encode()}, b"", kernels.NEVER)])
    return UnitSteps(before, [*changes, *cuts], alone=pipeline.way.at_start)


def _step(of: Any, kind: int, *more: Any) -> Handle:
    """Makes a step of a class; more: its fields after the kind."""
    return Handle(of, kernels.N_STEP, **of(kind, *more)._asdict())


def _extract(pipeline: Pipeline, normalized: bool) -> Handle:
    finder = pipeline.added.finder(normalized)
    if finder is None:
        return Handle(kernels.Extract, kernels.N_STEP, kind=kernels.EXTRACT)
    rest = *finder.first, finder.options, finder.word_bits, finder.ids
    return _step(kernels.Extract, kernels.EXTRACT, *finder.trie, *rest)


# -- normalizers

_FORMS = {
    normalizers.NFC: ("nfc", True),
    normalizers.NFD: ("nfd", False),
    normalizers.NFKC: ("nfkc", True),
    normalizers.NFKD: ("nfkd", False),
}
_MAPS = {
    normalizers.Lowercase: "lowercase",
    normalizers.StripAccents: "strip_accents",
    normalizers.Nmt: "nmt",
}


def _changes(normalizer: Normalizer | None) -> list[Handle]:
    match normalizer:
        case None:
            return []
        case normalizers.Sequence():
            return [step for part in normalizer.normalizers for step in _changes(part)]
        case normalizers.NFC() | normalizers.NFD() | normalizers.NFKC() | normalizers.NFKD():
            return [_form(*_FORMS[type(normalizer)])]
        case normalizers.Lowercase() | normalizers.StripAccents() | normalizers.Nmt():
            return [_map(_MAPS[type(normalizer)])]
        case normalizers.BertNormalizer():
            return [_form(*name) if isinstance(name, tuple) else _map(name) for name in normalizer.maps()]
        case normalizers.Precompiled():
            return [_precompiled(normalizer)]
        case normalizers.Prepend() if len(normalizer.prepend.encode()) <= _WIDEST:
            return [_spaces({}, normalizer.prepend.encode(), kernels.IF_ANY)]
        case normalizers.Replace():
            return [_replace(normalizer)]
        case normalizers.Strip():
            space = character_map("whitespace")
            sides = normalizer.strip_left, normalizer.strip_right
            return [_step(kernels.Strip, kernels.STRIP, space.page, space.member, *sides)]
        case _:
            raise OtherStepError


_WIDEST = 4  # the largest number of bytes that can replace one byte


def _form(name: str, compose: bool) -> Handle:
    form = normalization_form(name)
    pairs = compositions() if compose else (np.empty(0, np.uint64), np.empty(0, np.uint32))
    return _step(kernels.Form, kernels.FORM, *form, *pairs)


def _map(name: str) -> Handle:
    return _step(kernels.Map, kernels.MAP, *character_map(name))


def _precompiled(normalizer: normalizers.Precompiled) -> Handle:
    from gputok.kernels.cpu.precompiled import measured

    units, texts = normalizer.tables
    classes = grapheme_classes()
    return _step(kernels.Precompiled, kernels.PRECOMPILED, units, texts, *classes, *measured(units, texts))


def _replace(normalizer: normalizers.Replace) -> Handle:
    pattern, content = normalizer.pattern, normalizer.content.encode()
    if isinstance(pattern, str) and len(pattern) == 1 and pattern.isascii() and len(content) <= _WIDEST:
        return _spaces({ord(pattern): content}, b"", kernels.NEVER)
    machine = matcher(pattern)
    if not isinstance(machine, tuple):
        raise OtherStepError
    matches = np.ones((2, 2), bool), np.array([True, False])
    return _split(machine, *matches, kernels.REPLACE, content)


def _spaces(replacements: dict[int, bytes], before: bytes, when: int, but: bytes = b"") -> Handle:
    """Replaces bytes, and puts `before` before pieces; `when` IF_BARE: of pieces that begin with neither a space nor `but`."""
    table = byte_table(tuple(replacements.items()), before)
    spelt = np.frombuffer(but, np.uint8)
    return _step(kernels.Spaces, kernels.SPACES, table, when, spelt, bool(replacements))


# -- pre-tokenizers


def _cuts(pre_tokenizer: PreTokenizer | None, way: Way) -> Steps:
    """Returns the steps of a pre-tokenizer; way: one walk, if that is all that the pre-tokenizer does."""
    if pre_tokenizer is None:
        return Steps([])
    if way.unit is Unit.WORD:
        return Steps([_walk(way.automaton)], way.byte_level)
    match pre_tokenizer:
        case pre_tokenizers.Sequence():
            parts = [_cuts(part, part.way(Way())) for part in pre_tokenizer.pretokenizers]
            if any(part.byte_level for part in parts[:-1]):  # the next pre-tokenizer needs characters
                raise OtherStepError
            steps = [step for part in parts for step in part.steps]
            return Steps(steps, bool(parts) and parts[-1].byte_level)
        case pre_tokenizers.ByteLevel():
            steps = [_spaces({}, b" ", kernels.IF_BARE)] if pre_tokenizer.add_prefix_space else []
            if pre_tokenizer.use_regex:
                steps.append(_walk(compile_pattern(PATTERNS["gpt2"])))
            return Steps(steps, byte_level=True)
        case pre_tokenizers.Metaspace():
            return _metaspace(pre_tokenizer)
        case _ if (cut := pre_tokenizer.cut()) is not None and isinstance(cut.matcher, tuple):
            return Steps([_split(cut.matcher, *cut_rule(cut.behavior, cut.invert))])
        case _:
            raise OtherStepError


def _metaspace(pre_tokenizer: pre_tokenizers.Metaspace) -> Steps:
    spelt, scheme = pre_tokenizer.replacement.encode(), pre_tokenizer.prepend_scheme
    when = {"never": kernels.NEVER, "always": kernels.IF_BARE, "first": kernels.AT_START}[scheme]
    steps = [_spaces({ord(" "): spelt}, spelt, when, spelt)]
    if pre_tokenizer.split:
        machine = compile_literal(pre_tokenizer.replacement)
        if not isinstance(machine, tuple):
            raise OtherStepError
        steps.append(_split(machine, *cut_rule("merged_with_next")))
    return Steps(steps)


def _split(
    automaton: Automaton, cut: np.ndarray, drop: np.ndarray, kind: int = kernels.SPLIT, content: bytes = b""
) -> Handle:
    from gputok.kernels.cpu.split import rule_of

    rule = rule_of(cut, drop, keep_empty=kind == kernels.REPLACE)
    return _step(kernels.Split, kind, automaton, rule, np.frombuffer(content, np.uint8))


def _walk(automaton: Any) -> Handle:
    from gputok.kernels.cpu.walk import prepare

    return _step(kernels.WalkStep, kernels.WALK, prepare(automaton))
