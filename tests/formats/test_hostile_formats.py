"""Damaged files of every format but tokenizer.json give one clear ValueError that names the file, or work.

They never crash, hang, exhaust the memory, or raise what a library says of its own objects.
"""

from __future__ import annotations

import collections
import gzip
import json
import pathlib
import random
import re
import shutil

import hostile
import jinja2
import pytest
from hostile_formats import CONFIG, FORMATS, Tried, damaged, gguf, gguf_metadata, whole

from gputok import AutoTokenizer, PreTrainedTokenizer, WordCounts, from_tekken
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.pipeline import special_tokens
from gputok.pipeline.count import resume
from gputok.pipeline.run import Run
from gputok.pretrained import folders
from gputok.recipes import recipe


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with hostile.Worker(tmp_path_factory.mktemp("hostile"), of_formats=True) as started:
        yield started


# pyarrow makes a column's metadata where no C++ exception is caught: statistics that misfit the schema end the process
_ARROW_ENDS = "terminate called after throwing an instance of 'parquet::ParquetException'"


def failures(worker, kind: str, folder, seed: str, n: int) -> dict[str, int]:
    found: collections.Counter[str] = collections.Counter()
    outcomes: collections.Counter[str] = collections.Counter()
    name = kind.encode() + b"\0"
    assert worker.try_file(name + whole(kind), 300.0) == "works"  # also where kernels are compiled first
    for i in range(n):
        data = damaged(kind, f"{seed} {i}")
        outcome = worker.try_file(name + data)
        if _ARROW_ENDS in outcome:
            outcome = "refused: by Arrow, with the process"
        outcomes[outcome.split(":")[0]] += 1
        if not outcome.startswith(("works", "refused")):
            if outcome not in found:
                path = folder / f"{i}-{pathlib.PurePath(FORMATS[kind].name).name}"
                path.write_bytes(data)
                print(f"{path} (seed {seed!r}): {outcome}")
            found[outcome] += 1
    print(dict(outcomes))
    return dict(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_some_damage(worker, kind, tmp_path):
    assert failures(worker, kind, tmp_path, "0", 24) == {}


@pytest.mark.full
@pytest.mark.parametrize("kind", FORMATS)
def test_a_thousand_damages(worker, kind, tmp_path):
    assert failures(worker, kind, tmp_path, str(random.SystemRandom().randrange(1 << 32)), 1000) == {}


# -- cases that no damage of a file makes


def test_a_copy_of_another_part_is_counted_again(tmp_path):
    """Two parts of a corpus: the counts of the first, copied over those of the second, would be added twice."""
    (tmp_path / "corpus.txt").write_text("".join(f"some words {i}\n" for i in range(200)))
    tokenizer, _ = recipe("bpe")
    source = Source.of(tmp_path / "corpus.txt", sizes=ReadSizes(part=1000))
    expected = resume.count_words(tokenizer.pipeline, source, tmp_path / "work", Run())
    parts = sorted((tmp_path / "work").glob("part-*"))
    assert len(parts) > 1
    shutil.copy(parts[0], parts[1])
    assert resume.count_words(tokenizer.pipeline, source, tmp_path / "work", Run()) == expected


def test_changed_counts_of_a_file_are_noticed(tmp_path):
    """A bit of the words or of their counts, which could be other words as well."""
    path = tmp_path / "counts.parquet"
    WordCounts.from_dict({f"word {i * i}": i + 1 for i in range(500)}).save(path)
    whole = path.read_bytes()
    for at in range(4, len(whole) // 2, 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            WordCounts.load(path)


def test_a_dictionary_is_no_word_counts():
    tokenizer, trainer = recipe("bpe")
    with pytest.raises(TypeError, match=r"must be a gputok\.WordCounts, not dict; .*WordCounts\.from_dict"):
        tokenizer.train_from_word_counts({"a": 1}, trainer)


def test_ten_million_special_tokens_are_refused():
    value = json.loads(FORMATS["tekken"].whole())
    value["config"]["default_num_special_tokens"] = 10_000_000
    with pytest.raises(ValueError, match=r"config\.default_num_special_tokens: must be a whole number from 0 to"):
        from_tekken(json.dumps(value).encode())


def test_settings_that_are_nested_deeply_are_refused(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: expected a JSON object"):
        special_tokens.configured(tmp_path / "tokenizer.json", "eos")


def test_four_billion_reserved_tokens_are_refused(tmp_path):
    """`transformers` gives a name to each id between the last of a tiktoken file and those of the settings."""
    (tmp_path / "tokenizer.model").write_bytes(FORMATS["tiktoken"].whole())
    settings = {"added_tokens_decoder": {"4000000000": {"content": "<x>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"tokenizer\.model: added_tokens_decoder .* has the id 4000000000"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_an_error_of_a_chat_template_is_jinjas_and_a_value_error():
    """Programs written for `transformers` catch Jinja's."""
    tokenizer = PreTrainedTokenizer(recipe("bpe")[0], chat_template="a\n{{ raise_exception('no system prompt') }}")
    for kind in (ValueError, jinja2.TemplateError):
        with pytest.raises(kind, match="the chat template, line 2: no system prompt"):
            tokenizer.apply_chat_template([{"role": "user", "content": "a"}])


def json_with(kind: str, keys: list, value) -> bytes:
    """The whole file of a format, with another value in a field."""
    content = json.loads(whole(kind))
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("gguf gpt2", lambda: gguf_of_pre("x" * 100_000), "the unknown pattern 'xxx"),
        ("tekken", lambda: json_with("tekken", ["config", "default_vocab_size"], 2**31), "each rank from 0 to"),
        ("tekken", lambda: json_with("tekken", ["config"], 5), "tekken.json: config: must be an object"),
        ("tekken", lambda: json_with("tekken", ["config"], {}), "tekken.json: config: missing field 'pattern'"),
        ("corpus.csv", lambda: b"a" * 200_000 + b",b\n1,2\n", "corpus.csv: not readable as CSV"),
        ("corpus.csv", lambda: b"long" * 9999 + b",b\nx,y\n", "corpus.csv has the columns longlong"),
        ("added_tokens.json", lambda: json.dumps({"long" * 9999: -1}).encode(), "must be a whole number"),
        ("mds: ids/index.json", lambda: json_with("mds: ids/index.json", ["shards"], 5), "shards: "),
        (
            "mds: ids/manifest.json",
            lambda: json_with("mds: ids/manifest.json", ["shards", 0, "files", 0, "name"], "x" * 300),
            r"shards\[0\]\.files: 'xxx",
        ),
        (
            "litdata: ids/index.json",
            lambda: json_with("litdata: ids/index.json", ["config", "data_format"], 5),
            r"config\.data_format: expected one of",
        ),
        ("olmo: ids.csv.gz", lambda: gzip.compress(b"0"), "line 1: start, end: expected 0"),
        ("word counts", lambda: counts_of_broken_name(), "expected a Parquet file"),
    ],
)
def test_a_value_of_a_file_is_shown_short(kind, data, message, tmp_path):
    """Errors that named no file, or held a whole value of 100,000 characters."""
    outcome = Tried(tmp_path).attempt(kind.encode() + b"\0" + data())
    assert outcome.startswith("refused: ")
    assert re.search(message, outcome)


def test_every_setting_that_is_read_is_damaged():
    assert set(CONFIG) >= set(folders._SETTINGS)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind.startswith("tokenizer_config.json")])
def test_settings_that_no_file_can_hold_as_they_are(kind, tmp_path):
    """Half of a surrogate pair in a setting that is only kept; a chat template whose name is no name of a file."""
    kept = json_with(kind, ["mine"], {"\ud800": "a\udfff"})
    assert Tried(tmp_path).attempt(kind.encode() + b"\0" + kept) == "works"
    saved = json.loads((tmp_path / "work" / "again" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert saved["mine"] == {"\ud800": "a\udfff"}
    for name in ("../a", "a/b", "/a", "a\0b", "\ud800", "x" * 250):
        outcome = Tried(tmp_path).attempt(kind.encode() + b"\0" + json_with(kind, ["chat_template"], {name: "a"}))
        assert re.match("refused: .*chat.template", outcome), outcome


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind.startswith("tokenizer_config.json")])
@pytest.mark.parametrize("name", [name for name in CONFIG if name != "tokenizer_class"])
def test_null_is_as_if_a_setting_were_not_there(kind, name, tmp_path):
    assert Tried(tmp_path).attempt(kind.encode() + b"\0" + json_with(kind, [name], None)) == "works"


def gguf_of_pre(pre: str) -> bytes:
    metadata = [(key, kind, pre if key.endswith(".pre") else value) for key, kind, value in gguf_metadata("gpt2")]
    return gguf(metadata)


def counts_of_broken_name() -> bytes:
    """The name of a column is not UTF-8."""
    return whole("word counts").replace(b"\x04word", b"\x04w\xf4rd")
