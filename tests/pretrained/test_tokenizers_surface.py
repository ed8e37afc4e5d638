"""Every public name of the installed `tokenizers` exists in gputok, with the same members and signatures."""

import enum
import importlib
import inspect
import pickle
import re
import types

import pytest
import tokenizers

import gputok

MODULES = [
    "",
    ".decoders",
    ".implementations",
    ".models",
    ".normalizers",
    ".pre_tokenizers",
    ".processors",
    ".tools",
    ".trainers",
]

# Names that are not here on purpose, and why.
NOT_HERE = {
    "tokenizers": "the compiled module itself",
    "Enum": "an import, no name of its own",
    "List": "an import",
    "Tuple": "an import",
    "Union": "an import",
    "EncodingVisualizer.consecutive_chars_to_html": "a helper that goes character by character",
    "BpeTrainer.get_word_count": "a trainer keeps no counts; `Tokenizer.count_words` gives them",
    "__getnewargs__": "a need of the compiled classes; pickles work without",
}
# Signatures that differ on purpose, and why.
OTHER_SIGNATURE = {
    "AddedToken": "`normalized` is by default the opposite of `special` in both; only ours says so",
    "Metaspace": "the default replacement is ▁ in both; tokenizers' text signature says _",
    "ParityBpeTrainer.train_from_iterator": "has further arguments of ours",
}
# Readable there and not settable in the same way here, or the reverse.
OTHER_VALUE = {"TemplateProcessing.single": "reads as a template that can be set again, not as Rust's debugging text"}


def members(package: types.ModuleType, module: str):
    """(name, object) of the public classes, functions and constants of a module."""
    found = importlib.import_module(package.__name__ + module)
    return {
        name: value
        for name, value in inspect.getmembers(found)
        if not name.startswith("_") and name not in NOT_HERE and not isinstance(value, types.ModuleType)
    }


@pytest.mark.parametrize("module", MODULES)
def test_names(module):
    theirs, ours = members(tokenizers, module), importlib.import_module("gputok" + module)
    assert [name for name in theirs if not hasattr(ours, name)] == []


def classes():
    for module in MODULES:
        for name, theirs in members(tokenizers, module).items():
            if inspect.isclass(theirs) and theirs.__module__.startswith("tokenizers"):
                yield pytest.param(theirs, module, name, id=f"{module[1:] or 'top'}.{name}")


@pytest.mark.parametrize(("theirs", "module", "name"), list(classes()))
def test_members_and_signatures(theirs, module, name):
    ours = getattr(importlib.import_module("gputok" + module), name)
    assert [base.__name__ for base in theirs.__mro__[1:-1]] == [
        base.__name__
        for base in ours.__mro__[1:-1]
        if base.__name__
        not in (
            "BetweenSpaces",
            "Chain",
            "OlderMetaspace",
            "_Form",
            "Component",
            "CheckedOptions",
            "Pipeline",
            "Trainer" if name == "ParityBpeTrainer" else "",
        )
    ]
    assert same_signature(theirs, ours, name)
    for member in vars(theirs):
        is_awaited = inspect.iscoroutinefunction(getattr(theirs, member))
        assert not is_awaited or inspect.iscoroutinefunction(getattr(ours, member)), member
    for member, value in vars(theirs).items():
        if (
            member in NOT_HERE
            or f"{name}.{member}" in NOT_HERE
            or re.fullmatch(r"__\w+__|_[A-Z]\w+__\w+|_\w+_", member)
        ):
            continue
        if inspect.isgetsetdescriptor(value):
            continue  # attributes are asked of instances, below
        assert hasattr(ours, member), f"{name}.{member} is missing"
        if callable(value) or isinstance(value, staticmethod | classmethod):
            assert same_signature(getattr(theirs, member), getattr(ours, member), f"{name}.{member}")


def same_signature(theirs, ours, name: str) -> bool:
    """The same arguments with the same defaults, in the same order; additional arguments of gputok are keyword-only."""
    if name in OTHER_SIGNATURE or (inspect.isclass(theirs) and issubclass(theirs, enum.Enum)):
        return True
    try:
        expected = parameters(theirs)
    except (ValueError, TypeError):
        return True  # it has none that can be asked for
    found = parameters(ours)
    # by keyword in both; its text signature says otherwise
    if name.endswith("Trainer") and name != "ParityBpeTrainer":
        found = [one for wanted in expected for one in found if one[0] == wanted[0]]
        expected = [(name, default, "keyword") for name, default, _ in expected]
    for wanted, given in zip(expected, found, strict=False):
        # A default that only ours has is welcome.
        assert given == wanted or (wanted[1] is inspect.Parameter.empty and given[0] == wanted[0]), name
    assert len(found) >= len(expected), name
    assert all(kind == "keyword" for _, _, kind in found[len(expected) :]), name
    return True


