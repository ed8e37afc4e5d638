"""`audit` finds what is odd in a vocabulary; what no text gives is found by asking for all short texts."""

from __future__ import annotations

import itertools
import json
import random
import struct

import growing
import numpy as np
import pytest

from gputok import AddedToken, Tokenizer, cli, decoders, models, normalizers, pre_tokenizers


def checks(tokenizer: Tokenizer, *arguments, **options) -> dict[str, list[int]]:
    """The ids that each check found."""
    found = tokenizer.audit(*arguments, **options)
    json.dumps(found.to_dict())
    assert str(found).startswith(f"{found.n_tokens:,} tokens") and "<details>" in found.to_html()
    return {name: [one.id for one in ones] for name, ones in found.found.items()}


def words(letters: str, most: int) -> list[str]:
    return ["".join(word) for n in range(1, most + 1) for word in itertools.product(letters, repeat=n)]


def random_bpe(rng: random.Random) -> models.BPE:
    tokens, merges = [*"abc"], []
    while len(tokens) < 14:
        pair = rng.choice(tokens), rng.choice(tokens)
        if len("".join(pair)) <= 4 and (pair not in merges):
            merges.append(pair)
            tokens += ["".join(pair)] * ("".join(pair) not in tokens)
    rng.shuffle(merges)
    vocab = {token: i for i, token in enumerate(dict.fromkeys([*tokens, "acb", "ccc"]))}
    return models.BPE(vocab, merges)


def random_wordpiece(rng: random.Random) -> models.WordPiece:
    some = ["a", "b", "##a", "##b", "##c", *(rng.choice(["", "##"]) + word for word in rng.sample(words("abc", 3), 12))]
    vocab = {token: i for i, token in enumerate(["[UNK]", *dict.fromkeys(some)])}
    return models.WordPiece(vocab, max_input_chars_per_word=rng.choice([2, 3, 100]))


def random_unigram(rng: random.Random) -> models.Unigram:
    pieces = [(word, rng.uniform(-9, -1)) for word in rng.sample(words("abc", 3), 12)]
    characters = [(one, rng.uniform(-5, -1)) for one in "abc"]
    return models.Unigram([("?", 0.0), *pieces, *characters], unk_id=0)


@pytest.mark.parametrize("make", [random_bpe, random_wordpiece, random_unigram])
def test_what_no_text_gives_is_exact(make):
    some = 0
    for seed in range(25):
        model = make(random.Random(seed))
        given = {token.id for word in words("abc", 6) for token in model.tokenize(word)}
        found = {*checks(Tokenizer(model))["unreachable"]}
        unknown = {id for token, id in model.get_vocab().items() if token in ("?", "[UNK]")}
        lost = {*model.vocabulary.names} - given - unknown
        assert found == lost, seed
        some += len(lost)
    assert some > 10


