"""Automata of regular expressions: worked examples, the syntax, planted faults, and comparison with `tokenizers`."""

import random
import re
import time
import warnings

import make_automata
import make_unicode_tables
import numpy as np
import pytest
from gputok.kernels import DEAD, Automaton
from splitting import (
    differences,
    is_taken,
    random_texts,
    representatives,
    strings_over,
    upstream,
    upstream_words,
    words,
)

from gputok.automaton import PATTERNS, compile_literal, compile_pattern, subsets
from gputok.automaton.charset import CharSet
from gputok.automaton.parser import parse
from gputok.automaton.ready import FILE, ready
from gputok.automaton.subsets import compile_node
from gputok.automaton.syntax import Chars, Choice, Repeat, Sequence
from gputok.automaton.unicode_tables import any_case, property_names, property_set

# ---- worked examples


def test_sets_of_characters():
    vowels = CharSet.chars("aeiou")
    letters = CharSet.of((0x61, 0x7B))
    assert (letters - vowels).runs()[:2] == [(0x62, 0x65), (0x66, 0x69)]
    assert "z" in ~vowels and "a" not in ~vowels and len(~~vowels) == 5
    assert vowels | letters == letters and vowels & letters == vowels and not letters & ~letters


def test_a_tree():
    a, b = Chars(CharSet.chars("a")), Chars(CharSet.chars("b"))
    assert parse("ab|b+?") == Choice((Sequence((a, b)), Repeat(b, 1, None, False)))
    assert parse("a{,2}") == Repeat(a, 0, 2, True)
    assert parse("a{1,2}+") == Repeat(Repeat(a, 1, 2, True), 1, None, True)  # stacked, not possessive


def test_the_tables_of_a_pattern():
    """`ab?`: START -a-> 1 -b-> 2, and a match may end in 1 before anything but b, in 2 before anything."""
    automaton = compile_pattern("ab?")
    other, a, b = (automaton.ascii_class[ord(c)] for c in "-ab")
    assert automaton.delta[:, [a, b, other]].tolist() == [[1, DEAD, DEAD], [DEAD, 2, DEAD], [DEAD, DEAD, DEAD]]
    end = automaton.n_classes
    assert automaton.accept[1, [a, b, other, end]].tolist() == [1, 1, 1, 1]
    assert automaton.accept[0].tolist() == [0, 0, 0, 0]
    assert not automaton.gapless


def test_words():
    gpt2 = compile_pattern(PATTERNS["gpt2"])
    assert words(gpt2, ["Hello  world's 42!\n\n"]) == [["Hello", " ", " world", "'s", " 42", "!", "\n\n"]]
    assert words(compile_pattern("b|abc"), ["xabcab", ""]) == [["x", "abc", "a", "b"], []]
    assert words(compile_pattern("a|ab"), ["ab"]) == [["a", "b"]]  # the first alternative, not the longest
    assert words(compile_pattern(r"a(?!b)|c$"), ["abaac\nc"]) == [["ab", "a", "a", "c", "\n", "c"]]
    assert words(compile_literal("[a]"), ["x[a][a]"]) == [["x", "[a]", "[a]"]]
    assert words(compile_pattern("[ab]"), ["xxab"]) == [["xx", "a", "b"]]
    assert words(compile_pattern("[ab]+|c+"), ["abacc-"]) == [["aba", "cc", "-"]]


def test_sizes():
    """The numbers of states and classes of the named patterns, so that larger tables are noticed."""
    sizes = {name: (a.n_states, a.n_classes) for name, a in ((n, compile_pattern(p)) for n, p in PATTERNS.items())}
    assert sizes["gpt2"] <= (12, 10) and sizes["llama3"] <= (17, 11) and sizes["o200k"] <= (20, 19)
    assert sizes["deepseek-v3"] <= (19, 12)


def test_equal_patterns_are_equal_tables():
    """Automata have the fewest states and classes, numbered by first use, so equal languages give equal tables."""
    for one, other in [
        ("a|b|c", "[a-c]"),
        ("(?:ab)?(?:ab)", "ab(?:ab)?"),
        (r"x++y?", "x+(?!x)y?"),
        ("(?i:k)", "[kK\u212a]"),
    ]:
        for table, same in zip(compile_pattern(one), compile_pattern(other), strict=True):
            assert np.array_equal(table, same), (one, other)


# ---- the dialect

