"""Patterns between `tiktoken` (Rust's fancy-regex) and `tokenizers` (Oniguruma): the words of both, asked live.

Vocabularies here contain each part of the texts, so that tiktoken's tokens are its words.
"""

import random

import numpy as np
import pytest
import tiktoken
import tokenizers
from gputok.kernels import Automaton

import gputok
from gputok import pre_tokenizers
from gputok.automaton import PATTERNS, compile_pattern
from gputok.automaton.charset import CharSet
from gputok.automaton.rust import RustParser, from_rust, to_rust
from gputok.automaton.syntax import Chars
from gputok.automaton.unicode_tables import any_case, property_names, property_set
from gputok.formats.tiktoken import by_ranks, tiktoken_parts

pytestmark = pytest.mark.filterwarnings("ignore:pattern .* has")
BYTES = {bytes([byte]): byte for byte in range(256)}
GAPS_DROPPED = {"behavior": "removed", "invert": True}
ODD = [*"abAB sSß²¼1_-~&^[]\\<>.\n\r\t\u200d\u0345éÉǅſK\u212a☃日\u0301ﬆ0", "ss", "st", "\r\n", "aa"]


def ranks_of(texts):
    """The bytes, and all parts of the texts."""
    ranks = dict(BYTES)
    for text in (text.encode() for text in texts):
        for start in range(len(text)):
            for end in range(start + 2, len(text) + 1):
                ranks.setdefault(text[start:end], len(ranks))
    return ranks


def encoding(pattern, ranks=BYTES, **special):
    return tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


def rust_words(pattern, texts):
    asked = encoding(pattern, ranks_of(texts))
    return [[asked.decode_single_token_bytes(i).decode() for i in asked.encode_ordinary(text)] for text in texts]


def is_gapless(pattern):
    automaton = compile_pattern(pattern)
    return isinstance(automaton, Automaton) and automaton.gapless


def both_words(pattern, texts, **options):
    """The words of gputok and of `tokenizers`."""
    splits = (
        pre_tokenizers.Split(gputok.Regex(pattern), **options),
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), **options),
    )
    return [[[word for word, _ in split.pre_tokenize_str(text)] for text in texts] for split in splits]


def odd_texts(rng, n=25):
    return ["".join(rng.choices(ODD, k=rng.randrange(1, 9))) for _ in range(n)]


def check_from_rust(pattern, texts):
    translated = from_rust(pattern)
    options = {"behavior": "isolated"} if is_gapless(translated) else GAPS_DROPPED
    expected = rust_words(pattern, texts)
    assert both_words(translated, texts, **options) == [expected, expected], (pattern, translated)


def check_to_rust(pattern, texts):
    gaps = not is_gapless(pattern)
    for options, translated in (
        ({"behavior": "isolated"}, to_rust(pattern, with_gaps=gaps)),
        (GAPS_DROPPED, to_rust(pattern)),
    ):
        expected = rust_words(translated, texts)
        assert both_words(pattern, texts, **options) == [expected, expected], (pattern, translated)


# -- what differs

RUST = r"""
\w+|\W \b.+?\b|. \B.|a [[:alpha:]]+|. [[:^alpha:]]+ [[:word:]]+ \pL+|\PL \p{^Lu}+ (?i:ss|st)|. (?i:ß)|s [a~~b]+
[\w--\d]+ [\w&&[^a]]+ \U00000041 \u{e9}|\x{73}|\x41 \<.+?\>|. \b{start}. \b{end-half}. a$|^b|[$^] a\Z|\n (?m:^a|b$)
(?s:.)+ (?is:s.) (?i)S|t [a-]+ []a]+ [^]a]+ [\b\n-] a{1,3}+|. a{2}?a a{,2}b a{2,}+|. (?i:\p{Lu}+) (?i:[^\p{Lu}])+
(?i:\é|É)s (?P<n>s)\k<n> (s)\1|. (?>aa|a)b|. \R+|\h+|\H [^[^a]b] (?<!s)s a{x} &&|~~ \N+
""".split()
ONIGURUMA = r"""
\w+|\W \b.+?\b|. \B.|a [[:alpha:]]+|. [[:word:]]+ \pL \p{^Lu}+ (?i:ss|st)|. (?i:ß)|s [a~~b]+ \0|\101 \cJ \Q.\E \<a
a$|^b|[$^] a\Z|\n (?m:.)+ a{1,3}+|. a{3,1}|. a{2}?a (?i)S|t a(?i)s|S \p{In_Basic_Latin}+ \p{Graph}+ \p{Word}+
(?i:\p{Lu}+) (?<n>s)(?:a)\k<n>|. (?>aa|a)b|. \h+|\H (?x:a_b)|. (?<!s)s
""".split()


