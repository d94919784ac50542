"""Floors on data whose answer is known: what can be counted is found, what is not there is not."""

import little_superglue
import numpy as np
import pytest
from conftest import examples_of

from fflib.data import metrics, registry, splits, word_overlap
from fflib.data.metrics import Gold
from fflib.data.task import Span, Task
from fflib.model import checkpoints, floor_features, floors

NAMES = np.array(little_superglue.NAMES)
THINGS = np.array(little_superglue.THINGS)


def task_of(classes=2, fields=2, metric="accuracy", **more):
    names = tuple(f"text{i}" for i in range(fields))
    labels = tuple(f"class {i}" for i in range(classes))
    return Task("made up", names, "label", labels, (metric,), 64, "Which?", **more)


def sentence(rng, *of):
    words = [*of, *rng.choice(NAMES, 2), *rng.choice(["sees", "likes", "sells"], 2)]
    return " ".join(rng.permutation(words))


def sharing(n, seed=0, words=THINGS):
    """Pairs, of which the right ones share a thing and the wrong ones hold two things: a bag of words sees it."""
    rng, texts, labels = np.random.default_rng(seed), [], np.arange(n) % 2
    for label in labels:
        one, other = rng.choice(words, 2, replace=False)
        texts.append((sentence(rng, one), sentence(rng, one if label else other)))
    return splits.text_split("made up", "x", texts, Gold(labels))


