"""`gputok bench`: the same work for all peers, each run in its own process; results are compared before any run."""

import functools
import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
from gputok.kernels import BpeLimits
from gputok.kernels.cuda.device import DeviceSizes

import gputok
from gputok import Tokenizer, bench, models
from gputok.bench import peers
from gputok.bench.peers import END, Job
from gputok.recipes import recipe
from tests import reference
from tests.bench import __main__ as developers
from tests.bench import device, device_model, stages
from tests.emulation import stand_in
from tests.emulation.devices import KINDS, device_of
from tests.emulation.emulator import emulated_device
from tests.emulation.memory import MEMORY

rng = random.Random(0)
WORDS = ["".join(rng.choices("etaoinshré漢", k=rng.randrange(1, 9))) for _ in range(300)]
LINES = [" ".join(rng.choices(WORDS, k=rng.randrange(12))) + "\n" for _ in range(300)]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(LINES))
    return path


def job(text, tmp_path, peer, **options) -> Job:
    output = str(tmp_path / f"{peer}.out")
    return Job(
        **{"task": "train", "vocab_size": 320, **options},
        peer=peer,
        text=str(text),
        warm_text=str(text),
        output=output,
        threads=2,
    )


@pytest.mark.parametrize("peer", ["gputok", "tokenizers"])
def test_a_run_measures_and_leaves_its_result(text, tmp_path, peer):
    run, process_seconds = bench._run(job(text, tmp_path, peer))
    assert 0 < run["seconds"] < process_seconds
    assert run["import_seconds"] + run["warm_seconds"] + run["seconds"] < process_seconds
    assert run["runtime_bytes"] > 1e6 and run["peak_bytes"] >= 0
    assert len(peers.learned(peer, "bpe", str(tmp_path / f"{peer}.out"))) == 320 - 257


@pytest.mark.parametrize("peer", ["gigabpe", "rustbpe", "sentencepiece"])
def test_peers_that_may_be_missing(text, tmp_path, peer):
    pytest.importorskip(peer)
    peers.run(job(text, tmp_path, "tokenizers"))
    peers.run(job(text, tmp_path, peer))
    ours = peers.learned("tokenizers", "bpe", str(tmp_path / "tokenizers.out"))
    theirs = peers.learned(peer, "bpe", str(tmp_path / f"{peer}.out"))
    if peer == "sentencepiece":
        assert theirs is None  # its merges are on characters
    elif peer == "gigabpe":
        assert bench._n_equal(ours, theirs, "bpe") == len(ours) < len(theirs)
    else:
        assert 0 < bench._n_equal(ours, theirs, "bpe") <= len(ours) == len(theirs)


def test_training_is_compared(text):
    found = bench.train(text, vocab_size=320, against=["tokenizers"], threads=2, runs=2)
    assert [row.peer for row in found.rows] == ["gputok", "tokenizers"]
    assert all(len(row.seconds) == len(row.peak_bytes) == 2 for row in found.rows)
    assert [(row.n_equal, row.n_results) for row in found.rows] == [(63, 63)] * 2
    assert found.n_bytes == text.stat().st_size
    table = found.table().split("\n")
    assert "63 of 63 merges equal" in table[1]
    assert table[3].startswith("gputok 0.1.0") and table[3].endswith("63 of 63")
    assert table[5].startswith("gputok's start: ")
    parsed = json.loads(found.to_json())
    assert parsed["rows"][0]["ratio"] == 1.0 and parsed["rows"][1]["ratio"] > 0


def test_encoding_is_compared(text):
    peers_asked = ["tokenizers", "tiktoken"]
    found = bench.encode(text, vocab_size=320, lines=True, against=peers_asked, threads=2, runs=1)
    assert [row.peer for row in found.rows] == ["gputok", "tokenizers", "tiktoken"]
    assert found.table().splitlines()[0].endswith("device cpu, lines; median (min to max)")
    assert all(row.n_equal == row.n_results > 0 for row in found.rows)
    assert "ids equal" in found.table()


