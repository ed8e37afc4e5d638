"""Folders of tokenizers, as `transformers` writes them and wrote them: found, opened and written."""

from __future__ import annotations

import copy
import functools
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

from gputok import file_kinds
from gputok.added_tokens import AddedToken
from gputok.files import replacing
from gputok.pretrained import hub
from gputok.pretrained.special_tokens import NAMES, as_token
from gputok.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gputok.pretrained.tokenizer import PreTrainedTokenizer

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
MORE_TEMPLATES = "additional_chat_templates"

OLD_FILES = ("special_tokens_map.json", "added_tokens.json")
VOCABULARIES = (
    *("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "tiktoken.model"),
    "tekken.json",
)

SAVED_CLASS = "PreTrainedTokenizerFast"
"""The class that takes tokenizer.json as it is, by the name that every version of `transformers` knows."""

_OF_SENTENCEPIECE = ("LlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
"""Classes whose tokenizer is what its SentencePiece model says, and the tokens that the settings add."""

_DROPPED = (  # what says nothing about the saved tokenizer.json
    *("tokenizer_class", "auto_map", "trust_remote_code", "backend", "files_loaded", "init_inputs"),
    *(
        "name_or_path",
        "is_local",
        "local_files_only",
        "added_tokens_decoder",
        "add_bos_token",
        "add_eos_token",
    ),
)


def load(
    cls: type[PreTrainedTokenizer],
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    subfolder: str = "",
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    use_fast: bool = True,
    **options: Any,
) -> PreTrainedTokenizer:
    """See `AutoTokenizer.from_pretrained`."""
    path = pathlib.Path(name_or_path)
    if path.is_file():
        with open(path, "rb") as file:
            is_gguf = file_kinds.kind_of(file.read(4)) == "gguf"
        if is_gguf:
            from gputok.formats.gguf import read_gguf

            tokenizer, found = read_gguf(path)
            return cls(tokenizer, name_or_path=str(path), **{**found, **options})
        return cls(Tokenizer.from_file(str(path)), name_or_path=str(path), **options)
    if not path.is_dir():
        files = (TOKENIZER, CONFIG, "config.json", TEMPLATE, f"{MORE_TEMPLATES}/*", *OLD_FILES, *VOCABULARIES)
        path = hub.download(
            str(name_or_path),
            [f"{subfolder}/{file}" if subfolder else file for file in files],
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
    folder = path / subfolder
    config = _read(folder / CONFIG)
    name = config.get("tokenizer_class") or _class_of_model(_read(folder / "config.json").get("model_type"))
    name = (name or SAVED_CLASS).removesuffix("Fast")
    tokenizer = _open(folder, name, config)
    if name == "LlamaTokenizer" and "ByteLevel" in repr(tokenizer.pre_tokenizer):
        name = SAVED_CLASS  # as in transformers: a wrong name that many byte-level tokenizers have

    old = _read(folder / "special_tokens_map.json") if "added_tokens_decoder" not in config else {}
    settings = {**_class_defaults().get(name, {}), **config, **old, **_templates(folder), **options}
    tokenizer.add_tokens(_added_tokens(folder, settings))
    settings = {key: value for key, value in settings.items() if key not in _DROPPED}
    return cls(tokenizer, name_or_path=str(name_or_path), **settings)


def _open(folder: pathlib.Path, name: str, config: dict[str, Any]) -> Tokenizer:
    """The tokenizer itself: from tokenizer.json, or from an older form of its vocabulary."""
    if (folder / TOKENIZER).is_file():
        return Tokenizer.from_file(str(folder / TOKENIZER))
    there = {file: str(folder / file) for file in VOCABULARIES if (folder / file).is_file()}
    if "vocab.txt" in there:
        return _bert(there["vocab.txt"], config)
    if {"vocab.json", "merges.txt"} <= there.keys():
        return _gpt2(
            there["vocab.json"], there["merges.txt"], config, roberta="Roberta" in name or "Bart" in name
        )
    if "tekken.json" in there:
        from gputok.formats.tekken import from_tekken

        return from_tekken(there["tekken.json"])
    for file in ("tokenizer.model", "spiece.model", "tiktoken.model"):
        if file in there:
            data = pathlib.Path(there[file]).read_bytes()
            tiktoken = file_kinds.kind_of(data) == "tiktoken"
            return (
                _tiktoken(data, there[file], config)
                if tiktoken
                else _sentencepiece(there[file], name, config)
            )
    listed = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise OSError(
        f"{folder} holds no tokenizer.json, and no vocab.txt, vocab.json with merges.txt, SentencePiece model, tiktoken "
        f"file or tekken.json either (it holds {listed}); where transformers opens it, its save_pretrained writes a tokenizer.json"
    )


def _bert(vocab: str, config: dict[str, Any]) -> Tokenizer:
    from gputok import decoders, models, normalizers, pre_tokenizers, processors

    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    unknown, cls, sep = (str(as_token(config.get(name) or token, name)) for name, token in names.items())
    tokenizer = Tokenizer(models.WordPiece.from_file(vocab, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = [(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    if all(token_id is not None for _, token_id in ids):
        single = f"{cls}:0 $A:0 {sep}:0"
        tokenizer.post_processor = processors.TemplateProcessing(single, f"{single} $B:1 {sep}:1", ids)
    return tokenizer


def _gpt2(vocab: str, merges: str, config: dict[str, Any], *, roberta: bool) -> Tokenizer:
    from gputok import decoders, models, pre_tokenizers, processors

    prefix_space = config.get("add_prefix_space", False)
    tokenizer = Tokenizer(models.BPE.from_file(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    if roberta:
        sep, cls = ((token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>"))
        tokenizer.post_processor = processors.RobertaProcessing(sep, cls, add_prefix_space=prefix_space)
    return tokenizer


def _tiktoken(data: bytes, path: str, config: dict[str, Any]) -> Tokenizer:
    """As `transformers` has it: Llama 3's pattern, and names for ids between the added tokens that none has."""
    from gputok.formats.tiktoken import by_ranks, read_ranks

    ranks = read_ranks(data, path)
    decoder = config.get("added_tokens_decoder") or {}
    named = {
        int(token_id): str(as_token(token, "added_tokens_decoder")) for token_id, token in decoder.items()
    }
    n_tokens = 1 + max(ranks.values())
    special = [named.get(i, f"<|reserved_token_{i}|>") for i in range(n_tokens, 1 + max(named, default=-1))]
    special += [token for token in map(str, config.get("extra_special_tokens") or ()) if token not in special]
    return by_ranks(ranks, "llama3", {token: n_tokens + i for i, token in enumerate(special)}, path)


def _sentencepiece(path: str, name: str, config: dict[str, Any]) -> Tokenizer:
    from gputok import processors
    from gputok.sentencepiece import from_sentencepiece

    if name not in _OF_SENTENCEPIECE:
        raise ValueError(
            f"{path}: a {name} has other ids or more tokens than this file says; where transformers opens it, its "
            "save_pretrained writes a tokenizer.json that does"
        )
    tokenizer = from_sentencepiece(path)
    names = {"bos": "<s>", "eos": "</s>"}  # SentencePiece's own
    added = {
        side: config.get(f"{side}_token") or names[side] for side in names if config.get(f"add_{side}_token")
    }
    tokens = {side: str(as_token(token, f"{side}_token")) for side, token in added.items()}
    if tokens:
        one = [tokens.get("bos"), "$A", tokens.get("eos")]
        single = " ".join(filter(None, one))
        pair = " ".join(f"{part}:1" for part in filter(None, [one[0], "$B", one[2]]))
        ids = [(token, tokenizer.token_to_id(token)) for token in tokens.values()]
        tokenizer.post_processor = processors.TemplateProcessing(single, f"{single} {pair}", ids)
    return tokenizer


def _added_tokens(folder: pathlib.Path, settings: dict[str, Any]) -> list[AddedToken]:
    """The added tokens that files beside tokenizer.json name, by rising id."""
    if decoder := settings.get("added_tokens_decoder"):
        return [as_token(decoder[key], "added_tokens_decoder") for key in sorted(decoder, key=int)]
    names = {
        str(value) for key, value in settings.items() if key.endswith("_token") and isinstance(value, str)
    }
    ids = _read(folder / "added_tokens.json")
    return [
        AddedToken(text, normalized=text not in names, special=text in names)
        for text in sorted(ids, key=ids.__getitem__)
    ]


def _templates(folder: pathlib.Path) -> dict[str, Any]:
    """The chat templates of a folder that are files."""
    found = {path.stem: path for path in sorted(folder.glob(f"{MORE_TEMPLATES}/*.jinja"))}
    if (folder / TEMPLATE).is_file():
        found = {"default": folder / TEMPLATE, **found}
    texts = {name: path.read_text(encoding="utf-8") for name, path in found.items()}
    if not texts:
        return {}
    return {"chat_template": texts["default"] if list(texts) == ["default"] else texts}


def _read(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected an object, not {type(value).__name__}")
    return value


@functools.cache
def _classes() -> dict[str, dict[str, Any]]:
    """What `transformers` knows: model type -> class, and class -> options (tests/make_tokenizer_classes.py)."""
    return _read(pathlib.Path(__file__).with_name("classes.json"))


def _class_of_model(model_type: str | None) -> str | None:
    return _classes()["model_types"].get(model_type)


def _class_defaults() -> dict[str, dict[str, Any]]:
    return copy.deepcopy(_classes()["classes"])


def options_of(tokenizer: PreTrainedTokenizer) -> dict[str, Any]:
    """The options that make a tokenizer again, here or in `transformers`; chat templates are files of their own."""
    from gputok.pretrained.tokenizer import DEFAULTS

    options = {name: getattr(tokenizer, name) for name in DEFAULTS}
    special = tokenizer.special_tokens_map
    config = {
        **tokenizer.init_kwargs,
        **{name: value for name, value in options.items() if value != DEFAULTS[name]},
        **special,
        "model_max_length": tokenizer.model_max_length,
    }
    if own := {name: token for name, token in special.items() if name not in NAMES}:
        config["model_specific_special_tokens"] = own
    if tokenizer.extra_special_tokens:
        config["extra_special_tokens"] = tokenizer.extra_special_tokens
    return config


def save(
    tokenizer: PreTrainedTokenizer, save_directory: str | os.PathLike[str], filename_prefix: str | None
) -> tuple[str, ...]:
    """See `PreTrainedTokenizer.save_pretrained`."""
    folder, prefix = pathlib.Path(save_directory), f"{filename_prefix}-" if filename_prefix else ""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**options_of(tokenizer), "backend": "tokenizers", "tokenizer_class": SAVED_CLASS}
    files = {
        CONFIG: json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, default=_plain_token) + "\n"
    }
    templates = tokenizer.chat_template or {}
    for name, template in ({"default": templates} if isinstance(templates, str) else templates).items():
        if pathlib.PurePath(name).name != name:
            raise ValueError(f"{name!r} can't be the name of a chat template: it is that of a file")
        files[TEMPLATE if name == "default" else f"{MORE_TEMPLATES}/{name}.jinja"] = template

    paths = []
    for file, text in files.items():
        path = folder / f"{prefix}{file}"
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8", newline="\n")
        paths.append(str(path))
    tokenizer.backend_tokenizer.save(str(folder / f"{prefix}{TOKENIZER}"))
    return (*paths, str(folder / f"{prefix}{TOKENIZER}"))


def _plain_token(value: Any) -> dict[str, Any]:
    return {**as_token(value, "an option").to_dict(), "__type": "AddedToken"}
