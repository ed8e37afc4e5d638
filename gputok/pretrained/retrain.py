"""A new tokenizer from an old one: the same steps and special tokens, another vocabulary."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gputok.checks import short
from gputok.components import all_parts
from gputok.models import BPE, Model, Unigram
from gputok.pipeline import serialize
from gputok.pipeline.run import CountOptions
from gputok.pretrained.special_tokens import Token, as_token
from gputok.processors import PostProcessor
from gputok.text.byte_alphabet import BYTE_CHARACTERS, BYTE_TOKENS
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack


def _parts(tokenizer: Tokenizer) -> tuple[dict[str, Any], str | None, dict[str, float]]:
    """Reads what a new tokenizer takes over from the old one: JSON form, unknown token, and byte piece -> score.

    The JSON form has an empty vocabulary, because to write a full one can take seconds. Byte pieces are the tokens
    `<0x00>` to `<0xFF>` that `byte_fallback` needs.
    """
    pipeline = tokenizer.pipeline
    model = pipeline.model
    ids = {piece: model.token_to_id(piece) for piece in BYTE_TOKENS if getattr(model, "byte_fallback", False)}
    ids = {piece: token_id for piece, token_id in ids.items() if token_id is not None}
    if isinstance(model, Unigram):
        unknown = None if model.unk_id is None else model.id_to_token(model.unk_id)
        pieces = {piece: float(model.scores[token_id]) for piece, token_id in ids.items()}
    else:
        unknown, pieces = getattr(model, "unk_token", None), dict.fromkeys(ids, 0.0)
    nothing = {"vocab": [], "unk_id": None} if isinstance(model, Unigram) else {"vocab": {}}
    nothing |= {"merges": []} if isinstance(model, BPE) else {}
    bare = dataclasses.replace(pipeline, model=model.replace(**nothing))
    return serialize.tokenizer_dict(bare), unknown, pieces


def retrain(
    old: Tokenizer,
    corpus: Iterable[Any],
    vocab_size: int,
    new_special_tokens: list[Token],
    renamed: Mapping[str, str],
    *,
    length: int | None = None,
    **given: Any,
) -> Tokenizer:
    """Trains a new tokenizer from an old one, see `gputok.train_new_from_iterator`; renamed: `special_tokens_map`."""
    state, unknown, byte_pieces = _parts(old)
    model, unknown = state["model"], unknown and renamed.get(unknown, unknown)
    if "unk_token" in model:
        model = {**model, "unk_token": unknown}
    steps = {**state, "added_tokens": [], "model": model}
    tokenizer = Tokenizer.of(serialize.pipeline_of(steps, "the old tokenizer"))

    forms = ({name: value for name, value in one.items() if name != "id"} for one in state["added_tokens"])
    added = [AddedToken(**{**one, "content": renamed.get(one["content"], one["content"])}) for one in forms]
    # As in transformers, Unigram's trainer gets all added tokens, which its pieces would hide; others the special ones.
    special = [token for token in added if token.special or model["type"] == "Unigram"]
    special += [as_token(token, "new_special_tokens") for token in new_special_tokens]
    n_pieces = len(set(byte_pieces) - {token.content for token in special})
    if vocab_size < n_pieces:
        raise ValueError(f"vocab_size={vocab_size} is less than the {n_pieces} byte pieces that this tokenizer keeps")

    trainer = tokenizer.model.get_trainer()
    options = {"vocab_size": vocab_size - n_pieces, "special_tokens": special}
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    options |= {name: model[name] for name in affixes if model.get(name) is not None}
    parts = *all_parts(state["pre_tokenizer"]), *all_parts(state["normalizer"])
    if any(part["type"] == "ByteLevel" for part in parts):
        options["initial_alphabet"] = list(BYTE_CHARACTERS)
    if model["type"] == "Unigram":
        options["unk_token"] = unknown
    for name, value in options.items():
        if hasattr(trainer, name):
            setattr(trainer, name, value)
    how: Any = {name: given.pop(name) for name in CountOptions.__annotations__ if name in given}
    for name, value in given.items():
        setattr(trainer, name, value)
    tokenizer.train_from_iterator(corpus, trainer, length, **how)

    first = [tokenizer.token_to_id(token) for token in (*map(str, special), options.get("unk_token") or "")]
    _insert(tokenizer.model, byte_pieces, 1 + max((i for i in first if i is not None), default=-1))
    tokenizer.add_tokens([token for token in added if not token.special])
    if state["post_processor"]:
        processor = _renumbered(state["post_processor"], renamed, tokenizer)
        tokenizer.post_processor = PostProcessor.from_dict(processor)
    if padding := tokenizer.padding:
        token = renamed.get(padding["pad_token"], padding["pad_token"])
        if (token_id := tokenizer.token_to_id(token)) is not None:
            tokenizer.enable_padding(**{**padding, "pad_token": token, "pad_id": token_id})
    return tokenizer


def _insert(model: Model, pieces: Mapping[str, float], position: int) -> None:
    """Inserts the pieces that the model lacks, with ids from `position` on; the ids of later tokens move up."""
    missing = [piece for piece in pieces if model.token_to_id(piece) is None]
    if not missing:
        return
    tokens = model.vocabulary.tokens
    tokens = [*tokens[:position], *missing, *tokens[position:]]
    if isinstance(model, Unigram):
        scores = np.insert(model.scores, position, [pieces[piece] for piece in missing]).tolist()
        model.update(vocab=list(zip(tokens, scores, strict=True)))
    elif isinstance(model, BPE):
        merges = np.asarray(model.merges[:, :2], np.int64)
        model.set_vocabulary(Vocabulary(*pack(tokens)), merges + len(missing) * (merges >= position))


def _renumbered(processor: dict[str, Any], renamed: Mapping[str, str], tokenizer: Tokenizer) -> dict[str, Any]:
    """Writes a post-processor's JSON form with the new texts and ids of its tokens, at any depth."""

    def named(token: str) -> tuple[str, int]:
        token = renamed.get(token, token)
        token_id = tokenizer.token_to_id(token)
        if token_id is None:
            how = "pass it in new_special_tokens, or its new name in special_tokens_map"
            raise ValueError(f"the post-processor adds {short(token)}, which the new vocabulary lacks; {how}")
        return token, token_id

    new = copy.deepcopy(processor)
    if new["type"] == "Sequence":
        new["processors"] = [_renumbered(part, renamed, tokenizer) for part in new["processors"]]
    for token in new.get("special_tokens", {}).values():
        token["tokens"], token["ids"] = map(list, zip(*map(named, token["tokens"]), strict=True))
    for name in {"cls", "sep"} & new.keys():
        new[name] = list(named(new[name][0]))
    return new