ODDITIES = r"""
\x41  \xc3\xa9  \x{e9}  \u00e9  \101  \0  \303\251  \ca  \C-a  \c?  \e  \a  \v  \f  \q  \é  \`  [\e\a\v\f\q]
\h+|\H  [\h]+  \R  \N\O  \p{l_}  \P{^L}  \pL  \p{Any}  [[:^alpha:]]  [[:alpha]]  [:alpha:]  \p{^Han}+
a]  ]  {  }  a{  a{1  a{,}  a{,2}  a{2,1}  a{1,2}+  a{2}?  a{1,2}?+  a*{0}  a*{2}  a?{3}  a{0,2}{2}  a**  a+++
(?m:.)  (?i)a|B  a(?i)b|c  (?i-m:a)  (?x:_a_b_)  (?x)a_b#c  (?x)[_a]  (?x)a_+  (?#c)a  a(?#c)+
()  (|a)  |  a||b  (^)*  \Aa  ^a  a$  $  ^  a\z  a\Z  \b  \B  (?m:.)+  a(?!b|\z)  a(?=b|$)  (?=a)b
[\b]  [\B]  [\R]  [a&&]  [&&a]  [a&&b&&c]  [^a&&a]  [a-c&&[^b]]  [[^a]]  [^[^a]]  []a]  [^]a]  []]  [a-]  [-a]  [a-c-e]
[a-[b]]  [a-[b]c]  [\x41-\x43]  [\xc3\xa0-\xc3\xaf]  [a\]]  [\\]  [\x{e0}-\x{ef}]  [\0-\37]  [\p{L}]  [\p{^L}\d]  [--a]
(?i:[a-z])  (?i:[^a-z])  (?i)\p{Lu}  (?i:[\p{Lu}])  (?i:K)  (?i:ß)  (?i:ss)  (?i:s(?:t))  (?i:st?)  (?i:ffi)  (?i:[ß])
(?<=s)t  (?i:(?<=st)a)  (?<!\\)a  (?<=a+)b  (?<!a|bc)d  (?>a|ab)c  (?>a+)a  a++a  (?:ab)++  (?:ab)?+a  (?:a|b)*+
(?i:ﬃ)  (a)\1  (a)\k<1>  (a)\k<-1>  (?<n>a)\k<n>  (?'n'a)\k'n'  (a)(?<n>b)\k<n>
a??+  a?+?  (?:a*)+?  (?:a+)??  (?=(\d{3})+(?!\d))  \d{1,3}(?=(\d{3})*\b)  (?<=[a-z])(?=[A-Z])
""".split()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:pattern")
@pytest.mark.parametrize("pattern", ODDITIES)
def test_dialect(pattern):
    pattern = pattern.replace("_", " ")
    assert is_taken(pattern)
    more = [
        "staßaSTaﬆﬃ",
        "a\r\nb",
        "aabc abcb",
        "1234567 12",
        "ABCabcàéïŏ",
        "]]{1}a{,}a{1,{",
        "&&--^^[:alph:]",
        "abc#dABcd",
    ]
    assert differences(pattern, strings_over("abB1é \n", 4) + more + random_texts(3, 200)) == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a(b", "a parenthesis that is never closed at position 1"),
        ("a)b", "unmatched close parenthesis at position 1"),
        ("ab[c", "a bracket that is never closed at position 2"),
        ("[]", "an empty bracket at position 0"),
        ("a|*", "a quantifier with nothing to repeat at position 2"),
        ("a^*", "a quantifier on an anchor or look-around at position 1"),
        (r"x\p{Foo}", "the unknown character property 'Foo' at position 1"),
        (r"\p{Script=Han}", "the unknown character property 'Script=Han' at position 0"),
        ("[[:foo:]]", "the unknown POSIX bracket [:foo:] at position 1"),
        ("[z-a]", "the empty range z-a at position 1"),
        (r"[a-\d]", "a range that ends with a class at position 1"),
        (r"[\d-a]", "a range that begins with a class at position 1"),
        (r"a\xc3", "a byte of a character that has more at position 1"),
        (r"a\u12", r"\u without four hexadecimal digits at position 1"),
        ("a\\", "the pattern ends after a backslash at position 2"),
        ("a{100001}", "a repeat count above 100000 at position 1"),
        ("(?s:.)", "the unknown option 's' at position 0"),
        ("(?P<n>a)", "the unknown group (?P at position 0"),
        (r"\k<n>", "a reference to the undefined group 'n' at position 0"),
        (r"(?<n>a)\1", "a reference by number beside named groups at position 7"),
        ("b(?<=(?!a))", "a look-ahead in a look-behind at position 5"),
        (r"(?<!a\z)", r"\z in a look-behind at position 5"),
        ("(?<!(a))", "a group that captures in a look-behind at position 4"),
        ("(?<=(?<!a))", "a negative look-behind in a look-behind at position 4"),
    ],
)
def test_patterns_that_tokenizers_refuses_as_well(pattern, message):
    assert not is_taken(pattern)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        compile_pattern(pattern)
    assert repr(pattern) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        (r"a\K", r"\K"),
        (r"\Ga", r"\G"),
        (r"\X", r"\X"),
        ("a(?~b)", "an absent operator"),
        ("(a)?(?(1)b|c)", "a conditional"),
        (r"(a)\g<1>", r"a call of a group (\g)"),
        ("(*FAIL)", "a callout"),
        ("(?:a?b?){3}", "a counted repetition of a body that can be empty"),
        (r"(?i:(a)\1)", "a back reference that ignores case"),
    ],
)
def test_patterns_that_neither_engine_can_run(pattern, construct):
    assert is_taken(pattern)
    with pytest.raises(ValueError, match=re.escape(construct)):
        compile_pattern(pattern)


