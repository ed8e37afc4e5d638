"""Growing and shrinking again and again, with all that names ids: `tokenizers` gives the same ids from the file."""

import random

import pytest
import tokenizers
from resizing import byte_fallback, byte_level, check_like_tokenizers, some_lines

from gputok import AddedToken, Tokenizer, processors


def with_steps(tokenizer: Tokenizer, r: random.Random) -> Tokenizer:
    """Adds tokens of all kinds, of which some are in the model, a post-processor, padding and truncation."""
    in_model = r.sample([t for t in tokenizer.get_vocab() if len(t) > 1 and t.isascii() and t.isalpha()], 2)
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    for name in ["[CLS]", "[SEP]", "[PAD]", "<new>", "zz", *in_model]:
        options = {flag: r.random() < 0.4 for flag in flags}
        add = tokenizer.add_special_tokens if name.startswith("[") else tokenizer.add_tokens
        add([AddedToken(name, **options)])
    first, last = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    template = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", first), ("[SEP]", last)]
    )
    tokenizer.post_processor = r.choice(
        [
            template,
            processors.BertProcessing(("[SEP]", last), ("[CLS]", first)),
            processors.RobertaProcessing(("[SEP]", last), ("[CLS]", first), trim_offsets=False, add_prefix_space=False),
            processors.Sequence([processors.ByteLevel(trim_offsets=False), template]),
        ]
    )
    pad = r.choice(["[PAD]", in_model[0]])
    tokenizer.enable_padding(direction=r.choice(["left", "right"]), pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    tokenizer.enable_truncation(r.choice([12, 40]), stride=2, direction=r.choice(["left", "right"]))
    return tokenizer


def check_pairs(tokenizer: Tokenizer, texts: list[str]) -> None:
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    pairs = list(zip(texts, texts[::-1], strict=True))
    for ours, other in zip(tokenizer.encode_batch(pairs), theirs.encode_batch(pairs), strict=True):
        assert (ours.ids, ours.tokens, ours.type_ids) == (other.ids, other.tokens, other.type_ids)
        assert [part.ids for part in ours.overflowing] == [part.ids for part in other.overflowing]
        assert tokenizer.decode(ours.ids) == theirs.decode(ours.ids)


@pytest.mark.filterwarnings("ignore:only .* tokens were added")
@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 4))])
@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_operations_in_any_order(make, seed):
    r = random.Random(seed)
    lines = some_lines(seed, 60)
    tokenizer = with_steps(make(lines, vocab_size=r.choice([340, 420])), r)
    others = some_lines(seed + 100, 60, letters="qjxkvbyw", beyond="чжя語")
    marks = ["<new>", "zz", "[SEP]", " [PAD] ", "a<new> b", "xzzy"]
    texts = ["".join([*r.choices(marks, k=2), line.rstrip("\n"), r.choice(marks)]) for line in (lines + others)[::12]]
    for _ in range(3):
        before = Tokenizer.from_str(tokenizer.to_str())
        old = [before.encode(text).ids for text in texts]
        n = before.get_vocab_size()
        operation = r.choice(["extend", "prune", "truncate"])
        if operation == "extend":
            change = tokenizer.extend(iter(others), r.randint(1, 60))
        elif operation == "prune":
            change = tokenizer.prune(n - r.randint(0, 20), iter(lines))
        else:
            change = tokenizer.truncate(n - r.randint(0, 20))
        check_like_tokenizers(tokenizer, texts)
        check_pairs(tokenizer, texts)
        new_of = change.old_to_new.tolist()
        assert tokenizer.get_vocab_size() == change.size
        made = {*change.new_ids.tolist()} if operation == "extend" else set()
        for text, ids in zip(texts, old, strict=True):
            now = tokenizer.encode(text).ids
            if -1 not in (mapped := [new_of[id] for id in ids]) and not made & {*now}:
                # Truncation can show a text up to another token, if new tokens are beyond it
                assert now == mapped or (made and len(ids) in (12, 40)), (operation, text)
        for id, token in before.get_added_tokens_decoder().items():
            assert tokenizer.token_to_id(token.content) == new_of[id] >= 0
