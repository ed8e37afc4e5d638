"""Reads and writes SentencePiece's `.model` files.

Such a file is a ModelProto (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok import decoders, models, normalizers, pre_tokenizers
from gputok.automaton.pattern import Regex
from gputok.checks import in_file, short, unwrapped
from gputok.components import all_parts
from gputok.files.atomic import replacing
from gputok.files.sentencepiece_proto import BPE, BYTE, CONTROL, NORMAL, UNIGRAM, UNKNOWN, UNUSED, USER_DEFINED, message
from gputok.formats.ranks import bpe_of, bytes_of, difference_to_ranks, merges_by_rank, tokens_without_merges
from gputok.models.bpe.prune import plain
from gputok.text.unicode_maps import grapheme_classes
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from gputok.types import Positions

SPACE = "▁"
_EITHER = f"[ {SPACE}]"
_SPACES = (" ", _EITHER)
_ENDS = tuple(rf"{start}{space}+\z" for start in ("", r"\A +|") for space in _SPACES)
_SUFFIX = tuple(rf"{space}*\z" for space in _SPACES)
_JOINING = 4, 5, 6, 8, 9, 10, 11, 12, 15, 16
"""Classes of `grapheme_classes`: a character of these belongs to the grapheme cluster of the character before it."""
_WHITE_SPACE = "\t\n\v\f\r\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""The white space of Unicode except the space, and except U+0085, which SentencePiece's nmt rules don't change."""


def from_sentencepiece(source: str | os.PathLike[str] | bytes) -> Tokenizer:
    """Reads a SentencePiece model (unigram or bpe) as a tokenizer that gives the same ids.

    Control symbols such as `<s>` become special tokens. Text that equals a control symbol is encoded as text, as in
    SentencePiece: `encode_special_tokens` is set to True (which a saved tokenizer.json doesn't contain). User-defined
    symbols are tokens of the model; those of a BPE that puts no `▁` before a text are added tokens, too. Nothing is
    added to a text; set `post_processor` for that. This needs the package `sentencepiece`; ids are those of 0.2.3.

    White space as a suffix (`treat_whitespace_as_suffix`) works, too, but such a tokenizer encodes slowly: one step of
    its normalizer runs in the `regex` package, as a warning says.

    Ids differ from SentencePiece's where several marks follow one character, a mark follows a user-defined symbol, or
    Hangul is written in single letters: there, `Precompiled` does what that of `tokenizers` does. With a saved
    tokenizer.json of a BPE, `tokenizers` gives the same ids; with that of a Unigram, it finds control and byte pieces
    by name in text, and rounds sums otherwise.

    Args:
        source: the path of a `.model` file, or its bytes.

    Returns:
        The tokenizer.

    Raises:
        ValueError: if the file is not a SentencePiece model, SentencePiece refuses it, or no tokenizer.json can express
            it: models of words or characters, white space as a suffix together with user-defined symbols, unused
            pieces, a user-defined symbol that normalization changes, rules of normalization for several characters
            other than a letter and its marks, a BPE in which the order of equal scores matters.
        ImportError: if the package `sentencepiece` is missing.
    """
    data, name = bytes_of(source)
    try:
        proto = message(data)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"{name}: expected a SentencePiece model: {error}") from None
    with in_file(name):
        pieces = PieceTable.of(proto)
        _check_pieces(pieces, data, is_bpe=proto.trainer_spec.model_type == BPE)
        return tokenizer_of(proto, pieces)


class PieceTable(NamedTuple):
    """The pieces of a model by id: their names, scores float32[n], and kinds int64[n]."""

    names: list[str]
    scores: npt.NDArray[np.float32]
    kinds: Positions

    @classmethod
    def of(cls, proto: Any) -> PieceTable:
        """Reads the pieces of a ModelProto."""
        names = [piece.piece for piece in proto.pieces]
        scores = np.array([piece.score for piece in proto.pieces], np.float32)
        return cls(names, scores, np.array([piece.type for piece in proto.pieces], np.int64))

    def ids(self, *kinds: int) -> Positions:
        """Returns the ids of the pieces of some kinds."""
        return np.flatnonzero(np.isin(self.kinds, kinds))

    def of_kind(self, kind: int) -> list[str]:
        """Returns the names of the pieces of a kind."""
        return [self.names[i] for i in self.ids(kind).tolist()]


