"""Every format that gputok reads besides tokenizer.json: a whole file, damages that keep its structure, a try of it."""

from __future__ import annotations

import base64
import functools
import json
import pathlib
import re
import shutil
import struct
import tempfile
from typing import TYPE_CHECKING, Any

import hostile
import hostile_outputs
import numpy as np
from hostile import Format, json_damaged

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

TEXTS = ["", "some words", " hug  <s> pugs\n漢字 é", "a" * 300]
LETTERS = [*"abcdeghlmoprsuw ▁é漢"]


def use(tokenizer: Any) -> None:
    tried(lambda text: tokenizer.encode(text).ids, tokenizer.decode)


def tried(encode: Callable[[str], list[int]], decode: Callable[[list[int]], str]) -> None:
    for text in TEXTS:
        try:
            ids = encode(text)
        except ValueError as error:  # as in tokenizers, only such a text is refused
            if not re.search("unknown token .* is needed|unk_id is not set", str(error)):
                raise
        else:
            decode(ids)


# -- GGUF: metadata as a list of (key, type, value)

GGUF_TYPES = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "f": 6, "?": 7, "Q": 10, "q": 11, "d": 12}
STRING, ARRAY = 8, 9


def gguf_value(kind: Any, value: Any) -> bytes:
    if kind == STRING:
        raw = value.encode(errors="surrogatepass") if isinstance(value, str) else bytes(value)
        return struct.pack("<Q", len(raw)) + raw
    if isinstance(kind, tuple):  # an array
        inner = kind[1]
        number = STRING if inner == STRING else ARRAY if isinstance(inner, tuple) else GGUF_TYPES[inner]
        return struct.pack("<IQ", number, len(value)) + b"".join(gguf_value(inner, item) for item in value)
    return struct.pack(f"<{kind}", value)


def gguf(metadata: list[tuple[str, Any, Any]]) -> bytes:
    found = [b"GGUF", struct.pack("<IQQ", 3, 0, len(metadata))]
    for key, kind, value in metadata:
        number = STRING if kind == STRING else ARRAY if isinstance(kind, tuple) else GGUF_TYPES[kind]
        found += [gguf_value(STRING, key), struct.pack("<I", number), gguf_value(kind, value)]
    return b"".join(found)


def gguf_metadata(model: str) -> list[tuple[str, Any, Any]]:
    alphabet = LETTERS if model != "gpt2" else [*map(chr, range(33, 127)), "Ġ"]
    tokens = ["<unk>", "<s>", "</s>", *dict.fromkeys([*alphabet, "hu", "pu", "hug"])]
    if model == "bert":
        tokens = ["[UNK]", "[CLS]", "[SEP]", *[f"▁{letter}" for letter in LETTERS], *LETTERS]
    key = "tokenizer.ggml."
    found: list[tuple[str, Any, Any]] = [
        (f"{key}model", STRING, model),
        (f"{key}tokens", (ARRAY, STRING), [*dict.fromkeys(tokens)]),
        (f"{key}token_type", (ARRAY, "i"), [2, 3, 3, *[1] * (len(dict.fromkeys(tokens)) - 3)]),
        (f"{key}unknown_token_id", "I", 0),
        (f"{key}bos_token_id", "I", 1),
        (f"{key}eos_token_id", "I", 2),
        (f"{key}add_bos_token", "?", True),
        ("tokenizer.chat_template", STRING, "{{ messages }}"),
    ]
    if model == "gpt2":
        found += [(f"{key}pre", STRING, "gpt-2"), (f"{key}merges", (ARRAY, STRING), ["h u", "p u", "hu g"])]
    elif model == "bert":
        found += [(f"{key}cls_token_id", "I", 1), (f"{key}seperator_token_id", "I", 2)]
        found += [(f"{key}normalizer.lowercase", "?", True)]
    else:
        found += [(f"{key}scores", (ARRAY, "f"), [-float(i) for i in range(len(dict.fromkeys(tokens)))])]
        found += [(f"{key}add_space_prefix", "?", True), (f"{key}remove_extra_whitespaces", "?", False)]
    return found


