"""Folders of tokenizers, in the forms of all versions of `transformers`: finds, opens and writes them."""

from __future__ import annotations

import copy
import functools
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any, TypeVar

from gputok import checks, decoders, models, normalizers, pre_tokenizers, processors
from gputok.files import tokenizer_kinds
from gputok.files.arrow import needing
from gputok.files.atomic import replacing
from gputok.files.json_text import read_object
from gputok.pretrained.chat import MORE_TEMPLATES, TEMPLATE, write_templates
from gputok.pretrained.special_tokens import NAMES, as_token, is_known, names_token
from gputok.pretrained.steps import OF_CLASSES, set_step
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken

Made = TypeVar("Made")

_HEAD = 4096  # so many first bytes tell the kind of a file

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"

SPECIAL_TOKENS = "special_tokens_map.json"
OLD_FILES = (SPECIAL_TOKENS, "added_tokens.json")
_MOST_RESERVED = 1 << 16
"""How many ids `added_tokens_decoder` may add to a tiktoken file, those without a name included; Llama 3 has 256."""

_OF_MODEL = ("tokenizer.model", "spiece.model", "tiktoken.model")
VOCABULARIES = ("vocab.json", "merges.txt", "vocab.txt", *_OF_MODEL, "tekken.json")

_OF_HUB = ("revision", "token", "cache_dir", "local_files_only", "force_download")
"""The options of `snapshot_download` that programs give."""
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_ENDINGS = (".json", ".model", ".tiktoken", ".gguf", ".txt")

_SAVING = "where transformers opens it, its save_pretrained writes a tokenizer.json"
SAVED_CLASS = "PreTrainedTokenizerFast"
"""The class of `transformers` that leaves tokenizer.json as it is, by the name that all versions know."""

_AS_THEY_ARE = (SAVED_CLASS, "PreTrainedTokenizer", "TokenizersBackend", "GemmaTokenizer")
"""Classes whose settings do not change the steps of the tokenizer.json."""