def tokenizer_of(proto: Any, pieces: PieceTable | None = None, *, added: bool = True) -> Tokenizer:
    """Makes a tokenizer from a ModelProto or an object with the same attributes; see `from_sentencepiece`.

    pieces: those of the ModelProto, if they are at hand; added: control and user-defined symbols become added tokens.
    """
    pieces = PieceTable.of(proto) if pieces is None else pieces
    _check(proto, pieces)
    trainer, spec, symbols = proto.trainer_spec, proto.normalizer_spec, pieces.of_kind(USER_DEFINED)
    as_suffix, is_bpe = trainer.treat_whitespace_as_suffix, trainer.model_type == BPE
    model = (_bpe if is_bpe else _unigram)(pieces, trainer.byte_fallback)
    # Text may be split into words only if ids stay the same. A Unigram sums scores over a whole text, and the rounding
    # of sums can decide. Merges of a BPE stay inside words if no piece has a ▁ inside.
    inside = any(SPACE in (name[:-1] if as_suffix else name[1:]) for name in pieces.names)
    split = is_bpe and not inside
    # True: the normalizer puts in all ▁, not Metaspace after it, since a BPE looks for symbols in text with all ▁
    escape = as_suffix or not spec.remove_extra_whitespaces or (is_bpe and len(symbols) > 0)
    steps = _normalizing_steps(spec, as_suffix=as_suffix, escape=escape)
    if steps and isinstance(steps[0], normalizers.Precompiled):
        _check_rules(steps[0])
    _check_symbols(symbols, steps)
    tokenizer = Tokenizer(model)
    if isinstance(model, models.BPE) and symbols and spec.add_dummy_prefix:
        tokenizer.pre_tokenizer = _apart(model, symbols)
        model.ignore_merges = True
    elif as_suffix and split:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_previous")
    elif not escape:
        scheme = "always" if spec.add_dummy_prefix else "never"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=split)
    tokenizer.normalizer = normalizers.Sequence(steps)

    parts = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    parts += [decoders.Strip(" ", 1, 0)] * spec.add_dummy_prefix
    tokenizer.decoder = decoders.Sequence(parts)
    if not added:
        return tokenizer
    special = (*pieces.of_kind(UNKNOWN), *pieces.of_kind(CONTROL))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.encode_special_tokens = True
    if is_bpe and not spec.add_dummy_prefix:
        tokenizer.add_tokens([AddedToken(token, normalized=True) for token in symbols])
    return tokenizer