def test_a_pattern_that_takes_too_long_to_read_is_refused():
    """The `regex` package took 40 s to read 100 kB of a pattern, each set of which has hundreds of ranges."""
    pattern = "|".join(["(?<=b)a", *[PATTERNS["qwen2"]] * 200])
    began = time.process_time()
    with pytest.raises(ValueError, match=r"^pattern .*\.\.\..*: .*Use a shorter pattern$") as error:
        compile_pattern(pattern)
    assert time.process_time() - began < 10 and len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=bc)", "a look-around at more than one character"),
        ("(?<=b)a", "a look-behind where a match begins"),
        ("(?>a|ab)c", "an atomic group or possessive quantifier on more than one character"),
        (r"(a)\1", "a back reference"),
        ("(?:a*b*)*", "an unbounded repetition of a body that can be empty"),
        ("(?:a|b)*a(?:a|b){30}", "states"),
        ("(?:(?:a{1,99}){1,99}){1,99}b", "when its repetitions are written out"),
        ("".join(map(chr, range(0x4E00, 0x4F00))), "more than 255 classes of characters"),
    ],
)
def test_one_warning_then_the_regex_package(pattern, reason):
    compile_pattern.cache_clear()
    began = time.perf_counter()
    with pytest.warns(UserWarning, match=reason) as warned:
        matcher = compile_pattern(pattern)
    assert len(warned) == 1 and not isinstance(matcher, Automaton)
    assert time.perf_counter() - began < 60  # bounded, on any machine; some seconds at most on a usual one
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile_pattern(pattern) is matcher
    assert differences(pattern, strings_over("abc", 6) + random_texts(1, 50)) == []


# ---- random patterns

ATOMS = r"a b a b . \n 1 \d \w \s \S [ab] [^a] [a1] \p{L} \p{^L} ab ba aa \h [[:alpha:]] [a&&[ab]] [^a-b&&\w]".split()
LOOKS = r"^ $ \b \B \A \z (?=a) (?!a) (?!\S) (?=\s|b) (?<=a) (?<!a) (?=ab) (?=a|$) (?<!\n)".split()
QUANTIFIERS = "* + ? *? +? ?? *+ ++ ?+ {2} {1,2} {,2} {2,} {1,2}? {1,2}+ {2,1} {2}? {0} {a}".split()


def random_pattern(rng: random.Random, depth: int, looks: float) -> str:
    branches = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        branch = ""
        for _ in range(rng.choice([1, 1, 2, 2, 3])):
            if rng.random() < looks:
                branch += rng.choice(LOOKS)
                continue
            if depth and rng.random() < 0.25:
                group = rng.choice(["(?:", "(?:", "(", "(?>", "(?i:"] + ["(?=", "(?!"] * (looks > 0))
                branch += group + random_pattern(rng, depth - 1, looks) + ")"
            else:
                branch += rng.choice(ATOMS)
            branch += rng.choice(QUANTIFIERS) * (rng.random() < 0.45) + rng.choice(QUANTIFIERS) * (rng.random() < 0.1)
        branches.append(branch)
    return "|".join(branches)


