"""What floors are made of: features of texts, and the scikit-learn classifiers that are tried on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler, normalize

from fflib.data import word_overlap
from fflib.data.splits import Split
from fflib.data.task import Task
from fflib.model.text_means import TextMeans, cosines

MAX_TERMS = 100_000  # words and pairs of words that a TF-IDF knows
Features = Callable[[Split], Any]  # texts to a matrix [n, k], dense or sparse
Variants = Mapping[str, tuple[Features, Any]]  # by name: features, and a scikit-learn classifier of them


def of_words(task: Task, train: Split) -> Variants:
    """Return classifiers that count words: of both texts of a pair and of what these share, or of a text alone."""
    weights = class_weight(task)
    counts = WordCounts(train)
    if not is_pair(train):
        linear = LogisticRegression(C=4.0, max_iter=100, class_weight=weights)
        return {"TF-IDF, linear": (counts.terms, linear), "TF-IDF, naive Bayes": (counts.terms, ComplementNB())}
    linear = make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=100, class_weight=weights))
    shared = len(word_overlap.COLUMNS) + 1
    trees = HistGradientBoostingClassifier(
        max_iter=150, max_leaf_nodes=15, early_stopping=False, class_weight=weights, random_state=0
    )
    return {
        "TF-IDF of both texts and shared words, linear": (counts.terms_and_overlap, linear),
        "shared words, boosted trees": (counts.terms_and_overlap, make_pipeline(_last_columns(shared), trees)),
    }


def of_states(task: Task, means: TextMeans, pairs: bool) -> Variants:
    """Return classifiers of an encoder's mean states: the cosine of a pair, or which class's mean a text is nearest."""
    if not pairs:
        linear = make_pipeline(StandardScaler(), _logistic(task, 0.01))
        return {
            "nearest mean of a class": (States(means, _directions), NearestMean()),
            "mean state, linear": (States(means, _directions), linear),
        }
    scaled = make_pipeline(StandardScaler(), _logistic(task, 0.003))
    return {
        "cosine": (States(means, _cosine), make_pipeline(StandardScaler(), _logistic(task, 1.0))),
        "cosine, differences and products, linear": (States(means, _compared), scaled),
    }


def of_word_embeddings(task: Task, means: TextMeans) -> Variants:
    """Return classifiers of the mean word embedding of a text; of a pair also of differences and products."""

    def features(texts: Split) -> np.ndarray:
        fields = means.words(texts)
        return _both(*fields) if len(fields) == 2 else fields[0]

    hidden = MLPClassifier((64,), alpha=0.1, max_iter=15, random_state=0)
    return {
        "linear": (features, make_pipeline(StandardScaler(), _logistic(task, 0.003))),
        "a hidden layer": (features, make_pipeline(StandardScaler(), hidden)),
    }


def is_pair(texts: Split) -> bool:
    """Say whether each example has two texts."""
    return len(texts.texts[0]) == 2


def class_weight(task: Task) -> str | None:
    """Let rare classes weigh as much as frequent ones where the metric is not plain accuracy."""
    return None if set(task.metrics) == {"accuracy"} else "balanced"


def _logistic(task: Task, strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=200, class_weight=class_weight(task))


def _last_columns(count: int) -> FunctionTransformer:
    return FunctionTransformer(lambda matrix: matrix[:, -count:].toarray(), accept_sparse=True)


class WordCounts:
    """Counts of words of texts, weighted by how rare they are in ``train``."""

    def __init__(self, train: Split) -> None:
        different = list(dict.fromkeys(text for row in train.texts for text in row))
        self._terms = TfidfVectorizer(
            analyzer=word_overlap.words_and_pairs,
            sublinear_tf=True,
            min_df=2 if len(different) > 1000 else 1,
            max_features=MAX_TERMS,
            dtype=np.float32,
        ).fit(different)
        self.rarity = dict(zip(self._terms.get_feature_names_out(), self._terms.idf_.tolist(), strict=True))

    def terms(self, texts: Split) -> sparse.csr_matrix:
        """Return the TF-IDF of words and pairs of words: [n, terms] for each text field, side by side."""
        return sparse.hstack(self._fields(texts), "csr")

    def terms_and_overlap(self, texts: Split) -> sparse.csr_matrix:
        """Return `terms` of pairs, `word_overlap.features` and the cosine of the two TF-IDF, side by side."""
        first, second = self._fields(texts)
        alike = np.asarray(first.multiply(second).sum(1)).reshape(-1, 1)  # of unit length each
        overlap = np.hstack([word_overlap.features(texts.texts, self.rarity), alike])
        return sparse.hstack([first, second, sparse.csr_matrix(overlap.astype(np.float32))], "csr")

    def _fields(self, texts: Split) -> list[sparse.csr_matrix]:
        return [self._weighted(field) for field in zip(*texts.texts, strict=True)]

    def _weighted(self, field: tuple[str, ...]) -> sparse.csr_matrix:
        place = {text: i for i, text in enumerate(dict.fromkeys(field))}
        return self._terms.transform(list(place))[[place[text] for text in field]]


class States:
    """Features of the mean states of texts: ``made`` of the means [n, hidden] of each text field."""

    def __init__(self, means: TextMeans, made: Callable[..., np.ndarray]) -> None:
        self._means, self._made = means, made

    def __call__(self, texts: Split) -> np.ndarray:
        """Return the features [n, k]; means that were made before are read from disk."""
        return self._made(*self._means.encoded(texts))

    def now(self, texts: Split) -> np.ndarray:
        """Return the features [n, k] made here and now, as for a request."""
        return self._made(*self._means.encoded(texts, keep=False))


class NearestMean:
    """Classify a direction [hidden] by its cosine with the mean of each class; no weight is learnt."""

    sharpness = 10.0  # of the softmax over cosines; it changes no answer

    def fit(self, directions: np.ndarray, labels: np.ndarray) -> NearestMean:
        """Take the mean direction of each class of n texts."""
        self.classes_ = np.unique(labels)
        self._means = _directions(np.stack([directions[labels == label].mean(0) for label in self.classes_]))
        return self

    def predict_proba(self, directions: np.ndarray) -> np.ndarray:
        """Return a probability for each class, [n, classes]."""
        scores = np.exp(self.sharpness * (directions @ self._means.T))
        return scores / scores.sum(1, keepdims=True)


def _directions(means: np.ndarray) -> np.ndarray:
    return normalize(means)


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    alike = cosines(first, second)
    return np.stack([alike, alike**2], 1)  # the square: of three classes one may lie between the others


def _compared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = normalize(first), normalize(second)
    return np.hstack([_cosine(first, second), abs(first - second), first * second])


def _both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.hstack([first, second, abs(first - second), first * second])
