"""Entities from probabilities of tokens, compared with the pipeline of transformers and the loop of its course."""

import types

import numpy as np
import pytest

from gputok.token_classification import STRATEGIES, group_entities

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC", "I-a-b"]


def random_tokens(rng, n_labels=7):
    """A text of words, its tokens as offsets, which of them go on with a word, and probabilities."""
    text, offsets, is_subword = "", [], []
    for _ in range(rng.integers(1, 12)):
        text += " " * int(rng.integers(0, 3))
        for part in range(rng.integers(1, 4)):
            length = int(rng.integers(1, 5))
            offsets.append((len(text), len(text) + length))
            is_subword.append(part > 0)
            text += "".join(rng.choice(list("aé漢😀"), length))
    scores = rng.dirichlet(np.full(n_labels, 0.2), len(offsets)).astype(np.float32)
    special = rng.random(len(offsets)) < 0.1
    return text, np.array(offsets), np.array(is_subword), scores, special


def pipeline_entities(text, offsets, is_subword, scores, special, strategy):
    """What the pipeline of transformers makes of the same tokens."""
    pipelines = pytest.importorskip("transformers.pipelines.token_classification")
    pipeline = object.__new__(pipelines.TokenClassificationPipeline)
    pipeline.model = types.SimpleNamespace(config=types.SimpleNamespace(id2label=dict(enumerate(LABELS))))
    pipeline.tokenizer = types.SimpleNamespace(convert_tokens_to_string="".join)
    tokens = [
        {"word": "", "scores": scores[i], "start": int(a), "end": int(b), "index": i, "is_subword": bool(is_subword[i])}
        for i, (a, b) in enumerate(offsets)
        if not special[i]
    ]
    groups = pipeline.aggregate(tokens, pipelines.AggregationStrategy(strategy))
    return [group for group in groups if group["entity_group"] != "O"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equals_the_pipeline_of_transformers(strategy):
    rng = np.random.default_rng(7)
    batch = [random_tokens(rng) for _ in range(300)]
    texts, offsets, is_subword, scores, special = zip(*batch, strict=True)
    ours = group_entities(
        texts, offsets, scores, LABELS, strategy=strategy, is_subword=is_subword, special_tokens_mask=special
    )
    found = 0
    for tokens, entities in zip(batch, ours, strict=True):
        theirs = pipeline_entities(*tokens, strategy)
        keys = ("entity_group", "score", "start", "end")
        assert [[e[k] for k in keys] for e in entities] == [[e[k] for k in keys] for e in theirs]
        assert all(e["word"] == tokens[0][e["start"] : e["end"]] for e in entities)
        found += len(entities)
    assert found > 500


def course_entities(text, offsets, probabilities, labels):
    """The loop of the Hugging Face course, chapter 6."""
    predictions, results, i = probabilities.argmax(axis=1), [], 0
    while i < len(predictions):
        label = labels[predictions[i]]
        if label != "O":
            label = label[2:]
            start, end, scores = offsets[i][0], offsets[i][1], []
            while i < len(predictions) and labels[predictions[i]] == f"I-{label}":
                scores.append(probabilities[i][predictions[i]])
                end = offsets[i][1]
                i += 1
            results.append((label, float(np.mean(scores)), text[start:end], int(start), int(end)))
        i += 1
    return results


def test_equals_the_loop_of_the_course_on_entities_that_are_apart():
    rng = np.random.default_rng(3)
    labels = ["O", "I-PER", "I-LOC"]
    for _ in range(200):
        text, offsets, _, scores, _ = random_tokens(rng, len(labels))
        best = scores.argmax(axis=1)
        scores[1:][(best[1:] != best[:-1]) & (best[1:] > 0) & (best[:-1] > 0)] = [1, 0, 0]  # apart
        best = scores.argmax(axis=1)
        if ((best[1:] != best[:-1]) & (best[1:] > 0) & (best[:-1] > 0)).any():
            continue
        ours = group_entities(text, offsets, scores, labels)
        assert [tuple(e.values()) for e in ours] == course_entities(text, offsets, scores, labels)


def test_a_padded_batch_of_arrays():
    probabilities = np.zeros((2, 3, 2))
    probabilities[..., 1] = 1
    offsets = np.array([[(0, 2), (3, 5), (0, 0)], [(0, 1), (0, 0), (0, 0)]])
    ours = group_entities(["ab cd", "x"], offsets, probabilities, {0: "O", 1: "I-X"})
    assert [[e["word"] for e in row] for row in ours] == [["ab cd"], ["x"]]


def test_empty_input_gives_empty_output():
    assert group_entities([], [], [], LABELS) == []
    assert group_entities("", np.empty((0, 2)), np.empty((0, len(LABELS))), LABELS) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": [(0, 2), (1, 9)]}, r"text 0: token 1 has offsets \(1, 9\).* 3 characters"),
        ({"offsets": [0, 2]}, r"text 0: offsets must be int\[tokens, 2\]"),
        ({"probabilities": [[0.5, 0.5]]}, r"text 0: probabilities must be .* = \(2, 2\), not \(1, 2\)"),
        ({"strategy": "median"}, "strategy must be one of .*'median'"),
        ({"strategy": "first"}, "needs is_subword"),
        ({"is_subword": [True]}, "text 0: is_subword must have one value for each of 2 tokens"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change, message):
    arguments = {
        "text": "abc",
        "offsets": [(0, 1), (1, 3)],
        "probabilities": [[1, 0], [0, 1]],
        "id2label": ["O", "I-X"],
    }
    with pytest.raises(ValueError, match=message):
        group_entities(**arguments | change)