GGUF_ODD: list[tuple[Any, Any]] = [
    *((STRING, text) for text in ("", "a", "hug", b"\xff", "gpt2", "t5", "x" * 100_000)),
    *(("I", n) for n in (0, 1, 5, 2**32 - 1)),
    *(("i", -1), ("q", -(2**63)), ("Q", 2**64 - 1), ("f", float("nan")), ("d", 1e308), ("?", True), ("b", -1)),
    *(((ARRAY, "i"), [1, 2]), ((ARRAY, "f"), [float("nan")] * 3), ((ARRAY, STRING), []), ((ARRAY, STRING), ["a", "a"])),
    *(((ARRAY, (ARRAY, "B")), [[1], [2]]), ((ARRAY, "?"), [True, False]), ((ARRAY, "B"), [])),
]


def gguf_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    if mutator.random() < 0.3:
        return mutator.of_bytes(data)
    metadata = gguf_metadata(mutator.choice(["gpt2", "llama", "t5", "bert"]))
    for _ in range(mutator.choice([1, 1, 2])):
        i = mutator.randrange(len(metadata))
        key, kind, value = metadata[i]
        how = mutator.randrange(5)
        if how == 0:
            del metadata[i]
        elif how == 1:
            metadata.insert(mutator.randrange(len(metadata)), metadata[i])
        elif how == 2 and isinstance(value, list) and value and not isinstance(value[0], list):
            metadata[i] = key, kind, damaged_list(mutator, value)
        elif how == 3 and kind in ("I", "i"):
            metadata[i] = key, kind, mutator.choice([0, 1, 30, 31, 100, 2**31 - 1])
        else:
            metadata[i] = (key, *mutator.choice(GGUF_ODD))
    return gguf(metadata)


def damaged_list(mutator: random.Random, items: list[Any]) -> list[Any]:
    items = items[:]
    i = mutator.randrange(len(items))
    how = mutator.randrange(5)
    if how == 0:
        del items[i]
    elif how == 1:
        items.insert(i, items[-1])
    elif how == 2:
        mutator.shuffle(items)
    elif how == 3:
        items = items[:i]
    elif isinstance(items[i], str):
        items[i] = mutator.choice(["", " ", "a", "hug", "\0", "▁", "x" * 100_000, "no pair at all", "<0xFF>"])
    elif isinstance(items[i], float):
        items[i] = mutator.choice([float("nan"), float("inf"), -float("inf"), 0.0, 3e38])
    else:
        items[i] = mutator.choice([-1, 0, 4, 6, 7, 2**31 - 1])
    return items


def try_gguf(path: pathlib.Path) -> None:
    import gputok

    use(gputok.from_gguf(path))
    gputok.AutoTokenizer.from_pretrained(path)("some words")


# -- SentencePiece


def sentencepiece(kind: int = 1) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    tokens = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((letter, 1) for letter in LETTERS if letter != " ")]
    for i, (token, of_type) in enumerate([*tokens, ("hu", 1), ("hug", 1), ("<sep>", 4)]):
        proto.pieces.add(piece=token, score=-float(i), type=of_type)
    proto.trainer_spec.model_type = kind
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.escape_whitespaces = True
    return proto.SerializeToString()


def sentencepiece_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    if mutator.random() < 0.4:
        return mutator.of_bytes(data)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(sentencepiece(mutator.choice([1, 2])))
    for _ in range(mutator.choice([1, 2, 3])):
        piece = mutator.choice(proto.pieces)
        how = mutator.randrange(8)
        if how == 0:
            piece.piece = mutator.choice(["", "a", "hug", "\0", "▁", "x" * 100_000, "<0xFF>"])
        elif how == 1:
            piece.score = mutator.choice([float("nan"), float("inf"), -float("inf"), 3e38])
        elif how == 2:
            piece.type = mutator.randrange(1, 7)
        elif how == 3:
            proto.trainer_spec.model_type = mutator.randrange(1, 5)
            proto.trainer_spec.byte_fallback = mutator.random() < 0.5
        elif how == 4:
            proto.normalizer_spec.precompiled_charsmap = mutator.randbytes(mutator.choice([0, 1, 3, 4, 8, 400]))
        elif how == 5:
            proto.normalizer_spec.remove_extra_whitespaces = mutator.random() < 0.5
            proto.normalizer_spec.escape_whitespaces = mutator.random() < 0.5
        elif how == 6:
            del proto.pieces[mutator.randrange(len(proto.pieces)) :]
            if not proto.pieces:
                break
        else:
            proto.pieces.add(piece="hug", score=1.0)
    return proto.SerializeToString()


