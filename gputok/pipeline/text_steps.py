"""The steps before a model, as the kernel for short texts takes them: each a handle of `gputok.kernels.cpu.short_texts.steps`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok import normalizers
from gputok.kernels.cpu.short_texts.handle import Handle
from gputok.text.unicode_maps import compositions, normalization_form

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.normalizers import Normalizer
    from gputok.pipeline.pipeline import Pipeline

FORMS = {
    normalizers.NFC: ("nfc", True),
    normalizers.NFD: ("nfd", False),
    normalizers.NFKC: ("nfkc", True),
    normalizers.NFKD: ("nfkd", False),
}
"""Normalizer -> the name of the decompositions that it makes, and whether it composes after that."""


def steps_of(pipeline: Pipeline) -> tuple[list[Handle], bool] | None:
    """The steps of a pipeline, and whether its words are bytes of ByteLevel characters; None: one of them isn't there."""
    plan = None if pipeline.pre_tokenizer is None else pipeline.pre_tokenizer.plan()
    changes = _changes(pipeline.normalizer)
    if plan is None or changes is None:
        return None
    found = [_extract(pipeline, False), *changes, _extract(pipeline, True), _walk(plan.automaton)]
    return found, plan.byte_level


def _step(kind: int, **places: Any) -> Handle:
    from gputok.kernels.cpu.short_texts import steps as kernels

    step = Handle(kernels.N_STEP)
    step.put(kernels.KIND, kind)
    for name, value in places.items():
        step.put(getattr(kernels, name), value)
    return step


def _extract(pipeline: Pipeline, normalized: bool) -> Handle:
    from gputok.kernels.cpu.short_texts.steps import EXTRACT

    finder = pipeline.added.finder(normalized)
    if finder is None:
        return _step(EXTRACT)
    classes, children, strings = finder.trie
    first, few = finder.first
    return _step(
        EXTRACT,
        CLASSES=classes,
        CHILDREN=children,
        N_CLASSES=children.shape[1],
        STRINGS=strings,
        FIRST=first,
        FEW=few,
        OPTIONS=finder.options,
        WORD_BITS=finder.words(),
        IDS=finder.ids,
    )


def _changes(normalizer: Normalizer | None) -> list[Handle] | None:
    if normalizer is None:
        return []
    if isinstance(normalizer, normalizers.Sequence):
        parts = [_changes(part) for part in normalizer.normalizers]
        return None if None in parts else [step for part in parts if part for step in part]
    if type(normalizer) in FORMS:
        return [_form(*FORMS[type(normalizer)])]
    return None


def _form(name: str, compose: bool) -> Handle:
    from gputok.kernels.cpu.short_texts.steps import FORM

    form = normalization_form(name)
    pairs = compositions() if compose else None
    return _step(
        FORM,
        PAGE=form.page,
        MEMBER=form.member,
        N_INERT=form.n_inert,
        RANK=form.rank,
        OFFSETS=form.offsets,
        PARTS=form.parts,
        PARTS_RANK=form.parts_rank,
        PAIR_KEYS=np.empty(0, np.uint64) if pairs is None else pairs.pair,
        PAIR_VALUES=np.empty(0, np.uint32) if pairs is None else pairs.to,
    )


def _walk(automaton: Automaton) -> Handle:
    from gputok.kernels.cpu.short_texts.steps import WALK
    from gputok.kernels.cpu.walk import prepare

    walk = prepare(automaton)
    width = len(walk.step) - len(walk.delta)
    return _step(
        WALK,
        KLASS=walk.klass,
        CLASS_PAGE=walk.page,
        CLASS_MEMBER=walk.member,
        PAIR=walk.pair,
        STEP=walk.step,
        DELTA=walk.delta,
        ACCEPT=walk.accept,
        WIDTH=width,
        FRESH=len(walk.delta) // width,
    )
