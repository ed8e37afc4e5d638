"""The steps of a pipeline before its model, and the model's tables, as `tests/reference/encode_one.py` takes them."""

import numpy as np
from gputok.kernels.cpu.encode_one import steps as kinds

from gputok import models, pre_tokenizers
from gputok.automaton import PATTERNS, compile_pattern
from gputok.pipeline.encode.handle import Frame, steps_of
from gputok.text.way import Way
from tests.reference import edits, encode_one, normalize, split


def plain_encoder(tokenizer, flags):
    """A function from a text to [id, first character, last + 1, number of the word], by plain Python alone."""
    pipeline = tokenizer.pipeline
    found, model, frame = steps_of(pipeline), pipeline.model, Frame.of(pipeline, True)
    walks = iter(automata(pipeline.pre_tokenizer))
    finders = iter([pipeline.added.finder(False), pipeline.added.finder(True)])
    steps = [plain_step(step, walks, finders) for step in found.steps]
    if isinstance(model, models.BPE):
        tables = model.tables(found.byte_level)
    elif isinstance(model, models.WordLevel):
        ids = {token.encode(): id for token, id in model.get_vocab().items()}
        tables = ids | {None: model.token_to_id(model.unk_token)}
    else:
        tables = model.tables
    handle = encode_one.Handle(steps, tables, frame.before["ids"], frame.after["ids"])
    return lambda text: encode_one.encode_text(handle, text.encode(), len(text.encode()), flags)


def automata(cut):
    """The automata of the walks of a pre-tokenizer."""
    if cut is None:
        return []
    if (automaton := cut.way(Way()).automaton) is not None:
        return [automaton]
    if isinstance(cut, pre_tokenizers.Sequence):
        return [automaton for part in cut.pretokenizers for automaton in automata(part)]
    is_byte_level = isinstance(cut, pre_tokenizers.ByteLevel) and cut.use_regex
    return [compile_pattern(PATTERNS["gpt2"])] if is_byte_level else []


def plain_step(step, walks, finders):
    """A step from its handle; walks: the automata of the walks, finders: the finders of added tokens, in order."""

    match step["kind"]:
        case kinds.EXTRACT:
            finder = next(finders)
            tables = finder and (finder.edges, finder.options, finder.word_bits)
            return encode_one.extract(tables, [] if finder is None else finder.ids.tolist())
        case kinds.WALK:
            return encode_one.cut_at(split.split_words, next(walks), np.ones((2, 2), bool), [False, False])
        case kinds.SPLIT:
            rule = [bool(step["rule"] >> i & 1) for i in range(6)]
            cut = np.array(rule[:4]).reshape(2, 2)
            return encode_one.cut_at(split.split_words, automaton_of(step), cut, rule[4:])
        case kinds.STRIP:
            space, sides = (step["page"], step["member"]), (step["left"], step["right"])
            return encode_one.cut_at(edits.strip, space, *sides)
        case kinds.FORM:
            pairs = step["pairs"]
            return encode_one.changed_by(normalize.normalize_form, step["form"], pairs if len(pairs.pair) else None)
        case kinds.MAP:
            return encode_one.changed_by(normalize.map_characters, step["table"])
        case kinds.REPLACE:
            return encode_one.replaced(automaton_of(step), step["content"].tobytes())
        case kinds.SPACES:
            when, but = step["when"], step["spelt"].tobytes()
            wants = {
                kinds.NEVER: lambda piece: False,
                kinds.IF_ANY: lambda piece: True,
                kinds.IF_BARE: lambda piece: is_bare(piece, but),
                kinds.AT_START: lambda piece: is_bare(piece, but) and piece.origin[0][0] == 0,
            }
            return encode_one.respelled(step["table"], step["replaces"], wants[when])


def is_bare(piece, but):
    """True if a piece begins with neither a space nor the text `but`."""
    return not piece.text.startswith((b" ", but or b" "))


def automaton_of(step):
    """The Automaton of a Split step."""
    return step["automaton"]
