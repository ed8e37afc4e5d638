"""A tokenizer that is changed while other threads use it: each call sees the state before or after a change.

Each round changes one tokenizer step by step, while three threads encode, decode and look up. Their results must be
those of the states that it goes through, in order, and the tokenizer must be at last what its own JSON says.
"""

import copy
import functools
import multiprocessing
import random
import sys
import threading
import time

import pytest

import gputok
from gputok import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "the lower lowest newer ones, she said: qed",
    "Lower <x>newest<x> wide  widest [MASK] low",
    " un able <y> unable ab1c é漢字",
]
CORPUS = ["the lower lowest newer newest wider widest she said so", "unable to say low words " * 3]
OTHER = ["numbers 1 2 3 of other texts and she said", "a newer corpus of lower case"] * 2


def train(tokenizer, corpus=CORPUS, size=300):
    name = type(tokenizer.model).__name__
    kind = {"BPE": "BpeTrainer", "WordPiece": "WordPieceTrainer", "WordLevel": "WordLevelTrainer"}
    special = {"WordPiece": ["[UNK]"], "Unigram": ["<unk>"]}.get(name, ["<unk>", "<s>"])
    options = {"vocab_size": size, "special_tokens": special, "show_progress": False}
    if name == "Unigram":
        options |= {"unk_token": "<unk>", "vocab_size": 40}
    trainer = getattr(trainers, kind.get(name, "UnigramTrainer"))(**options)
    tokenizer.train_from_iterator(corpus, trainer)


