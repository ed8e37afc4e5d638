"""Classes, properties and POSIX brackets, alone and inside of brackets, over all code points, against `tokenizers`."""

import functools
import random

import numpy as np
import pytest
import tokenizers
from splitting import differences, is_taken
from tokenizers import decoders

from gputok.automaton import compile_pattern
from gputok.automaton.charset import CharSet
from gputok.automaton.parser import parse
from gputok.automaton.subsets import one_char
from gputok.automaton.syntax import Choice
from gputok.automaton.unicode_tables import property_names, property_set

POINTS = np.r_[0:0xD800, 0xE000:0x110000]  # all but the surrogates, which no text contains
SOME = np.unique(np.r_[0:0x250, 0x250:0xD800:37, 0xE000:0x110000:1237, 0x660, 0x2028, 0x212A, 0x4E2D, 0xFB06, 0x10FFFF])
POSIX = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split()
ESCAPES = [rf"\{c}" for c in "wWdDsShH"]
BRACKETED = [f"[:{name}:]" for name in POSIX] + [f"[:^{name}:]" for name in POSIX]
INSIDE = ("[{}]", "[^{}]", "[a{}]", "[^[^{}]]", "[{}&&[^b]]", "[^{}&&[^b]]", "[{}&&\\w]", "(?i:[{}])", "(?i:[^{}])")


@functools.cache
def text_of(n):
    """The code points, the last first: so `st` is not in the text, which `ﬆ` matches under `(?i:...)`."""
    return "".join(map(chr, {len(POINTS): POINTS, len(SOME): SOME}[n][::-1]))


def theirs(pattern, points):
    """Which of the code points a pattern matches: those not left. As `Split` finds them, in a tenth of its time."""
    left = decoders.Replace(tokenizers.Regex(f"{pattern}+"), "").decode([text_of(len(points))])
    return ~np.isin(points, np.frombuffer(left.encode("utf-32-le"), np.uint32))


def ours(pattern, points):
    node = parse(pattern)
    # The others are strings such as `ss`
    chars = one_char(node.options[0] if isinstance(node, Choice) else node)
    assert chars is not None
    return chars.has(points)


def differing(patterns, points):
    """Patterns of one character that match other characters, each with the first of these."""
    both = ((pattern, ours(pattern, points) != theirs(pattern, points)) for pattern in patterns)
    return [(pattern, hex(points[wrong.argmax()])) for pattern, wrong in both if wrong.any()]


def properties():
    """A name for each set that a property can have."""
    named = {property_set(name).edges.tobytes(): name for name in sorted(property_names()) if not {*name} & {*":\\"}}
    return sorted(named.values())


@pytest.mark.parametrize("item", [*ESCAPES, *BRACKETED])
def test_classes_in_brackets(item):
    patterns = [form.format(item) for form in INSIDE] + [item] * (item[0] == "\\")
    assert differing(patterns, SOME) == []


@pytest.mark.filterwarnings("ignore:pattern")
def test_split_finds_the_same():
    """Words with ², which `\\w` contains and `[\\w]` does not."""
    texts = ["x² a¼b ½", "٣² ªº", "¹²³¼½¾", "a\u0301²"]
    for pattern in (
        r"\w+",
        r"\p{Word}+",
        r"[\w]+",
        r"[^\w]+",
        r"[\W]+",
        r"\W+",
        r"[\p{Word}]+",
        r"[\w&&[^a]]+|.",
        r"\b",
    ):
        assert differences(pattern, texts) == []
    assert not {*"²³¹¼½¾"} & {chr(c) for a, b in one_char(parse(r"[\w]")).runs() for c in range(a, b)}


def test_some_properties():
    names = random.Random(1).sample(properties(), 40)
    forms = (
        r"\p{{{}}}",
        r"\P{{{}}}",
        r"\p{{^{}}}",
        r"[\p{{{}}}]",
        r"[^\P{{{}}}]",
        r"[^[^\p{{{}}}]]",
        r"[\p{{{}}}&&[^\w]]",
    )
    assert differing([form.format(name) for name in [*names, "Word", "Any", "ASCII"] for form in forms], SOME) == []


