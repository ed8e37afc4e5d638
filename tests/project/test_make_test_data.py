"""The data of the nightly tests: every name that a fixture gives, and tokenizers of the steps of the real ones."""

import pathlib
import re

import make_test_data
import pytest

from gputok import Tokenizer

LINES = [f"Some words {i}, and some more of them: x{i * i} = {i}; it's über 漢字\n" for i in range(300)]
TEXTS = ["", "Some words, and 1234 more", "  é 漢字 😀\n\nit's", "unseen ␞ sign"]


def test_every_name_of_the_fixtures_is_made():
    names = (pathlib.Path(__file__).parents[1] / "conftest.py").read_text()
    corpora, listed = re.findall(r"Names: ([^.]*)\.", names)
    assert set(re.findall(r"(\w+) \(", corpora)) == make_test_data.CORPORA.keys() == make_test_data.LEAST_BYTES.keys()
    assert set(listed.split(", ")) == make_test_data.TOKENIZERS.keys()


@pytest.mark.parametrize("name", make_test_data.TOKENIZERS)
def test_a_tokenizer_is_trained_where_no_package_has_it(name, monkeypatch):
    monkeypatch.setattr(make_test_data, "packaged", lambda *_: None)
    made = make_test_data.TOKENIZERS[name](LINES)
    ours = Tokenizer.from_str(made.to_str())
    for text in TEXTS:
        assert ours.encode(text).ids == made.encode(text).ids and (not text or made.encode(text).ids)