def byte_level():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("q", "k")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(gputok.Regex(r"\s?\w+|\S|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(), processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def one_walk():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def bert():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("b", 2), ("a", 1))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def metaspace():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("q", "k")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def words():
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    return tokenizer


MAKERS = [byte_level, one_walk, bert, metaspace, words]


@functools.cache
def trained(maker):
    tokenizer = maker()
    train(tokenizer)
    return tokenizer.to_str()


def changes(tokenizer, maker, rng):
    """The possible changes, each a function without arguments."""
    number = rng.randrange(2, 6)
    found = [
        lambda: tokenizer.add_tokens([AddedToken("<x>", normalized=False), "<y>"]),
        lambda: tokenizer.add_tokens([AddedToken(f"low{'er' * (number % 2)}", single_word=True, lstrip=True)]),
        lambda: tokenizer.add_special_tokens(["[MASK]", "<s>"]),
        lambda: setattr(tokenizer, "encode_special_tokens", not tokenizer.encode_special_tokens),
        lambda: tokenizer.enable_truncation(number + 3, stride=1),
        tokenizer.no_truncation,
        lambda: tokenizer.enable_padding(pad_id=number, length=4 * number),
        tokenizer.no_padding,
        lambda: setattr(tokenizer, "post_processor", None),
        lambda: setattr(tokenizer, "post_processor", processors.BertProcessing(("b", 7), ("a", number))),
        lambda: setattr(tokenizer, "normalizer", normalizers.Sequence([normalizers.Lowercase()])),
        lambda: setattr(tokenizer, "normalizer", None),
        lambda: setattr(tokenizer, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()),
        lambda: setattr(tokenizer, "pre_tokenizer", maker().pre_tokenizer),
        lambda: setattr(tokenizer, "decoder", decoders.Fuse()),
        lambda: setattr(tokenizer, "model", Tokenizer.from_str(trained(maker)).model),
    ]
    normalizer, pre_tokenizer, processor = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor)
    if maker is byte_level:
        # Added tokens have neither "q" nor "k": in tokenizers as well, what they are looked for as stays when a field
        # of the normalizer changes, until the normalizer is set.
        found += [
            lambda: setattr(pre_tokenizer[1], "add_prefix_space", True),
            lambda: pre_tokenizer.__setitem__(0, pre_tokenizers.Digits()),
            lambda: setattr(normalizer[1], "content", "e"),
            lambda: normalizer.__setitem__(0, normalizers.Replace("k", "c")),
            lambda: setattr(processor[1], "single", "<s> $A <s>"),
            lambda: setattr(processor[0], "trim_offsets", False),
            lambda: setattr(tokenizer.model, "ignore_merges", not tokenizer.model.ignore_merges),
        ]
    if maker is one_walk:
        found += [
            lambda: setattr(pre_tokenizer, "add_prefix_space", True),
            lambda: setattr(processor, "trim_offsets", False),
        ]
    if maker is bert:
        found += [lambda: setattr(tokenizer.model, "max_input_chars_per_word", number)]
    if maker is metaspace:
        found += [
            lambda: setattr(pre_tokenizer, "prepend_scheme", "never"),
            lambda: setattr(pre_tokenizer, "split", False),
            lambda: setattr(tokenizer.decoder, "prepend_scheme", "never"),
        ]
    return rng.sample(found, k=rng.randrange(2, 6))


def trainings(tokenizer, maker, rng):
    return [lambda: train(tokenizer, OTHER), lambda: train(tokenizer, CORPUS)] * rng.randrange(1, 3)


def seen(encoding):
    return encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids, len(encoding.overflowing)


CALLS = [
    lambda t: [seen(t.encode(text)) for text in TEXTS[:1]],
    lambda t: [seen(t.encode(text, TEXTS[0])) for text in TEXTS[1:2]],
    lambda t: [seen(encoding) for encoding in t.encode_batch(TEXTS)],
    lambda t: [encoding.ids for encoding in t.encode_batch_fast(TEXTS)],
    lambda t: [(batch.ids.tolist(), batch.rows.tolist()) for batch in t.encode_corpus(iter(TEXTS), threads=1)],
    lambda t: t.decode([*range(300)]),
    lambda t: t.decode([*range(30)], False),
    lambda t: t.token_to_id("<x>"),
    lambda t: t.token_to_id("low"),
    lambda t: t.get_vocab_size(),
    lambda t: sorted(t.get_vocab().items()),
    lambda t: t.to_str(),
]


def answers(tokenizer):
    """The results of the calls for a new tokenizer with the same JSON."""
    fresh = Tokenizer.from_str(tokenizer.to_str())
    fresh.encode_special_tokens = tokenizer.encode_special_tokens  # which JSON does not say
    return [[answer(call, fresh)] for call in CALLS]


def answer(call, tokenizer):
    try:
        return call(tokenizer)
    except ValueError as error:  # a stride that has no room any more
        return str(error)


def play(maker, choose, seed):
    """One round: this thread makes changes, and three other threads make calls."""
    rng = random.Random(f"{maker.__name__} {choose.__name__} {seed}")
    tokenizer, twin = (Tokenizer.from_str(trained(maker)) for _ in range(2))
    steps, same = choose(tokenizer, maker, random.Random(seed)), choose(twin, maker, random.Random(seed))
    expected = answers(twin)
    for step in same:
        step()
        for known, (new,) in zip(expected, answers(twin), strict=True):
            known.append(new)
    order = [rng.sample(range(len(CALLS)), len(CALLS)) for _ in range(3)]
    results = [[] for _ in range(3)]
    errors, stop, begun = [], threading.Event(), threading.Barrier(4)

    def ask(calls, own):
        begun.wait()
        try:
            while True:
                last = stop.is_set()
                own += [(i, answer(CALLS[i], tokenizer)) for i in calls]
                if last:
                    return
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=given) for given in zip(order, results, strict=True)]
    for thread in threads:
        thread.start()
    begun.wait()
    for step in steps:
        time.sleep(rng.choice([0, 1e-4, 1e-3, 5e-3]))  # so that tables are being made at some changes
        step()
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors
    for own in results:
        state = 0  # the first that can be meant: no thread sees an older one than it saw before
        for i, found in own:
            state = next((n for n in range(state, len(steps) + 1) if expected[i][n] == found), None)
            assert state is not None, (CALLS[i], found, expected[i])
        for i, found in own[-len(CALLS) :]:
            assert found == expected[i][-1]
    assert [[answer(call, tokenizer)] for call in CALLS] == answers(tokenizer)


@pytest.fixture
def impatient():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


ROUNDS = [pytest.param(4), pytest.param(50, marks=pytest.mark.full)]


@pytest.mark.slow
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("choose", [changes, trainings])
@pytest.mark.parametrize("rounds", ROUNDS)  # 500 of all
@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_each_call_sees_one_state(maker, choose, rounds, impatient):
    for seed in range(rounds):
        play(maker, choose, seed)