def _normalizing_steps(spec: Any, *, as_suffix: bool, escape: bool) -> list[Any]:
    """Returns the steps of the normalizer; as_suffix: `▁` stands after words; escape: spaces become `▁` here."""
    charsmap, dummy = spec.precompiled_charsmap, spec.add_dummy_prefix
    steps: list[Any] = [normalizers.Precompiled(charsmap)] if charsmap else []
    # If the map keeps a ▁ of the text, SentencePiece removes it like a space at the text's end, and not at its start
    keeps_mark = not charsmap or steps[0].normalize_str(SPACE) == SPACE
    space = _EITHER if keeps_mark else " "
    if spec.remove_extra_whitespaces:
        # With a dummy prefix, spaces at the start stay, as they and the prefix become one ▁. `Strip` is not used: it
        # would also remove U+0085, which nmt rules keep
        if dummy and not as_suffix:
            steps += [normalizers.Prepend(" ")] * (keeps_mark or escape)
            ends = rf"{space}+\z"
        else:
            ends = r"\A +" if dummy else rf"\A +|{space}+\z"
        steps.append(normalizers.Replace(Regex(ends), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if as_suffix and dummy:
        end = rf"{space}*\z" if spec.remove_extra_whitespaces else r"\z"
        steps.append(normalizers.Replace(Regex(end), SPACE))
    if not spec.remove_extra_whitespaces:
        steps += [normalizers.Prepend(SPACE)] * (dummy and not as_suffix)
    return steps + [normalizers.Replace(" ", SPACE)] * escape


def _check_rules(precompiled: normalizers.Precompiled) -> None:
    """Raises ValueError for a rule that `Precompiled` never applies: several characters, not a letter and its marks.

    The rules' keys are a trie of bytes (a double array). The loop follows all ways from its root at once, a byte a
    round; of ways that reach a node in the same state, it keeps one. Rules for Hangul's compatibility letters are
    accepted: each map of SentencePiece has rules for several of them.
    """
    units = precompiled.tables[0].astype(np.int64)
    bases = np.arange(len(units)) ^ (units >> 10 << ((units & 1 << 9) >> 6))
    page, member = grapheme_classes()
    joins = np.isin(member[page].ravel()[:0x110000], _JOINING)
    joins[0x3131:0x318F] = joins[0xFFA0:0xFFDD] = True
    # For each way: its node; its last character, and how many bytes of that are still to come; the number of characters
    # (2: or more); 1 if a character after the first joins none before it (`_JOINING`)
    node, code, lacks, n, apart = np.zeros((5, 1), np.int64)
    n_nodes = 0
    while len(node) and n_nodes <= 4 * len(units):
        n_nodes += len(node)
        child = bases[node][:, None] ^ np.arange(1, 256)
        unit = units[np.minimum(child, len(units) - 1)]
        row, byte = np.nonzero((child < len(units)) & (unit & 0x800000FF == np.arange(1, 256)))
        node, byte, begins = child[row, byte], byte + 1, lacks[row] == 0
        size = np.searchsorted([0xC0, 0xE0, 0xF0], byte, side="right")
        code = np.where(begins, byte & 0x7F >> size + (size > 0), code[row] << 6 | byte & 0x3F) & 0x1FFFFF
        lacks, n = np.where(begins, size, lacks[row] - 1), np.minimum(n[row] + begins, 2)
        apart = apart[row] | ((lacks == 0) & (n > 1) & ~joins[np.minimum(code, 0x10FFFF)])
        if (wrong := (apart > 0) & (lacks == 0) & (units[node] >> 8 & 1 > 0)).any():
            letter = short(chr(int(code[wrong][0])))
            raise _not_expressed(f"a rule of normalization for several characters, the last of them {letter}")
        ways = np.stack([node, np.where(lacks > 0, code, 0), lacks, n, apart])
        node, code, lacks, n, apart = np.unique(ways, axis=1)


def _apart(model: models.BPE, symbols: list[str]) -> pre_tokenizers.Sequence:
    """Returns the steps that make each user-defined symbol a word, which `ignore_merges` then makes a token.

    Added tokens would not do: if a text begins with a symbol, SentencePiece puts a `▁` before it, and there would be no
    word for that `▁`. `ignore_merges` must act on symbols alone: a word that is the name of another piece, which merges
    don't make, is cut after the first token that they make of it. The rest may be the name of a shorter piece, so the
    longest names are cut first. model: without `ignore_merges`.
    """
    others = sorted({*model.vocabulary.tokens} - {*symbols})
    data, offsets = pack(others)
    ids, rows = model.encode_words(data, offsets[:-1], offsets[1:], byte_level=False)
    cuts: dict[tuple[int, str], list[str]] = {}
    for i, name in enumerate(others):
        if ids[rows[i] : rows[i + 1]].tolist() != [model.token_to_id(name)]:
            first = name.encode()[: model.tokenize(name)[0].offsets[1]].decode()
            if first == name:
                raise _not_expressed(f"all characters of {short(name)} unknown, and user-defined symbols")
            cuts.setdefault((-len(name), first), []).append(name)
    patterns = ["|".join(map(re.escape, sorted(symbols, key=len, reverse=True)))]
    patterns += [rf"{_all_but(['', *names])}\z|{re.escape(first)}" for (_, first), names in sorted(cuts.items())]
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(each), "isolated") for each in patterns])


def _all_but(texts: list[str]) -> str:
    """Returns a pattern that matches any text but these, without a look-around, which would make it slow."""
    after: dict[str, list[str]] = {}
    for text in filter(None, texts):
        after.setdefault(re.escape(text[0]), []).append(text[1:])
    other = (f"[^{''.join(after)}]" if after else r"[\s\S]") + r"[\s\S]*"
    choices = "|".join([other, *(letter + _all_but(rests) for letter, rests in after.items())])
    return f"(?:{choices})" + "?" * ("" not in texts)


def _not_expressed(feature: str) -> ValueError:
    return ValueError(f"gputok can't express a SentencePiece model with {feature}")


