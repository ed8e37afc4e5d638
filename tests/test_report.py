"""A report's numbers equal what can be counted by hand, and its page works in a real browser."""

import itertools
import json
import random
import shutil

import numpy as np
import pytest
import tokenizers

from gputok import PreTrainedTokenizer, Tokenizer, models, pre_tokenizers, trainers
from gputok.recipes import recipe
from gputok.report import page, report
from gputok.report.measures import SAMPLE_CHARACTERS, merge_counts, token_bytes

rng = random.Random(7)
WORDS = ["".join(rng.choices("etaoin shréßИя漢字🙂", k=rng.randrange(1, 8))) for _ in range(400)]
TEXTS = [" ".join(rng.choices(WORDS, k=rng.randrange(30))) for _ in range(300)]
HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\u2028&amp;\u2029<!--"
)


def trained(model, texts=TEXTS, vocab_size=600):
    tokenizer, trainer = recipe(model, vocab_size=vocab_size)
    tokenizer.train_from_iterator(iter(texts), trainer, progress=False)
    return tokenizer


@pytest.fixture(scope="module")
def bpe():
    return trained("bpe")


# -- the numbers


def test_a_text_counted_by_hand():
    tokenizer = Tokenizer(
        models.BPE(
            {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "aab": 4}, [("a", "b"), ("a", "ab")], unk_token="<unk>"
        )
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
    assert [encoding.tokens for encoding in one.encodings] == [["aab", "ab"], ["<unk>", "b"]]
    assert measured.samples == ("aab ab", "é b")


@pytest.mark.parametrize("model", ["bpe", "wordpiece", "wordlevel", "unigram"])
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
    bpe = models.BPE(
        {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5},
        [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")],
    )
    assert merge_counts(bpe, np.arange(6), np.array([0, 0, 0, 0, 0, 7])).tolist() == [7, 0, 7, 0]


def test_bytes_that_tokens_stand_for():
    """A text's tokens, one after the other, are its bytes, wherever the tokenizer changes nothing."""
    for model in ("bpe", "unigram"):
        tokenizer = trained(model)
        spelled = dict(
            zip(
                sorted(tokenizer.get_vocab().values()),
                token_bytes(tokenizer, dict(sorted((i, t) for t, i in tokenizer.get_vocab().items()))),
                strict=True,
            )
        )
        text = next(text for text in TEXTS if len(text) > 50)
        joined = b"".join(spelled[id] for id in tokenizer.encode(text).ids)
        assert joined.strip() == text.encode().strip()


def test_coverage_by_script(bpe):
    by_character = trained("wordlevel", [" ".join(text) for text in TEXTS])
    measured = report(bpe, iter(TEXTS), others={"characters": by_character})
    ours, characters = measured.tokenizers
    assert measured.text.scripts[0] == "Latin" and set(measured.text.scripts) == {
        "Latin",
        "Han",
        "Cyrillic",
        "Common",
    }
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
    measured = report(bpe, iter(["é" * 3 * SAMPLE_CHARACTERS, "", "\n", "short"]))
    assert measured.samples == ("é" * SAMPLE_CHARACTERS, "short")


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
    assert list(figures) == ["compression", "lengths", "merges", "usage", "scripts"]
    bars = figures["compression"].axes[0].patches
    # words are longer, and drawn last
    assert len(bars) == 2 and bars[0].get_width() > bars[1].get_width() > 0
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
    assert "merges" not in report(trained("wordlevel"), iter(TEXTS)).figures()


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


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, headless."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser is driven without playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here to open a report's page in")
    quiet = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags = [*quiet.split(), "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


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
        spans = [len(set(one.encodings[sample].offsets)) for one in measured.tokenizers]
        shown = [panels.nth(i).locator(".token").count() for i in range(2)]
        assert shown[1] == spans[1] and 0 < shown[0] <= spans[0]
    assert opened.locator("img").count() == 0 and opened.evaluate("window.hacked") is None

    opened.fill("#find", "漢字 AND")
    assert opened.locator("#sample option").count() == 1
    first = panels.nth(0).locator(".token").first
    first.hover()
    code = measured.tokenizers[0].encodings[2].ids[0]
    assert f" is {code} of <i>ours</i>" in opened.locator("#detail").text_content()
    first.click()
    assert opened.locator(".token.same").count() == 1
    opened.uncheck("#shown label:nth-child(2) input")
    assert panels.count() == 1
    opened.fill("#find", "nothing has this")
    assert opened.locator("#detail").text_content() == "No sample has that."
    opened.fill("#find", "")
    opened.click("#next")
    assert panels.locator(".text").text_content() == measured.samples[1]
    assert opened.locator("svg polyline").count() == 2 + 2 + 2 + 1
    assert opened.locator("#table tbody tr").count() == 2
    assert said == [] and len(asked) == 1
    opened.screenshot(path=tmp_path / "report.png", full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 20_000


def test_command_line(bpe, tmp_path, monkeypatch, capsys):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "text.txt").write_text("".join(text + "\n" for text in TEXTS))
    bpe.save("a.json")
    trained("wordpiece").save("b.json")
    with pytest.raises(SystemExit) as exit:
        cli.main(["report", "text.txt", "-t", "a.json", "--beside", "b.json", "--no-progress"])
    assert exit.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["vocabulary", "a.json", "b.json"]
    assert "<html" in (tmp_path / "report.html").read_text()
