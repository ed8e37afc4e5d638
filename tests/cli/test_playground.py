"""The playground: what is typed in a page is tokenized as in Python, in a real browser."""

import importlib.resources
import json

import pytest
import tokenizers
from pages import TEXTS, carried, pipeline, strings, trained

from gputok import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from gputok.automaton.patterns import SPLITS
from gputok.report import page, playground, report
from gputok.report.portable import NotPortable, parts, portable

# Unknown characters vanish, and offsets after them are those of other characters (as upstream), but not in the page.
VANISHING = ("halves", "scripts", "merged")
FEW = ("qwen3", "llama2", "stripped", "wordpiece", "t5")
NINE = ("gpt2", "llama3", "qwen3", "o200k", "deepseek-v3", "llama2", "gemma", "wordpiece", "t5")
BOTH = """([kit, file, parts, texts]) => {
    let opening;
    try { opening = texts.map(tokenizer(opened(JSON.parse(file), parts))); } catch (error) { opening = error.message; }
    return [texts.map(tokenizer(kit)), opening];
}"""


@pytest.fixture
def scripted(browser):
    """An empty page with the scripts of a playground."""
    opened = browser.new_page()
    for name in ("tokenizer.js", "opening.js"):
        opened.add_script_tag(content=importlib.resources.files("gputok.report").joinpath(name).read_text())
    yield opened
    opened.close()


def test_a_page_has_the_patterns_of_files_that_split_several_times():
    """As DeepSeek V3's, with its line ends: a file that is dropped on the page is looked up by them."""
    assert {*SPLITS[0]} <= parts()["patterns"].keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "n"),
    [(FEW, 300), pytest.param(None, 400, marks=pytest.mark.full), pytest.param(NINE, 1000, marks=pytest.mark.full)],
    ids=["few", "all", "nine kinds"],
)
def test_the_page_tokenizes_as_python_does(scripted, which, n):
    """What Python puts in a page, and a tokenizer.json dropped there, give the ids of Python in a real browser."""
    texts, known = list(strings(n)), json.loads(page.embedded(parts()))
    for name, make in carried().items():
        if which is not None and name not in which:
            continue
        one = make()
        kit = json.loads(page.embedded(portable(one.pipeline)))
        found, dropped = scripted.evaluate(BOTH, [kit, one.to_str(), known, texts])
        expected = one.encode_batch(texts, add_special_tokens=False)
        upstream = tokenizers.Tokenizer.from_str(one.to_str()).encode_batch(texts, add_special_tokens=False)
        assert [encoding.ids for encoding in expected] == [encoding.ids for encoding in upstream]
        for text, (ids, starts, ends), encoding in zip(texts, found, expected, strict=True):
            assert ids == encoding.ids, (name, text, encoding.tokens)
            if one.normalizer is None and name not in VANISHING:
                assert list(zip(starts, ends, strict=True)) == encoding.offsets, (name, text)
        if name == "stripped":
            assert 'its pattern "[aeiou]+" is not one of those in this page' in dropped
        else:
            assert dropped == found, name


@pytest.mark.full
@pytest.mark.parametrize("name", ["llama3", "qwen3", "llama2", "minilm-bert", "claude"])
def test_the_page_tokenizes_as_real_tokenizers_do(name, scripted, shared_tokenizer):
    file = shared_tokenizer(name).read_text()
    one = Tokenizer.from_str(file)
    one.no_padding()
    one.no_truncation()
    texts = list(strings(200))
    found, dropped = scripted.evaluate(BOTH, [portable(one.pipeline, None), file, parts(), texts])
    assert dropped == found
    for text, (ids, *_), encoding in zip(texts, found, one.encode_batch(texts, add_special_tokens=False), strict=True):
        assert ids == encoding.ids, text


def test_special_tokens_that_are_encoded_as_text():
    one = trained("bpe")
    one.add_special_tokens(["<|s>"])
    one.encode_special_tokens = True
    assert portable(one.pipeline)["added"] == [[], []]
    one.add_tokens(["other"])
    with pytest.raises(NotPortable, match="encodes special tokens as text"):
        portable(one.pipeline)
    one.encode_special_tokens = False
    assert ["<|s>", one.token_to_id("<|s>"), False, False] in portable(one.pipeline)["added"][0]


def test_what_cannot_travel_says_why():
    bpe = trained("bpe")
    word = AddedToken("a", single_word=True)
    for tokenizer, message in {
        pipeline(models.BPE(), added=[word]): "its added token 'a' is looked for as a whole word",
        pipeline(models.BPE(), normalizers.ByteLevel()): "its normalizer has a ByteLevel",
        pipeline(models.BPE(), None, pre_tokenizers.FixedLength(3)): "its pre-tokenizer has a FixedLength",
        pipeline(models.BPE(dropout=0.1)): "its dropout is random",
        pipeline(models.WordLevel()): "its unknown token",
    }.items():
        with pytest.raises(NotPortable, match=message):
            portable(tokenizer.pipeline)
    with pytest.raises(NotPortable, match=r"it takes \d\.\d MB"):
        portable(bpe.pipeline, 1000)
    other = trained("bpe")
    other.normalizer = normalizers.ByteLevel()
    html = report(other, iter(TEXTS)).to_html()
    assert '"kit":null' in html and "its normalizer has a ByteLevel" in html