def check_random_patterns(seed: int, n_patterns: int, looks: float) -> int:
    """How many random patterns became automata; those that `tokenizers` refuses must be refused."""
    rng = random.Random(seed)
    texts = strings_over("ab 1\n", 4)
    n_automata = 0
    for pattern in (random_pattern(rng, 2, looks) for _ in range(n_patterns)):
        try:
            matcher = compile_pattern(pattern)
        except ValueError as error:
            assert not is_taken(pattern) or "can be empty" in str(error), pattern
            continue
        if is_taken(pattern):
            assert differences(pattern, texts)[:1] == [], pattern
            n_automata += isinstance(matcher, Automaton)
    return n_automata


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:pattern")
@pytest.mark.parametrize("looks", [0, 0.15])
def test_random_patterns(looks):
    assert check_random_patterns(5, 250, looks) > 100


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:pattern")
def test_many_random_patterns():
    assert all(check_random_patterns(seed, 1000, looks) > 300 for seed in range(20, 24) for looks in (0, 0.1))


LITERALS = r"""s S ss st ß ſt ﬆ ffi fi ﬁ ŉ ʼn K k σ Σ ǆ İ i é \x73t s(?:t) st? ss+ s{2} s.t \p{Lu} (?-i:st) i̇ ΐ sſt
[ſ-ﬆ] [^ß] [st]""".split()


@pytest.mark.parametrize("seed", range(3))
def test_random_case(seed):
    rng = random.Random(seed)
    texts = [*strings_over("sStßﬆſfiﬁ", 3), "ʼnŉ", "ΐΐ", "ffiﬃﬀi", "İi̇I\u0307", "kK\u212a", "σςΣ", "ǆǅǄ"]
    for _ in range(80):
        pattern = f"(?i:{''.join(rng.choices(LITERALS, k=rng.randrange(1, 4)))})"
        assert differences(pattern, texts)[:1] == [], pattern


# ---- planted faults: the tests above can fail


def plant(monkeypatch, fault: str) -> None:
    program = subsets._Program
    if fault == "alternatives in the wrong order":
        choice = program.choice
        monkeypatch.setattr(program, "choice", lambda self, entries: choice(self, entries[::-1]))
    elif fault == "look-ahead ignored":
        monkeypatch.setattr(subsets, "look_set", lambda body, ahead: CharSet.of((0, 0x110001)).negated_look())
    elif fault == "another Unicode version":
        import gputok.automaton.parser as parser

        older = CharSet.of(*((c, c + 1) for c in range(0x30000) if chr(c).isalpha()))
        monkeypatch.setattr(parser, "property_set", lambda name: older if name == "L" else property_set(name))


@pytest.mark.parametrize("fault", ["alternatives in the wrong order", "look-ahead ignored", "another Unicode version"])
def test_planted_faults_are_found(fault, monkeypatch):
    texts = random_texts(1, 3000)
    expected = upstream_words(upstream(PATTERNS["gpt2"]), texts)
    plant(monkeypatch, fault)
    found = words(subsets.compile_node(parse(PATTERNS["gpt2"])), texts)
    assert sum(a != b for a, b in zip(found, expected, strict=True)) > 5


def test_lost_transitions_are_found():
    """Any single transition lost from the tables of GPT-2 changes the split of a short string of classes."""
    automaton = compile_pattern(PATTERNS["gpt2"])
    texts = strings_over(representatives(automaton), 4)
    expected = words(automaton, texts, drop_gaps=True)
    for state, column in np.argwhere(automaton.delta != DEAD):
        delta = automaton.delta.copy()
        delta[state, column] = DEAD
        assert words(automaton._replace(delta=delta), texts, drop_gaps=True) != expected, (state, column)


# ---- what is proved from the tables


@pytest.mark.parametrize("pattern", dict.fromkeys(PATTERNS.values()))
def test_text_may_be_cut_at_strong_pairs(pattern):
    automaton = compile_pattern(pattern)
    alphabet = representatives(automaton)
    index = {c: i for i, c in enumerate(alphabet)}
    texts = strings_over(alphabet, 4 if len(alphabet) < 12 else 3)
    cuts = [(t, i) for t in texts for i in range(1, len(t)) if automaton.strong[index[t[i - 1]], index[t[i]]]]
    assert len(cuts) > 100
    whole = dict(zip(texts, words(automaton, texts), strict=True))
    rng = random.Random(0)
    for text, at in rng.sample(cuts, min(len(cuts), 4000)):
        assert whole[text[:at]] + whole[text[at:]] == whole[text], (text, at)