ATOMS = [
    *("a", "é", "中", "a-z", "a-é", "a-中", r"\x{0}-é", r"\x{80}-\x{10ffff}", r"\x{0}-\x{7f}", r"\x{100}-\x{10ffff}"),
    *(
        *ESCAPES,
        *BRACKETED,
        r"\p{L}",
        r"\p{^L}",
        r"\P{L}",
        r"\p{Any}",
        r"\P{Any}",
        r"\P{ASCII}",
        r"\p{Word}",
        r"\p{Han}",
    ),
]


def random_bracket(rng, depth):
    """Up to three items and intersections, some of them brackets."""
    found = rng.choice(("[^", "[", "["))
    for i in range(rng.choice((1, 1, 1, 2, 2, 3))):
        found += "&&" * (i > 0 and rng.random() < 0.4)
        found += random_bracket(rng, depth - 1) if depth and rng.random() < 0.4 else rng.choice(ATOMS)
    return found + "]"


def random_brackets(seed, n):
    rng = random.Random(seed)
    brackets = (random_bracket(rng, rng.randrange(4)) for _ in range(n))
    return [rng.choice(("{}", "{}", "{}", "(?i:{})")).format(bracket) for bracket in brackets]


def test_random_brackets():
    assert differing(random_brackets(2, 300), SOME) == []


def test_negated_brackets_in_negated_brackets():
    """Where Oniguruma keeps no ranges, the first byte of a character decides."""
    strange = [
        *(
            r"[^[^[:^ascii:]]]",
            r"[^[^\P{ASCII}\h]]",
            r"[^[a-é]&&[^[:^ascii:]]]",
            r"[^[^\D\p{^L}]]",
            r"[[^\x{0}-é[^a]]]",
        ),
        *(
            r"[^[^\H]]",
            r"[^[^\x{80}-\x{10ffff}]]",
            r"[^\P{L}[^a]&&[^\P{ASCII}\W]]",
            r"(?i:[^[^\w]&&[^\p{L}\W[:xdigit:]]])",
        ),
    ]
    assert differing(strange, POINTS) == []
    assert not one_char(parse(r"[^[^[:^ascii:]]]"))


@pytest.mark.parametrize("name", ["rust:space", "rust:script:1", "[:alpha:]", r"\w", r"\d"])
def test_the_other_sets_of_the_tables_are_no_properties(name):
    property_set(name)
    for pattern in (rf"\p{{{name}}}", rf"[\p{{{name}}}]", rf"[[:{name}:]]"):
        if not is_taken(pattern):
            with pytest.raises(ValueError, match=r"unknown|never closed|range"):
                compile_pattern(pattern)


def test_inverting_a_set_with_the_end_of_text():
    everything = CharSet.of((0, 0x110001))
    assert not ~everything and len(~(everything - CharSet.chars("a"))) == 1


@pytest.mark.full
@pytest.mark.parametrize("item", [*ESCAPES, *BRACKETED])
def test_classes_in_brackets_over_all_code_points(item):
    patterns = [form.format(item) for form in INSIDE] + [item] * (item[0] == "\\")
    patterns += [f"[{item}{other}]" for other in ESCAPES] + [f"[^{item}&&{other}]" for other in ESCAPES]
    assert differing(patterns, POINTS) == []


@pytest.mark.full
@pytest.mark.parametrize(
    "form", [r"\p{{{}}}", r"\P{{{}}}", r"[\p{{{}}}]", r"[^\P{{{}}}]", r"[\p{{{}}}&&[^\w]]", r"(?i:[\p{{{}}}])"]
)
def test_all_properties_over_all_code_points(form):
    assert differing([form.format(name) for name in properties()], POINTS) == []


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3, 23))
def test_many_random_brackets(seed):
    assert differing(random_brackets(seed, 5000), SOME) == []