def try_sentencepiece(path: pathlib.Path) -> None:
    import gputok

    use(gputok.from_sentencepiece(path))


# -- tiktoken, tekken


def ranks() -> list[tuple[bytes, int]]:
    return [(token, i) for i, token in enumerate([*(bytes([byte]) for byte in range(256)), b"hu", b"hug", b"pu"])]


def tiktoken() -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks())


def try_tiktoken(path: pathlib.Path) -> None:
    import gputok

    use(gputok.from_tiktoken(path, pattern="gpt2", special_tokens={"<s>": 300}))


def lines_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    if mutator.random() < 0.4:
        return mutator.of_bytes(data)
    lines = data.split(b"\n")
    odd = [
        b"",
        b" ",
        b"a",
        b"a b c",
        b"IQ== -1",
        b"IQ== 99999999999999999999",
        b"IQ== 1e3",
        b"IQ 5",
        b"\xff \xff",
        b"x" * 9999,
    ]
    for _ in range(mutator.choice([1, 1, 2])):
        i = mutator.randrange(len(lines))
        how = mutator.randrange(4)
        if how == 0:
            del lines[i]
        elif how == 1:
            lines.insert(mutator.randrange(len(lines)), lines[i])
        else:
            lines[i] = mutator.choice(odd)
        lines = lines or [b""]
    return b"\n".join(lines)


def tekken() -> bytes:
    special = ["<unk>", "<s>", "</s>", "[INST]"]
    value = {
        "config": {
            "pattern": r"[^\s]+|\s+",
            "num_vocab_tokens": len(ranks()),
            "default_vocab_size": len(ranks()) + len(special),
            "default_num_special_tokens": len(special),
            "version": "v11",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for token, rank in ranks()
        ],
        "special_tokens": [{"rank": i, "token_str": token, "is_control": True} for i, token in enumerate(special)],
    }
    return json.dumps(value).encode()


def try_tekken(path: pathlib.Path) -> None:
    import gputok

    use(gputok.from_tekken(path))


# -- folders of transformers


def tokenizer_json() -> str:
    from gputok import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", "<pad>", *LETTERS, "hu"]))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("h", "u")], unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "</s>", "<pad>")])
    return tokenizer.to_str()


BERT_TOKENS = {
    "unk_token": "[UNK]",
    "bos_token": None,
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "added_tokens_decoder": {},
}
CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False},
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "add_bos_token": False,
    "add_prefix_space": False,
    "additional_special_tokens": ["<s>"],
    "added_tokens_decoder": {"1": {"content": "<s>", "special": True}, "2": {"content": "</s>", "special": True}},
    "chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}",
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
    "model_max_length": 512,
    "padding_side": "right",
    "truncation_side": "left",
    "do_lower_case": False,
    "extra_special_tokens": {"image_token": "<s>"},
    "split_special_tokens": False,
    "sound_token": {"content": "<s>", "__type": "AddedToken"},
    "sep_token": None,
    "cls_token": None,
    "mask_token": None,
    "model_type": "llama",
    "max_len": 512,
    "model_specific_special_tokens": {"end_token": "</s>"},
    "add_eos_token": False,
    "legacy": None,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "trim_offsets": False,
}
AFTER_RANKS = {
    str(len(ranks()) + i): {"content": token, "special": True} for i, token in enumerate(["<s>", "</s>", "<pad>"])
}


def config_of(name: str, **more: Any) -> Callable[[], bytes]:
    return lambda: json.dumps({**CONFIG, "tokenizer_class": name, **more}).encode()


def folder_of_fast(folder: pathlib.Path) -> None:
    (folder / "tokenizer.json").write_text(tokenizer_json())


def folder_of_bert(folder: pathlib.Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(["[UNK]", "[CLS]", "[SEP]", "<s>", "</s>", "<pad>", *"abchgu"]) + "\n")