def test_bytes_that_utf8_does_not_have():
    tokenizer = Tokenizer(models.BPE({one: i for i, one in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    found = checks(tokenizer)
    assert found["unreachable"] == [0xC0, 0xC1, *range(0xF5, 0x100)]
    assert found["partial"] == [*range(0x80, 0xC0), *range(0xC2, 0xF5)]


def test_bytes_that_meet_where_others_are_removed():
    """Without 0xA9, "éé" is 0xC3 0xC3, which no text has."""
    tokenizer = Tokenizer(models.BPE({"Ã": 0, "ÃÃ": 1, "ÃÀ": 2, "À": 3}, [("Ã", "Ã"), ("Ã", "À")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    assert tokenizer.encode("éé").ids == [1]
    assert checks(tokenizer)["unreachable"] == [2, 3]


def test_byte_tokens_of_characters_that_are_tokens():
    tokens = ["a", *(f"<0x{byte:02X}>" for byte in range(256))]
    found = checks(Tokenizer(models.BPE({one: i for i, one in enumerate(tokens)}, [], byte_fallback=True)))
    assert found["unreachable"] == [1 + ord("a"), *(1 + byte for byte in (0xC0, 0xC1, *range(0xF5, 0x100)))]


def test_what_the_pre_tokenizer_cuts():
    merges = [(" ", "a"), ("a", "b"), ("a", " "), ("1", "2"), ("12", "3"), ("123", "4")]
    tokens = [*" ab1234", *map("".join, merges)]
    tokenizer = Tokenizer(models.BPE({one: i for i, one in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = growing.regex("cl100k").pretokenizers[0]  # pyright: ignore[reportAttributeAccessIssue]
    found = checks(tokenizer)
    assert [tokens[i] for i in found["cut"]] == ["a ", "1234"] and found["unreachable"] == []
    whole = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [], ignore_merges=True))
    assert checks(whole)["cut"] == checks(whole)["unreachable"] == []
    whole.pre_tokenizer = pre_tokenizers.Split("b", "isolated")
    assert checks(whole)["cut"] == [2]


def test_special_tokens_that_are_not_special():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<|end|>": 1, "<br>": 2, "[CLS]": 3, "?": 4}, unk_token="?"))
    tokenizer.add_tokens(["<｜User｜>", "<think>", "plain"])
    tokenizer.add_special_tokens(["<｜begin▁of▁sentence｜>", "[CLS]"])
    found = checks(tokenizer)
    assert found["like special"] == [1]
    assert [tokenizer.id_to_token(id) for id in found["not special"]] == ["<｜User｜>", "<think>"]


def test_doubled_tokens_white_space_and_gaps():
    vocab = {"▁": 0, " ": 1, "a": 2, "b": 3, " " * 16: 4, " " * 15: 5, "c": 9, "d": 12}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="a"))
    tokenizer.decoder = decoders.Metaspace()
    found = tokenizer.audit().found
    assert [(one.id, one.note) for one in found["doubled"]] == [(0, "as id 1"), (1, "as id 0")]
    assert [one.id for one in found["white space"]] == [4]
    assert [(one.id, one.note) for one in found["gaps"]] == [(6, "to 8, 3 ids"), (10, "to 11, 2 ids")]
    assert tokenizer.audit().ids("doubled", "gaps") == [0, 1, 6, 10]


def test_tokens_that_the_normalizer_makes_equal():
    pieces = models.WordPiece({"[UNK]": 0, "é": 1, "e": 2, "E": 3, "##e": 4, "x": 5})
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    found = tokenizer.audit().found
    assert [(one.id, one.note) for one in found["normalized"]] == [(1, "becomes 'e' (id 2)"), (3, "becomes 'e' (id 2)")]
    assert found["doubled"] == []


@pytest.mark.parametrize("kind", ["gpt2", "Llama 2", "Gemma", "BERT", "T5", "words", "Qwen 3", "superwords", "Mistral"])
def test_kinds_of_tokenizers(kind):
    """What a text gives is neither unreachable nor cut."""
    tokenizer = growing.KINDS[kind][1]()
    found = checks(tokenizer)
    given = {id for text in growing.texts(9, 200) for id in tokenizer.encode(text).ids}
    assert not given & {*found["unreachable"], *found["cut"]}


def embeddings(n: int = 300, unseen: tuple[int, ...] = (7, 8, 9, 50)) -> np.ndarray:
    """Rows of a model; those that no training text had lie close together."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(n, 16)).astype(np.float32)
    rows[[*unseen]] = 0.3 + 0.01 * rng.normal(size=(len(unseen), 16))
    return rows


def with_gaps() -> Tokenizer:
    return Tokenizer(models.WordLevel({f"t{i}": i for i in range(296) if i not in (7, 8, 9)}, unk_token="t0"))


def safetensors(path, **tensors: tuple[str, np.ndarray]) -> str:
    head, data = {}, b""
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        head[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return str(path)


def test_embeddings_that_training_never_saw(tmp_path):
    rows = embeddings(unseen=(7, 8, 9, 50, 296, 297, 298, 299))
    assert checks(with_gaps(), rows)["unseen"] == [50]
    np.save(tmp_path / "rows.npy", rows)
    assert checks(with_gaps(), tmp_path / "rows.npy")["unseen"] == [50]
    half = (rows.view(np.uint32) >> 16).astype(np.uint16)
    one = safetensors(
        tmp_path / "a.safetensors", **{"model.embed_tokens.weight": ("BF16", half), "other": ("F32", rows)}
    )
    assert checks(with_gaps(), one)["unseen"] == [50]
    two = safetensors(tmp_path / "b.safetensors", first=("F32", rows), second=("F32", rows[::-1]))
    assert checks(with_gaps(), two, tensor="first")["unseen"] == [50]
    with pytest.raises(ValueError, match=r"name the tensor .* of first, second"):
        with_gaps().audit(two)
    with pytest.raises(ValueError, match="has 20 rows, but ids of the tokenizer go up to 295"):
        with_gaps().audit(rows[:20])
    with pytest.raises(ValueError, match="two dimensions, of floats, not int64"):
        with_gaps().audit(np.zeros((300, 2), np.int64))
    (tmp_path / "c.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(ValueError, match=r"c.safetensors: is no .safetensors file"):
        with_gaps().audit(tmp_path / "c.safetensors")
    (tmp_path / "d.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes()[:-1])
    with pytest.raises(ValueError, match="the tensor second is cut off"):
        with_gaps().audit(tmp_path / "d.safetensors", tensor="second")
    (tmp_path / "e.npy").write_text("no")
    with pytest.raises(ValueError, match=r"expected a .npy or a .safetensors file"):
        with_gaps().audit(tmp_path / "e.npy")


def test_without_rows_that_were_surely_not_seen_the_smallest_rows_are_odd():
    rows = embeddings(unseen=())
    rows[5] = 1e-3
    tokenizer = Tokenizer(models.WordLevel({f"t{i}": i for i in range(300)}, unk_token="t0"))
    assert checks(tokenizer, rows)["unseen"] == [5]


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    tokenizer = with_gaps()
    tokenizer.add_tokens([AddedToken("<b>&</b>")])
    tokenizer.save("t.json")
    np.save("rows.npy", embeddings(unseen=(7, 8, 9, 50, 296, 297, 298, 299)))

    def run(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit):
            cli.main(["audit", *arguments])
        return capsys.readouterr()

    assert run("t.json")[0] == f"{tokenizer.audit()}\n"
    found = json.loads(run("t.json", "--embeddings", "rows.npy", "--json", "-o", "page.html")[0])["found"]
    assert [one["id"] for one in found["unseen"]] == [50]
    assert "<b>&</b>" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert run("t.json", "--embeddings", "none.npy")[1] == "gputok: none.npy: No such file or directory\n"
