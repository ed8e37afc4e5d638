"""Random pipelines, of every component with random arguments, trained by gputok and compared with tokenizers."""

from __future__ import annotations

import json
import random
import warnings

import invariants
import numpy as np
import pytest
import tokenizers

import gputok
from gputok import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from gputok.pipeline.encode.stepwise import encode_documents
from gputok.text.pieces import Pieces, TextBatch

PARTS = [
    *"abcABC xyz  \t\n.,!?-_'#@0123456789éßſK½字漢あアกामि\u0301\u200d\u00a0\u3000",
    *"😀👨👩👧İıΣς▁Ġ<>[]{}\r\x00\u0085ﬁÅ한가",
    *("<s>", "</s>", "[MASK]", "ab", "the ", "'s", " the", "▁the"),
]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
UNKNOWN = "[UNK]"
FIELDS = (
    *("ids", "type_ids", "tokens", "offsets", "attention_mask", "special_tokens_mask"),
    *("word_ids", "sequence_ids"),
)


class Maker(random.Random):
    """Makes components; the same ones for the same seed."""

    def text(self) -> str:
        return "".join(self.choices(PARTS, k=self.choice([0, 1, 3, 10, 40])))

    def either(self, *values):
        return self.choice(values)

    def flags(self, n: int) -> list[bool]:
        return [self.random() < 0.5 for _ in range(n)]

    def normalizer(self, depth: int = 0):
        one, two = self.flags(2)
        made = [
            lambda: normalizers.BertNormalizer(one, two, self.either(None, True, False), self.flags(1)[0]),
            *(normalizers.ByteLevel, normalizers.Lowercase, normalizers.NFC, normalizers.NFD),
            *(normalizers.NFKC, normalizers.NFKD, normalizers.Nmt, normalizers.StripAccents),
            lambda: normalizers.Prepend(self.either("▁", "x", "ab ")),
            lambda: normalizers.Replace(
                # None that matches the empty string: what is put before the first character so is doubled or a panic
                # in tokenizers when the text is changed again. test_normalizers.py has such matches alone.
                self.either("a", "ab", " ", Regex(r"\s+"), Regex("[aeiou]+"), Regex("b+")),
                self.either("", "▁", "xx", "é"),
            ),
            lambda: normalizers.Strip(one, two),
        ]
        if depth < 2:
            n = self.randrange(4)
            made.append(lambda: normalizers.Sequence([self.normalizer(depth + 1) for _ in range(n)]))
        return self.choice(made)()

    def pre_tokenizer(self, depth: int = 0):
        one, two, three = self.flags(3)
        schemes = "always", "never", "first"
        patterns = " ", "a", Regex(r"\w+"), Regex(r"\s+(?!\S)|\s"), Regex(r"\p{L}|\d{1,3}")
        made = [
            *(pre_tokenizers.BertPreTokenizer, pre_tokenizers.UnicodeScripts),
            *(pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit, pre_tokenizers.ByteLevel),
            lambda: pre_tokenizers.ByteLevel(one, two, three),
            lambda: pre_tokenizers.CharDelimiterSplit(self.choice("a 字")),
            lambda: pre_tokenizers.Digits(one),
            lambda: pre_tokenizers.FixedLength(self.either(1, 2, 5)),
            lambda: pre_tokenizers.Metaspace(self.choice("▁_"), self.choice(schemes), one),
            lambda: pre_tokenizers.Punctuation(self.choice(BEHAVIORS)),
            lambda: pre_tokenizers.Split(self.choice(patterns), self.choice(BEHAVIORS), one),
        ]
        if depth < 2:
            n = self.randrange(1, 4)
            made.append(lambda: pre_tokenizers.Sequence([self.pre_tokenizer(depth + 1) for _ in range(n)]))
        return self.choice(made)()

    def model(self):
        """A model and its trainer."""
        special = [UNKNOWN, *self.sample(["<s>", "</s>", "[MASK]", "ab"], self.randrange(4))]
        kind = self.either("bpe", "bpe", "wordpiece", "wordlevel", "unigram")
        if kind == "wordpiece":
            model = models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=self.either(100, 5))
            return model, trainers.WordPieceTrainer(vocab_size=self.either(60, 200), special_tokens=special)
        if kind == "wordlevel":
            trainer = trainers.WordLevelTrainer(vocab_size=self.either(20, 200), special_tokens=special)
            return models.WordLevel(unk_token=UNKNOWN), trainer
        if kind == "unigram":
            size = self.either(150, 250)
            trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token=UNKNOWN)
            return models.Unigram(), trainer
        affixes = {}
        if self.random() < 0.3:
            affixes["continuing_subword_prefix"] = self.either("##", "a")
        if self.random() < 0.3:
            affixes["end_of_word_suffix"] = self.either("</w>", "b")
        fuse, whole, fallback = self.flags(3)
        unknown = self.either(None, UNKNOWN)
        options = {"fuse_unk": fuse, "ignore_merges": whole, "byte_fallback": fallback}
        model = models.BPE(unk_token=unknown, **options, **affixes)
        trainer = trainers.BpeTrainer(
            vocab_size=self.either(50, 120, 300),
            special_tokens=special,
            initial_alphabet=self.either([], ["a", "é"], pre_tokenizers.ByteLevel.alphabet()),
            limit_alphabet=self.either(None, 20),
            **affixes,
        )
        return model, trainer

    def post_processor(self, unknown_id: int):
        one, two, three = self.flags(3)
        token = UNKNOWN, unknown_id
        single = self.either("[UNK] $A", "$A:1 [UNK]:2", "$0")
        pair = self.either("[UNK] $A [UNK] $B:1", "$B:1 $A", "$A $B:1 [UNK]:1")
        template = processors.TemplateProcessing(single, pair, [token])
        made = [
            lambda: None,
            lambda: template,
            lambda: processors.BertProcessing(token, token),
            lambda: processors.ByteLevel(one, two, three),
            lambda: processors.RobertaProcessing(token, token, one, two),
            lambda: processors.Sequence([processors.ByteLevel(one, two), template]),
        ]
        return self.choice(made)()

    def decoder(self, depth: int = 0):
        one, _ = self.flags(2)
        made = [
            *(decoders.ByteFallback, decoders.ByteLevel, decoders.Fuse),
            lambda: decoders.BPEDecoder(self.either("</w>", "a")),
            lambda: decoders.CTC(UNKNOWN, " ", one),
            lambda: decoders.Metaspace(self.choice("▁_"), self.either("always", "never", "first"), one),
            lambda: decoders.Replace(self.either("a", Regex("[a-c]")), "q"),
            lambda: decoders.Strip(self.choice(" a"), self.randrange(3), self.randrange(3)),
            lambda: decoders.WordPiece("##", one),
        ]
        if depth == 0:
            made.append(lambda: decoders.Sequence([self.decoder(1) for _ in range(3)]))
        return self.choice(made)()

    def added_token(self):
        names = "single_word", "lstrip", "rstrip", "normalized"
        content = self.choice(["xyz", "a b", "字", "The", " é", "0"])
        return gputok.AddedToken(content, **dict(zip(names, self.flags(4), strict=True)))

    def overlapping_token(self):
        """A token that may share white space with another token."""
        names = "single_word", "lstrip", "rstrip", "normalized", "special"
        content = self.choice(["\n", "\n a", " ", "xyz", "<s>", "字", " \u3000", "a"])
        return gputok.AddedToken(content, **dict(zip(names, self.flags(5), strict=True)))

    def tokenizer(self) -> gputok.Tokenizer:
        corpus = [self.text() for _ in range(60)]
        model, trainer = self.model()
        tokenizer = gputok.Tokenizer(model)
        if self.random() < 0.6:
            tokenizer.normalizer = self.normalizer()
        if self.random() < 0.8:
            tokenizer.pre_tokenizer = self.pre_tokenizer()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small vocabularies are said to be small
            tokenizer.train_from_iterator(corpus, trainer)
        tokenizer.post_processor = self.post_processor(tokenizer.token_to_id(UNKNOWN))
        if self.random() < 0.9:
            tokenizer.decoder = self.decoder()
        if self.random() < 0.5:
            added = [self.added_token() for _ in range(2)]
            # A word that is also a special token leaves an id without a token, and tokenizers then gives a new token
            # an id that another has: its number of tokens.
            if max(tokenizer.get_vocab().values(), default=-1) < tokenizer.get_vocab_size():
                tokenizer.add_tokens(added)
        if self.random() < 0.3:
            strategy = self.either("longest_first", "only_first", "only_second")
            side = self.either("left", "right")
            tokenizer.enable_truncation(self.either(4, 8, 20), self.either(0, 0, 1, 2), strategy, side)
        if self.random() < 0.3:
            side, length = self.either("left", "right"), self.either(None, 12)
            tokenizer.enable_padding(side, length=length, pad_to_multiple_of=self.either(None, 8))
        return tokenizer


