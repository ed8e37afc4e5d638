"""A script that knows nothing of gputok: `test_tokenizers_in_place.py` runs it with `tokenizers` and then with gputok.

`python under_libraries.py SCENARIO FOLDER` prints what came out, as JSON. Nothing here may import gputok.
"""

import itertools
import json
import pathlib
import sys
import warnings

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = [
    "The quick brown fox jumps over the lazy dog, again and again.",
    "A tokenizer cuts a text into tokens; a model reads their ids.",
    "Où est la bibliothèque? 12345 + 67890 = 80235.",
    "def f(x):\n    return x * 2  # twice",
    "日本語のテキストと絵文字 🎉🎉",
    "",
] * 4
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def tokenizer_of(kind: str) -> Tokenizer:
    """A small trained tokenizer."""
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    elif kind == "wordpiece":  # tokenizers numbers the pieces that it learns in another order in each run
        letters = sorted({character for text in TEXT for character in text.lower() if not character.isspace()})
        tokens = [*BERT, *letters, *(f"##{letter}" for letter in letters), "the", "token", "##izer", "##en"]
        tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer
    elif kind == "wordlevel":
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL)
    else:
        pieces = sorted({c for text in TEXT for c in text.replace(" ", "▁") + "▁"} | {"▁the", "▁a", "tok", "en"})
        scored = [(token, 0.0) for token in SPECIAL] + [(p, -1.0 - len(p) % 3 - i / 1000) for i, p in enumerate(pieces)]
        tokenizer = Tokenizer(models.Unigram(scored, 0))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("--", "-")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        return tokenizer
    trainer.show_progress = False
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


CLASSES = {
    "bpe": "GPT2Tokenizer",
    "wordpiece": "BertTokenizer",
    "unigram": "T5Tokenizer",
    "wordlevel": "PreTrainedTokenizerFast",
}


def fast(kind: str, **options):
    """The same as a tokenizer of `transformers`."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = tokenizer_of(kind)
    if kind == "wordpiece":
        names = {
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "mask_token": "[MASK]",
        }
        ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        single = "[CLS]:0 $A:0 [SEP]:0"
        tokenizer.post_processor = processors.TemplateProcessing(single, f"{single} $B:1 [SEP]:1", ids)
    else:
        names = {
            "unk_token": "<unk>",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names, **options)


def auto(kind: str, folder: pathlib.Path):
    """AutoTokenizer: opened by the class of the model, called, saved, opened again, trained anew, and in a chat."""
    from transformers import AutoTokenizer

    fast(kind).save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": CLASSES[kind]}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    yield type(tokenizer).__name__
    yield tokenizer(TEXT, padding=True, truncation=True, max_length=12, return_offsets_mapping=True).data
    yield tokenizer(TEXT, truncation=True, max_length=12, stride=2, return_overflowing_tokens=True).data
    yield tokenizer(TEXT, TEXT[::-1], return_special_tokens_mask=True).data
    yield tokenizer(TEXT[0].split(), is_split_into_words=True).word_ids()
    yield tokenizer.tokenize(TEXT[1]), tokenizer.decode(tokenizer.encode(TEXT[0])), tokenizer.get_vocab()
    yield (tokenizer.add_tokens(["brown fox"]), tokenizer.add_special_tokens({"additional_special_tokens": ["<new>"]}))
    yield tokenizer("a brown fox <new> x").tokens()
    chat = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Yes?"}]
    yield (
        tokenizer.apply_chat_template(chat, tokenize=False),
        tokenizer.apply_chat_template(chat, add_generation_prompt=True).data,
    )
    tokenizer.save_pretrained(folder / "again")
    again = AutoTokenizer.from_pretrained(folder / "again")
    yield {path.name: path.read_text() for path in sorted((folder / "again").iterdir())}
    yield again(TEXT).data
    if kind in ("bpe", "wordlevel"):  # of the others, two trainings of tokenizers differ
        new = again.train_new_from_iterator([TEXT], 300)
        yield new(TEXT).data, new.backend_tokenizer.to_str()


def datasets(folder: pathlib.Path):
    """`Dataset.map` in batches, in this process and in two."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    tokenizer = fast("bpe")
    data = Dataset.from_dict({"text": TEXT})
    for n in (None, 2):
        yield data.map(
            lambda rows: tokenizer(rows["text"], truncation=True, max_length=9), batched=True, batch_size=5, num_proc=n
        )[:]


def _bert(tokenizer, kind: str):
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def trainer(folder: pathlib.Path):
    """A Trainer that is given the tokenizer and no collator, and pads by it."""
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    tokenizer = fast("wordpiece")
    rows = [{**tokenizer(text), "labels": i % 2} for i, text in enumerate(TEXT)]
    model = _bert(tokenizer, "BertForSequenceClassification")
    options = TrainingArguments(
        folder, max_steps=3, per_device_train_batch_size=4, report_to=[], use_cpu=True, seed=0, logging_steps=1,
        disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    running = Trainer(model, options, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    running.train()
    yield (
        type(running.data_collator).__name__,
        [entry["loss"] for entry in running.state.log_history if "loss" in entry],
    )


def sentence_transformers(folder: pathlib.Path):
    """Embeddings of a small model that is saved and opened as `sentence-transformers` does it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts

    tokenizer = fast("wordpiece")
    tokenizer.save_pretrained(folder / "bert")
    _bert(tokenizer, "BertModel").save_pretrained(folder / "bert")
    words = parts.Transformer(str(folder / "bert"))
    model = SentenceTransformer(modules=[words, parts.Pooling(words.get_word_embedding_dimension())], device="cpu")
    model.save(str(folder / "sentences"))
    yield SentenceTransformer(str(folder / "sentences"), device="cpu").encode(TEXT).tolist()
    yield model.tokenize(TEXT)["input_ids"].tolist()


def trl(folder: pathlib.Path):
    """TRL's formatting of conversations, and the rows that its SFTTrainer trains on."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer
    from trl.data_utils import maybe_apply_chat_template

    tokenizer = fast("bpe", chat_template=TEMPLATE)
    turns = [[{"role": "user", "content": text or "?"}, {"role": "assistant", "content": "Yes."}] for text in TEXT]
    yield [maybe_apply_chat_template({"messages": messages}, tokenizer) for messages in turns]
    yield [
        maybe_apply_chat_template({"prompt": messages[:1], "completion": messages[1:]}, tokenizer) for messages in turns
    ]
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=128)
    )
    options = SFTConfig(
        str(folder), max_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, seed=0, logging_steps=1,
        disable_tqdm=True, save_strategy="no", bf16=False, max_length=32, gradient_checkpointing=False,
    )  # fmt: skip
    running = SFTTrainer(
        model, options, train_dataset=Dataset.from_dict({"messages": turns}), processing_class=tokenizer
    )
    running.train()
    yield running.train_dataset[:], [entry["loss"] for entry in running.state.log_history if "loss" in entry]


SCENARIOS = {
    "auto": lambda folder: itertools.chain.from_iterable(auto(kind, folder / kind) for kind in CLASSES),
    **{scenario.__name__: scenario for scenario in (datasets, trainer, sentence_transformers, trl)},
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = [*SCENARIOS[sys.argv[1]](pathlib.Path(sys.argv[2]))]
    print("\nRESULT", json.dumps([tokenizers.Tokenizer.__module__, found]))