def telling(n, classes, seed=0):
    """Single texts, each of which holds the word of its class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return splits.text_split("made up", "x", [(sentence(rng, f"word{k}"),) for k in labels], Gold(labels))


def random_labels(texts, seed=0):
    labels = np.random.default_rng(seed).integers(0, 2, len(texts))
    return splits.text_split("made up", "x", texts.texts, Gold(labels), texts.spans)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = little_superglue.save_teacher(tmp_path_factory.mktemp("teacher") / "tiny")
    return str(folder), checkpoints.load_tokenizer(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))


def scores(task, fitted, texts):
    return {name: metrics.score(task, floor.logits(texts), texts.gold) for name, floor in fitted.items()}


def test_shared_words_are_found():
    task = task_of()
    fitted = floors.fit(task, sharing(400), sharing(100, 1))
    found = scores(task, fitted, sharing(200, 2))
    assert found == {floors.ONE_ANSWER: 0.5, floors.WORDS: pytest.approx(1.0, abs=0.03)}
    assert floors.best(fitted) == floors.WORDS and fitted[floors.WORDS].by == "shared words, boosted trees"


def test_embeddings_find_shared_words_too_and_more_than_chance(tiny):
    task = task_of()
    fitted = floors.fit(task, sharing(600), sharing(100, 1), *tiny)
    found = scores(task, fitted, sharing(300, 2))
    assert list(fitted) == [floors.ONE_ANSWER, floors.WORDS, floors.ENCODER, floors.STATIC] == list(floors.SERVED_BY)
    assert found[floors.ENCODER] > 0.6 and found[floors.STATIC] > 0.6


def test_labels_by_chance_leave_every_floor_at_chance(tiny):
    task = task_of()
    fitted = floors.fit(task, random_labels(sharing(300)), random_labels(sharing(100, 1), 1), *tiny)
    found = scores(task, fitted, random_labels(sharing(400, 2), 2))
    assert all(0.4 < score < 0.6 for score in found.values()), found


@pytest.mark.parametrize("classes", [2, 3, 50])
def test_single_texts_of_many_classes_are_told_apart_by_their_words(tiny, classes):
    task = task_of(classes, fields=1)
    fitted = floors.fit(task, telling(max(200, 20 * classes), classes), telling(4 * classes, classes, 1), *tiny)
    found = scores(task, fitted, telling(6 * classes, classes, 2))
    assert found[floors.ONE_ANSWER] == pytest.approx(1 / classes) and found[floors.WORDS] > 0.95
    logits = fitted[floors.WORDS].logits(telling(classes, classes, 3))
    assert logits.shape == (classes, classes) and np.isfinite(logits).all()


def test_the_cosine_orders_pairs():
    """Vectors made by hand: pairs of one direction are alike, those of two are not; nothing else tells them apart."""

    class Means:
        def encoded(self, texts, keep=True):
            sides = [
                np.array([row[side].split(), row[side].split()])[0].astype(float)
                for row in texts.texts
                for side in (0, 1)
            ]
            return [np.array(sides[side::2]) for side in (0, 1)]

    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 200)
    apart = np.where(np.arange(200) % 2, 0.1, 0.9)
    texts = [
        (f"{np.cos(a)} {np.sin(a)}", f"{np.cos(a + d)} {np.sin(a + d)}") for a, d in zip(angles, apart, strict=True)
    ]
    pairs = splits.text_split("made up", "x", texts, Gold(np.arange(200) % 2))
    features, classifier = floor_features.of_states(task_of(), Means(), pairs=True)["cosine"]
    assert features(pairs)[:, 0] == pytest.approx(np.cos(apart))
    classifier.fit(features(pairs), pairs.labels)
    assert (classifier.predict(features(pairs)) == pairs.labels).all()


def test_a_text_is_given_to_the_nearest_mean():
    nearest = floor_features.NearestMean().fit(np.array([[1.0, 0], [0.8, 0.6], [0, 1]]), np.array([0, 0, 2]))
    assert nearest.classes_.tolist() == [0, 2]
    assert nearest.predict_proba(np.array([[1.0, 0], [0, 1]])).argmax(1).tolist() == [0, 1]


def test_word_counts_are_those_of_scikit_learn_and_their_cosine():
    texts = sharing(30)
    counts = floor_features.WordCounts(texts)
    matrix = counts.terms(texts)
    half = matrix.shape[1] // 2
    first, second = matrix[:, :half].toarray(), matrix[:, half:].toarray()
    every = counts.terms_and_overlap(texts).toarray()
    assert every[:, -1] == pytest.approx((first * second).sum(1), abs=1e-6)
    assert np.linalg.norm(first, axis=1) == pytest.approx(1, abs=1e-6), "each text weighs the same"
    by_hand = word_overlap.features(texts.texts, counts.rarity)
    assert every[:, : 2 * half] == pytest.approx(matrix.toarray()) and every[:, 2 * half : -1] == pytest.approx(by_hand)


def test_a_request_is_answered_as_all_were_and_from_text(tiny):
    task, texts = task_of(), sharing(20, 2)
    fitted = floors.fit(task, sharing(200), sharing(50, 1), *tiny)
    plan = [np.array([3]), np.array([0, 7])]
    for name, floor in fitted.items():
        if name == floors.ONE_ANSWER:
            assert floor.served is None
            continue
        answers, wall_s, each = floor.from_text(texts)(examples_of([3] * 20), plan)
        assert np.abs(np.concatenate(answers) - floor.served(texts)[[3, 0, 7]]).max() < 1e-3
        assert [len(batch) for batch in answers] == [1, 2] and wall_s >= sum(each) * 0.99 > 0
        assert metrics.kept(floor.logits(texts), floor.served(texts), texts.gold) >= 0.9


def test_equal_data_give_equal_floors(tiny):
    task, data = task_of(), (sharing(120), sharing(40, 1))
    once, again = (floors.fit(task, *data, *tiny) for _ in range(2))
    for name in once:
        assert (once[name].logits(data[1]) == again[name].logits(data[1])).all() and once[name].by == again[name].by


@pytest.mark.parametrize("name", ["COPA", "WiC", "MultiRC", "CB", "ReCoRD"])
def test_every_kind_of_task_is_scored_by_its_own_metrics(tiny, tmp_path, name):
    source = str(little_superglue.write(tmp_path / "superglue", name))
    task = registry.get_task(name)
    train, dev, test = (splits.load_split(name, split, source, 60) for split in splits.SPLITS)
    fitted = floors.fit(task, train, dev, *tiny)
    for each in scores(task, fitted, test).values():
        assert 0 <= each <= 1
    assert fitted[floors.ONE_ANSWER].dev_score == pytest.approx(metrics.chance(task, dev.gold))


def test_a_train_of_one_class_gives_that_class():
    task, train = task_of(), sharing(20)
    alike = splits.text_split("made up", "x", train.texts, Gold(np.ones(20, int)))
    assert (floors.fit(task, alike, train)[floors.WORDS].logits(train).argmax(1) == 1).all()


def test_rare_classes_weigh_more_where_the_metric_asks_for_them():
    assert floor_features.class_weight(task_of()) is None
    assert floor_features.class_weight(task_of(metric="matthews")) == "balanced"


def test_a_dear_floor_sees_fewer_examples(tiny, monkeypatch):
    seen = {}
    real = floors._fitted
    monkeypatch.setattr(
        floors, "_fitted", lambda task, train, *rest: seen.setdefault(len(train), real(task, train, *rest))
    )
    monkeypatch.setattr(floors, "ROWS", {floors.WORDS: 40, floors.STATIC: 30, floors.ENCODER: 20})
    floors.fit(task_of(), sharing(50), sharing(20, 1), *tiny)
    assert list(seen) == [40, 20, 30]


def test_marked_words_are_what_the_encoder_reads(tiny):
    """The words that are marked tell the classes apart, and nothing else does."""
    rng, rows, spans = np.random.default_rng(0), [], []
    labels = np.arange(300) % 2
    for label in labels:
        word = rng.choice(THINGS)
        pair = word, word if label else rng.choice(THINGS[word != THINGS])
        texts = [f"{one} {rng.choice(NAMES)} {rng.choice(NAMES)}" for one in pair]
        rows.append(tuple(texts))
        spans.append(tuple(Span(i, 0, len(one)) for i, one in enumerate(pair)))
    marked = splits.text_split("made up", "x", rows, Gold(labels), spans)
    task = task_of(spans=2)
    fitted = floors.fit(task, marked.take(range(200)), marked.take(range(200, 250)), *tiny)
    test = marked.take(range(250, 300))
    assert metrics.score(task, fitted[floors.ENCODER].logits(test), test.gold) > 0.8