def folder_of_gpt2(folder: pathlib.Path) -> None:
    from gputok import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "</s>", "<pad>", "<unk>", *alphabet, "hu"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nh u\n")


def folder_of_llama(folder: pathlib.Path) -> None:
    (folder / "tokenizer.model").write_bytes(sentencepiece(2))


def folder_of_tiktoken(folder: pathlib.Path) -> None:
    (folder / "tokenizer.model").write_bytes(tiktoken())


def try_folder(path: pathlib.Path) -> None:
    import gputok

    tokenizer = gputok.AutoTokenizer.from_pretrained(path.parent)
    tried(lambda text: tokenizer(text, truncation=True, max_length=20)["input_ids"], tokenizer.decode)
    tokenizer.save_pretrained(path.parent / "again")
    if tokenizer.chat_template:
        tokenizer.apply_chat_template([{"role": "user", "content": "some words"}], tokenize=False)


def with_config(make: Callable[[pathlib.Path], None], config: dict[str, Any]) -> Callable[[pathlib.Path], None]:
    def beside(folder: pathlib.Path) -> None:
        make(folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))

    return beside


def template() -> bytes:
    return (
        b"{% for m in messages %}{% if m.role == 'user' %}{{ m.content | trim }}{% endif %}{{ bos_token }}{% endfor %}"
    )


def template_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    odd = ["{{", "}}", "{%", "%}", "{% endfor %}", "{{ 1 / 0 }}", "{{ messages[9].x.y }}", "{{ m['a'] + 1 }}", "|nope"]
    odd += [
        "{{ raise_exception('no') }}",
        "{{ ''.__class__ }}",
        "{% include 'a' %}",
        "{{ range(10**9) | list }}",
        "{{ 'a' * -1 }}",
    ]
    odd += [
        "{{ strftime_now('%Y') }}",
        "{{ strftime_now(5) }}",
        "{{ undefined_name() }}",
        "{{ {}.a }}",
        "{{ m | tojson(indent='x') }}",
    ]
    if mutator.random() < 0.4:
        return mutator.of_bytes(data)
    at = mutator.randrange(len(data))
    return data[:at] + mutator.choice(odd).encode() + data[at:]


# -- word counts, ids, resume folders


def counts() -> Any:
    from gputok import WordCounts

    return WordCounts.from_dict({f"word{i}": i + 1 for i in range(200)})


def word_counts() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        counts().save(f"{folder}/counts.parquet")
        return pathlib.Path(folder, "counts.parquet").read_bytes()


def word_counts_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    import io

    import pyarrow.parquet

    if mutator.random() < 0.5:
        return mutator.of_bytes(data)
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    description = json.loads(table.schema.metadata[b"gputok.word_counts"])
    raw = mutator.mutate(json.dumps(description))
    written = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"gputok.word_counts": raw}), written)
    return written.getvalue()


def try_word_counts(path: pathlib.Path) -> None:
    from gputok import WordCounts
    from gputok.recipes import recipe

    found = WordCounts.load(path)
    tokenizer, trainer = recipe("bpe", vocab_size=270)
    tokenizer.train_from_word_counts(found, trainer)
    found.save(path.with_name("again.parquet"))


def ids_of(name: str, file: str = "") -> Callable[[], bytes]:
    def whole() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            make_ids(pathlib.Path(folder), name)
            return pathlib.Path(folder, file or name).read_bytes()

    return whole


def make_ids(folder: pathlib.Path, name: str) -> None:
    from gputok import Tokenizer

    texts = ["some words", "", "hug pugs " * 5]
    Tokenizer.from_str(tokenizer_json()).encode_corpus(iter(texts), folder / name)