@pytest.mark.parametrize("pattern", RUST)
def test_from_rust(pattern):
    check_from_rust(pattern, odd_texts(random.Random(pattern), 60))


@pytest.mark.parametrize("pattern", ONIGURUMA)
def test_to_rust(pattern):
    texts = odd_texts(random.Random(pattern), 60)
    if r"\k" in pattern:  # a reference can't be written twice
        with pytest.raises(ValueError, match="a back reference, and leaves"):
            to_rust(pattern, with_gaps=True)
        expected = rust_words(to_rust(pattern), texts)
        assert both_words(pattern, texts, **GAPS_DROPPED) == [expected, expected]
    else:
        check_to_rust(pattern, texts)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_named_patterns_stay(pattern):
    assert from_rust(pattern) == to_rust(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"a\0", r"escape \\0, which tiktoken.s fancy-regex refuses, at position 1"),
        (r"\cA", r"escape \\c.* position 0"),
        (r"ab\Q.\E", r"escape \\Q.* position 2"),
        (r"(?x)a b", r"\(\?x\), which gputok cannot translate, at position 0"),
        (r"a(?i)b", r"\(\?i\), which gputok cannot translate, at position 1"),
        (r"a\K", r"\\K, which gputok cannot translate"),
        (r"[a\d-z]", "range .* position 2"),
        (r"\p{In_Arabic}", "property 'In_Arabic' at position 0"),
        (r"\p{sc=Greek}", "property 'sc=Greek'"),
        ("a**", "more than 1 quantifiers"),
        ("b(?:a?|b)+", "repetition of a body that can be empty, which gputok cannot translate, at position 1"),
        ("a{2,1}", "empty repetition"),
        (r"x|\d*", "can match the empty text, at which tiktoken fails"),
        (r"(?<=(?=a).)b", "can't be written for .*Oniguruma: .* a look-ahead in a look-behind"),
    ],
)
def test_no_translation_from_rust(pattern, said):
    with pytest.raises(ValueError, match=said):
        from_rust(pattern)


def test_no_translation_to_rust():
    with pytest.raises(ValueError, match=r"can.t be written for tiktoken.s fancy-regex: .* in a look-behind, which"):
        to_rust("(?<=a++)b")
    with pytest.raises(ValueError, match="can match the empty text"):
        to_rust("a*")


def test_the_empty_text_fails_in_tiktoken():
    with pytest.raises(BaseException, match="out of range"):
        encoding("a*").encode_ordinary("baa")


# -- all names and cases


@pytest.fixture(scope="module")
def edges():
    """The characters where a property of Oniguruma begins or ends."""
    points = {at + d for name in property_names() for at in property_set(name).edges.tolist() for d in (-1, 0)}
    return [at for at in sorted(points | {*range(0x300)}) if 0 <= at < 0x110000 and not 0xD800 <= at < 0xE000]


def test_properties_of_rust(edges):
    """Each name is a set of the same characters in tiktoken, or refused by both."""
    text, points = "".join(map(chr, edges)), np.array(edges)
    names = [rf"\p{{{name}}}" for name in property_names() if name[0] not in "[\\" and ":" not in name]
    posix = [
        f"[[:{name}:]]"
        for name in "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split()
    ]
    refused = 0
    for name in [*names, *posix, *r"\w \d \s \h \pL".split()]:
        try:
            read = RustParser(name).parse()
        except ValueError:
            refused += 1
            continue
        assert isinstance(read, Chars)
        theirs = bytes(encoding(name).encode_ordinary(text)).decode()
        assert "".join(map(chr, points[read.chars.has(points)])) == theirs, name
    assert refused < 0.4 * len(names)  # Oniguruma's blocks


def test_cases_of_rust():
    """Simple case folding of both is the same; Oniguruma's other kind (ß is ss) is never asked."""
    candidates = (property_set("Cased") | property_set("M")).runs()
    cased = [
        chr(at) for start, end in candidates for at in range(start, end) if len(any_case(CharSet.chars(chr(at)))) > 1
    ]
    text = "".join(cased)
    assert len(cased) > 2800
    for char in [*cased[::60], *"skßẞſµμιǅθΩﬅﬆ"]:
        theirs = bytes(encoding(f"(?i:{char})").encode_ordinary(text)).decode()
        assert CharSet.chars(theirs) == any_case(CharSet.chars(char)), char
    known = {*map(ord, cased)}
    others = "".join(chr(at) for at in range(0x110000) if not 0xD800 <= at < 0xE000 and at not in known)
    class_of_cased = "".join(rf"\x{{{ord(char):x}}}" for char in cased)
    assert bytes(encoding(f"(?i:[{class_of_cased}])").encode_ordinary(others)) == b""


# -- random patterns