def same_class(tokenizer: Any, trained: Tokenizer, new: list[Token], renamed: Mapping[str, str]) -> Any:
    """Makes a tokenizer of the same class of `transformers`, with the same options and the trained backend."""
    backend = type(tokenizer.backend_tokenizer).from_str(trained.to_str())
    options = {key: value for key, value in tokenizer.init_kwargs.items() if key != "added_tokens_decoder"}
    for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES:
        if getattr(tokenizer, name) is not None:  # the text alone; the map has an AddedToken if the token has flags
            options[name] = _renamed_foreign(tokenizer._special_tokens_map[name], renamed)
    if own := {name: options[name] for name in options.get("model_specific_special_tokens") or () if name in options}:
        options["model_specific_special_tokens"] = own
    if extra := [*(renamed.get(token, token) for token in tokenizer.extra_special_tokens), *map(str, new)]:
        options["extra_special_tokens"] = extra
    try:
        return type(tokenizer)(tokenizer_object=backend, **options)
    except TypeError as error:
        if "tokenizer_object" not in str(error):
            raise
    same = type(tokenizer)(**options)  # a class that makes its backend itself (LayoutLMv3Tokenizer)
    same._tokenizer = backend
    return same


def _renamed_foreign(token: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(token, str):
        return renamed.get(token, token)
    if str(token) not in renamed:
        return token
    return type(token)(**{**token.__getstate__(), "content": renamed[str(token)], "special": True})
