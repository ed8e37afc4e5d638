"""Compiled tokenizers: the same tokenizer.json, ids and positions; damage is an error; kernels stay in their memory."""

from __future__ import annotations

import os
import random
import re
import struct

import growing
import numpy as np
import pytest
from gputok.kernels.cpu import compiled as kernels

import gputok
from gputok import AddedToken, Tokenizer, models, pre_tokenizers
from gputok.cli import main
from gputok.files.outputs import writing
from gputok.pipeline import compiled

REAL = ["llama2", "llama3", "qwen3", "claude", "minilm-bert"]
TEXTS = [*growing.texts(3, 12), "", "Hello the ab, naïve 漢字 ▁ 😀" * 40]
ENCODED = ("ids", "offsets", "word_ids", "tokens", "type_ids", "special_tokens_mask")
MODELS = ["gpt2", "Llama 2", "BERT", "words", "T5"]
"""Of growing.KINDS, one for each kind of tables."""
OBJECT = 80


def json_of(tokenizer):
    return Tokenizer.from_str(tokenizer.to_str())


def check_same(found, wanted, texts=TEXTS):
    assert found.to_str() == wanted.to_str() and found.to_str(pretty=True) == wanted.to_str(pretty=True)
    for text in texts:
        both = found.encode(text), wanted.encode(text)
        assert len({repr([getattr(one, name) for name in ENCODED]) for one in both}) == 1, text
        assert found.decode(both[0].ids) == wanted.decode(both[0].ids)
    rows = [[batch.ids.tolist() for batch in one.encode_corpus(iter(texts * 3))] for one in (found, wanted)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("kind", [kind for kind in growing.KINDS if kind != "custom"])
def test_every_kind_is_the_same(kind, tmp_path):
    wanted = json_of(growing.KINDS[kind][1]())
    path = str(tmp_path / "small.gputok")
    wanted.save(path)
    check_same(Tokenizer.from_file(path), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_tokenizers_are_the_same(name, shared_tokenizer, corpus_sample, tmp_path):
    texts = [*TEXTS, *(corpus_sample(corpus, 20_000) for corpus in ("en", "multi", "zh", "code"))]
    wanted, path = Tokenizer.from_file(str(shared_tokenizer(name))), str(tmp_path / "real.gputok")
    wanted.save(path)
    found = Tokenizer.from_file(path)
    check_same(found, wanted, texts)
    # What is made of it
    assert found.model.get_vocab() == wanted.model.get_vocab() and repr(found) == repr(wanted)
    for one in (found, wanted):
        one.add_tokens(["<new>", AddedToken("the", single_word=True)])
    check_same(found, wanted, ["the <new> other"])


@pytest.mark.parametrize("options", [
    {"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}, {"dropout": 0.5}, {"ignore_merges": True},
])  # fmt: skip
def test_options_of_bpe(options, tmp_path):
    prefixed = "##b" if "continuing_subword_prefix" in options else "b"
    vocab = {"a": 3, "b": 0, "##b": 9, "ab": 4, "bb": 2, "a</w>": 7}
    merges = [("a", prefixed), ("b", prefixed)]
    wanted, path = Tokenizer(models.BPE(vocab, merges, **options)), str(tmp_path / "a.gputok")
    wanted.save(path)
    found = Tokenizer.from_file(path)
    assert found.to_str() == wanted.to_str() and found.model.dropout == wanted.model.dropout
    if "dropout" not in options:
        check_same(found, wanted, ["abba", "b", "aab"])


def test_merges_that_occur_twice_and_tokens_of_one_id(tmp_path):
    vocab, path = {"a": 0, "b": 1, "ab": 2, "ba": 2, "c": 4}, str(tmp_path / "a.gputok")
    for wanted in (
        Tokenizer(models.BPE(vocab, [("a", "b"), ("b", "a")])),
        Tokenizer(models.BPE({**vocab, "ba": 3}, [("a", "b"), ("b", "a"), ("a", "b")])),
    ):
        wanted.save(path)
        check_same(Tokenizer.from_file(path), wanted, ["abba", "bab", "aab"])


def test_the_same_bytes_whatever_was_encoded(tmp_path):
    first = growing.KINDS["cl100k"][1]()
    first.encode_special_tokens = True  # which no tokenizer.json has
    wanted = compiled.packed(first.pipeline).tobytes()
    first.encode("much text " * 20_000)
    assert compiled.packed(first.pipeline).tobytes() == wanted
    (tmp_path / "a.gputok").write_bytes(wanted)
    assert compiled.packed(Tokenizer.from_file(str(tmp_path / "a.gputok")).pipeline).tobytes() == wanted


def test_all_that_opens_a_tokenizer_opens_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = growing.KINDS["gpt2"][1]()
    wanted.save("t.json")
    (tmp_path / "a.txt").write_text("Hello the ab\n" * 3)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*arguments])
        return end.value.code, capsys.readouterr().out

    code, printed = run("convert", "t.json", "t.gputok")
    assert code == 0 and printed.startswith("t.gputok: ")
    data = (tmp_path / "t.gputok").read_bytes()
    assert data == compiled.packed(wanted.pipeline).tobytes()
    wanted.save("memory://compiled/t.gputok")
    with writing("memory://compiled/other") as temporary:
        temporary.write_bytes(data)
    for found in (
        Tokenizer.from_buffer(data),
        Tokenizer.from_file("memory://compiled/t.gputok"),
        Tokenizer.from_file("memory://compiled/other"),
        gputok.AutoTokenizer.from_pretrained("t.gputok").backend_tokenizer,
    ):
        assert found.to_str() == wanted.to_str()
    assert run("convert", "t.gputok", "again.json")[0] == 0
    assert Tokenizer.from_file("again.json").to_str() == wanted.to_str()
    for command in (["show", "a.txt"], ["tokens", "a.txt"], ["encode", "Hello"]):
        assert run(*command, "-t", "t.gputok") == run(*command, "-t", "t.json"), command
    assert run("verify", "a.txt", "-t", "t.gputok")[0] == 0
    assert run("info", "t.gputok")[0] == 0


# -- files that are not whole, or not ours


def error_of(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        Tokenizer.from_file(str(path))
    return str(error.value)


@pytest.fixture(scope="module")
def files():
    made = {kind: growing.KINDS[kind][1]() for kind in MODELS}
    made["whole"] = growing.KINDS["gpt2"][1]()
    made["whole"].model.ignore_merges = True
    made["unsplit"] = growing.KINDS["gpt2"][1]()
    made["unsplit"].pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return {kind: compiled.packed(tokenizer.pipeline).tobytes() for kind, tokenizer in made.items()}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("n", [50, pytest.param(1000, marks=pytest.mark.full)])
def test_each_damage_is_an_error(kind, n, files, tmp_path):
    data, rng, path = files[kind], random.Random(kind), tmp_path / "a.gputok"
    for _ in range(n):
        damaged = bytearray(data)
        at = rng.choice([rng.randrange(16, len(data)), rng.randrange(16, 600)])
        match rng.randrange(4):
            case 0:
                damaged[at] ^= 1 << rng.randrange(8)
            case 1:
                damaged[at : at + rng.randrange(1, 80)] = rng.randbytes(rng.randrange(1, 80))
            case 2:
                del damaged[at:]
            case 3:
                damaged += rng.randbytes(rng.randrange(1, 200))
        if damaged != data:
            assert "gputok convert tokenizer.json" in error_of(path, damaged)


def test_a_file_of_another_version_is_told(files, tmp_path):
    path = tmp_path / "a.gputok"
    other = files["gpt2"].replace(b"gputok 0.", b"gputok 7.", 1)
    assert re.search(
        r"was compiled by gputok 7\..*, but this is gputok 0\..*gputok convert tokenizer\.json .*a\.gputok$",
        error_of(path, other),
    )
    assert "is not a tokenizer.json" in error_of(path, b"\x89gputok compile" + other)
    assert "are not all" in error_of(path, files["gpt2"][:16])


def sealed(data):
    """A file with the checksum of what it holds."""
    memory = np.frombuffer(bytearray(data), np.uint8)
    memory[64:72].view(np.uint64)[0] = kernels.checksum(memory[72:].view(np.uint64))
    return memory.tobytes()


def use(path):
    """Opens a file that may hold anything, and uses its tables, if it opens."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except ValueError as error:
        assert str(path) in str(error)
        return False
    for text in [*TEXTS, TEXTS[-1] * 40]:  # the last makes the tables for much text
        try:
            tokenizer.decode(tokenizer.encode(text).ids), tokenizer.encode(text).offsets
        except ValueError as error:  # an unknown token is needed
            assert "unk" in str(error)
    return True


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("n", [50, pytest.param(1000, marks=pytest.mark.full)])
def test_damage_with_the_right_checksum_is_an_error_or_gives_ids(kind, n, files, tmp_path):
    data, rng, path = files[kind], random.Random(kind), tmp_path / "a.gputok"
    (size,) = struct.unpack_from("Q", data, 72)
    first, opened = -(-(OBJECT + size) // 64) * 64, 0
    for _ in range(n):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 5])):
            at = rng.choice(
                [rng.randrange(first, len(data)), rng.randrange(first, len(data)), rng.randrange(72, first)]
            )
            if rng.random() < 0.5:
                damaged[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            else:
                at &= ~7
                struct.pack_into("Q", damaged, at, rng.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
        path.write_bytes(sealed(damaged))
        opened += use(path)
    assert opened < n


def arrays(data):
    """Name of a table, number -> an array of the memory of a file, which can be changed; and the memory."""
    memory = np.frombuffer(bytearray(data), np.uint8)
    (size,) = struct.unpack_from("Q", data, 72)
    form = compiled.json.loads(memory[OBJECT : OBJECT + size].tobytes())
    area = memory[-(-(OBJECT + size) // 64) * 64 :]
    found = {}
    for name, places in form["arrays"].items():
        for i, (code, shape, at) in enumerate(places):
            n_bytes = int(np.prod(shape)) * np.dtype(code).itemsize
            found[name, i] = area[at : at + n_bytes].view(code).reshape(shape)
    return found, memory


def double(merges):
    """Merges whose tokens are each twice as long as the one before."""
    merges[:2, 0] = merges[0, 0]
    merges[:2, 1:] = merges[2, :-1]


def largest(array):
    return array.dtype.type(np.iinfo(array.dtype).max)


@pytest.mark.parametrize(("kind", "name", "i", "change"), [
    *((kind, "vocabulary", 1, lambda a: a.__setitem__(3, 1 << 40)) for kind in MODELS),
    ("gpt2", "vocabulary", 1, lambda a: a.__setitem__(0, -1)),
    ("gpt2", "vocabulary", 2, lambda a: a.__setitem__(0, 2**32 - 1)),
    ("gpt2", "vocabulary", 0, lambda a: a.__setitem__(slice(None), 0x80)),
    ("Llama 2", "vocabulary", 0, lambda a: a.__setitem__(-1, 0xF0)),
    ("gpt2", "merges", 0, lambda a: a.__setitem__((0, 0), a.size * 3)),
    ("gpt2", "merges", 0, lambda a: a.__setitem__((1, 1), a.size * 3)),
    ("gpt2", "merges", 0, lambda a: a.__setitem__((2, 2), a.size * 3)),
    ("unsplit", "merges", 0, double),
    ("gpt2", "pairs", 0, lambda a: a.__setitem__(a == largest(a), 1)),
    ("gpt2", "pairs", 0, lambda a: a.__setitem__(a != largest(a), a[a != largest(a)] + np.uint64(1 << 20))),
    # A right rank, of a pair whose left or right token does not exist
    ("gpt2", "pairs", 0, lambda a: a.__setitem__(a != largest(a), a[a != largest(a)] | np.uint64(0x1FF << 55))),
    ("gpt2", "pairs", 0, lambda a: a.__setitem__(a != largest(a), a[a != largest(a)] | np.uint64(0x1FF << 46))),
    *((kind, "strings", 0, lambda a: a.__setitem__(a == 0, 1)) for kind in ("gpt2", "words")),
    *((kind, "strings", 0, lambda a: np.add(a, 1 << 20, out=a, where=a != 0)) for kind in ("gpt2", "words")),
    *((kind, "edges", 0, lambda a: a.__setitem__(a[:, 0] == 0, 1)) for kind in ("BERT", "T5")),
    *((kind, "edges", 0, lambda a: np.add(a, 1 << 52, out=a, where=a[:, :1] > 0)) for kind in ("BERT", "T5")),
    ("whole", "byte_strings", 0, lambda a: a.__setitem__(a == 0, 1)),
    ("whole", "byte_strings", 2, lambda a: a.__setitem__(-1, 1 << 40)),
    ("gpt2", "byte_ranks", 0, lambda a: a.__setitem__((3, 4), 1 << 20)),
    *(("Llama 2", "cuts", i, lambda a: a.__setitem__(..., 200)) for i in (0, 1, 2, 3)),
    ("Llama 2", "cuts", 4, lambda a: a.__setitem__((1, 0), 1 - a[1, 0])),
    ("T5", "scores", 0, lambda a: a.__setitem__(0, np.nan)),
])  # fmt: skip
def test_tables_that_kernels_could_not_trust(kind, name, i, change, files, tmp_path):
    found, memory = arrays(files[kind])
    change(found[name, i])
    assert "is damaged" in error_of(tmp_path / "a.gputok", sealed(memory))


@pytest.mark.parametrize("kind", ["gpt2", "whole", "unsplit", "Llama 2"])
@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(4, 100))])
def test_merges_of_any_tokens_give_ids(kind, seed, files, tmp_path):
    """A forged file may have any pairs of tokens, of any ranks, and merges of any tokens whose lengths add up."""
    found, memory = arrays(files[kind])
    rng, slots, merges = np.random.default_rng(seed), found["pairs", 0], found["merges", 0]
    lengths = np.diff(found["vocabulary", 1])
    n, by_length = np.uint64(len(lengths)), np.argsort(lengths)
    first, last = (np.searchsorted(lengths[by_length], lengths, side) for side in ("left", "right"))
    merges[:] = by_length[rng.integers(first[merges], last[merges])]
    bits, used = np.uint64(len(lengths).bit_length()), np.flatnonzero(slots != largest(slots))
    rank_bits = np.uint64(64) - bits - bits
    pairs = slots[used] >> rank_bits
    if seed % 2:
        slots[:] = largest(slots)
        used = rng.permutation(len(slots))[: rng.choice([1, len(slots) // 2, len(slots) - 1])]
        left, right = rng.integers(n, size=(2, len(used)), dtype=np.uint64)
        pairs = left << bits | right
    slots[used] = pairs << rank_bits | rng.integers(merges.shape[1], size=len(used), dtype=np.uint64)
    (tmp_path / "a.gputok").write_bytes(sealed(memory))
    assert use(tmp_path / "a.gputok")


@pytest.mark.parametrize("kind", MODELS)
def test_places_outside_of_the_file_and_other_forms_are_errors(kind, files, tmp_path):
    data, path = files[kind], tmp_path / "a.gputok"
    (size,) = struct.unpack_from("Q", data, 72)
    form = compiled.json.loads(data[OBJECT : OBJECT + size])
    area = data[-(-(OBJECT + size) // 64) * 64 :]

    def with_object(value):
        raw = compiled.json.dumps(value).encode()
        head = data[:72] + struct.pack("Q", len(raw)) + raw
        return sealed(head.ljust(-(-len(head) // 64) * 64, b"\0") + area)

    assert Tokenizer.from_buffer(with_object(form)).to_str() == Tokenizer.from_buffer(data).to_str()
    each = [(name, i) for name, places in form["arrays"].items() for i in range(len(places))]
    for name, i in each:
        code, shape, at = form["arrays"][name][i]
        n = shape[0]
        for place in (
            [code, shape, 1 << 40], [code, shape, at + 1], [code, shape, -64], [code, [1 << 61, *shape[1:]], at],
            [code, [-1, *shape[1:]], at], ["i2", shape, at], ["O", shape, at], [code, [n, 1, 1], at], [code, n, at],
            [code, [n + 1e9], at], "x", 3, [], {}, [code, [None], at], [code, [n // 2 + 1, *shape[1:]], at],
        ):  # fmt: skip
            places = [*form["arrays"][name]]
            places[i] = place
            path.write_bytes(with_object(form | {"arrays": form["arrays"] | {name: places}}))
            assert not use(path) or place[1:2] == [[n // 2 + 1, *shape[1:]]], (name, place)
    for name in form["arrays"]:
        for places in (3, "x", [], {}, {"x": 1}, None, form["arrays"][name] * 2):
            path.write_bytes(with_object(form | {"arrays": form["arrays"] | {name: places}}))
            use(path)
    tokens = form["tokenizer"]["added_tokens"]
    for value in (
        *({}, [], {"tokenizer": 3}, {"tokenizer": {"model": []}}, form | {"arrays": {}}, form | {"arrays": 5}),
        *(
            form | {"tokenizer": form["tokenizer"] | {"added_tokens": some}}
            for some in (None, tokens * 2, [3] * len(tokens))
        ),
    ):
        path.write_bytes(with_object(value))
        assert not use(path)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files are mapped where they have an owner")
@pytest.mark.parametrize(("mode", "is_mapped"), [(0o644, True), (0o600, True), (0o664, False), (0o666, False)])
def test_only_files_that_no_other_can_write_are_mapped(mode, is_mapped, files, tmp_path):
    path = tmp_path / "a.gputok"
    path.write_bytes(files["gpt2"])
    path.chmod(mode)
    opened = Tokenizer.from_file(str(path))
    wanted = opened.encode(TEXTS[0]).ids
    if os.path.exists("/proc/self/smaps"):
        with open("/proc/self/smaps") as maps:
            _, name, found = maps.read().partition(str(path))
            assert bool(name) == is_mapped
        if is_mapped:  # all pages are shared: none was written to
            assert "Anonymous:             0 kB" in found[: found.index("VmFlags")]
    if not is_mapped:
        os.truncate(path, 0)
    else:
        path.unlink()
    assert opened.encode(TEXTS[0]).ids == wanted and opened.encode(TEXTS[-1]).ids