def test_any_tokenizer_is_compared_with_the_peers_that_can_read_it(text, tmp_path):
    tokenizer, trainer = recipe("wordpiece", vocab_size=300)
    trainer.show_progress = False
    tokenizer.train([str(text)], trainer)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    asked = ["tokenizers", "tiktoken"]
    found = bench.encode(text, tokenizer=tmp_path / "tokenizer.json", against=asked, threads=2, runs=1)
    assert [row.peer for row in found.rows] == ["gputok", "tokenizers"]
    assert all(row.n_equal == row.n_results > 3 for row in found.rows)
    assert all(seconds > 0 for row in found.rows for seconds in row.later_seconds)
    assert "its model is a WordPiece" in found.skipped["tiktoken"]
    assert (found.model, found.vocab_size) == ("wordpiece", tokenizer.get_vocab_size())
    assert "again, MB/s" in found.table() and "wordpiece, vocabulary" in found.table()


@pytest.fixture
def emulated(tmp_path, monkeypatch) -> str:
    """Processes that this one starts find CuPy and a device."""
    (tmp_path / "sitecustomize.py").write_text(
        "from gputok.kernels.cuda.device import DeviceSizes\n"
        "from tests.emulation import stand_in\n"
        "stand_in.install(DeviceSizes(rounds_per_look=2, pair_slots=1024))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return "cuda:0"


@pytest.mark.slow
def test_training_on_a_device_is_compared(text, emulated):
    found = bench.train(text, vocab_size=320, against=["tokenizers"], device=emulated, threads=2, runs=2)
    assert [row.peer for row in found.rows] == ["gputok", "gputok-cpu", "tokenizers"]
    assert all((row.n_equal, row.n_results) == (63, 63) and len(row.seconds) == 2 for row in found.rows)


@pytest.mark.slow
def test_encoding_on_a_device_is_compared(text, emulated):
    found = bench.encode(text, vocab_size=320, against=["tokenizers"], device=emulated, threads=2, runs=1)
    assert [row.peer for row in found.rows] == ["gputok", "gputok-cpu", "tokenizers"]
    assert all(row.n_equal == row.n_results > 0 for row in found.rows)


@pytest.mark.slow
def test_stages_on_a_device_are_timed(text, monkeypatch, capsys):
    with stand_in.installed(monkeypatch, DeviceSizes(rounds_per_look=2, pair_slots=1024)):
        developers.stages(str(text), vocab_size=320, threads=2, runs=2)
        shown = capsys.readouterr().out
        developers.stages(str(text), vocab_size=320, threads=2, runs=2, as_json=True)
    assert "a stand-in, count_words: device " in shown
    found = json.loads(capsys.readouterr().out)
    names = ["find_lines", "find_words", "count_words", "train_bpe", "encode_corpus"]
    assert [stage["stage"] for stage in found] == names
    assert all(stage["n_bytes"] == text.stat().st_size and len(stage["device_seconds"]) == 2 for stage in found[:4])
    kernels = [{*stage["kernel_seconds"]} for stage in found]
    assert "find_lines" in kernels[0] and "find_cuts" in kernels[1] and "count_words" in kernels[2]
    assert "choose_batch" in kernels[3]
    assert {"enter_words", "gather_tokens"} <= kernels[4]


def test_a_stage_that_differs_on_a_device_is_not_timed(text, tmp_path, monkeypatch):
    merge = stages.words.count_words

    def one_more(*arguments):
        found = merge(*arguments)
        return found._replace(counts=MEMORY.asarray(found.counts + 1))

    monkeypatch.setattr(stages.words, "count_words", one_more)
    with pytest.raises(ValueError, match="not timed: count_words gives another result on the GPU"):
        stages.measure(job(text, tmp_path, "gputok"), emulated_device(), 1)


def test_a_difference_is_not_timed(text, monkeypatch):
    learned = bench.learned
    monkeypatch.setattr(bench, "learned", lambda peer, *rest: learned(peer, *rest)[: 9 if peer == "gputok" else None])
    monkeypatch.setattr(bench, "_take_turns", None)
    with pytest.raises(ValueError, match=r"not timed: .* learn the same 9 of 63 and then differ"):
        bench.train(text, vocab_size=320)


def test_peers_that_cannot_run_are_named(monkeypatch):
    monkeypatch.setattr(bench, "version", lambda peer: None if peer == "gigabpe" else "1")
    against = ["gigabpe", "tokenizers", "rustbpe"]
    assert bench._installed(against, peers.TRAIN, "unigram") == (
        ["gputok", "tokenizers"],
        {"gigabpe": "does not train unigram", "rustbpe": "does not train unigram"},
    )
    assert bench._installed(["gigabpe"], peers.TRAIN, "bpe")[1] == {"gigabpe": "not installed: pip install gigabpe"}
    with pytest.raises(ValueError, match=r"expected a peer of tokenizers, gigabpe.*; got 'tiktoken'"):
        bench._installed(["tiktoken"], peers.TRAIN, "bpe")


def test_a_peer_that_fails_has_no_numbers(text, tmp_path):
    def failing(peer: str) -> Job:
        return job(text, tmp_path, peer)._replace(text="none.txt")

    (row,) = bench._take_turns(["tokenizers"], failing, 3, lambda *_: None)
    assert row.seconds == [] and "o such file" in row.failure
    found = bench.Comparison("train", "t", 1, "bpe", 1, 1, "cpu", "-", [row], {})
    assert "failed: " in found.table()


def test_turns_rotate(monkeypatch):
    order = []
    run = {"seconds": 1.0, "import_seconds": 0.0, "warm_seconds": 0.0, "runtime_bytes": 1, "peak_bytes": 1}
    run["later_seconds"] = 0.0
    monkeypatch.setattr(bench, "_run", lambda peer: order.append(peer) or (run, 2.0))
    bench._take_turns(["a", "b", "c"], lambda peer: peer, 3, lambda *_: None)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_documents_are_whole_lines_of_about_4_kb():
    text = "".join(LINES).encode()
    documents = bench._in_documents(text, 4096).split(END.encode())
    assert b"".join(documents) == text
    assert all(document.endswith(b"\n") for document in documents)
    assert all(4096 <= len(document) < 4200 for document in documents[:-1])
    assert bench._in_documents(text, 0).decode().split(END) == LINES


def test_heads_end_with_a_line_or_a_character(tmp_path):
    path = tmp_path / "a"
    path.write_text("漢字\n漢字\n")
    assert bench._head(path, tmp_path / "b", 10).read_text() == "漢字\n"
    assert bench._head(path, tmp_path / "b", 5).read_text() == "漢"
    assert bench._head(path, tmp_path / "b", 99).read_text() == path.read_text()


def test_leading_merges():
    pairs = [("a", "b"), ("ab", "c"), ("d", "e")]
    assert bench._n_equal(pairs, pairs[:2], "bpe") == 2
    assert bench._n_equal(pairs, [("ab",), ("abc",), ("x",)], "bpe") == 2
    assert bench._n_equal([("a",), ("b",)], [("b",), ("c",)], "unigram") == 1


def test_memory_is_the_peak_of_the_program_alone():
    code = (
        "from gputok.bench.peers import peak_memory as peak; start = peak(); block = bytearray(64 << 20); "
        "there = peak(); del block; print((there - start) >> 20, (peak() - start) >> 20)"
    )
    held = bytearray(256 << 20)  # of the parent, which the child must not report
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert len(held) and all(60 <= int(megabytes) <= 70 for megabytes in done.stdout.split())


def test_a_workers_process_imports_nothing_heavy_of_its_own():
    code = "import sys, gputok.bench.peers; print([m for m in ('numpy', 'numba', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("kind", KINDS)
def test_probes_of_a_card(kind):
    """Each probe is compared with NumPy before it is timed; steps of all kinds, also with a barrier of the grid."""
    card = device_of(kind, 2)
    figures = device.measure(card, device.Sizes(steps=12, steps_in_graph=4, values=700, keys=5000, distinct=2000))
    assert [figure.unit for figure in figures] == ["step"] * 3 + ["addition"] * 3
    lines = device.table(card, figures).split("\n")
    assert len({line.count("|") for line in lines}) == 1 and f"| {card.name} | " in lines[2]


@pytest.mark.slow
def test_the_command_measures_each_card(monkeypatch, capsys):
    sizes = device.Sizes(steps=4, steps_in_graph=2, values=100, keys=500, distinct=100)
    monkeypatch.setattr(device, "measure", functools.partial(device.measure, sizes=sizes))
    with stand_in.installed(monkeypatch), pytest.raises(SystemExit):
        developers.app(["device", "--device", "cuda"])
    out = capsys.readouterr().out
    assert out.count("| a stand-in | ") == 2
    assert "instructions and 2.125 loads for a byte of text" in out or "not counted" in out
    with stand_in.installed(monkeypatch):
        developers.device(device="cuda:0", as_json=True)
    (card,) = json.loads(capsys.readouterr().out)["cards"]
    assert card["card"] == "a stand-in" and len(card["figures"]) == 6


def test_a_card_that_counts_wrongly_is_not_timed():
    card = emulated_device(1)
    broken = card._replace(launch=lambda *arguments, **options: None)
    with pytest.raises(ValueError, match="not timed: plain launches"):
        device.measure(broken, device.Sizes(values=10, keys=10, distinct=10))


def test_the_time_model_counts_rounds_from_below():
    """A real batch ends no later than the bound's, which knows only the merges."""
    drawn = np.random.default_rng(0)
    symbols, offsets = drawn.integers(0, 40, 4000).astype(np.uint16), np.arange(0, 4001, 5)
    tokens, sizes = (np.arange(40, dtype=np.uint8), np.arange(41)), []
    counts = drawn.integers(1, 4, 800)
    found = reference.train_bpe_in_batches(symbols, offsets, counts, *tokens, BpeLimits(240), sizes)
    pairs = [*zip(found.left.tolist(), found.right.tolist(), strict=True)]
    assert len(sizes) / 2 < device_model.rounds_of(pairs, 40) <= len(sizes)


def test_the_time_model_of_a_file(text, capsys, monkeypatch):
    monkeypatch.setattr(device_model, "_compiling", lambda: 12.0)  # which takes as long
    developers.device(model=str(text), vocab_size=300, threads=2)
    out = capsys.readouterr().out
    assert f"{text.stat().st_size:,} bytes of text" in out and "a model, not a measurement" in out
    rows = {line.split(" | ")[0].strip("| "): line for line in out.splitlines() if line.startswith("|")}
    assert {"merge", "split and count", "end to end, train", "start, first"} <= rows.keys()
    head, merge, start = rows["stage, seconds"], rows["merge"].split(" | "), rows["start, first"].split(" | ")
    assert head.startswith("| stage, seconds | this CPU, 2 threads | T4, model | ")
    assert float(merge[1]) > 0 and " to " in merge[2] and start[1].strip() == ""
    assert float(rows["read"].split(" | ")[1]) > 0 and "not known to the model: how often L1" in out


KERNELS = {stage: {"a_kernel": (1.0, 0.5, 0.1)} for stage in ("find lines", "split and count", "encode")}


def test_a_result_is_a_range():
    """Of a fast and a slow value; all that does not start a process grows with the text, and reading has a roof."""
    work = device_model.Work(10**9, 10**6, 10**7, 3 * 10**6, 31_743, 1000, 64, KERNELS, 1.0, 5.0)
    for card in device_model.CARDS:
        found = device_model.seconds(work, card)
        assert all(0 < each.fast < each.slow for each in found.values())
        assert found["read"] == device_model.seconds(work._replace(n_readers=640), card)["read"]
        assert found["start, first"].slow > found["start, warm"].slow > 1


@pytest.mark.slow
def test_what_was_measured_stands_beside_the_model(text, monkeypatch, capsys):
    """A column of the card after those of the model, and in JSON both."""
    with stand_in.installed(monkeypatch, DeviceSizes(rounds_per_look=2, pair_slots=1024)):
        monkeypatch.setattr(device_model, "_compiling", lambda: 12.0)
        developers.device(model=str(text), vocab_size=300, threads=2, device="cuda:1", as_json=True)
        found = json.loads(capsys.readouterr().out)
        with pytest.raises(ValueError, match="--model measures one GPU"):
            developers.device(model=str(text), device="cuda")
    (name,) = found["measured"]
    measured, model = found["measured"][name], found["model"]["H100"]
    assert name == "a stand-in" and found["work"]["n_bytes"] == text.stat().st_size
    assert measured.keys() == {stage for stage in model if not stage.startswith("start")}
    assert found["this CPU"].keys() <= measured.keys() and all(fast < slow for fast, slow in model.values())
    assert all(seconds > 0 for seconds in measured.values())
    assert measured["end to end, count"] < measured["end to end, train"]
    work = device_model.Work(**found["work"])
    lines = device_model.table(work, found["this CPU"], found["measured"]).split("\n")
    assert lines[3].endswith("| H100, model | a stand-in, measured |")
    (merge,) = (line for line in lines if line.startswith("| merge "))
    assert merge.endswith(f"| {measured['merge']:.3g} |") and len({line.count("|") for line in lines[3:]}) == 1


@pytest.mark.parametrize(("kernel", "fast", "slow"), [
    ((1.0, 0.0, 0.0), 0.7 / (4 * 132 * 1.8e9 * 0.6), 1.2 / (4 * 132 * 1.4e9 * 0.2)),
    ((0.0, 1.0, 0.0), 32 / (132 * 1.8e9 * 128 * 0.9), 32 / (5.5e12 * 0.6)),
    ((0.0, 0.0, 1.0), 32 / (3.3e12 * 0.9), 32 / (3.3e12 * 0.6)),
], ids=["instructions", "sectors", "memory"])  # fmt: skip
def test_a_kernel_takes_as_long_as_the_slowest_of_what_it_does(kernel, fast, slow):
    """The second one has half of each; times of kernels are added up."""
    kernels = {"find lines": {"one": kernel, "two": [n / 2 for n in kernel]}}
    work = device_model.Work(10**9, 10**6, 10**7, 3 * 10**6, 31_743, 1000, 2, kernels, 1.0, 5.0)
    assert np.allclose(device_model.seconds(work, device_model.CARDS[2])["find lines"], [1.5e9 * fast, 1.5e9 * slow])


def test_the_time_model_grows_with_the_work():
    small = device_model.Work(10**9, 10**6, 10**7, 3 * 10**6, 31_743, 1000, 2, KERNELS, 1.0, 5.0)
    large = small._replace(n_bytes=10**10, n_symbols=10**8)
    for card in device_model.CARDS:
        less, more = (device_model.seconds(work, card) for work in (small, large))
        assert all(less[stage].slow < more[stage].slow for stage in less if not stage.startswith("start"))


def test_the_engine_of_tokbench(tmp_path):
    """A harness with the functions of tokbench's calls it; a folder without a tokenizer.json is unsupported."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "harness.py").write_text(
        """
import argparse, json, pathlib

def args_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path)
    return parser

def unsupported(version, lang, why):
    raise SystemExit(json.dumps([version, lang, why]))

def run(name, version, lang, load, encode, args, also_computes="", internally_parallel=False):
    print(json.dumps([name, version, lang, [*encode(load(), args.corpus.read_text())]]))
"""
    )
    engine = tmp_path / "engines" / "gputok" / "run.py"
    engine.parent.mkdir(parents=True)
    engine.write_bytes((pathlib.Path(__file__).parents[1] / "bench" / "tokbench.py").read_bytes())
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    tokenizer.enable_truncation(1)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text.txt").write_text("abba")

    def run(model: pathlib.Path) -> subprocess.CompletedProcess:
        arguments = ["--model", str(model), "--corpus", str(tmp_path / "text.txt")]
        return subprocess.run([sys.executable, str(engine), *arguments], capture_output=True, text=True)

    done = run(tmp_path)
    assert json.loads(done.stdout) == ["gputok", f"gputok {gputok.__version__}", "python", [2, 1, 0]], done.stderr
    assert "gputok reads a tokenizer.json" in run(tmp_path / "engines").stderr