_OF_SENTENCEPIECE = ("LlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
"""Classes whose tokenizer is the SentencePiece model plus the tokens that the settings add."""

_DROPPED = (  # settings that do not describe a saved tokenizer.json
    *("tokenizer_class", "auto_map", "trust_remote_code", "backend", "files_loaded", "init_inputs"),
    *("name_or_path", "is_local", "local_files_only", "added_tokens_decoder", "add_bos_token", "add_eos_token"),
)


def _token(value: Any) -> Any:
    """Checks a special token, its text or an object with its fields, and makes an AddedToken of it."""
    if isinstance(value, dict):
        known = {"content", "single_word", "lstrip", "rstrip", "normalized", "special", "__type"}
        if unknown := value.keys() - known:
            raise checks.WrongValue(f"unknown field {checks.short(min(unknown))}")
        checks.needed(value, "content")
    elif not isinstance(value, str):
        raise checks.wrong_type(value, "str")
    return as_token(value, "the token")


def _mapping(of_key: checks.Check, of_value: checks.Check) -> checks.Check:
    """Makes a check of a JSON object; of_key: checks a key, and returns what errors call its value."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise checks.wrong_type(value, "dict")
        for key, item in value.items():
            checks.checked(of_key(key), of_value, item)
        return value

    return check


def _id(key: str) -> str:
    if not (key.isascii() and key.isdigit() and int(key) <= checks.ID):
        raise checks.WrongValue(f"the id of a token must be a number from 0 to 2**32 - 2, not {checks.short(key)}")
    return f"[{key}]"


_named = _mapping(checks.string, _token)


def _tokens(value: Any) -> Any:
    return _named(value) if isinstance(value, dict) else checks.listed(_token)(value)


def _chat_template(value: Any) -> Any:
    if not isinstance(value, list):
        return _mapping(checks.string, checks.string)(value) if isinstance(value, dict) else checks.string(value)
    for i, each in enumerate(value):
        for name in ("name", "template"):
            checks.checked(f"[{i}].{name}", checks.string, checks.needed(each, name))
    return value


_SETTINGS: dict[str, checks.Check] = {
    "tokenizer_class": checks.string,
    "model_type": checks.string,
    "model_max_length": checks.number(0),
    "max_len": checks.number(0),
    "padding_side": checks.choice("left", "right"),
    "truncation_side": checks.choice("left", "right"),
    "model_input_names": checks.listed(checks.string),
    "added_tokens_decoder": _mapping(_id, _token),
    "extra_special_tokens": _tokens,
    "additional_special_tokens": _tokens,
    "model_specific_special_tokens": _named,
    "chat_template": _chat_template,
    **dict.fromkeys(("add_prefix_space", "add_bos_token", "add_eos_token", "split_special_tokens"), checks.switch),
    **dict.fromkeys(("do_lower_case", "legacy", "strip_accents", "tokenize_chinese_chars"), checks.switch),
    "clean_up_tokenization_spaces": checks.switch,
    **dict.fromkeys(NAMES, _token),
}
"""Setting -> check of its value, which may also be null; settings that are not here are kept unchecked."""


def _settings(path: pathlib.Path) -> dict[str, Any]:
    """Reads a file of settings, and checks those that are used."""
    found = read_object(path, may_lack=True)
    if path.name == SPECIAL_TOKENS:  # all objects in this file are tokens, but lack the mark of tokens
        for key, value in found.items():
            if key.endswith("_token") and isinstance(value, dict):
                found[key] = {**value, "__type": "AddedToken"}
    with checks.in_file(path):
        for key, value in found.items():
            check = _SETTINGS.get(key) or (_token if names_token(key, value) else None)
            if check and value is not None:
                checks.reading(key, check, value)
    return found


def load(
    make: Callable[..., Made],
    name_or_path: str | os.PathLike[str],
    *,
    subfolder: str = "",
    use_fast: bool = True,
    trust_remote_code: bool = False,
    **options: Any,
) -> Made:
    """Opens a tokenizer (see `AutoTokenizer.from_pretrained`): calls `make` with a Tokenizer, its name and options."""
    if use_fast is False:
        raise ValueError("use_fast=False: gputok has only fast tokenizers; leave use_fast out")
    if max_length := options.pop("max_len", None):  # the old name of model_max_length
        options.setdefault("model_max_length", max_length)
    of_hub = {name: options.pop(name) for name in _OF_HUB if name in options}
    options = {name: value for name, value in options.items() if value is not None or name in NAMES}
    path = pathlib.Path(name_or_path)
    if path.is_file():
        return _load_file(make, path, options)
    if not path.is_dir():
        files = (TOKENIZER, CONFIG, "config.json", TEMPLATE, f"{MORE_TEMPLATES}/*", *OLD_FILES, *VOCABULARIES)
        wanted = [f"{subfolder}/{file}" if subfolder else file for file in files]
        path = _download(str(name_or_path), wanted, of_hub)
    return _load_folder(make, path / subfolder, str(name_or_path), options)


def could_be_name(path: str) -> bool:
    """Says whether a path that does not exist may be meant as a name on the hub.

    >>> could_be_name("meta-llama/Llama-3.1-8B"), could_be_name("tokenizer.json"), could_be_name("/data/x")
    (True, False, False)
    """
    return _HUB_NAME.fullmatch(path) is not None and not path.endswith(_ENDINGS)


def _download(name: str, files: list[str], options: dict[str, Any]) -> pathlib.Path:
    """Downloads files by their names or globs, and returns their folder in the cache of the hub."""
    missing, instead = f"{name!r} is not a file or folder here", "pass the path of a folder or of a tokenizer.json"
    with needing(f"{missing}, and names on the hub need huggingface_hub: pip install 'gputok[hub]', or {instead}"):
        from huggingface_hub import snapshot_download
    try:
        return pathlib.Path(snapshot_download(name, allow_patterns=files, **options))
    except (OSError, ValueError) as error:
        raise OSError(
            f"{missing}, and the Hugging Face Hub did not give it ({type(error).__name__}); {instead}, or a hub name "
            "if there is a network or the cache of the hub has it"
        ) from error


def _load_file(make: Callable[..., Made], path: pathlib.Path, options: dict[str, Any]) -> Made:
    """Loads a file alone: a tokenizer.json, or a format with all that a tokenizer needs."""
    with open(path, "rb") as file:
        # Only the first bytes: a GGUF file may have gigabytes of weights
        kind = tokenizer_kinds.kind_of(file.read(_HEAD), path.name)
    pattern, found = options.pop("pattern", None), {}
    if pattern is not None and kind not in ("gguf", "tiktoken"):
        raise ValueError(f"pattern={pattern!r}: is for tiktoken and GGUF files; {path} says itself how it cuts text")
    if kind == "gguf":
        from gputok.formats.gguf import read_gguf

        tokenizer, found = read_gguf(path, pattern=pattern)
    elif kind == "tiktoken":
        from gputok.formats.tiktoken import from_tiktoken

        tokenizer = from_tiktoken(path, pattern=pattern)
    elif kind == "sentencepiece":
        from gputok.formats.sentencepiece import from_sentencepiece

        tokenizer = from_sentencepiece(path)
    elif path.name == "tekken.json":
        from gputok.formats.tekken import from_tekken

        tokenizer = from_tekken(path)
    else:
        tokenizer = Tokenizer.from_file(str(path))
    return make(tokenizer, name_or_path=str(path), **{**found, **options})


def _load_folder(make: Callable[..., Made], folder: pathlib.Path, name_or_path: str, options: dict[str, Any]) -> Made:
    """Loads the files that `save_pretrained` writes, or older ones."""
    config = _settings(folder / CONFIG)
    name = config.get("tokenizer_class")
    if not name:  # config.json is read only if it is needed: it is the model's file, and may be damaged
        name = _classes()["model_types"].get(_settings(folder / "config.json").get("model_type") or "")
    name = (name or SAVED_CLASS).removesuffix("Fast")
    tokenizer = _open(folder, name, {**config, **options})
    if name == "LlamaTokenizer" and (folder / TOKENIZER).is_file() and "ByteLevel" in repr(tokenizer.pre_tokenizer):
        name = SAVED_CLASS  # as in transformers: a wrong name that many byte-level tokenizers have

    old = _settings(folder / SPECIAL_TOKENS) if "added_tokens_decoder" not in config else {}
    defaults = copy.deepcopy(_classes()["classes"].get(name, {}))
    settings = {**defaults, **config, **old, **_templates(folder)}
    tokenizer.add_tokens([*_added_tokens(folder, {**settings, **options})])
    if not (folder / TOKENIZER).is_file():  # with it, its post-processor says what is added to a text
        options = {**_ends(tokenizer, settings), **options}
    if name not in _AS_THEY_ARE:
        for step in OF_CLASSES:
            if isinstance(settings.get(step), bool):
                set_step(tokenizer, step, settings[step], needed=False)
    if "cls_token" in defaults:
        with checks.in_file(folder / CONFIG):
            options = _without_ends(name, options, settings)
    if options.get("add_prefix_space") and name == "LlamaTokenizer" and "legacy" not in settings:
        options.setdefault("legacy", False)  # the default of the class
    kept = {key: value for key, value in settings.items() if key not in _DROPPED}
    known = {key: kept.pop(key) for key in list(kept) if is_known(key, kept[key])}
    return make(tokenizer, name_or_path=name_or_path, init_kwargs=kept, **{**known, **options})


def _open(folder: pathlib.Path, name: str, config: dict[str, Any]) -> Tokenizer:
    """Opens the tokenizer: from tokenizer.json, or from an older form of its vocabulary."""
    if (folder / TOKENIZER).is_file():
        return Tokenizer.from_file(str(folder / TOKENIZER))
    # A setting that is null counts as missing
    config = {key: value for key, value in config.items() if value is not None}
    there = {file: str(folder / file) for file in VOCABULARIES if (folder / file).is_file()}
    if "vocab.txt" in there:
        return _bert(there["vocab.txt"], config)
    if {"vocab.json", "merges.txt"} <= there.keys():
        return _gpt2(there["vocab.json"], there["merges.txt"], config, roberta="Roberta" in name or "Bart" in name)
    if "tekken.json" in there:
        from gputok.formats.tekken import from_tekken

        return from_tekken(there["tekken.json"])
    for file in _OF_MODEL:
        if file in there:
            data = pathlib.Path(there[file]).read_bytes()
            tiktoken = tokenizer_kinds.kind_of(data) == "tiktoken"
            return _tiktoken(data, there[file], config) if tiktoken else _sentencepiece(there[file], name, config)
    listed = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise OSError(
        f"{folder} holds no tokenizer.json, and no vocab.txt, vocab.json with merges.txt, SentencePiece model, "
        f"tiktoken file or tekken.json either (it holds {listed}); {_SAVING}"
    )


def _bert(vocab: str, config: dict[str, Any]) -> Tokenizer:
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    unknown, cls, sep = (str(as_token(config.get(name) or token, name)) for name, token in names.items())
    tokenizer = Tokenizer(models.WordPiece.from_file(vocab, unk_token=unknown))
    chinese, lower = config.get("tokenize_chinese_chars", True), config.get("do_lower_case", True)
    tokenizer.normalizer = normalizers.BertNormalizer(True, chinese, config.get("strip_accents"), lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = [(token, token_id) for token in (cls, sep) if (token_id := tokenizer.token_to_id(token)) is not None]
    if len(ids) == 2:
        tokenizer.post_processor = processors.around(ids[:1], ids[1:], [])
    return tokenizer


def _gpt2(vocab: str, merges: str, config: dict[str, Any], *, roberta: bool) -> Tokenizer:
    prefix_space = config.get("add_prefix_space", False)
    tokenizer = Tokenizer(models.BPE.from_file(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    if roberta:
        around: dict[str, Any] = {token: tokenizer.token_to_id(token) for token in ("</s>", "<s>")}
        if missing := [token for token, token_id in around.items() if token_id is None]:
            lacking = checks.short(missing[0])
            raise ValueError(f"the vocabulary lacks {lacking}, which a RoBERTa tokenizer adds to each text")
        sep, cls = around.items()
        tokenizer.post_processor = processors.RobertaProcessing(sep, cls, add_prefix_space=prefix_space)
    return tokenizer


def _tiktoken(data: bytes, path: str, config: dict[str, Any]) -> Tokenizer:
    """Opens a tiktoken file as `transformers` does: with the pattern of Llama 3, and names for ids without a token."""
    from gputok.formats.tiktoken import by_ranks, read_ranks

    ranks = read_ranks(data, path)
    decoder = config.get("added_tokens_decoder") or {}
    named = {int(token_id): str(as_token(token, "added_tokens_decoder")) for token_id, token in decoder.items()}
    n_tokens = 1 + max(ranks.values())
    if (last := max(named, default=-1)) >= n_tokens + _MOST_RESERVED:
        many = f"more than {_MOST_RESERVED} ids between them would need reserved tokens"
        has = f"added_tokens_decoder of {CONFIG} has the id {last}, but the file has {n_tokens} tokens"
        raise ValueError(f"{path}: {has}: {many}")
    special = [named.get(i, f"<|reserved_token_{i}|>") for i in range(n_tokens, 1 + last)]
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or ()
    texts = () if isinstance(extra, dict) else (str(as_token(token, "extra_special_tokens")) for token in extra)
    special += [token for token in dict.fromkeys(texts) if token not in special]
    return by_ranks(ranks, "llama3", {token: n_tokens + i for i, token in enumerate(special)}, path)


def _sentencepiece(path: str, name: str, config: dict[str, Any]) -> Tokenizer:
    """Opens a SentencePiece model with the steps of its class.

    The classes of Llama and Gemma have steps of their own in `transformers`, whatever the model says: they keep several
    spaces in a row, and put no ▁ before a text that begins with a space.
    """
    from gputok.formats.sentencepiece import from_sentencepiece

    if name not in _OF_SENTENCEPIECE:
        other = "has other ids or more tokens than this file says"
        raise ValueError(f"{path}: a {checks.shortened(name, 60)} {other}; {_SAVING} that does")
    tokenizer = from_sentencepiece(path)
    if name not in ("LlamaTokenizer", "GemmaTokenizer"):
        return tokenizer
    if not isinstance(tokenizer.model, models.BPE):
        instead = "gputok.from_sentencepiece opens it as SentencePiece does"
        raise ValueError(f"{path}: a {name} is BPE, and this file has a Unigram model; {instead}")
    pieces = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if name == "GemmaTokenizer":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        prefix = config.get("add_prefix_space") is not False
        scheme = ("always" if config.get("legacy") else "first") if prefix else "never"
        tokenizer.normalizer = None
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
        pieces += [decoders.Strip(" ", 1, 0)] * prefix
    tokenizer.decoder = decoders.Sequence(pieces)
    return tokenizer


def _ends(tokenizer: Tokenizer, settings: dict[str, Any]) -> dict[str, Any]:
    """Makes the options that add tokens around a text, from the settings of a folder without tokenizer.json."""
    if type(tokenizer.post_processor).__name__ in ("TemplateProcessing", "RobertaProcessing"):
        return {}  # `_open` has set what the class adds
    given: dict[str, Any] = {}
    for end, token in (("bos_token", "<s>"), ("eos_token", "</s>")):  # the names of SentencePiece
        if settings.get(f"add_{end}") is not None:
            given |= {f"add_{end}": settings[f"add_{end}"], end: settings.get(end) or token}
    return given


def _without_ends(name: str, options: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Removes `add_bos_token` and `add_eos_token`, for a class that always adds `cls_token` and `sep_token` instead.

    Raises ValueError if one of them asks for anything else.
    """
    for end in ("bos_token", "eos_token"):
        wanted = options.get(f"add_{end}")
        if wanted or (wanted is not None and {**settings, **options}.get(end)):
            says = f"a {checks.shortened(name, 60)} says itself which tokens it adds"
            raise ValueError(f"add_{end}={wanted}: {says}; set tokenizer.add_{end} when it is open")
    return {key: value for key, value in options.items() if key not in ("add_bos_token", "add_eos_token")}


def _added_tokens(folder: pathlib.Path, settings: dict[str, Any]) -> list[AddedToken]:
    """Lists the added tokens of files other than tokenizer.json, by rising id."""
    if decoder := settings.get("added_tokens_decoder"):
        return [as_token(decoder[key], "added_tokens_decoder") for key in sorted(decoder, key=int)]
    names = {str(value) for key, value in settings.items() if key.endswith("_token") and isinstance(value, str)}
    ids = read_object(folder / "added_tokens.json", may_lack=True)
    with checks.in_file(folder / "added_tokens.json"):
        for text, token_id in ids.items():
            checks.checked("a token", checks.string, text)
            checks.reading(f"[{checks.short(text)}]", checks.integer(0, checks.ID), token_id)
    by_id = sorted(ids, key=ids.__getitem__)
    return [AddedToken(text, normalized=text not in names, special=text in names) for text in by_id]


def _templates(folder: pathlib.Path) -> dict[str, Any]:
    found = {path.stem: path for path in sorted(folder.glob(f"{MORE_TEMPLATES}/*.jinja"))}
    if (folder / TEMPLATE).is_file():
        found = {"default": folder / TEMPLATE, **found}
    texts: dict[str, str] = {}
    for name, path in found.items():
        with checks.in_file(path):
            texts[name] = path.read_text(encoding="utf-8")
    only = texts["default"] if list(texts) == ["default"] else texts
    return {"chat_template": only} if texts else {}


@functools.cache
def _classes() -> dict[str, dict[str, Any]]:
    """Loads tables of `transformers`, by tests/make_tokenizer_classes.py: model type -> class, and class -> options."""
    return read_object(pathlib.Path(__file__).with_name("classes.json"))


def save(
    tokenizer: Tokenizer,
    config: dict[str, Any],
    templates: str | dict[str, str] | None,
    save_directory: str | os.PathLike[str],
    filename_prefix: str | None,
) -> tuple[str, ...]:
    """Writes a folder, as `PreTrainedTokenizer.save_pretrained`; templates: name -> chat template, or the only one."""
    folder, prefix = pathlib.Path(save_directory), f"{filename_prefix}-" if filename_prefix else ""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**config, "backend": "tokenizers", "tokenizer_class": SAVED_CLASS}
    plain = lambda token: {**as_token(token, "an option").to_dict(), "__type": "AddedToken"}  # noqa: E731
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, default=plain) + "\n"
    path = folder / f"{prefix}{CONFIG}"
    with replacing(path) as temporary:
        # A setting may hold half of a surrogate pair, which UTF-8 cannot write; JSON can, as \ud800
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    paths = [str(path), *write_templates(folder, templates or {}, filename_prefix)]
    tokenizer.save(str(folder / f"{prefix}{TOKENIZER}"))
    return (*paths, str(folder / f"{prefix}{TOKENIZER}"))