def npy_damaged(mutator: hostile.Mutator, data: bytes) -> bytes:
    if mutator.random() < 0.4 or not data.startswith(b"\x93NUMPY"):
        return mutator.of_bytes(data)
    import io

    array = np.load(io.BytesIO(data))
    how = mutator.randrange(7)
    if how == 0:
        array = array.astype(mutator.choice(["i1", "f8", "i4", "u8", ">i8", "U3", "?", "c16"]))
    elif how == 1:
        array = array.reshape(mutator.choice([(1, -1), (-1, 1), (-1, 1, 1)]))
    elif how == 2:
        array = array.astype(np.int64)
        array[mutator.randrange(len(array))] = mutator.choice([-1, 10**15, -(2**63), 2**63 - 1, 7])
    elif how == 3:
        array = array[: mutator.randrange(len(array))]
    elif how == 4:
        array = np.array(mutator.choice([5, [], [0], [None, {}]]), mutator.choice([object, None]))
    elif how == 5:
        array = array[::-1]
    else:
        array = np.concatenate([array, array])
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def try_ids(name: str) -> Callable[[pathlib.Path], None]:
    def attempt(path: pathlib.Path) -> None:
        from gputok import Tokenizer
        from gputok.token_files import token_files

        tokenizer = Tokenizer.from_str(tokenizer_json())
        for batch in token_files.open_tokens(path.with_name(name)).batches():
            assert batch.ids.dtype.kind in "iu" and batch.rows.dtype == np.int64
            rows = [row.tolist() for row in np.split(batch.ids, batch.rows[1:-1])]
            assert batch.rows[0] == 0 and batch.rows[-1] == len(batch.ids) and (np.diff(batch.rows) >= 0).all()
            if not len(batch.ids) or 0 <= batch.ids.min() <= batch.ids.max() < 2**32 - 1:
                tokenizer.decode_batch(rows)

    return attempt


def begin(folder: pathlib.Path) -> None:
    """Makes the work folder of a run that was complete but for its end."""
    from gputok.recipes import recipe

    corpus = folder.parent / "corpus.txt"
    if not corpus.exists():  # a newer one would be another corpus
        corpus.write_text("some words and some more words\n" * 20)
    recipe("bpe")[0].count_words(str(corpus), resume=folder)


def resumed(name: str, mutate: Callable[[hostile.Mutator, bytes], bytes]) -> Format:
    """A file of a work folder, which says where the folder is: it is damaged there, from a seed."""

    def go_on(path: pathlib.Path) -> None:
        from gputok.recipes import recipe

        seed, file = path.read_text(), path.with_name(name)
        path.unlink()
        if seed:
            file.write_bytes(mutate(hostile.Mutator(seed), file.read_bytes()))
        tokenizer, corpus = recipe("bpe")[0], str(path.parent.parent / "corpus.txt")
        assert tokenizer.count_words(corpus, resume=path.parent) == tokenizer.count_words(corpus), "other counts"

    return Format("seed", lambda: b"", go_on, lambda mutator, _: str(mutator.random()).encode(), begin)