def test_well_known_patterns_have_many_strong_pairs():
    automaton = compile_pattern(PATTERNS["gpt2"])
    classes = {c: automaton.ascii_class[ord(c)] for c in "a 1!\n"}
    for before, after in ["a ", "a\n", "a1", "1 ", "1a", "1\n"]:
        assert automaton.strong[classes[before], classes[after]], before + after
    assert not automaton.strong[classes[" "], classes["a"]]
    assert not automaton.strong[classes[" "], classes["\n"]]  # safe, but `\s+(?!\S)` sees the end of text


@pytest.mark.parametrize(
    ("pattern", "gapless"),
    [(r"\s+|\S+", True), (r"\s+|\w+", False), (r"a*[^a]|a+", True), ("a*b|[^a]", False), ("(?=a)|.|\n", False)],
)
def test_gapless(pattern, gapless):
    automaton = compile_pattern(pattern)
    assert automaton.gapless == gapless
    texts = strings_over(representatives(automaton), 4)
    matched = words(automaton, texts, drop_gaps=True)
    assert all("".join(pieces) == text for pieces, text in zip(matched, texts, strict=True)) == gapless


def walk_steps(automaton: Automaton, text: str) -> int:
    """Counts the characters that a plain walk of the text reads."""
    classes = [
        automaton.member[automaton.page[ord(c) >> 7], ord(c) & 127] if c > "\x7f" else automaton.ascii_class[ord(c)]
        for c in text
    ]
    columns = [*map(int, classes), automaton.n_classes]
    delta, accept = automaton.delta.tolist(), automaton.accept.tolist()
    at = steps = 0
    while at < len(text):
        state, position, found = 0, at, at + 1
        while state != DEAD:
            steps += 1
            if accept[state][columns[position]]:
                found = position
            state = delta[state][columns[position]]
            position += 1
        at = found
    return steps


@pytest.mark.parametrize("pattern", dict.fromkeys(PATTERNS.values()))
def test_named_patterns_are_linear(pattern):
    automaton = compile_pattern(pattern)
    alphabet = representatives(automaton)
    seeds = [*strings_over(alphabet, 2), " \n ", "'s", "a1 ", "  \r", "'l"]
    for seed in seeds:
        for tail in ("", "x", "\n", " x"):
            few, many = (walk_steps(automaton, seed * n + tail) for n in (100, 400))
            assert many <= 4.2 * few + 50 and many <= 4 * (400 * len(seed) + 2), (seed, tail)


# ---- the Unicode tables


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l", "n", "m", "lu", "cn", "han"])
def test_properties(name):
    assert property_set(name).edges.tolist() == make_unicode_tables.members(rf"\p{{^{name}}}+").tolist()


@pytest.mark.slow
@pytest.mark.parametrize("escape", ["w", "d", "s", "h"])
def test_escapes(escape):
    assert property_set(f"\\{escape}").edges.tolist() == make_unicode_tables.members(rf"\{escape.upper()}+").tolist()


def test_case_folds():
    """Every cased character matches the same characters as in tokenizers."""
    cased = "\n".join(chr(c) for a, b in (property_set("Cased") | property_set("CWCM")).runs() for c in range(a, b))
    rng = random.Random(0)
    for c in rng.sample(cased.split("\n"), 150):
        same = {chr(d) for a, b in any_case(CharSet.chars(c)).runs() for d in range(a, b)}
        assert set(make_unicode_tables.matches(f"(?i:{c})", cased)) == same


@pytest.mark.full
def test_all_tables():
    sets = make_unicode_tables.all_sets()
    assert sorted(sets) == sorted(property_names())
    for name, edges in sets.items():
        assert property_set(name).edges.tolist() == edges.tolist(), name


def test_the_file_of_automata_is_of_these_patterns():
    assert np.array_equal(np.load(FILE), make_automata.data()), "run tests/make_automata.py"


def test_an_automaton_of_the_file_is_the_compiled_one():
    for pattern in (*PATTERNS.values(), *make_automata.CUTS):
        found, compiled = ready(pattern), compile_node(parse(pattern))
        assert found is not None
        assert [getattr(one, "dtype", type(one)) for one in found] == [
            getattr(one, "dtype", type(one)) for one in compiled
        ]
        assert all(np.array_equal(one, other) for one, other in zip(found, compiled, strict=True))
    assert ready("a|b") is None
    assert ready("\ud800") is None
