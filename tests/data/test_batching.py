import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import predictors

LENGTHS = np.array([5, 40, 7, 6, 33, 12, 12, 60, 3, 21])
PLANS = {
    "in order": batching.in_order(LENGTHS, 4),
    "sorted": batching.sorted_by_length(LENGTHS, 4),
    "token budget": batching.token_budget(LENGTHS, 64),
    "training": batching.shuffled_by_length(LENGTHS, 2, np.random.default_rng(0), pool=2),
}


@pytest.mark.parametrize("name", PLANS)
def test_every_example_is_in_exactly_one_batch(name):
    assert sorted(np.concatenate(PLANS[name]).tolist()) == list(range(len(LENGTHS)))


def test_collate_pads_on_the_right_and_masks_the_padding():
    examples = examples_of([3, 5])
    batch = batching.collate(examples, [1, 0])
    assert batch.input_ids.shape == (2, 5)
    assert batch.attention_mask.tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch.input_ids[1].tolist() == [*examples.input_ids[0].tolist(), 0, 0]
    assert batching.collate(examples, [0], pad_to=9).input_ids.shape == (1, 9)


def test_token_budget_is_kept_and_filled():
    plan = batching.token_budget(LENGTHS, 64)
    areas = [len(group) * LENGTHS[group].max() for group in plan]
    assert max(areas) <= 64
    for group, following in zip(plan, plan[1:], strict=False):  # the next example would not have fitted
        assert (len(group) + 1) * LENGTHS[following[0]] > 64


def test_token_budget_gives_a_giant_its_own_batch():
    assert [group.tolist() for group in batching.token_budget(np.array([100, 2]), 10)] == [[1], [0]]


def test_padding_is_counted_as_by_hand():
    lengths = np.array([2, 10, 3, 9])
    assert batching.padded_tokens(lengths, batching.in_order(lengths, 2)) == 2 * 10 + 2 * 9
    assert batching.padding_share(lengths, batching.in_order(lengths, 2)) == pytest.approx(1 - 24 / 38)
    assert batching.padding_share(lengths, batching.sorted_by_length(lengths, 2)) == pytest.approx(1 - 24 / 26)
    assert batching.padding_share(lengths, batching.in_order(lengths, 2), pad_to=20) == pytest.approx(1 - 24 / 80)


def test_a_length_sample_has_the_lengths_of_all():
    lengths = np.random.default_rng(0).lognormal(4.5, 0.6, 4000)
    sample = batching.evenly_by_length(lengths, 100)
    assert len(set(sample.tolist())) == 100
    assert lengths[sample].mean() == pytest.approx(lengths.mean(), rel=0.02)
    assert np.percentile(lengths[sample], 90) == pytest.approx(np.percentile(lengths, 90), rel=0.03)


@pytest.mark.parametrize("name", PLANS)
def test_batching_does_not_change_predictions(name):
    examples, predict = examples_of(LENGTHS), predictors.torch_predictor(tiny_classifier(num_labels=3))
    alone = np.concatenate([predict(batching.collate(examples, [i]).inputs) for i in range(len(examples))])
    for group in PLANS[name]:
        np.testing.assert_allclose(predict(batching.collate(examples, group).inputs), alone[group], atol=1e-5)


def test_the_answers_to_a_question_are_never_in_two_batches():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 20, 90)
    groups = np.unique(groups, return_inverse=True)[1]
    lengths = rng.integers(3, 40, 90)
    plan = batching.shuffled_together(lengths, groups, 12, np.random.default_rng(1))
    assert sorted(np.concatenate(plan).tolist()) == list(range(90))
    homes = [set(groups[batch]) for batch in plan]
    assert sum(map(len, homes)) == len(set(groups)), "a question stands in two batches"
    pairs = np.repeat(np.arange(20), 2)
    sizes = [len(batch) for batch in batching.shuffled_together(lengths[:40], pairs, 8, np.random.default_rng(1))]
    assert sizes == [8] * 5