def _check(proto: Any, pieces: PieceTable) -> None:
    """Raises ValueError for what no tokenizer.json can express."""
    trainer, kinds = proto.trainer_spec, set(pieces.kinds.tolist())
    as_suffix = trainer.treat_whitespace_as_suffix
    unsupported = {
        f"model_type {trainer.model_type}, neither unigram nor bpe": trainer.model_type not in (UNIGRAM, BPE),
        "user-defined symbols and white space as a suffix": as_suffix and USER_DEFINED in kinds,
        "unescaped white space": not proto.normalizer_spec.escape_whitespaces,
        "unused pieces": UNUSED in kinds,
        "no normal pieces": NORMAL not in kinds,
        "no unknown piece": UNKNOWN not in kinds,
    }
    for feature, present in unsupported.items():
        if present:
            raise _not_expressed(feature)


def _check_pieces(pieces: PieceTable, source: bytes, *, is_bpe: bool) -> None:
    """Raises ValueError if SentencePiece refuses a model, or a piece can't be expressed; source: the model's bytes."""
    import sentencepiece

    refusal, (names, scores, _) = "", pieces
    try:
        sentencepiece.SentencePieceProcessor(model_proto=source)
    except Exception as error:  # raised below, after checks that name the piece, which this error does not always do
        refusal = f"SentencePiece refuses this model: {error}"
    for i, name in enumerate(names):
        if not isinstance(name, str):  # protobuf gives bytes
            raise ValueError(f"piece {i}, {name!r}: is no UTF-8")
    wrong = [i for i, name in enumerate(names) if not name or "\0" in name]
    wrong += [*np.flatnonzero(~np.isfinite(scores)).tolist(), *pieces.ids(UNKNOWN).tolist()[1:]]
    # A BPE begins with the single characters of a text, so it would find such a piece if it is one character
    wrong += [i for i in pieces.ids(UNKNOWN, CONTROL).tolist() if is_bpe and len(names[i]) == 1]
    if wrong:
        i = min(wrong)
        why = refusal or "no tokenizer.json can express it"
        raise ValueError(f"piece {i}, {short(names[i])}, with the score {scores[i]}: {why}")
    if refusal:
        raise ValueError(refusal)


def _check_symbols(symbols: list[str], steps: list[Any]) -> None:
    """Raises ValueError if normalization changes a user-defined symbol, which SentencePiece would keep."""
    inner = normalizers.Sequence([step for step in steps if not isinstance(step, normalizers.Prepend)])
    for symbol in symbols:
        normalized = inner.normalize_str(symbol)
        if " " in symbol or normalized.replace(" ", SPACE) != symbol:
            changes = f"its normalization changes to {short(normalized)}"
            raise _not_expressed(f"the user-defined symbol {short(symbol)}, which {changes}")
        if inner.normalize_str(f"{symbol} {symbol}").replace(" ", SPACE) != f"{symbol}{SPACE}{symbol}":
            joins = f"whose {SPACE} its normalization joins with a space beside it"
            raise _not_expressed(f"the user-defined symbol {short(symbol)}, {joins}")


def _unigram(pieces: PieceTable, byte_fallback: bool) -> models.Unigram:
    """Makes a Unigram; user-defined symbols get the scores that SentencePiece gives them, and so nearly always win."""
    symbols, scores = pieces.ids(USER_DEFINED), pieces.scores.copy()
    scores[symbols] = _symbol_scores([len(pieces.names[i].encode()) for i in symbols.tolist()])
    # In SentencePiece, the score of unknown characters depends on the lowest score of normal pieces; in our Unigram, on
    # that of all pieces that are found in text, so symbols must not have the lowest one
    if len(symbols) and scores[symbols].min() < scores[pieces.ids(NORMAL)].min():
        raise _not_expressed("user-defined symbols and no score below 0")
    unknown = int(pieces.ids(UNKNOWN)[0])
    model = models.Unigram(list(zip(pieces.names, scores.tolist(), strict=True)), unknown, byte_fallback)
    model.sentencepiece = pieces.ids(UNKNOWN, CONTROL, BYTE).tolist()
    return model