COMMON = r"""a b s ss ß . \w \W \d \s \S \h \H \p{L} \P{Lu} \p{^Ll} [a-c] [^a-c] [[:alpha:]] [[:^alpha:]] [\w] [^\w]
[^\w\s] [a~~b] [\w--\d] [\w&&[^a]] [ß] [^ß] \x41 \u0041 \n [\n-] []a] [a-] [\b] \. [[:word:]] [[:punct:]] [\p{Lu}] \R \O
\N [^[^a]b] ſt k é [^[:space:]\d] \é""".split()
OF_RUST = r"\D \pL \PL \U00000041 \x{73} \t [-a] [^]a] [s-t&&\pL] \b{end-half} \< \> (?m:^) (?m:$)".split()
OF_ONIGURUMA = (
    r"\p{In_Basic_Latin} \p{Graph} \p{Word} \p{Alnum} \cM \0 \101 \Q \< \pL # && ~ ] } {,} (?<=a)b \U".split()
)
LOOKS = r"\b \B ^ $ \A \z \Z".split()
GROUPS = "(?: ( (?i: (?i: (?m: (?> (?= (?! (?<= (?<! (?-i: (?<n>".split()
QUANTIFIERS = ["", "", "", "", *"+ + * ? +? ++ ?? ?+ {2} {1,2} {1,} {1,2}? {1,2}+ {2}? {1}".split()]


def random_pattern(rng, atoms, depth=3):
    kind = rng.random()
    if depth == 0 or kind < 0.45:
        return rng.choice(atoms) + rng.choice(QUANTIFIERS)
    if kind < 0.5:
        return rng.choice(LOOKS)
    if kind < 0.8:
        parts = [random_pattern(rng, atoms, depth - 1) for _ in range(rng.randrange(1, 4))]
        return rng.choice(["", "", "|"]).join(parts)
    group = rng.choice(GROUPS)
    looks = group[2:3] in {*"=!<"} and group != "(?<n>"
    return group + random_pattern(rng, atoms, depth - 1) + ")" + rng.choice(QUANTIFIERS) * (not looks)


def is_taken_by_rust(pattern):
    """True if tiktoken takes a pattern (it gets one at random here)."""
    try:
        encoding(pattern)
    except ValueError:
        return False
    return True


def check_random(seed, n):
    done = [0, 0]
    for number in range(n):
        rng = random.Random(seed * 10**6 + number)
        texts = odd_texts(rng)
        pattern = random_pattern(rng, [*COMMON, *OF_RUST])
        try:
            from_rust(pattern)
        except ValueError:
            pass
        else:
            if is_taken_by_rust(pattern):
                check_from_rust(pattern, texts)
                done[0] += 1
        pattern = random_pattern(rng, [*COMMON, *OF_ONIGURUMA])
        try:
            compile_pattern(pattern)
            to_rust(pattern)
            to_rust(pattern, with_gaps=True)
        except ValueError:
            continue
        check_to_rust(pattern, texts)
        done[1] += 1
    return done


@pytest.mark.slow
def test_random_patterns():
    assert min(check_random(1, 90)) > 30


@pytest.mark.full
def test_many_random_patterns():
    assert min(check_random(2, 6000)) > 2000


# -- whole tokenizers


def test_text_that_no_alternative_matches():
    """tiktoken drops it, `tokenizers` keeps it."""
    texts = ["abc, def.", "...", "a-b", "éa\u200db²"]
    ranks = ranks_of(texts)
    theirs = encoding(r"\w+", ranks)
    ours = gputok.from_tiktoken(theirs)
    expected = [theirs.encode(text) for text in texts]
    saved = tokenizers.Tokenizer.from_str(ours.to_str())
    assert [one.ids for one in ours.encode_batch(texts)] == [saved.encode(text).ids for text in texts] == expected
    back = tiktoken.Encoding("y", mergeable_ranks=ranks, **tiktoken_parts(ours)[1])
    assert [back.encode(text) for text in texts] == expected
    ours.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(gputok.Regex(r"\w+"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    expected = [one.ids for one in tokenizers.Tokenizer.from_str(ours.to_str()).encode_batch(texts)]
    back = tiktoken.Encoding("z", mergeable_ranks=ranks, **tiktoken_parts(ours)[1])
    assert [back.encode(text) for text in texts] == [one.ids for one in ours.encode_batch(texts)] == expected


def test_errors_name_the_construct(tmp_path):
    with pytest.raises(ValueError, match=r"escape \\Q.* position 1"):
        by_ranks(BYTES, r"a\Q.\E", {}, "x")
    tokenizer = by_ranks(BYTES, "gpt2", {}, "x")
    split = pre_tokenizers.Split(gputok.Regex("(?<=a++)b|.|\n"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    with pytest.raises(ValueError, match=r"tiktoken can.t encode as this tokenizer does: .* in a look-behind"):
        gputok.save_tiktoken(tokenizer, tmp_path / "x")