def parameters(function) -> list[tuple]:
    """(name, default, kind) of the arguments but `self`, keyword-only ones last."""
    text = getattr(function, "__text_signature__", None)
    if text is not None and not inspect.isfunction(function):
        text = re.sub(r"\$self|\bself\b", "self", text)
        scope: dict = {}
        exec(f"def function{text}: pass", scope)
        signature = inspect.signature(scope["function"])
    else:
        signature = inspect.signature(function)
    listed = [
        (
            one.name,
            list(one.default) if isinstance(one.default, tuple | list) else _made(one.default),
            "keyword" if one.kind == one.KEYWORD_ONLY else "any",
        )
        for one in signature.parameters.values()
        if one.name != "self" and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    return listed


def _made(default):
    return [] if repr(default) == "<factory>" else default  # a list that each dataclass instance makes anew


INSTANCES = [
    ("decoders", "BPEDecoder", ()),
    ("decoders", "ByteFallback", ()),
    ("decoders", "ByteLevel", ()),
    ("decoders", "CTC", ()),
    ("decoders", "Fuse", ()),
    ("decoders", "Metaspace", ()),
    ("decoders", "Replace", ("a", "b")),
    ("decoders", "Strip", ("a", 1, 2)),
    ("decoders", "WordPiece", ()),
    ("models", "BPE", ()),
    ("models", "Unigram", ()),
    ("models", "WordLevel", ()),
    ("models", "WordPiece", ()),
    ("normalizers", "BertNormalizer", ()),
    ("normalizers", "ByteLevel", ()),
    ("normalizers", "Lowercase", ()),
    ("normalizers", "NFC", ()),
    ("normalizers", "NFD", ()),
    ("normalizers", "NFKC", ()),
    ("normalizers", "NFKD", ()),
    ("normalizers", "Nmt", ()),
    ("normalizers", "Prepend", ("_",)),
    ("normalizers", "Replace", ("a", "b")),
    ("normalizers", "Sequence", ([],)),
    ("normalizers", "Strip", ()),
    ("normalizers", "StripAccents", ()),
    ("pre_tokenizers", "BertPreTokenizer", ()),
    ("pre_tokenizers", "ByteLevel", ()),
    ("pre_tokenizers", "CharDelimiterSplit", ("|",)),
    ("pre_tokenizers", "Digits", ()),
    ("pre_tokenizers", "FixedLength", ()),
    ("pre_tokenizers", "Metaspace", ()),
    ("pre_tokenizers", "Punctuation", ()),
    ("pre_tokenizers", "Sequence", ([],)),
    ("pre_tokenizers", "Split", (" ", "removed")),
    ("pre_tokenizers", "UnicodeScripts", ()),
    ("pre_tokenizers", "Whitespace", ()),
    ("pre_tokenizers", "WhitespaceSplit", ()),
    ("processors", "BertProcessing", (("s", 1), ("c", 2))),
    ("processors", "ByteLevel", ()),
    ("processors", "RobertaProcessing", (("s", 1), ("c", 2))),
    ("processors", "Sequence", ([],)),
    ("processors", "TemplateProcessing", ()),
    ("trainers", "BpeTrainer", ()),
    ("trainers", "UnigramTrainer", ()),
    ("trainers", "WordLevelTrainer", ()),
    ("trainers", "WordPieceTrainer", ()),
    ("", "AddedToken", ("x",)),
    ("", "Encoding", ()),
]


@pytest.mark.parametrize(("module", "name", "arguments"), INSTANCES, ids=lambda value: str(value) or "-")
def test_instances(module, name, arguments):
    """`repr`, `str`, pickle form and every readable and settable attribute of an instance."""
    dotted = "." + module if module else ""
    theirs, ours = (
        getattr(importlib.import_module(package + dotted), name)(*arguments) for package in ("tokenizers", "gputok")
    )
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)
    assert ours.__getstate__() == theirs.__getstate__()
    assert pickle.loads(pickle.dumps(ours)).__getstate__() == theirs.__getstate__()
    kinds = [kind for kind in type(theirs).__mro__ if kind.__module__.startswith("tokenizers")]
    attributes = [
        attribute for kind in kinds for attribute, value in vars(kind).items() if inspect.isgetsetdescriptor(value)
    ]
    for attribute in attributes:
        if attribute.startswith("__") or f"{name}.{attribute}" in OTHER_VALUE or attribute == "words":
            continue
        try:
            value = getattr(theirs, attribute)
        except Exception:  # "Cannot get pattern": not readable there
            continue
        assert getattr(ours, attribute) == value, attribute
        try:
            setattr(theirs, attribute, value)
        except AttributeError:
            continue
        setattr(ours, attribute, value)
        assert getattr(ours, attribute) == value, attribute


@pytest.mark.parametrize("package", [gputok, tokenizers])
def test_str_is_shorter_than_repr(package):
    """`str` leaves out what is long; both packages say the same."""
    decoders, normalizers = package.decoders, package.normalizers
    long = decoders.Sequence([decoders.Fuse()] * 7)
    assert str(long) == "Sequence(decoders=[Fuse(), Fuse(), Fuse(), Fuse(), Fuse(), ...])"
    assert repr(long).count("Fuse()") == 7
    assert str(normalizers.Prepend("é" * 60)) == f'Prepend(prepend="{"é" * 50}...")'


def test_custom_components_can_be_shown():
    class Mine:
        def __repr__(self):
            return "Mine()"

    for kind in (gputok.normalizers.Normalizer, gputok.pre_tokenizers.PreTokenizer, gputok.decoders.Decoder):
        assert "Mine()" in repr(kind.custom(Mine())) and "Mine()" in str(kind.custom(Mine()))
