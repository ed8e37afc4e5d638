"""Reports: the numbers equal those counted by hand, and the page works in a real browser."""

import itertools
import json

import numpy as np
import pytest
import tokenizers
from pages import TEXTS, rng, trained

import gputok
from gputok import PreTrainedTokenizer, Tokenizer, models, pre_tokenizers, trainers
from gputok.report import page, report
from gputok.report.figures import compression, curve
from gputok.report.groups import short_names
from gputok.report.measures import SAMPLE_BYTES, SAMPLE_CHARACTERS, Samples, merge_counts
from gputok.text.pieces import TextBatch

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\u2028&amp;\u2029<!--"

SEVERAL_WAYS = models.BPE(
    {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5}, [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")]
)


@pytest.fixture(scope="module")
def bpe():
    return trained("bpe")


# -- the numbers


def test_a_text_counted_by_hand():
    tokenizer = Tokenizer(
        models.BPE({"<unk>": 0, "a": 1, "b": 2, "ab": 3, "aab": 4}, [("a", "b"), ("a", "ab")], unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    measured = report(tokenizer, iter(["aab ab", "", "é b"]), samples=2)
    text, one = measured.text, measured.tokenizers[0]
    assert (text.n_documents, text.n_bytes, text.n_characters, text.n_words) == (3, 10, 9, 4)
    assert dict(zip(text.scripts, text.script_characters.tolist(), strict=True)) == {"Latin": 7}
    assert one.usage.tolist() == [1, 0, 1, 1, 1] and one.n_tokens == 4
    assert (one.bytes_per_token, one.tokens_per_word, one.unknown_share) == (2.5, 1.0, 0.25)
    assert one.unused_share == 1 / 5  # the token "a"
    assert one.merge_counts.tolist() == [2, 1]  # "ab" was merged in both words, and once went into "aab"
    assert one.script_covered.tolist() == [6]  # all but é
    assert one.longest(2) == [("<unk>", 1), ("aab", 1)]
    shown = [[encoding.tokens for _, encoding in sample] for sample in one.encodings]
    assert shown == [[["aab", "ab"]], [["<unk>", "b"]]]
    assert measured.samples == ("aab ab", "é b")


@pytest.mark.parametrize("model", ["bpe", "wordpiece", "wordlevel", "unigram"])
@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_usage_is_what_tokenizers_counts(model):
    tokenizer = trained(model)
    upstream = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    expected = np.zeros(tokenizer.get_vocab_size(), int)
    for encoding in upstream.encode_batch(TEXTS, add_special_tokens=False):
        np.add.at(expected, encoding.ids, 1)
    one = report(tokenizer, iter(TEXTS)).tokenizers[0]
    assert one.usage.tolist() == expected.tolist()
    used = [token for token in upstream.get_vocab() if expected[upstream.token_to_id(token)]]
    special = {token.content for token in upstream.get_added_tokens_decoder().values()}
    n_ordinary = upstream.get_vocab_size() - len(special)
    assert one.unused_share == pytest.approx(1 - len(set(used) - special) / n_ordinary)
    assert one.length_histogram()[1].sum() == expected[~one.special].sum()


def test_words_are_those_of_split(bpe):
    measured = report(bpe, iter([*TEXTS, "\u3000wide\u2003space\n", "next", "", "  "]))
    assert measured.text.n_words == sum(len(text.split()) for text in [*TEXTS, "wide space next"])


def test_merge_counts_are_those_that_training_saw():
    """Each merge is applied as often as its pair occurred when it was chosen: the definition, in plain Python."""
    words = ["".join(rng.choices("abcdefgh", k=rng.randrange(2, 9))) for _ in range(200)]
    words = [word for word in words if all(a != b for a, b in itertools.pairwise(word))]  # no runs
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(iter(words), trainers.BpeTrainer(vocab_size=40, show_progress=False))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    split, expected = [list(word) for word in words], []
    for left, right in merges:
        pairs = sum(word[i : i + 2] == [left, right] for word in split for i in range(len(word) - 1))
        expected.append(pairs)
        for word in split:
            i = 0
            while i < len(word) - 1:
                if word[i : i + 2] == [left, right]:
                    word[i : i + 2] = [left + right]
                i += 1
    counts = report(tokenizer, iter(words)).tokenizers[0].merge_counts
    assert len(expected) > 15 and counts.tolist() == expected


def test_a_token_that_several_merges_make_counts_for_the_first():
    assert merge_counts(SEVERAL_WAYS, np.arange(6), np.array([0, 0, 0, 0, 0, 7])).tolist() == [7, 0, 7, 0]


@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_bytes_that_tokens_stand_for():
    """A text's tokens, one after the other, are its bytes, wherever the tokenizer changes nothing."""
    for model in ("bpe", "unigram"):
        tokenizer = trained(model)
        text = next(text for text in TEXTS if len(text) > 50)
        joined = tokenizer.decode_bytes(tokenizer.encode(text).ids)
        assert joined.strip() == text.encode().strip()


def test_coverage_by_script(bpe):
    by_character = trained("wordlevel", [" ".join(text) for text in TEXTS])
    measured = report(bpe, iter(TEXTS), others={"characters": by_character})
    ours, characters = measured.tokenizers
    assert measured.text.scripts[0] == "Latin" and set(measured.text.scripts) == {"Latin", "Han", "Cyrillic", "Common"}
    assert measured.text.script_characters.sum() == sum(len("".join(text.split())) for text in TEXTS)
    assert characters.script_covered.tolist() == measured.text.script_characters.tolist()
    ascii_letters = sum(c.isascii() and c.isalpha() for text in TEXTS for c in text)
    assert ascii_letters <= ours.script_covered[0] <= measured.text.script_characters[0]


def test_cuts_into_batches_and_threads_change_nothing(bpe, tmp_path):
    texts = TEXTS * 20
    (tmp_path / "corpus.txt").write_text("".join(text + "\n" for text in texts))
    first = report(bpe, iter([text + "\n" for text in texts]), samples=10)
    second = bpe.report([tmp_path / "corpus.txt"], samples=10, threads=3)
    assert first.samples == second.samples and len(first.samples) == 10
    assert str(first) == str(second) and (first.tokenizers[0].usage == second.tokenizers[0].usage).all()


def test_samples_are_short_documents_or_their_beginnings(bpe):
    measured = report(bpe, iter(["é" * 3 * SAMPLE_CHARACTERS, "", "\n", "short", "", ""]))
    assert measured.samples == ("é" * SAMPLE_CHARACTERS, "\nshort")


def test_lines_are_joined_to_samples_of_a_kilobyte(bpe, tmp_path):
    lines = [f"{i} {text}\n" for i, text in enumerate(TEXTS * 3)]
    whole = "".join(lines)
    path = tmp_path / "corpus.txt"
    path.write_text(whole)
    measured = report(bpe, [path], samples=1000)
    assert "".join(measured.samples) == whole
    longest = max(len(line.encode()) for line in lines)
    assert all(
        abs(len(sample.encode()) - SAMPLE_BYTES) <= longest and sample.endswith("\n")
        for sample in measured.samples[:-1]
    )
    # each line has the tokens that were counted, not those of the passage
    ids = [id for sample in measured.tokenizers[0].encodings for _, encoding in sample for id in encoding.ids]
    assert ids == [id for line in lines for id in bpe.encode(line, add_special_tokens=False).ids]
    n_documents = [len(sample) for sample in measured.tokenizers[0].encodings]
    assert n_documents == [sample.count("\n") for sample in measured.samples]
    for batches in ([lines], [lines[:7], lines[7:1000], lines[1000:]]):  # any cut into batches
        samples = Samples(5)
        for batch in batches:
            samples.draw(TextBatch.from_strings(batch))
        drawn = tuple("".join(documents) for documents in samples.passages())
        assert drawn == report(bpe, [path], samples=5).samples


def test_truncation_and_special_tokens_do_not_count(bpe):
    cut = Tokenizer.from_str(bpe.to_str())
    cut.enable_truncation(2)
    assert report(cut, iter(TEXTS)).tokenizers[0].n_tokens == report(bpe, iter(TEXTS)).tokenizers[0].n_tokens


def test_reports_of_empty_corpora(bpe):
    measured = report(bpe, iter([]), samples=5)
    one = measured.tokenizers[0]
    assert (one.bytes_per_token, one.tokens_per_word, one.unknown_share, one.unused_share) == (0, 0, 0, 1)
    assert measured.samples == () and "<html" in measured.to_html()
    empty = report(Tokenizer(models.BPE()), iter(["text"]))
    assert empty.tokenizers[0].n_tokens == 0 and "<html" in empty.to_html()


def test_tokenizers_of_other_packages_and_other_objects(bpe):
    upstream = tokenizers.Tokenizer.from_str(bpe.to_str())
    one, other = report(bpe, iter(TEXTS), others={"upstream": upstream}).tokenizers
    assert (one.usage == other.usage).all()
    wrapped = PreTrainedTokenizer(bpe).report(iter(TEXTS), others={"wrapped": PreTrainedTokenizer(bpe)})
    assert [(measures.usage == one.usage).all() for measures in wrapped.tokenizers] == [True, True]
    with pytest.raises(TypeError, match="'other' is dict, not a tokenizer"):
        report(bpe, iter(TEXTS), others={"other": {}})
    with pytest.raises(ValueError, match="two tokenizers are called 'tokenizer'"):
        report(bpe, iter(TEXTS), others={"tokenizer": bpe})
    with pytest.raises(ValueError, match="samples=-1"):
        report(bpe, iter(TEXTS), samples=-1)


# -- what it is shown as


def test_figures(bpe, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    figures = report(bpe, iter(TEXTS), others={"words": trained("wordlevel")}).figures()
    assert list(figures) == ["compression", "lengths", "merges", "usage", "scripts", "sizes"]
    bars = figures["compression"].axes[0].patches
    # words are longer, and drawn last
    assert len(bars) == 2 and bars[0].get_width() > bars[1].get_width() > 0
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
    assert not {"merges", "sizes"} & {*report(trained("wordlevel"), iter(TEXTS)).figures()}


@pytest.mark.parametrize("model", [None, SEVERAL_WAYS], ids=["trained", "several merges make one token"])
def test_compression_by_size_is_that_of_smaller_tokenizers(bpe, model):
    tokenizer, texts = (bpe, TEXTS) if model is None else (Tokenizer(model), ["abc", "abcab", "c"])
    if model is not None:
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    measured = report(tokenizer, iter(texts))
    found, expected = measured.tokenizers[0].compression_curve(), tokenizer.compression_curve(iter(texts))
    assert found.vocab_sizes.tolist() == expected.vocab_sizes.tolist()
    assert found.n_tokens.tolist() == expected.n_tokens.tolist()
    assert found.n_bytes == measured.text.n_bytes
    points = compression(*found)
    assert points[0][0] == found.vocab_sizes[0] and points[-1][0] == found.vocab_sizes[-1]
    assert points[-1][1] == pytest.approx(measured.tokenizers[0].bytes_per_token, rel=1e-4)
    assert f'"sizes":[[{points[0][0]},' in measured.to_html()
    assert report(trained("wordlevel"), iter(TEXTS)).tokenizers[0].compression_curve() is None


def test_curves_are_means_of_neighbours():
    values = np.arange(1, 50_001)
    numbers, means = np.array(curve(values)).T
    assert len(numbers) < 130 and numbers[0] == 1 and numbers[-1] == 50_000
    edges = np.append(numbers, 50_001)
    assert np.allclose(means, (edges[:-1] + edges[1:] - 1) / 2, rtol=1e-4)
    assert curve(np.zeros(0, int)) == []


def test_the_curve_of_merges_in_figures_is_that_of_the_page(bpe):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    measured = report(bpe, iter(TEXTS))
    drawn = measured.figures()["merges"].axes[0].lines[0]
    shown = [point for point in curve(measured.tokenizers[0].merge_counts) if point[1] > 0]
    assert drawn.get_xydata().tolist() == shown


def test_the_header_says_where_it_comes_from(bpe, tmp_path):
    path = tmp_path / "books" / "a.txt"
    path.parent.mkdir()
    path.write_text("".join(text + "\n" for text in TEXTS))
    measured = report(bpe, [path] * 5, name="t.json", title="Books & <more>", command="gputok report a.txt")
    made = measured.made
    assert made.source == "a.txt, a.txt, a.txt and 2 more files"
    html = measured.to_html()
    assert "<title>Books &amp; &lt;more&gt;</title>" in html and str(tmp_path) not in html
    assert made.version == gputok.__version__ and made.date in html and "gputok report a.txt" in html
    assert report(bpe, iter(TEXTS)).made[:2] == ("Tokenizer report", "")
    with open(path, "rb") as opened:
        assert report(bpe, opened).made.source == "a.txt"
    batches = [TextBatch.from_strings(TEXTS[:9]), TextBatch.from_strings(TEXTS[9:])]
    assert report(bpe, batches).made.source == ""
    secret = "https://me:word@host/a/t.json?key=1"
    assert short_names([secret, "https://me:word@host/b/t.json"]) == ["a/t.json", "b/t.json"]


def test_one_sentence_says_the_result(bpe):
    words = trained("wordlevel")
    measured = report(bpe, iter(TEXTS), name="ours", others={"words": words, "same": bpe})
    n, other = (one.n_tokens for one in measured.tokenizers[:2])
    share = f"{abs(n / other - 1):.1%} {'more' if n > other else 'fewer'} than words"
    size = f"{measured.text.n_bytes / n:.2f}"
    assert measured.summary() == f"ours makes {n:,} tokens of this text, {size} bytes each, {share}, as many as same."
    assert page.embedded(measured.summary()) in measured.to_html()
    assert report(bpe, iter([])).summary() == "tokenizer makes 0 tokens of this text, 0.00 bytes each."


def test_table_in_a_notebook_is_escaped(bpe):
    assert "<th>&lt;b&gt;</th>" in report(bpe, iter(TEXTS), name="<b>")._repr_html_()


def test_json_in_a_page_is_escaped():
    shown = page.embedded([HOSTILE])
    assert not set(shown) & set("<>&\u2028\u2029") and json.loads(shown) == [HOSTILE]


def test_a_page_refers_to_no_other_address(bpe):
    html = report(bpe, iter([HOSTILE])).to_html()
    assert html.count("</script>") == 2 and "default-src 'none'" in html
    assert [line for line in html.splitlines() if "http" in line and "w3.org/2000/svg" not in line] == [
        line for line in html.splitlines() if "http-equiv" in line
    ]


@pytest.mark.slow
def test_page_in_a_browser(bpe, browser, tmp_path):
    words = trained("wordlevel")
    texts = [HOSTILE, "the first 🙂 text", "漢字 and more", *TEXTS[:20]]
    measured = report(bpe, iter(texts), name="<i>ours</i>", others={"words": words}, samples=100)
    measured.to_html(tmp_path / "report.html")
    opened, said, asked = browser.new_page(), [], []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((tmp_path / "report.html").as_uri())

    panels = opened.locator("#texts .panel")
    assert panels.count() == 2 and panels.nth(0).locator("h3 > span").text_content() == "<i>ours</i>"
    # every text is shown whole, in both, in as many pieces as it should
    for sample, text in enumerate(measured.samples):
        opened.select_option("#sample", value=str(sample))
        assert panels.locator(".text").all_text_contents() == [text, text]
        spans = [len(set(one.encodings[sample][0][1].offsets)) for one in measured.tokenizers]
        shown = [panels.nth(i).locator(".token").count() for i in range(2)]
        assert shown[1] == spans[1] and 0 < shown[0] <= spans[0]
    assert opened.locator("img").count() == 0 and opened.evaluate("window.hacked") is None

    opened.fill("#find", "漢字 AND")
    assert opened.locator("#sample option").count() == 1
    first = panels.nth(0).locator(".token").first
    first.hover()
    assert panels.nth(1).locator("mark").all_text_contents() == ["漢字", " ", "and"]
    code = measured.tokenizers[0].encodings[2][0][1].ids[0]
    assert f" is {code} of <i>ours</i>" in opened.locator("#detail").text_content()
    first.click()
    assert opened.locator("#texts .token.same").count() == 1

    typed = opened.locator("#typedTexts .panel")
    begin = measured.samples[0][:240]  # the box begins with a text
    assert opened.locator("#typed").input_value() == begin
    assert typed.locator(".text").all_text_contents() == [begin, begin]
    assert opened.locator("#summary").text_content() == measured.summary()
    opened.fill("#typed", HOSTILE + " the first\n  <|endoftext|>🙂")
    assert typed.nth(0).locator(".text").text_content() == HOSTILE + " the first\n  <|endoftext|>🙂"
    assert opened.evaluate("window.hacked") is None and opened.locator("img").count() == 0
    typed.nth(0).locator(".token").last.hover()
    end = bpe.encode("🙂").ids[-1]
    assert f"is {end} of <i>ours</i>" in opened.locator("#typedDetail").text_content()
    opened.uncheck("#shown label:nth-child(2) input")
    assert panels.count() == 1
    opened.fill("#find", "nothing has this")
    assert opened.locator("#detail").text_content() == "No sample has that."
    opened.fill("#find", "")
    opened.click("#next")
    assert panels.locator(".text").text_content() == measured.samples[1]
    assert opened.locator("svg polyline").count() == 2 + 2 + 2 + 1 + 1  # merges and sizes have one line
    outside = """() => [...document.querySelectorAll("polyline")].filter(line => [...line.points].some(
        ({x, y}) => !(x >= 44 && x <= 452.1 && y >= 7.9 && y <= 206.1))).length"""
    assert opened.evaluate(outside) == 0  # also where means are below 1
    assert opened.locator("#table tbody tr").count() == 2
    assert said == [] and len(asked) == 1
    opened.screenshot(path=tmp_path / "report.png", full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 20_000


def test_a_narrow_page(browser, tmp_path):
    """Nothing runs out of its column, and tables that are wider than the page say that they scroll."""
    spaces = Tokenizer(models.WordLevel({" " * 200: 0, "a" * 200: 1, "so": 2}, unk_token="so"))
    spaces.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    others = {f"a tokenizer of some name {i}": spaces for i in range(3)}
    report(spaces, iter(TEXTS[:50]), others=others).to_html(tmp_path / "report.html")
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    opened.goto((tmp_path / "report.html").as_uri())
    outside = """() => [...document.querySelectorAll("code, .text, .panel, section")].filter(
        one => one.getBoundingClientRect().right > one.parentNode.getBoundingClientRect().right + 1).length"""
    assert opened.evaluate(outside) == 0
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    assert opened.locator("code").first.bounding_box()["height"] > 40  # on several lines
    assert opened.locator(".sideways").all_text_contents() == ["Scroll the table sideways to see all of it. →"] * 3
    assert opened.locator(".sideways").first.is_visible()
    opened.set_viewport_size({"width": 1600, "height": 800})
    # The page hears of its new size a moment later
    opened.locator(".sideways").first.wait_for(state="hidden")


def test_command_line(bpe, tmp_path, monkeypatch, capsys):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "text.txt").write_text("".join(text + "\n" for text in TEXTS))
    (tmp_path / "a").mkdir()
    bpe.save("a/t.json")
    trained("wordpiece").save("b.json")
    arguments = ["report", str(tmp_path / "text.txt"), "-t", "a/t.json", "--beside", "b.json"]
    with pytest.raises(SystemExit) as exit:
        cli.main([*arguments, "--no-progress", "--title", "Two of them"])
    assert exit.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["vocabulary", "t.json", "b.json"]
    html = (tmp_path / "report.html").read_text()
    command = "gputok report text.txt -t t.json --beside b.json --title 'Two of them' -o report.html"
    assert "<title>Two of them</title>" in html and command in html and str(tmp_path) not in html
    assert short_names(["x/a.json", "y/a.json", "b.json"]) == ["x/a.json", "y/a.json", "b.json"]


# -- by source and by language


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The same rows as JSON Lines, CSV and Parquet, and their languages."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("tables")
    languages = [rng.choice(["en", "de", "日本"]) for _ in TEXTS]
    table = pa.table({"text": TEXTS, "language": languages})
    (folder / "a.jsonl").write_text(lines_of(table.to_pylist()))
    pa.csv.write_csv(table, folder / "a.csv")
    pa.parquet.write_table(table, folder / "a.parquet", row_group_size=70)
    return folder, table, languages


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "arrow"])
def test_groups_are_reports_of_their_documents(bpe, tables, kind):
    folder, table, languages = tables
    words = trained("wordlevel")
    corpus = table if kind == "arrow" else str(folder / f"a.{kind}")
    groups = report(bpe, corpus, others={"words": words}, group_by="language", samples=0).groups
    assert [(row.group, row.tokenizer) for row in groups.rows] == [
        (name, tokenizer)
        for name in sorted(
            {*languages},
            key=lambda name: (
                -sum(len(text.encode()) for text, one in zip(TEXTS, languages, strict=True) if one == name)
            ),
        )
        for tokenizer in ("tokenizer", "words")
    ]
    for row in groups.rows:
        texts = [text for text, language in zip(TEXTS, languages, strict=True) if language == row.group]
        alone = report(bpe if row.tokenizer == "tokenizer" else words, iter(texts), samples=0)
        one, text = alone.tokenizers[0], alone.text
        assert row[2:] == (text.n_documents, text.n_bytes, text.n_words, one.n_tokens)
        assert (row.bytes_per_token, row.tokens_per_word) == (one.bytes_per_token, one.tokens_per_word)
    costs = [row.n_tokens / row.n_bytes for row in groups.rows if row.tokenizer == "words"]
    gini = sum(abs(a - b) for a in costs for b in costs) / (2 * len(costs) * sum(costs))
    assert groups.evenness["words"] == pytest.approx((max(costs) / min(costs), gini))


def test_rows_by_file_as_a_table_csv_and_data_frame(bpe, tables, tmp_path):
    folder, *_ = tables
    (tmp_path / "b.txt").write_text("漢字 a\n" * 3)
    measured = bpe.report([folder / "a.csv", tmp_path / "b.txt"], samples=0)
    groups = measured.groups
    assert [row.group for row in groups.rows] == ["a.csv", "b.txt"] and str(groups) in str(measured)
    assert sum(row.n_tokens for row in groups.rows) == measured.tokenizers[0].n_tokens
    assert sum(row.n_words for row in groups.rows) == measured.text.n_words
    frame = groups.to_pandas()
    groups.to_csv(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == groups.to_csv()
    pd = pytest.importorskip("pandas")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "rows.csv"), frame)
    assert groups.to_dict()["rows"][1] == frame.iloc[1].to_dict()
    assert report(bpe, [folder / "a.csv"]).groups is None and measured.to_dict()["groups"] == groups.to_dict()


def test_columns_that_give_no_groups(bpe, tables, tmp_path):
    folder, *_ = tables
    (tmp_path / "b.txt").write_text("a\n")
    (tmp_path / "many.jsonl").write_text(lines_of({"text": "a", "id": str(i)} for i in range(10_001)))
    for corpus, column, message in [
        ([folder / "a.csv", tmp_path / "b.txt"], "language", "b.txt is plain text, which has no columns"),
        (iter(TEXTS), "language", "group_by='language': the corpus is read twice"),
        (folder / "a.csv", "lang", "a.csv has .* 'lang'"),
        (tmp_path / "many.jsonl", "id", "has more than 10,000 values"),
    ]:
        with pytest.raises(ValueError, match=message):
            bpe.report(corpus, group_by=column)


def test_groups_in_commands_and_in_the_page(bpe, tables, browser, tmp_path, monkeypatch, capsys):
    from gputok import cli

    folder, _, languages = tables
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    bpe.save("t.json")
    (tmp_path / "b.txt").write_text("a\n" * 2000 + "漢")

    def call(*arguments):
        with pytest.raises(SystemExit) as exit:
            cli.main([*arguments, "-t", "t.json", "--no-progress"])
        return exit.value.code, "".join(capsys.readouterr())

    path = str(folder / "a.parquet")
    code, said = call("report", path, "--group-by", "language", "--csv", "rows.csv", "-o", "report.html")
    assert code == 0 and len((tmp_path / "rows.csv").read_text().splitlines()) == 4
    assert {line.split()[0] for line in said.splitlines()[4:7]} == {*languages}
    groups = bpe.report(path, group_by="language", name="t.json").groups
    assert call("tokens", path, "--group-by", "language") == (0, f"{groups}\n")
    assert json.loads(call("tokens", path, "--group-by", "language", "--json")[1]) == groups.to_dict()
    code, said = call("tokens", path, "b.txt", "--csv", "endings.csv")
    assert (code == 0 and "t.json: parity " in said) or "tokenizer: parity" in said
    assert [line.split(",")[0] for line in (tmp_path / "endings.csv").read_text().splitlines()] == [
        "group",
        ".parquet",
        ".txt",
    ]
    assert call("report", "b.txt", "--csv", "x.csv", "-o", "x.html")[1].startswith(
        "gputok: --csv x.csv: there is one input"
    )
    assert not (tmp_path / "x.html").exists()
    assert call("tokens", path, "--group-by", "lang")[0] == 1

    assert call("report", "b.txt", path, "-o", "report.html")[0] == 0
    opened = browser.new_page()
    opened.goto((tmp_path / "report.html").as_uri())
    assert opened.locator("#groups tbody tr").count() == 2 and "parity" in opened.locator("#groupsNote").text_content()
    assert call("report", "b.txt", "-o", "report.html")[0] == 0
    opened.goto((tmp_path / "report.html").as_uri())
    assert opened.locator("#groupsBox").is_hidden()
    assert opened.locator("#scripts tbody tr").count() == 1
    assert "Left out: 1 with less than 0.1% of the characters." in opened.locator("#rare").text_content()
