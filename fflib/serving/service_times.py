"""How long a padded batch occupies an instance, alone and beside others: a fit, and what the fit does not explain."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import optimize

from fflib.files import InputError

ALIKE = 64  # a batch varies as this many measured ones did that should take about as long


@dataclass(frozen=True, eq=False)
class ServiceTimes:
    """Seconds of a padded batch of ``rows`` texts of ``length`` tokens: a call, its tokens, its pairs of tokens.

    ``beside_s`` (3) is what each of these takes longer while all other instances compute too. ``ratios`` [n] are
    measured over predicted seconds, the noise that the model does not explain, and ``predicted_s`` [n], ascending, what
    they were measured at; where that is empty any ratio stands for any batch.
    """

    call_s: float
    token_s: float
    pair_s: float
    ratios: np.ndarray
    beside_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    predicted_s: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(
        cls, rows: np.ndarray, lengths: np.ndarray, seconds: np.ndarray, company: np.ndarray | None = None
    ) -> ServiceTimes:
        """Fit to measured batches by non-negative least squares on relative errors; all arrays [n].

        Relative, for the seconds of batches differ a hundredfold and their noise grows with them. ``company`` is the
        part of the other instances that computed too, 0 to 1; without it all batches are alike in that.
        """
        rows, lengths, seconds = (np.asarray(values, float) for values in (rows, lengths, seconds))
        company = np.zeros(rows.shape) if company is None else np.asarray(company, float)
        if not rows.shape == lengths.shape == seconds.shape == company.shape or rows.ndim != 1:
            raise InputError(f"{rows.size}, {lengths.size} and {seconds.size} values; give one of each for every batch")
        measured = np.stack([rows, lengths, seconds])
        if not (np.isfinite(measured) & (measured > 0)).all():
            raise InputError("rows, lengths or seconds are not all positive numbers; measure those batches again")
        terms = np.stack([np.ones_like(rows), rows * lengths, rows * lengths**2], axis=1)
        needed = terms.shape[1]
        if len(np.unique(lengths)) == 1:  # what goes with its square cannot be told apart, nor need it be
            terms[:, 2], needed = 0, 2
        scale = (terms / seconds[:, None]).max(axis=0, initial=0.0)  # like sizes: the solver's tolerance knows no units
        scale = np.where(scale > 0, scale, 1.0)
        if np.linalg.matrix_rank(terms / seconds[:, None] / scale) < needed:
            raise InputError("the measured batches are too alike to fit to; measure 3 shapes, or 2 of one length")
        terms = np.concatenate([terms, terms * company[:, None]], axis=1)
        scale = np.concatenate([scale, scale])
        coefficients = optimize.nnls(terms / seconds[:, None] / scale, np.ones_like(seconds))[0] / scale
        predicted = terms @ coefficients
        order, (alone, beside) = np.argsort(predicted), np.split(coefficients, 2)
        return cls(*alone.tolist(), (seconds / predicted)[order], tuple(beside.tolist()), predicted[order])

    def seconds(self, rows: int, length: int, company: float = 0.0) -> float:
        """Predict the seconds of a batch beside that part of the other instances."""
        call, token, pair = (
            alone + company * beside
            for alone, beside in zip((self.call_s, self.token_s, self.pair_s), self.beside_s, strict=True)
        )
        return call + rows * length * (token + pair * length)

    def draw(self, rows: int, length: int, rng: np.random.Generator, company: float = 0.0) -> float:
        """Predict the seconds of a batch and let them vary as much as measured ones did (bootstrap of the ratios).

        The ratios are of the `ALIKE` measured batches that should take about as long: an interruption is a large part
        of a short batch and a small one of a long batch.
        """
        predicted, count = self.seconds(rows, length, company), len(self.ratios)
        first, last = 0, count
        if len(self.predicted_s):
            first = int(np.searchsorted(self.predicted_s, predicted)) - ALIKE // 2
            first = max(0, min(first, count - ALIKE))
            last = min(count, first + ALIKE)
        return predicted * float(self.ratios[rng.integers(first, last)])