def _bpe(pieces: PieceTable, byte_fallback: bool) -> models.BPE:
    """Makes a BPE with a merge for each pair of pieces that form a piece, by the rank of its score.

    SentencePiece merges any two neighbours that form a piece, the piece with the highest score first.
    """
    vocabulary = Vocabulary(*pack(pieces.names))
    # SentencePiece compares the bits of scores; 0.0 is then above -0.0
    bits = pieces.scores.view(np.int32)
    scores = (bits ^ (bits >> 31 & 0x7FFFFFFF)).astype(np.int64)
    order = np.argsort(-scores, kind="stable")
    ranks = np.full(len(order), -1)
    ranks[order] = np.where(pieces.kinds[order] == NORMAL, np.arange(len(order)), -1)
    merges = merges_by_rank(vocabulary, ranks)
    _check_merges(vocabulary, merges, ranks, scores)
    (unknown, *_) = pieces.of_kind(UNKNOWN)
    model = bpe_of(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=byte_fallback)
    model.sentencepiece = True
    return model


def _check_merges(vocabulary: Vocabulary, merges: Positions, ranks: Positions, scores: Positions) -> None:
    """Raises ValueError if a list of merges can't do as SentencePiece: of equal scores, it merges the left first.

    merges: of `merges_by_rank`; ranks, scores: int64[n_tokens].
    """
    tokens, known = vocabulary.tokens, vocabulary.mapping
    normal = {token for token, rank in zip(tokens, ranks.tolist(), strict=True) if rank >= 0}
    if "" in normal:
        raise ValueError("a piece is empty")
    for token in normal:
        for letter, rest in ((token[0], token[1:]), (token[-1], token[:-1])):
            if rest and letter not in known and (rest in normal or len(rest) == 1):
                raise _not_expressed(f"the piece {short(token)}, whose letter {short(letter)} is no piece")
    formed, n = np.unique(merges[:, 2]), len(tokens)
    _, group, size = np.unique(scores[formed], return_inverse=True, return_counts=True)
    tied = np.full(n, -1)
    tied[formed] = np.where(size[group] > 1, group, -1)
    part, whole = merges[:, :2], merges[:, 2:]
    # Let "ab" share a score with others, and "abd" have one that is not lower: where "ab" is made, "abd" is made before
    # the others, and takes a neighbour that one of them may have needed
    early = ((tied[part] >= 0) & (scores[whole] >= scores[part])).any(axis=1)
    pairs = merges[early][:, [2, 0]]
    left, right, made = merges[tied[merges[:, 2]] >= 0].T
    # If "ax" and "xb" have equal scores, SentencePiece makes "ax" of the text "axb", as it is on the left; a list of
    # merges makes what has the lower rank. So for each score and each token x, compare the first token that begins with
    # x and the last token that ends with x
    begins, first = np.unique(tied[made] * n + left, return_index=True)
    ends, last = np.unique((tied[made] * n + right)[::-1], return_index=True)
    _, a, b = np.intersect1d(begins, ends, assume_unique=True, return_indices=True)
    overlapping = np.stack([made[first[a]], made[::-1][last[b]]], axis=1)
    pairs = np.append(pairs, overlapping[ranks[overlapping[:, 0]] < ranks[overlapping[:, 1]]], axis=0)
    if len(pairs):
        one, other = (short(tokens[i]) for i in pairs[0].tolist())
        raise _not_expressed(f"the equal scores near {one} and {other}: their order depends on the text")