FORMATS: dict[str, Format] = {
    **{
        f"gguf {model}": Format("a.gguf", lambda m=model: gguf(gguf_metadata(m)), try_gguf, gguf_damaged)
        for model in ("gpt2", "llama", "t5", "bert")
    },
    "sentencepiece": Format("a.model", sentencepiece, try_sentencepiece, sentencepiece_damaged),
    "tiktoken": Format("a.tiktoken", tiktoken, try_tiktoken, lines_damaged),
    "tekken": Format("tekken.json", tekken, try_tekken, json_damaged),
    "tokenizer_config.json": Format(
        "tokenizer_config.json", config_of("PreTrainedTokenizerFast"), try_folder, json_damaged, folder_of_fast
    ),
    "tokenizer_config.json of BERT": Format(
        "tokenizer_config.json", config_of("BertTokenizer", **BERT_TOKENS), try_folder, json_damaged, folder_of_bert
    ),
    "tokenizer_config.json of GPT-2": Format(
        "tokenizer_config.json", config_of("GPT2Tokenizer"), try_folder, json_damaged, folder_of_gpt2
    ),
    "tokenizer_config.json of Llama": Format(
        "tokenizer_config.json", config_of("LlamaTokenizer"), try_folder, json_damaged, folder_of_llama
    ),
    "tokenizer_config.json of tiktoken": Format(
        "tokenizer_config.json",
        config_of("TokenizersBackend", added_tokens_decoder=AFTER_RANKS),
        try_folder,
        json_damaged,
        folder_of_tiktoken,
    ),
    "special_tokens_map.json": Format(
        "special_tokens_map.json",
        lambda: json.dumps(
            {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "additional_special_tokens": ["<s>"]}
        ).encode(),
        try_folder,
        json_damaged,
        with_config(folder_of_fast, {"tokenizer_class": "PreTrainedTokenizerFast"}),
    ),
    "added_tokens.json": Format(
        "added_tokens.json",
        lambda: json.dumps({"<more>": 30, "<s>": 1}).encode(),
        try_folder,
        json_damaged,
        with_config(folder_of_fast, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}),
    ),
    "config.json": Format("config.json", lambda: b'{"model_type": "bert"}', try_folder, json_damaged, folder_of_bert),
    "chat_template.jinja": Format(
        "chat_template.jinja",
        template,
        try_folder,
        template_damaged,
        with_config(folder_of_fast, {**CONFIG, "chat_template": None}),
    ),
    "vocab.json": Format(
        "vocab.json",
        lambda: json.dumps({letter: i for i, letter in enumerate([*LETTERS, "hu"])}).encode(),
        lambda path: use(
            __import__("gputok").Tokenizer(
                __import__("gputok").models.BPE.from_file(str(path), str(path.with_name("merges.txt")))
            )
        ),
        json_damaged,
        lambda folder: (folder / "merges.txt").write_text("#version: 0.2\nh u\n"),
    ),
    "merges.txt": Format(
        "merges.txt",
        lambda: b"#version: 0.2\nh u\nu g\n",
        lambda path: use(
            __import__("gputok").Tokenizer(
                __import__("gputok").models.BPE.from_file(str(path.with_name("vocab.json")), str(path))
            )
        ),
        lines_damaged,
        lambda folder: (folder / "vocab.json").write_text(
            json.dumps({t: i for i, t in enumerate([*LETTERS, "hu", "ug"])})
        ),
    ),
    "vocab.txt": Format(
        "vocab.txt",
        lambda: "\n".join(["[UNK]", "[CLS]", *LETTERS, "##hu"]).encode(),
        lambda path: use(
            __import__("gputok").Tokenizer(
                __import__("gputok").models.WordPiece.from_file(str(path), unk_token="[UNK]")
            )
        ),
        lines_damaged,
    ),
    "word counts": Format("counts.parquet", word_counts, try_word_counts, word_counts_damaged),
    **{
        f"ids{kind}": Format(
            f"ids{kind}",
            ids_of(f"ids{kind}"),
            try_ids(f"ids{kind}"),
            npy_damaged,
            lambda folder, k=kind: make_ids(folder, f"ids{k}"),
        )
        for kind in (".npy", ".bin", ".arrow", ".parquet")
    },
    **{
        f"rows beside {name}": Format(
            f"{name}.rows.npy",
            ids_of(name, f"{name}.rows.npy"),
            try_ids(name),
            npy_damaged,
            lambda folder, n=name: make_ids(folder, n),
        )
        for name in ("ids.npy", "ids.bin")
    },
    "run.json": resumed("run.json", json_damaged),
    **hostile_outputs.FORMATS,
    "resume part": resumed("part-000000.parquet", word_counts_damaged),
}


class Tried:
    """Makes the files of a format's folder, and tries damaged ones there."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder / "work"

    def attempt(self, named: bytes) -> str:
        kind, _, data = named.partition(b"\0")
        tried = FORMATS[kind.decode()]
        self.folder.mkdir(exist_ok=True)
        for old in self.folder.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
        tried.beside(self.folder)
        path = self.folder / tried.name
        path.unlink(missing_ok=True)  # a file system may wait for the disk if a file is written over
        path.write_bytes(data)
        try:
            tried.attempt(path)
        except (ValueError, FileNotFoundError) as error:
            message = str(error)
            clear = str(self.folder) in message and len(message) < 2000 and not is_raw(message)
            return f"{'refused' if clear else 'fails: unclear'}: {type(error).__name__}: {message[:500]}"
        return "works"


def is_raw(message: str) -> bool:
    from hostile_worker import RAW

    # Jinja speaks of the objects of a template in these words, too
    return RAW.search(message) is not None and "the chat template" not in message


def damaged(kind: str, seed: str) -> bytes:
    return FORMATS[kind].mutate(hostile.Mutator(seed), whole(kind))


@functools.cache
def whole(kind: str) -> bytes:
    return FORMATS[kind].whole()
