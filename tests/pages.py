"""Tokenizers of each kind that a page can have, and strings for them."""

import json
import random

from gputok import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from gputok.automaton import PATTERNS
from gputok.automaton.patterns import SPLITS
from gputok.recipes import recipe

rng = random.Random(7)
WORDS = ["".join(rng.choices("etaoin shréßИя漢字🙂", k=rng.randrange(1, 8))) for _ in range(400)]
TEXTS = [" ".join(rng.choices(WORDS, k=rng.randrange(30))) for _ in range(300)]


def trained(model, texts=TEXTS, vocab_size=600):
    tokenizer, trainer = recipe(model, vocab_size=vocab_size)
    tokenizer.train_from_iterator(iter(texts), trainer, progress=False)
    return tokenizer


def pipeline(model, normalizer=None, pre_tokenizer=None, added=()):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_tokens([*added])
    return tokenizer


def trained_in_parts(normalizer, pre_tokenizer, trainer=None, texts=TEXTS, added=(), **options):
    tokenizer = pipeline(models.BPE(**options), normalizer, pre_tokenizer)
    trainer = trainer or trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>"])
    tokenizer.train_from_iterator(iter(texts), trainer, progress=False)
    tokenizer.add_tokens([*added])
    return tokenizer


def carried():
    """What trains a tokenizer of each kind that the page can have, by name."""
    n, p = normalizers, pre_tokenizers
    alphabet = p.ByteLevel.alphabet()
    byte_trainer = {"vocab_size": 600, "initial_alphabet": alphabet, "special_tokens": ["<s>"]}
    added = [
        "漢字",
        AddedToken("shr", normalized=False),
        AddedToken(" a ", lstrip=True),
        AddedToken("s.*", rstrip=True),
    ]
    by_pattern = {
        name: lambda name=name: trained_in_parts(
            n.NFC() if name in ("qwen2", "tekken") else None,
            p.Sequence([p.Split(Regex(PATTERNS[name]), "isolated"), p.ByteLevel(False, use_regex=False)]),
            trainers.BpeTrainer(**byte_trainer),
            added=added if name == "o200k" else (),
            ignore_merges=name == "llama3",
        )
        for name in PATTERNS
    }

    def with_bytes(normalizer, pre_tokenizer=None):
        sentencepiece = trained_in_parts(
            normalizer,
            pre_tokenizer,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
        state = json.loads(sentencepiece.to_str())
        for byte in range(256):
            state["model"]["vocab"][f"<0x{byte:02X}>"] = len(state["model"]["vocab"])
        return Tokenizer.from_str(json.dumps(state))

    def t5():
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2

        one = trained("unigram", vocab_size=300)
        model = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
        precompiled = sentencepiece_model_pb2.ModelProto.FromString(model).normalizer_spec.precompiled_charsmap
        one.normalizer = n.Sequence([n.Precompiled(precompiled), n.Replace(Regex(" {2,}"), " ")])
        one.pre_tokenizer = p.Metaspace()
        return one

    def deepseek():
        splits = [p.Split(Regex(pattern), "isolated") for pattern in SPLITS[0]]
        return trained_in_parts(
            None, p.Sequence([*splits, p.ByteLevel(False, use_regex=False)]), trainers.BpeTrainer(**byte_trainer)
        )

    affixed = trainers.BpeTrainer(
        vocab_size=400, continuing_subword_prefix="##", end_of_word_suffix="</w>", special_tokens=["<unk>"]
    )
    return {
        **by_pattern,
        "gpt2 with a space": lambda: trained_in_parts(None, p.ByteLevel(True), trainers.BpeTrainer(**byte_trainer)),
        "llama2": lambda: with_bytes(n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")])),
        "gemma": lambda: with_bytes(n.Replace(" ", "▁"), p.Split(" ", "merged_with_previous")),
        "t5": t5,
        "deepseek in three": deepseek,
        "unknown": lambda: trained_in_parts(None, p.Metaspace(prepend_scheme="first"), unk_token="<unk>"),
        "fused": lambda: trained_in_parts(
            n.Lowercase(), p.Metaspace(split=False), unk_token="<unk>", fuse_unk=True, added=added
        ),
        "affixes": lambda: trained_in_parts(n.NFKC(), p.WhitespaceSplit(), affixed, unk_token="<unk>"),
        "stripped": lambda: trained_in_parts(
            n.Sequence([n.NFD(), n.StripAccents(), n.Strip(), n.Replace(Regex("[aeiou]+"), "e")]),
            p.Sequence([p.Digits(True), p.Punctuation(), p.Whitespace()]),
            unk_token="<unk>",
        ),
        "halves": lambda: trained_in_parts(n.Nmt(), p.CharDelimiterSplit("e")),
        "scripts": lambda: trained_in_parts(None, p.UnicodeScripts()),
        "merged": lambda: trained_in_parts(None, p.Split(" ", "merged_with_next")),
        **{
            model: lambda model=model: trained(model, vocab_size=300) for model in ("wordpiece", "wordlevel", "unigram")
        },
    }


def strings(n):
    """Texts of many scripts, spaces, line breaks, digits, emoji and marks, and pieces of the corpus."""
    letters = "abe 0123\n\t  '.,!?-_éßÅÅẹ́̇ﬁ①İΣ𝔘ﾊﾟ한글漢字かなжЯ🙂👩‍👩‍👧\u00ad\u200b\u3000\x85\x01\ufeff<|s>"
    made = random.Random(3)
    for i in range(n):
        if i % 3:
            yield "".join(made.choices(letters, k=made.randrange(40)))
        else:
            words = made.choices([*WORDS, " a ", "s.*", "shr", "漢字", "1234567", "don't", "I'LL"], k=8)
            yield made.choice(["", " ", "\n"]) + made.choice([" ", "", "  "]).join(words)