def view(encoding) -> dict:
    parts = [view(part) for part in encoding.overflowing]
    return {field: getattr(encoding, field) for field in FIELDS} | {"overflowing": parts}


def answer(ask, *arguments, **options):
    """The result of a call, or "fails"; if tokenizers panics, it raises a BaseException that is not an Exception."""
    try:
        return ask(*arguments, **options)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return "fails"


def check(seed: int) -> None:
    make = Maker(seed)
    ours = make.tokenizer()
    text = ours.to_str()
    theirs = tokenizers.Tokenizer.from_str(text)
    if not isinstance(ours.model, models.Unigram):  # whose scores tokenizers reads with an error of a bit
        assert theirs.to_str() == text, seed
    inputs = [make.text() for _ in range(12)]
    pairs = [(make.text(), make.text()) for _ in range(4)]
    special = make.flags(1)[0]
    where = f"seed {seed}: " + json.dumps({**json.loads(text), "model": type(ours.model).__name__})
    for one in [*inputs, *pairs]:
        given = one if isinstance(one, tuple) else (one,)
        found, expected = (
            answer(lambda *a, t=t: view(t.encode(*a, add_special_tokens=special)), *given) for t in (ours, theirs)
        )
        assert found == expected, (where, one)
        if found == "fails":
            continue
        for skip in (True, False):
            decoded = answer(theirs.decode, found["ids"], skip_special_tokens=skip)
            if decoded != "fails":  # where tokenizers panics, an answer is better
                assert ours.decode(found["ids"], skip_special_tokens=skip) == decoded, (where, one)
    for batch in (inputs, pairs, [*inputs, *pairs]):
        found, expected = (answer(lambda b, t=t: list(map(view, t.encode_batch(b))), batch) for t in (ours, theirs))
        assert found == expected, (where, "a batch")
    words = [text.split(" ") for text in inputs]
    of_words = [*zip(words[::2], words[1::2], strict=True)]
    for one in [(words[0],), *of_words]:
        found, expected = (
            answer(lambda *a, t=t: view(t.encode(*a, is_pretokenized=True, add_special_tokens=special)), *one)
            for t in (ours, theirs)
        )
        assert found == expected, (where, one)
    for batch, is_pretokenized in (([*inputs, *pairs], False), (words, True), (of_words, True)):
        options = {"is_pretokenized": is_pretokenized, "add_special_tokens": special}
        for method in ("encode_batch", "encode_batch_fast"):
            found, expected = (
                answer(lambda b, t=t: [*map(view, getattr(t, method)(b, **options))], batch)  # noqa: B023, called at once
                for t in (ours, theirs)
            )
            assert found == expected, (where, method, batch)
    if ours.truncation is None and ours.padding is None:
        expected = answer(lambda: [theirs.encode(one, add_special_tokens=special).ids for one in inputs])
        if expected != "fails":
            batches = ours.encode_corpus(iter(inputs), add_special_tokens=special)
            rows = [row.tolist() for batch in batches for row in np.split(batch.ids, batch.rows[1:-1])]
            assert rows == expected, (where, "a corpus")


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 100), marks=pytest.mark.slow)], ids=str)
def test_random_pipelines(seeds):
    for seed in seeds:
        check(seed)


