"""From a changed tokenizer to a model: embeddings of `transformers` models follow; folders keep their configuration."""

import json
import signal

import numpy as np
import pytest
import tokenizers
from resizing import byte_level, some_lines

from gputok import AutoTokenizer, PreTrainedTokenizer, Tokenizer, VocabularyChange, cli
from gputok.tokens.vocabulary_change import pursue

torch = pytest.importorskip("torch", reason="models need torch")
transformers = pytest.importorskip("transformers")

N_PADDED = 448


def tokenizer_of(seed=0, vocab_size=400):
    tokenizer = byte_level(some_lines(seed), vocab_size)
    tokenizer.add_special_tokens(["<bos>", "<eos>", "<pad>"])
    return tokenizer


def gpt2(tokenizer, rows, tied=True):
    bos, eos, pad = (tokenizer.token_to_id(name) for name in ("<bos>", "<eos>", "<pad>"))
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=rows, n_embd=16, n_layer=1, n_head=2, n_positions=64, tie_word_embeddings=tied,
        bos_token_id=bos, eos_token_id=eos, pad_token_id=pad,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("operation", ["extend", "prune", "truncate"])
def test_a_model_goes_on_with_the_new_ids(operation, tied):
    tokenizer = tokenizer_of()
    model = gpt2(tokenizer, N_PADDED, tied)
    before, old = Tokenizer.from_str(tokenizer.to_str()), model.get_input_embeddings().weight.detach().numpy().copy()
    lines = some_lines(0)
    change = {
        "extend": lambda: tokenizer.extend(iter(some_lines(9, letters="qjxkv")), 30),
        "prune": lambda: tokenizer.prune(380, iter(lines)),
        "truncate": lambda: tokenizer.truncate(380),
    }[operation]()
    text = next(
        text for text in lines if len(text) > 20 and (change.old_to_new[before.encode(text).ids] >= 0).all()
        and not {*tokenizer.encode(text).ids} & {*change.new_ids.tolist()}
    )  # fmt: skip
    expected = logits(model, before.encode(text).ids)
    change.resize_embeddings(model)
    found, kept = logits(model, tokenizer.encode(text).ids), np.flatnonzero(change.old_to_new >= 0)
    assert np.allclose(found[:, change.old_to_new[kept]], expected[:, kept], atol=1e-5)
    n_rows = -(-change.size // 64) * 64
    weight = model.get_input_embeddings().weight
    assert len(weight) == model.config.vocab_size == n_rows
    assert (model.get_output_embeddings().weight is weight) == tied
    for name in ("bos", "eos", "pad"):
        assert getattr(model.config, f"{name}_token_id") == tokenizer.token_to_id(f"<{name}>")
        assert getattr(model.generation_config, f"{name}_token_id") in (None, tokenizer.token_to_id(f"<{name}>"))
    for i, id in enumerate(change.new_ids.tolist()):
        parts = change.parts[change.rows[i] : change.rows[i + 1]]
        assert np.allclose(weight[id].detach().numpy(), old[parts].mean(0), atol=1e-6)


def test_a_model_without_padding_stays_so_and_half_precision_too():
    tokenizer = tokenizer_of()
    model = gpt2(tokenizer, tokenizer.get_vocab_size()).to(torch.bfloat16)
    change = tokenizer.extend(iter(some_lines(9, letters="qjxkv")), 7)
    change.resize_embeddings(model)
    weight = model.get_input_embeddings().weight
    assert len(weight) == change.size and weight.dtype == torch.bfloat16
    with pytest.raises(TypeError, match="Tokenizer has no get_input_embeddings"):
        change.resize_embeddings(tokenizer)
    with pytest.raises(ValueError, match="old has 10 rows, fewer than the"):
        change.resized(np.zeros((10, 4)))


def test_pursuit_finds_the_parts_of_sums_and_fits_as_least_squares_do():
    made = np.random.default_rng(0)
    shared, weights = made.normal(size=(200, 64)), made.uniform(1, 3, (5, 3))
    parts = np.array([made.choice(200, 3, replace=False) for _ in range(5)])
    targets = (weights[:, :, None] * shared[parts]).sum(1)
    chosen, found = pursue(targets, shared, 6)
    for i in range(5):
        sums = dict.fromkeys(range(200), 0.0)
        for part, weight in zip(chosen[i].tolist(), found[i].tolist(), strict=True):
            sums[part] += weight
        expected = dict(zip(parts[i].tolist(), weights[i].tolist(), strict=True))
        assert {part: weight for part, weight in sums.items() if abs(weight) > 1e-3} == pytest.approx(
            expected, abs=1e-3
        )
    targets = made.normal(size=(7, 64))  # no sums: the best weights of what was chosen
    chosen, found = pursue(targets, shared, 5)
    for target, some, weights in zip(targets, chosen, found, strict=True):
        assert len({*some.tolist()}) == 5
        assert np.allclose(weights, np.linalg.lstsq(shared[some].T, target, rcond=None)[0], atol=1e-4)


def test_the_tokenizer_of_another_model():
    """The other model's embeddings are ours, turned: so the sums of shared tokens give what ours would be."""
    old, new = tokenizer_of(0, 420), tokenizer_of(0, 420)
    new.extend(iter(some_lines(9, letters="qjxkv")), 20)
    new.prune(410, iter(some_lines(0)))
    change = VocabularyChange.between(old, new)
    by_bytes = {old.token_bytes(id): id for id in old.get_vocab().values()}
    for id in range(new.get_vocab_size()):
        known = by_bytes.get(new.token_bytes(id))
        if known is not None:
            assert change.old_to_new[known] == id
        else:
            i = change.new_ids.tolist().index(id)
            parts = change.parts[change.rows[i] : change.rows[i + 1]].tolist()
            assert b"".join(map(old.token_bytes, parts)) == new.token_bytes(id)
    assert new.token_to_id("<eos>") == change.old_to_new[old.token_to_id("<eos>")]
    same = VocabularyChange.between(old, Tokenizer.from_str(old.to_str()))
    assert same.old_to_new.tolist() == [*range(old.get_vocab_size())] and same.new_tokens == []

    made = np.random.default_rng(0)
    ours = made.normal(size=(len(change.old_to_new), 32)).astype(np.float32)
    turn = np.linalg.qr(made.normal(size=(32, 32)))[0]
    whole, kept = np.zeros((change.size, 32)), np.flatnonzero(change.old_to_new >= 0)
    whole[change.old_to_new[kept]] = ours[kept]
    for id in change.new_ids.tolist():
        whole[id] = made.uniform(1, 2, 2) @ ours[made.choice(kept, 2, replace=False)]
    assert np.allclose(change.resized(ours, donor=whole @ turn, n_parts=8), whole, atol=1e-3)

    assert np.array_equal(change.resized(ours, donor=whole), change.resized(ours, donor=whole, n_parts=32 // 8))
    model, donor = gpt2(old, N_PADDED), gpt2(new, new.get_vocab_size(), tied=False)
    change.resize_embeddings(model, donor=donor, n_parts=4)
    assert len(model.get_input_embeddings().weight) == -(-change.size // 64) * 64


def test_folders_keep_their_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (tmp_path / "text.txt").write_text("".join(some_lines(9, letters="qjxkv")))
    one = PreTrainedTokenizer(
        tokenizer_of(), bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", model_max_length=77,
        chat_template="{% for one in messages %}{{ one.content }}<eos>{% endfor %}",
    )  # fmt: skip
    one.save_pretrained("old")
    for command in (
        ["extend", "text.txt", "--tokens", "12"],
        ["prune", "text.txt", "--vocab-size", "380"],
        ["truncate", "--vocab-size", "380"],
    ):
        with pytest.raises(SystemExit) as exit:
            cli.main([*command, "-t", "old", "-o", f"new-{command[0]}", "--change", f"{command[0]}.npz"])
        assert exit.value.code == 0, capsys.readouterr().err
        new = AutoTokenizer.from_pretrained(f"new-{command[0]}")
        theirs = transformers.AutoTokenizer.from_pretrained(f"new-{command[0]}")
        plain = tokenizers.Tokenizer.from_file(f"new-{command[0]}/tokenizer.json")
        change = VocabularyChange.load(f"{command[0]}.npz")
        for name in ("bos", "eos", "pad"):
            token, id = getattr(new, f"{name}_token"), getattr(new, f"{name}_token_id")
            assert token == f"<{name}>" == getattr(theirs, f"{name}_token")
            assert id == getattr(theirs, f"{name}_token_id") == change.old_to_new[getattr(one, f"{name}_token_id")]
        assert new.model_max_length == theirs.model_max_length == 77
        chat = [{"role": "user", "content": "qjxkv a"}]
        assert new.apply_chat_template(chat, tokenize=False) == theirs.apply_chat_template(chat, tokenize=False)
        assert new("qjxkv a")["input_ids"] == theirs("qjxkv a")["input_ids"] == plain.encode("qjxkv a").ids
        by_hand = AutoTokenizer.from_pretrained("old")
        again = {
            "extend": lambda of: of.extend("text.txt", 12),
            "prune": lambda of: of.prune(380, "text.txt"),
            "truncate": lambda of: of.truncate(380),
        }[command[0]](by_hand)
        assert again == change and by_hand.backend_tokenizer.to_str() == new.backend_tokenizer.to_str()
    with pytest.raises(SystemExit) as exit:
        cli.main(["truncate", "--vocab-size", "380", "-t", "old", "-o", "text"])
    assert exit.value.code == 0 and json.loads((tmp_path / "text" / "tokenizer_config.json").read_text())["bos_token"]
    (tmp_path / "file").write_text("")
    for output, message in (("file", "file: is a file; name a folder"), ("old", "old: is the tokenizer that is read")):
        with pytest.raises(SystemExit) as exit:
            cli.main(["truncate", "--vocab-size", "380", "-t", "old", "-o", output])
        assert exit.value.code == 1 and message in capsys.readouterr().err
