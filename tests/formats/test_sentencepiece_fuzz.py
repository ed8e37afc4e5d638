"""Random models of SentencePiece, and random damage to them: the same ids as `sentencepiece` gives, or refused.

A BPE gives them in `tokenizers`, too. A Unigram does not: `tokenizers` adds scores in double precision, and finds the
names of control and byte pieces in text.
"""

import functools
import random
import struct

import pytest
import tokenizers

import gputok

spm = pytest.importorskip("sentencepiece")
pb2 = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
pytestmark = pytest.mark.filterwarnings("ignore:pattern .* has a look-behind where a match begins")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
LETTERS = "abcé漢<s>▁▁"
SYMBOLS = ["<sep>", "<x>", "ab", "b", "▁", "▁▁", "a▁b", "<s", "é", "[M]", "a|b", "ＡＢ", "<SEP>", "-", "\\", "\n"]
RULES = ["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"]


@functools.cache
def charsmap(rule: str) -> bytes:
    proto = spm.SentencePieceNormalizer(rule_name=rule).serialized_model_proto()
    return pb2.ModelProto.FromString(proto).normalizer_spec.precompiled_charsmap


def some_piece(r: random.Random) -> str:
    return "▁" * (r.random() < 0.3) + "".join(r.choices(LETTERS, k=r.choice([1, 2, 2, 3, 3, 4, 6])))


def some_model(r: random.Random):
    """A model whose longer pieces mostly grow from shorter ones, with scores that fall, are shared, or are random."""
    pieces = [some_piece(r) for _ in range(r.choice([5, 15, 40, 80]))]
    pieces += [piece[:i] for piece in pieces for i in range(2, len(piece)) if r.random() < 0.6]
    pieces += sorted(set("".join(pieces)))
    if (scores := r.choice(["fall", "fall", "shared", "random"])) != "random":
        pieces.sort(key=len)
    score = {
        "fall": lambda i: -float(i),
        "shared": lambda i: -float(i // r.choice([1, 1, 1, 2, 4])),
        "random": lambda i: r.uniform(-20, r.choice([0, 0, 5])),
    }[scores]
    fallback = r.random() < 0.35
    named = {"<unk>": (0.0, UNKNOWN)} | dict.fromkeys(["<s>", "</s>"], (0.0, CONTROL))
    named |= {f"<0x{byte:02X}>": (0.0, BYTE) for byte in range(256 * fallback)}
    named |= dict.fromkeys(r.sample(SYMBOLS, r.choice([0, 0, 1, 3])), (0.0, USER_DEFINED))
    for i, piece in enumerate(dict.fromkeys(pieces)):
        named.setdefault(piece, (score(i), NORMAL))
    items = list(named.items())
    if r.random() < 0.3:
        r.shuffle(items)
    proto = pb2.ModelProto()
    for name, (value, kind) in items:
        proto.pieces.add(piece=name, score=value, type=kind)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.byte_fallback = r.choice([1, 2]), fallback
    trainer.treat_whitespace_as_suffix = r.random() < 0.15
    normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces = r.random() < 0.6, r.random() < 0.5
    if r.random() < 0.3:
        normalizer.precompiled_charsmap = charsmap(r.choice(RULES))
    return proto


def damaged(r: random.Random, blob: bytes) -> bytes:
    """A map of characters that is cut, changed at a bit, or has another length."""
    at = r.randrange(len(blob) or 1)
    length = struct.pack("<I", r.choice([0, 3, 1024, max(0, len(blob) - 5)]))
    bit = bytes([blob[at] ^ 1 << r.randrange(8)]) if blob else b"x"
    return r.choice([blob[:at], blob[:at] + bit + blob[at + 1 :], length + blob[4:], blob[:-1], blob + b"x"])


def damage(r: random.Random, proto) -> None:
    piece, other = r.choice(proto.pieces), r.choice(proto.pieces)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    match r.randrange(9):
        case 0:
            values = (0.0, -0.0, -1.0, 5.0, 1e9, -1e9, float("nan"), float("inf"), other.score, -1e-40, 123456.0)
            piece.score = r.choice(values)
        case 1:
            piece.piece = r.choice([other.piece, some_piece(r), "", "a\0b", "\0", "a b", " ", "<0x41>", "▁▁▁"])
        case 2:
            piece.type = r.randrange(1, 7)
        case 3:
            proto.pieces.remove(piece)
        case 4:
            name = r.choice(["add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"])
            setattr(normalizer, name, not getattr(normalizer, name))
        case 5:
            name = r.choice(["byte_fallback", "treat_whitespace_as_suffix"])
            setattr(trainer, name, not getattr(trainer, name))
        case 6:
            normalizer.precompiled_charsmap = damaged(r, normalizer.precompiled_charsmap)
        case 7:
            proto.pieces.add(piece=r.choice([*SYMBOLS, some_piece(r)]), type=r.choice([NORMAL, USER_DEFINED]))
        case 8:
            piece.score, other.score = other.score, piece.score


def some_texts(r: random.Random, proto, n: int = 30) -> list[str]:
    names = [piece.piece for piece in proto.pieces if piece.type != BYTE and "\0" not in piece.piece]
    symbols = [piece.piece for piece in proto.pieces if piece.type == USER_DEFINED]
    units = [*LETTERS, " ", "  ", "x", "z", "<s>", "<unk>", "<0x41>", "😀", *r.choices(names, k=20), *symbols * 5]
    random_texts = ["".join(r.choices(units, k=r.randrange(1, 9))) for _ in range(n)]
    return ["", " ", "  ", "▁", *symbols, *(" " + symbol for symbol in symbols), *random_texts]


def check(seed: int, path) -> str:
    """Compares a model, which may be damaged, and the file that is saved of it; returns what became of it."""
    r = random.Random(seed)
    proto = some_model(r)
    for _ in range(r.choice([0, 0, 1, 2])):
        damage(r, proto)
    model = proto.SerializeToString()
    try:
        theirs = spm.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        with pytest.raises(ValueError, match="these bytes"):
            gputok.from_sentencepiece(model)
        return "refused by both"
    try:
        ours = gputok.from_sentencepiece(model)
    except ValueError:
        return "refused"
    others = [ours, gputok.Tokenizer.from_str(ours.to_str())]
    if proto.trainer_spec.model_type == 2:
        others.append(tokenizers.Tokenizer.from_str(ours.to_str()))
    try:
        gputok.save_sentencepiece(ours, path)
        others.append(spm.SentencePieceProcessor(model_file=str(path)))
    except ValueError:
        pass
    for text in some_texts(r, proto):
        ids = theirs.encode(text)
        for other in others:
            other.encode_special_tokens = True
            found = other.encode(text)
            found = found if isinstance(found, list) else found.ids
            assert found == ids, (seed, text, theirs.encode(text, out_type=str))
    return "BPE" if proto.trainer_spec.model_type == 2 else "Unigram"


def check_many(seeds: range, folder) -> None:
    found = [check(seed, folder / "saved.model") for seed in seeds]
    assert {"BPE", "Unigram", "refused", "refused by both"} == set(found)
    assert found.count("refused") < len(found) / 2


def test_a_few(tmp_path):
    check_many(range(24), tmp_path)


@pytest.mark.slow
def test_some(tmp_path):
    check_many(range(1000, 1030), tmp_path)


@pytest.mark.full
def test_many(tmp_path):
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first} on")
    check_many(range(first, first + 1000), tmp_path)