@pytest.mark.full
@pytest.mark.parametrize("thousand", range(1, 6))
def test_thousands_of_random_pipelines(thousand):
    for seed in range(1000 * thousand, 1000 * thousand + 1000):
        check(seed)


def trained(package, make: Maker, normalizer, pre_tokenizer) -> dict:
    """What a package's own training makes of the same corpus, steps and options."""
    corpus = [make.text() * make.either(1, 1, 3) for _ in range(120)]
    special = make.sample(["<s>", UNKNOWN, "ab", "</s>"], make.randrange(4))
    options = {"vocab_size": make.either(40, 120, 300, 400), "min_frequency": make.either(0, 1, 2, 5)}
    options |= {"special_tokens": special, "show_progress": False}
    if make.random() < 0.7:
        alphabet = make.either([], ["a", "é", "zz"], sorted(pre_tokenizers.ByteLevel.alphabet()))
        longest = make.either({}, {}, {"max_token_length": 3}, {"max_token_length": 8})
        model = package.models.BPE()
        trainer = package.trainers.BpeTrainer(initial_alphabet=alphabet, **longest, **options)
    else:
        model = package.models.WordLevel(unk_token=UNKNOWN)
        trainer = package.trainers.WordLevelTrainer(**options)
    tokenizer = package.Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    batches = [corpus[i : i + 7] for i in range(0, len(corpus), 7)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer.train_from_iterator(make.either(corpus, iter(batches)), trainer)
    return json.loads(tokenizer.to_str())


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(2))
def test_training_after_random_steps(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        make = Maker(seed)
        steps = gputok.Tokenizer(models.WordLevel({UNKNOWN: 0}, UNKNOWN))
        if make.random() < 0.6:
            steps.normalizer = make.normalizer()
        if make.random() < 0.8:
            steps.pre_tokenizer = make.pre_tokenizer()
        same = tokenizers.Tokenizer.from_str(steps.to_str())
        state = make.getstate()
        results = []
        for package, one in ((gputok, steps), (tokenizers, same)):
            make.setstate(state)
            results.append(trained(package, make, one.normalizer, one.pre_tokenizer))
        assert results[0] == results[1], (seed, steps.to_str())


def test_steps_keep_the_invariants(checked_steps):
    """Random pipelines, with added tokens that take white space from each other, are checked after each step."""
    before = dict(checked_steps)
    for seed in range(300, 380):
        make = Maker(seed)
        steps = gputok.Tokenizer(models.WordLevel({UNKNOWN: 0}, UNKNOWN))
        if make.random() < 0.8:
            steps.normalizer = make.normalizer()
        if make.random() < 0.8:
            steps.pre_tokenizer = make.pre_tokenizer()
        steps.post_processor = make.post_processor(0)
        steps.add_tokens([make.overlapping_token() for _ in range(4)])
        texts = [make.text() for _ in range(12)]
        batch = TextBatch.from_strings(texts)
        sizes = np.diff(batch.offsets)
        invariants.check_batch(batch)
        for aligned in (False, True):
            pieces = steps.pipeline.words(Pieces.from_batch(batch, aligned=aligned))
            invariants.check_pieces(pieces, n_documents=len(texts))
            if aligned:
                invariants.check_alignment(pieces, sizes)
        rows = encode_documents(steps.pipeline, batch, offsets=True)
        invariants.check_columns(rows)
        for part in processors.process_rows(steps.post_processor, [rows], True):
            invariants.check_columns(part)
        for one, encoding in zip(texts, steps.encode_batch(texts), strict=True):
            invariants.check_encoding(encoding, one)
    assert all(n > before.get(name, 0) for name, n in checked_steps.items()) and len(checked_steps) == 5