def save_sentencepiece(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Writes a SentencePiece `.model` file, with which `sentencepiece` gives the same ids.

    Special tokens become control symbols, which SentencePiece doesn't look for in text; other added tokens become
    user-defined symbols, which it looks for. A `.model` has no field for the tokens that a post-processor adds. Scores
    of a Unigram are rounded to single precision. With a `Metaspace` and no normalizer that strips the text,
    SentencePiece writes one more `▁` for a text that begins with spaces; and it keeps U+0085, which `Strip` removes.

    Args:
        tokenizer: a BPE or a Unigram over characters with `▁` for spaces, or an object with the attribute
            `backend_tokenizer`. A tokenizer that `gputok.from_sentencepiece` has read is written as it was.
        path: the file to write, atomically.

    Raises:
        ValueError: if SentencePiece would give other ids; the message says why.
        ImportError: if the package `sentencepiece` is missing.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(sentencepiece_bytes(tokenizer))


def sentencepiece_bytes(tokenizer: Tokenizer) -> bytes:
    """Returns the bytes of a `.model` file; see `save_sentencepiece`."""
    tokenizer = unwrapped(tokenizer)
    model = tokenizer.model
    if not isinstance(model, models.BPE | models.Unigram):
        raise _impossible(f"its model is a {type(model).__name__}, neither a BPE nor a Unigram")
    proto = message()
    symbols = _symbols(model, tokenizer.pre_tokenizer)
    apart = bool(symbols) and isinstance(model, models.BPE)
    model = plain(model) if isinstance(model, models.BPE) and apart else model
    spaces = _spaces(tokenizer, None if apart else tokenizer.pre_tokenizer)
    tokens, unknown = _tokens(tokenizer, model)
    kinds = _kinds(tokenizer, model, tokens, unknown)
    if USER_DEFINED in kinds and (spaces.prefix or isinstance(model, models.Unigram)):
        token = tokens[kinds.index(USER_DEFINED)]
        raise _impossible(f"it encodes what lies before and after the added token {short(token)} as two texts")
    for token_id in symbols:
        kinds[token_id] = USER_DEFINED
    if spaces.splits:  # no piece may contain a ▁ where words end
        inner, side = (slice(-1), "after") if spaces.suffix else (slice(1, None), "before")
        for token, kind in zip(tokens, kinds, strict=True):
            if SPACE in token[inner] and kind == NORMAL:
                raise _impossible(f"its words end {side} each {SPACE}, but the token {short(token)} contains one")
    if isinstance(model, models.BPE):
        scores = _scores_of_bpe(model, kinds)
    elif model.alpha:
        raise _impossible("it draws segmentations at random (alpha)")
    else:
        known = [*model.scores.tolist(), *[0.0] * (len(kinds) - len(model.scores))]
        scores = [0.0 if kind == USER_DEFINED else score for kind, score in zip(kinds, known, strict=True)]
    for token, score, kind in zip(tokens, scores, kinds, strict=True):
        piece = proto.pieces.add(piece=token, score=score)
        if kind != NORMAL:
            piece.type = kind

    trainer = proto.trainer_spec
    trainer.model_type = UNIGRAM if isinstance(model, models.Unigram) else BPE
    trainer.vocab_size = len(tokens)
    trainer.byte_fallback = bool(model.byte_fallback)
    trainer.treat_whitespace_as_suffix = spaces.suffix
    trainer.unk_id, trainer.unk_piece = unknown, tokens[unknown]
    for role, name in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        token_id = tokenizer.token_to_id(name)
        is_control = token_id is not None and token_id < len(kinds) and kinds[token_id] == CONTROL
        setattr(trainer, f"{role}_id", token_id if is_control else -1)
    normalizer = proto.normalizer_spec
    normalizer.name = "user_defined" if spaces.charsmap else "identity"
    if spaces.charsmap:
        normalizer.precompiled_charsmap = spaces.charsmap
    normalizer.add_dummy_prefix = spaces.prefix
    normalizer.remove_extra_whitespaces = spaces.collapse
    normalizer.escape_whitespaces = True
    return proto.SerializeToString()


def _tokens(tokenizer: Tokenizer, model: models.BPE | models.Unigram) -> tuple[list[str], int]:
    """Returns all tokens by id, and the id of the unknown token."""
    tokenizer.model.vocabulary.require_own_ids("a .model")
    names = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    if (gap := next((i for i in range(len(names)) if i not in names), None)) is not None:
        raise _impossible(f"no token has the id {gap}, and a .model numbers its pieces without gaps")
    if isinstance(model, models.Unigram):
        unknown = model.unk_id
    else:
        unknown = None if model.unk_token is None else model.token_to_id(model.unk_token)
    if unknown is None:
        raise _impossible("it has no unknown token")
    return [names[i] for i in range(len(names))], unknown


def _kinds(tokenizer: Tokenizer, model: models.BPE | models.Unigram, tokens: list[str], unknown: int) -> list[int]:
    hidden = (model.sentencepiece or []) if isinstance(model, models.Unigram) else []
    kinds = [NORMAL] * len(tokens)
    for token_id in hidden:
        kinds[token_id] = CONTROL
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        if token.single_word or token.lstrip or token.rstrip:
            raise _impossible(f"the added token {short(token)} depends on the text around it")
        kinds[token_id] = CONTROL if token.special else USER_DEFINED
    if model.byte_fallback:
        for byte in range(256):
            token_id = model.token_to_id(f"<0x{byte:02X}>")
            if token_id is None:
                raise _impossible(f"byte_fallback needs all byte tokens, but '<0x{byte:02X}>' is missing")
            kinds[token_id] = BYTE
    elif isinstance(model, models.BPE) and not model.fuse_unk:
        raise _impossible("it gives each unknown character a token (fuse_unk=False), but SentencePiece joins them")
    kinds[unknown] = UNKNOWN
    return kinds


def _symbols(model: models.BPE | models.Unigram, pre_tokenizer: Any) -> list[int]:
    """Returns the ids of user-defined symbols that `tokenizer_of` has not made added tokens."""
    if isinstance(model, models.Unigram):
        if model.sentencepiece is None:
            return []
        # A symbol's score is at least 0 (`_symbol_scores`), and no trained piece has such a score
        is_symbol = model.scores == _symbol_scores(np.diff(model.vocabulary.offsets))
        is_symbol[np.array(model.sentencepiece, np.int64)] = False
        return np.flatnonzero(is_symbol).tolist()
    pattern, *others = [str(step.get("pattern", {}).get("Regex")) for step in _steps(pre_tokenizer)] or [""]
    if not (model.sentencepiece and model.ignore_merges and others):
        return []
    escaped = re.findall(r"(?:\\.|[^|])+", pattern, re.DOTALL)
    symbols = [re.sub(r"\\(.)", r"\1", each, flags=re.DOTALL) for each in escaped]
    ids = [token_id for symbol in symbols if (token_id := model.token_to_id(symbol)) is not None]
    as_read = len(ids) == len(symbols) and _apart(plain(model), symbols).to_dict() == pre_tokenizer.to_dict()
    return ids if as_read else []


def _symbol_scores(n_bytes: Any) -> Any:
    """Returns the scores of user-defined symbols in SentencePiece's Unigram."""
    return (0.1 * (np.asarray(n_bytes) - 1)).astype(np.float32)


def _scores_of_bpe(model: models.BPE, kinds: list[int]) -> list[float]:
    """Returns 0, -1, -2, ..., as SentencePiece's trainer: for merged tokens by merge, then for characters."""
    if model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix:
        raise _impossible("it has a dropout, a prefix or a suffix")
    vocabulary = model.vocabulary
    made, first = np.unique(vocabulary.positions(model.merges[:, 2].astype(np.int64)), return_index=True)
    # The rank of a token is the first merge that makes the token
    rank = np.full(len(vocabulary), len(model.merges))
    rank[made] = first
    order = np.lexsort((vocabulary.ids, rank))
    order = order[np.array(kinds)[vocabulary.ids[order]] == NORMAL]
    ranks = np.full(len(vocabulary), -1)
    ranks[order] = np.arange(len(order))
    if reason := difference_to_ranks(model, ranks):
        raise _impossible(reason)
    if model.ignore_merges:
        without_merges = [vocabulary.tokens[i] for i in tokens_without_merges(model, ranks).tolist()]
        if longer := [token for token in without_merges if len(token) > 1]:
            raise _impossible(f"the word {short(longer[0])} is a token, but merges don't make it (ignore_merges)")
    by_id = dict(zip(vocabulary.ids.tolist(), ranks.tolist(), strict=True))
    return [-float(max(by_id.get(token_id, 0), 0)) if kind == NORMAL else 0.0 for token_id, kind in enumerate(kinds)]


def _spaces(tokenizer: Tokenizer, pre_tokenizer: Any) -> _Spaces:
    """Translates the normalizer and the pre-tokenizer; raises ValueError if SentencePiece can't do the same."""
    spaces, steps = _Spaces(), _steps(tokenizer.normalizer)
    if steps and steps[0]["type"] == "Precompiled":
        spaces.charsmap, steps = base64.b64decode(steps[0]["precompiled_charsmap"]), steps[1:]
    for step in steps:
        if not spaces.normalize(step):
            raise _impossible(f"a .model can't express this step of its normalizer: {short(step)}")
    if not spaces.cut(_steps(pre_tokenizer)):
        raise _impossible(f"its pre-tokenizer is not a Metaspace: {short(pre_tokenizer)}")
    spaces.check()
    # From here on, `prefix` and `suffix` are the model's fields add_dummy_prefix and treat_whitespace_as_suffix: the
    # first one stands for a SPACE after a text, too. Words that end after a SPACE need the second one
    spaces.prefix |= spaces.suffix
    spaces.suffix |= spaces.splits_after
    spaces.splits |= spaces.splits_after
    return spaces


@dataclass
class _Spaces:
    """What the steps of a tokenizer do to spaces; each step that SentencePiece has as well sets a field."""

    charsmap: bytes = b""  # the rules for characters
    ends: bool = False  # spaces at the end of a text are removed,
    left: bool = True  # and with `ends`, those at its start, too
    start: bool = False  # a step of its own removes spaces at the start
    space: bool = False  # a " " is put in front of a text
    collapse: bool = False  # of several spaces, one is left
    prefix: bool = False  # a SPACE is put in front of a text
    suffix: bool = False  # a SPACE is put after a text
    escape: bool = False  # a space becomes SPACE
    splits: bool = False  # words end before a SPACE,
    splits_after: bool = False  # or after it
    all_white_space_by: str = ""  # the component that removes all white space, not only spaces

    def normalize(self, step: dict[str, Any]) -> bool:
        """Notes a step of the normalizer; returns False if SentencePiece has no such step."""
        kind, pattern, content = step["type"], step.get("pattern"), step.get("content")
        expression = pattern.get("Regex", "") if pattern else ""
        if kind == "Strip" and step["strip_right"]:
            self.ends, self.left, self.all_white_space_by = True, step["strip_left"], "Strip"
        elif kind == "Replace" and expression in _ENDS and content == "":
            self.ends, self.left = True, expression.startswith(r"\A")
        elif kind == "Replace" and expression == r"\A +" and content == "":
            self.start = True
        elif kind == "Replace" and expression in (r"\z", *_SUFFIX) and content == SPACE:
            self.ends, self.left, self.suffix = expression in _SUFFIX, self.start, True
        elif kind == "Prepend" and step["prepend"] == " " and not self.escape:
            self.space = True
        elif kind == "Replace" and pattern == {"Regex": " {2,}"} and content in (" ", SPACE):
            self.collapse = True
        elif kind == "Prepend" and step["prepend"] == SPACE and not self.escape:
            self.prefix = True
        elif kind == "Replace" and pattern == {"String": " "} and content == SPACE:
            self.escape = True
            self.prefix |= self.space and self.collapse and not self.left
        else:
            return False
        return True

    def cut(self, steps: list[dict[str, Any]]) -> bool:
        """Notes the steps of the pre-tokenizer; returns False if SentencePiece has no such steps."""
        if [step["type"] for step in steps] == ["WhitespaceSplit", "Metaspace"]:
            self.ends = self.collapse = True
            self.all_white_space_by, steps = "WhitespaceSplit", steps[1:]
        if not steps:
            return True
        if steps == [pre_tokenizers.Split(SPACE, "merged_with_previous").to_dict()]:
            self.splits_after = True
            return not self.prefix
        (step, *others), done = steps, self.prefix or self.escape
        if others or done or step["type"] != "Metaspace" or step["replacement"] != SPACE:
            return False
        self.prefix, self.splits, self.escape = step["prepend_scheme"] != "never", step["split"], True
        return True

    def check(self) -> None:
        """Raises ValueError if SentencePiece can't do all of this together."""
        if self.ends != self.collapse:
            raise _impossible("it removes spaces at the ends of a text but not between words, or the reverse")
        if self.ends and not self.left and not self.prefix:
            raise _impossible("it removes spaces at the end of a text but not at its start")
        if self.space and not (self.collapse and self.prefix):
            raise _impossible(f"it puts a space in front of a text, which is not the only {SPACE} there")
        normalize = normalizers.Precompiled(self.charsmap).normalize_str if self.charsmap else str
        # The nmt rules make spaces of all white space
        kept = [each for each in _WHITE_SPACE * bool(self.all_white_space_by) if normalize(each) not in ("", " ")]
        if kept:
            removed = f"{self.all_white_space_by} removes {short(kept[0])}"
            raise _impossible(f"{removed}, but SentencePiece removes only spaces")
        if not self.escape:
            raise _impossible(f"spaces don't become {SPACE}: neither by Replace(' ', '{SPACE}') nor by Metaspace")


def _steps(component: Any) -> list[dict[str, Any]]:
    """Returns the JSON forms of the steps of a component, without Sequences; none for None."""
    return [part for part in all_parts(component and component.to_dict()) if part["type"] != "Sequence"]


def _impossible(reason: str) -> ValueError:
    return ValueError(f"SentencePiece can't encode as this tokenizer does: {reason}")