def large():
    """As large as Gemma 3's, 262,144 tokens: no limit, and no call in the browser with an argument for each token."""
    tokens = {"?": 0, **{f"{i:x}": i for i in range(1, 262_144)}}
    one = pipeline(models.WordPiece(tokens, unk_token="?", continuing_subword_prefix=""))
    html = playground({"large": one})
    return one, html


@pytest.mark.slow
def test_typing_dropping_and_links(browser, tmp_path):
    bpe, words = trained("bpe"), trained("wordpiece")
    one, html = large()
    (tmp_path / "page.html").write_text(html)
    opened, said = browser.new_page(viewport={"width": 390, "height": 800}), []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto((tmp_path / "page.html").as_uri())
    opened.fill("#typed", "1a2b3 zz")
    assert opened.locator(".ids").text_content() == f"[{one.encode('1a2b3 zz').ids[0]}]"

    html = playground({"<i>ours</i>": bpe, "words": words}, tmp_path / "page.html", text="at first")
    assert html is None
    text = "don't  stop\n漢字 🙂 <b>&amp;%41#"
    opened.goto((tmp_path / "page.html").as_uri())
    assert opened.input_value("#typed") == "at first"
    opened.fill("#typed", text)
    ids = [one.encode(text, add_special_tokens=False).ids for one in (bpe, words)]
    assert opened.locator(".ids").all_text_contents() == [str(one) for one in ids]
    assert opened.locator(".panel .text").all_text_contents() == [text, text]
    assert (
        opened.locator(".panel small").first.text_content().startswith(f"{len(ids[0])} tokens, {len(text)} characters")
    )
    opened.check("#spaces")
    assert opened.locator(".panel .text").first.text_content() == text.replace(" ", "·").replace("\n", "⏎\n")
    opened.locator("summary", has_text="Offsets").first.click()
    opened.locator(".offsets tbody tr").first.wait_for()
    rows = opened.locator(".offsets").first.locator("tbody tr").all_text_contents()
    encoding = bpe.encode(text, add_special_tokens=False)
    in_bytes = [[len(text[:place].encode()) for place in span] for span in encoding.offsets]
    assert rows == [
        f"{json.dumps(token, ensure_ascii=False)}{id}{a}–{b}{first}–{last}"
        for token, id, (a, b), (first, last) in zip(
            encoding.tokens, encoding.ids, encoding.offsets, in_bytes, strict=True
        )
    ]

    # The link
    opened.click("#link")
    link = opened.evaluate("location.href")
    assert link.startswith((tmp_path / "page.html").as_uri() + "#")
    other = browser.new_page()
    other.goto(link)
    assert other.input_value("#typed") == text
    other.evaluate("location.hash = '100%'")
    other.locator(".panel", has_text="4 characters").first.wait_for()

    # Files
    files = {"dropped.json": words.to_str(), "broken.json": "{", "other.json": '{"model": {"type": "BPE"}}'}
    uploads = [{"name": name, "mimeType": "application/json", "buffer": file.encode()} for name, file in files.items()]
    opened.set_input_files("#files", uploads)
    opened.locator(".panel").nth(4).wait_for()
    assert opened.locator(".ids").all_text_contents() == [str(one) for one in (*ids, ids[1])]
    notes = opened.locator(".panel .note").all_text_contents()
    assert len(notes) == 2 and all(note.startswith("Not in the page: it is no tokenizer.json (") for note in notes)
    opened.get_by_label("Remove words", exact=True).click()
    assert opened.locator(".panel").count() == 4
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    assert said == [] and opened.locator("i, b").count() == 0


def test_command_line(tmp_path, monkeypatch, capsys):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("webbrowser.open", lambda address: print(address))
    trained("wordpiece").save("a.json")
    pipeline(models.BPE(dropout=0.1)).save("b.json")
    for arguments, code, said in [
        (
            ["-t", "a.json", "--open"],
            0,
            f"playground.html: a page with 1 tokenizer\n{tmp_path.as_uri()}/playground.html\n",
        ),
        (["-o", "none.html", "--title", ""], 0, "none.html: a page with 0 tokenizers\n"),
        (
            ["-t", "a.json", "-t", "b.json"],
            1,
            "gputok: b.json: a page can't have this tokenizer: its dropout is random\n",
        ),
        (["-t", "a.json", "-t", "a.json"], 1, "gputok: --tokenizer a.json: is given twice\n"),
        (
            ["-o", "-", "--open"],
            1,
            "gputok: --open: a page on standard output can't be opened; give a file by --output\n",
        ),
    ]:
        with pytest.raises(SystemExit) as exit:
            cli.main(["playground", *arguments])
        out, err = capsys.readouterr()
        assert (exit.value.code, out + err) == (code, said)
    assert '"name":"a.json"' in (tmp_path / "playground.html").read_text()
    assert "<title></title>" in (tmp_path / "none.html").read_text()