def test_components_of_two_tokenizers_change_in_both_at_once():
    first, second = (Tokenizer.from_str(trained(one_walk)) for _ in range(2))
    for both in (gputok, None):
        second.pre_tokenizer = first.pre_tokenizer
        second.model = first.model
        for tokenizer in (first, second):
            tokenizer.encode("low lower")
        first.pre_tokenizer.add_prefix_space = both is gputok
        assert seen(first.encode("low lower")) == seen(second.encode("low lower"))
        assert ("Ġlow" in second.encode("low lower").tokens) == (both is gputok)
    train(first, OTHER)
    assert second.model is first.model and second.encode("lower").ids == first.encode("lower").ids


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (normalizers.Lowercase, "normalizers"), (pre_tokenizers.Whitespace, "pretokenizers"),
        (processors.ByteLevel, "processors"), (decoders.Fuse, "decoders"),
    ],
)  # fmt: skip
def test_a_sequence_shows_the_elements_of_one_state(kind, name):
    class Changing(kind):
        def leaves(self):
            setattr(sequence, name, [kind()])  # as another thread does
            return [self]

    last = kind()
    sequence = sys.modules[kind.__module__].Sequence([Changing(), last])
    assert sequence.leaves()[1:] == [last]
    assert [type(part) for part in sequence] == [kind]
    elements = iter(sequence)
    setattr(sequence, name, [])
    assert [type(part) for part in elements] == [kind]


def test_a_pipeline_stays_as_it_was():
    tokenizer = Tokenizer.from_str(trained(byte_level))
    before, expected = tokenizer.pipeline, [answer(call, tokenizer) for call in CALLS]
    assert tokenizer.pipeline is before
    tokenizer.pre_tokenizer[1].add_prefix_space = True
    tokenizer.normalizer[0] = normalizers.Prepend("z")
    tokenizer.model.ignore_merges = True
    tokenizer.add_tokens(["low"])
    train(tokenizer, OTHER)
    assert tokenizer.pipeline is not before
    other = Tokenizer(before.model)
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        setattr(other, name, getattr(before, name))
    other.add_tokens([*before.added.tokens.values()])
    assert [answer(call, other) for call in CALLS] == expected


def test_two_threads_change_one_tokenizer(impatient):
    """No change of either thread is lost."""
    for _ in range(20):
        tokenizer = Tokenizer.from_str(trained(byte_level))
        size, begin = tokenizer.get_vocab_size(), threading.Barrier(3)
        fields = [(tokenizer.pre_tokenizer[1], name) for name in ("add_prefix_space", "trim_offsets", "use_regex")]

        def add(prefix, field, tokenizer=tokenizer, begin=begin):
            begin.wait()
            for i in range(30):
                tokenizer.add_tokens([f"<{prefix}{i}>"])
                setattr(*field, i % 2 == 0)
            setattr(*field, True)

        threads = [threading.Thread(target=add, args=given) for given in zip("abc", fields, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        added = [tokenizer.token_to_id(f"<{prefix}{i}>") for prefix in "abc" for i in range(30)]
        assert sorted(added) == [*range(size, size + 90)]
        assert all(getattr(*field) for field in fields)


def used_in_a_child(tokenizer, texts):
    before = [seen(encoding) for encoding in tokenizer.encode_batch(texts)]
    tokenizer.add_tokens(["<child>"])
    tokenizer.pre_tokenizer.add_prefix_space = True
    train(tokenizer, OTHER)
    return before, tokenizer.encode("<child>").tokens


@pytest.mark.parametrize("n", [pytest.param(5), pytest.param(100, marks=pytest.mark.full)])
@pytest.mark.filterwarnings("ignore:.*fork")
def test_forks_while_threads_use_it(n, impatient):
    """A child process has none of the threads, and must not wait for them."""
    tokenizer = Tokenizer.from_str(trained(one_walk))
    expected = used_in_a_child(copy.deepcopy(tokenizer), TEXTS)
    stop, context = threading.Event(), multiprocessing.get_context("fork")

    def work(change):
        other = Tokenizer.from_str(trained(one_walk))
        while not stop.is_set():
            seen(tokenizer.encode(TEXTS[0]))
            if change:
                other.pre_tokenizer.add_prefix_space = not other.pre_tokenizer.add_prefix_space
                other.add_tokens([str(time.time())])

    threads = [threading.Thread(target=work, args=(change,)) for change in (False, False, True)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(n):
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=lambda sender=sender: sender.send(used_in_a_child(tokenizer, TEXTS)))
            child.start()
            try:
                assert receiver.poll(60), "the child hangs"
                assert receiver.recv() == expected
            finally:
                child.kill()
                child.join()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_spawned_children_get_it():
    tokenizer = Tokenizer.from_str(trained(one_walk))
    expected = used_in_a_child(copy.deepcopy(tokenizer), TEXTS)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(used_in_a_child, (tokenizer, TEXTS)).get(120) == expected
