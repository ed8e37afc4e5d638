"""What copies, pickles, other processes and engines get of a tokenizer encodes as the tokenizer itself does.

`tokenizers` is asked what each tokenizer gives; its own copies lose what a tokenizer.json doesn't hold.
"""

import copy
import hashlib
import json
import multiprocessing
import os
import pickle
import subprocess
import sys

import pytest
import tokenizers

import gputok
from gputok import Tokenizer
from gputok.pipeline.serialize import state_of

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "<s>": 3, "</s>": 4, "ab": 5, "A": 6, "<": 7, "s": 8, ">": 9, "/": 10}
TEXTS = ["ab</s>a <s>b", "AB ab Ab <X> <x> b", "a<new>b <new> </s>", "", "<s>"]


def plain(library):
    tokenizer = library.Tokenizer(library.models.BPE(VOCAB, [("a", "b")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def encoding_special_tokens(library):
    tokenizer = plain(library)
    tokenizer.encode_special_tokens = True
    return tokenizer


def with_ids_of_another_model(library):
    """Added tokens keep their ids if the model is replaced; a file gives them the next free ones."""
    tokenizer = plain(library)
    tokenizer.add_tokens(["<new>", "<x>"])
    larger = {**VOCAB, **{f"more{i}": 11 + i for i in range(9)}}
    tokenizer.model = library.models.BPE(larger, [("a", "b")], unk_token="<unk>")
    return tokenizer


def special_no_more(library):
    """A token that was special is left out when text is decoded, as long as the tokenizer lives."""
    tokenizer = plain(library)
    tokenizer.add_special_tokens(["<new>"])
    tokenizer.add_tokens([library.AddedToken("<new>", normalized=False)])
    return tokenizer


def normalized_before(library):
    """The contents of added tokens are normalized when a normalizer is set, not when one of its fields is."""
    tokenizer = plain(library)
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    tokenizer.add_tokens(["<X>"])
    tokenizer.normalizer.lowercase = False
    return tokenizer


MAKERS = [plain, encoding_special_tokens, with_ids_of_another_model, special_no_more, normalized_before]


def alike(library):
    """Two tokens with the same normalized text, in another order than that of their ids."""
    tokenizer = plain(library)
    tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.add_tokens(["<X>", "<x>", "A"])
    tokenizer.add_tokens([library.AddedToken("ab", normalized=True), library.AddedToken("AB", normalized=True)])
    return tokenizer


def answers(tokenizer) -> list:
    """Ids, offsets, and what they are decoded to, with and without special tokens."""
    found = [tokenizer.encode(text) for text in TEXTS]
    decoded = [[tokenizer.decode(e.ids, skip_special_tokens=skip) for skip in (False, True)] for e in found]
    return [[(e.ids, e.offsets) for e in found], decoded]


def in_worker(pickled: bytes) -> list:
    return answers(pickle.loads(pickled))


@pytest.mark.parametrize("make", [*MAKERS, alike], ids=lambda make: make.__name__)
def test_copies_encode_alike(make):
    pa = pytest.importorskip("pyarrow")
    tokenizer = make(gputok)
    expected = answers(tokenizer)
    if make is not alike:  # tokenizers takes either of two tokens with the same text
        assert expected == answers(make(tokenizers))
    for twin in (pickle.loads(pickle.dumps(tokenizer)), copy.copy(tokenizer), copy.deepcopy(tokenizer)):
        assert answers(twin) == expected
        assert twin.__getstate__() == tokenizer.__getstate__()
        assert twin.encode_special_tokens == tokenizer.encode_special_tokens
    ids = [ids for ids, _ in expected[0]]
    batches = pa.RecordBatch.from_pydict({"text": TEXTS})
    encoder, counter = tokenizer.corpus_encoder("text"), tokenizer.word_counter("text")
    words = sorted(tokenizer.count_words(iter(TEXTS)).spelled_out().items())
    for twin in (lambda function: function, lambda function: pickle.loads(pickle.dumps(function))):
        assert [row for batch in twin(encoder)([batches]) for row in batch.column("ids").to_pylist()] == ids
        counts = gputok.WordCounts.from_arrow(twin(counter)([batches]), byte_level=counter.byte_level)
        assert sorted(counts.spelled_out().items()) == words
    report = pickle.loads(pickle.dumps(tokenizer.report(iter(TEXTS), progress=False)))
    assert report.tokenizers[0].n_tokens == sum(map(len, ids))


def test_spawned_workers_encode_alike():
    pickled = [pickle.dumps(make(gputok)) for make in MAKERS]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(in_worker, pickled) == [answers(make(tokenizers)) for make in MAKERS]


def test_a_random_model_stays_random():
    pieces = [("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0)]
    model = gputok.models.Unigram(pieces, 0, alpha=0.3, nbest_size=4)
    tokenizer = Tokenizer(model)
    twins = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    twins += [pickle.loads(pickle.dumps(tokenizer)).model, copy.copy(tokenizer).model]
    for twin in twins:
        assert (twin.alpha, twin.nbest_size, twin.is_random) == (0.3, 4, True)
    assert len({tuple(copy.copy(tokenizer).encode("abab" * 9).ids) for _ in range(50)}) > 1
    form = tokenizers.models.Unigram(pieces, 0).__getstate__()
    assert gputok.models.Unigram(pieces, 0).__getstate__() == form


def test_the_state_is_the_file_where_that_holds_all():
    for library in (gputok, tokenizers):
        tokenizer = plain(library)
        assert tokenizer.__getstate__().decode() == plain(gputok).to_str()
    for make in MAKERS[1:]:
        assert make(gputok).__getstate__().decode() != make(gputok).to_str() == make(tokenizers).to_str()


def test_the_state_depends_on_no_hash_seed():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import gputok, hashlib, test_handed_on as t; "
        "print([hashlib.sha256(make(gputok).__getstate__()).hexdigest() for make in t.MAKERS])"
    )
    run = [sys.executable, "-c", code, os.path.dirname(__file__)]
    seeds = ({**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2"))
    first, second = (subprocess.run(run, env=env, capture_output=True, check=True).stdout for env in seeds)
    assert first == second != b""


def test_fingerprints_differ(tmp_path):
    (tmp_path / "text.txt").write_text("ab</s>a\n" * 9)
    tokenizer, other = plain(gputok), encoding_special_tokens(gputok)
    assert state_of(tokenizer.pipeline) != state_of(other.pipeline)
    files = [str(tmp_path / "text.txt")]
    counts = tokenizer.count_words(files, resume=str(tmp_path / "work"))
    assert tokenizer.count_words(files, resume=str(tmp_path / "work")) == counts
    with pytest.raises(ValueError, match="the work of another run"):
        other.count_words(files, resume=str(tmp_path / "work"))
    assert other.count_words(files) != counts


def test_the_cache_of_datasets_tells_them_apart():
    fingerprint = pytest.importorskip("datasets.fingerprint")
    states = [fingerprint.Hasher.hash(make(gputok)) for make in MAKERS]
    assert len({*states}) == len(MAKERS)
    assert states == [fingerprint.Hasher.hash(make(gputok)) for make in MAKERS]


def test_corpora_name_different_tokenizers(tmp_path):
    names = set()
    for make in MAKERS[:2]:
        tokenizer = make(gputok)
        for changed in (False, True):  # the hash is kept, but not when the tokenizer changes
            if changed:
                tokenizer.add_tokens(["one more"])
            name = tmp_path / f"{make.__name__}{changed}"
            tokenizer.encode_corpus(iter(TEXTS), name, format="megatron")
            sha256 = json.loads(name.with_suffix(".manifest.json").read_text())["tokenizer"]["sha256"]
            assert sha256 == hashlib.sha256(state_of(tokenizer.pipeline)).hexdigest()
            names.add(sha256)
    assert len(names) == 4


def test_others_take_over_what_a_file_lacks():
    theirs = encoding_special_tokens(tokenizers)
    report = gputok.report.report(theirs, iter(TEXTS), progress=False)
    assert report.tokenizers[0].n_tokens == sum(len(theirs.encode(text).ids) for text in TEXTS)
    trained = gputok.train_new_from_iterator(encoding_special_tokens(gputok), iter(["ab ab"] * 9), 30)
    assert trained.encode_special_tokens
