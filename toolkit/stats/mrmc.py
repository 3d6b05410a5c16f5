"""Reader studies: several readers judge the same cases in two modalities (Obuchowski and Rockette, Hillis).

`values` (2, J) are the figures of merit of J readers in the first and the second modality. `covariance` (2J, 2J) is
that of their errors due to the cases, the first modality's readers before the second's.
"""

from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stats import delong

NAN = float("nan")


class Components(NamedTuple):
    """What makes figures of merit vary; covariances of errors that share the reader (1), the modality (2), none (3)."""

    var_reader: float
    var_modality_reader: float
    """May be negative: it is estimated as a difference."""
    var_error: float
    cov1: float
    cov2: float
    cov3: float
    ms_modality: float
    ms_reader: float
    ms_modality_reader: float


class Effect(NamedTuple):
    """A value with its interval; the test (F, degrees of freedom, two-sided p) is that of a difference from 0."""

    value: float
    error: float
    low: float
    high: float
    df: float
    """Of the interval's t."""
    f: float = NAN
    p: float = NAN


class Inference(NamedTuple):
    """Both modalities' means over the readers, and the first minus the second."""

    first: Effect
    second: Effect
    difference: Effect


def jackknife(left_out: np.ndarray) -> np.ndarray:
    """Return the covariance (2J, 2J) of values from those without each unit in turn, (U, 2, J).

    A unit is what is independent of all others: a case, or a patient with all of their cases.
    """
    units = len(left_out)
    deviations = (left_out - left_out.mean(axis=0)).reshape(units, -1)
    return (units - 1) / units * deviations.T @ deviations


def unbiased(positive: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Return the unbiased covariance (K, K) of K areas under the ROC curve from ratings (K, N) of independent cases.

    The product of two areas less its mean over pairs that share no case (Gallas, Acad Radiol 2006;13:353). It need not
    be positive definite.
    """
    high, low = ratings[:, positive], ratings[:, ~positive]
    wins = (high[:, :, None] > low[:, None, :]) + 0.5 * (high[:, :, None] == low[:, None, :])
    m, n = wins.shape[1:]
    rows, columns, flat = wins.sum(axis=2), wins.sum(axis=1), wins.reshape(len(wins), -1)
    total = flat.sum(axis=1)
    apart = np.outer(total, total) - rows @ rows.T - columns @ columns.T + flat @ flat.T
    return np.outer(total, total) / (m * n) ** 2 - apart / (m * (m - 1) * n * (n - 1))


class Areas(NamedTuple):
    """Areas under the ROC curve (K,), and those without each unit (U, K)."""

    auc: np.ndarray
    left_out: np.ndarray


def areas(positive: np.ndarray, ratings: np.ndarray, unit: np.ndarray, *, units: int) -> Areas:
    """Return the areas of ratings (K, N) of cases that belong to `unit` (N,), numbered from 0."""
    placed = delong.placements(positive, ratings)
    high, low = unit[positive], unit[~positive]
    m, n = len(high), len(low)
    m_left, n_left = m - np.bincount(high, minlength=units), n - np.bincount(low, minlength=units)
    left = np.empty((units, len(ratings)))
    pairs = np.nonzero(high[:, None] == low[None, :])
    for k, rating in enumerate(ratings):
        wins = np.full(units, placed.auc[k] * m * n)
        wins -= np.bincount(high, weights=placed.of_positives[k] * n, minlength=units)
        wins -= np.bincount(low, weights=placed.of_negatives[k] * m, minlength=units)
        above, below = rating[positive][pairs[0]], rating[~positive][pairs[1]]
        wins += np.bincount(high[pairs[0]], weights=(above > below) + 0.5 * (above == below), minlength=units)
        left[:, k] = np.divide(wins, m_left * n_left, out=np.full(units, NAN), where=m_left * n_left > 0)
    return Areas(placed.auc, left)


def components(values: np.ndarray, covariance: np.ndarray) -> Components:
    """Return mean squares, mean covariances and variance components (Hillis, Stat Med 2014;33:330)."""
    readers = values.shape[1]
    by_modality = covariance.reshape(2, readers, 2, readers)
    own = np.eye(readers, dtype=bool)
    same, other = by_modality[[0, 1], :, [0, 1]], by_modality[[0, 1], :, [1, 0]]
    var_error, cov1 = float(same[:, own].mean()), float(other[:, own].mean())
    cov2, cov3 = float(same[:, ~own].mean()), float(other[:, ~own].mean())
    means, of_readers, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    ms_modality = float(readers * np.square(means - mean).sum())
    ms_reader = float(2 * np.square(of_readers - mean).sum() / (readers - 1))
    rest = values - means[:, None] - of_readers + mean
    ms_rest = float(np.square(rest).sum() / (readers - 1))
    return Components(
        var_reader=(ms_reader - ms_rest) / 2 - cov1 + cov3,
        var_modality_reader=ms_rest - var_error + cov1 + cov2 - cov3,
        var_error=var_error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
        ms_modality=ms_modality,
        ms_reader=ms_reader,
        ms_modality_reader=ms_rest,
    )


def random_readers(values: np.ndarray, covariance: np.ndarray, *, confidence: float) -> Inference:
    """Return what holds for readers and cases like these: both are samples.

    Degrees of freedom are Hillis' (Stat Med 2007;26:596); each modality's interval rests on its own readers alone.
    """
    parts, readers = components(values, covariance), values.shape[1]
    spread = parts.ms_modality_reader
    denominator = spread + readers * max(parts.cov2 - parts.cov3, 0)
    each = []
    for modality, value in enumerate(values.mean(axis=1)):
        between = float(np.var(values[modality], ddof=1))
        total = between + readers * max(_cov2_of(covariance, modality, readers), 0)
        each.append(_effect(float(value), total / readers, _hillis(total, between, readers), confidence=confidence))
    difference = _tested(values, denominator, _hillis(denominator, spread, readers), confidence=confidence)
    return Inference(*each, difference)


def fixed_readers(values: np.ndarray, covariance: np.ndarray, *, confidence: float) -> Inference:
    """Return what holds for these very readers and cases like these."""
    parts, readers = components(values, covariance), values.shape[1]
    each = []
    for modality, value in enumerate(values.mean(axis=1)):
        own = covariance.reshape(2, readers, 2, readers)[modality, :, modality]
        total = float(np.diag(own).mean()) + (readers - 1) * max(_cov2_of(covariance, modality, readers), 0)
        each.append(_effect(float(value), total / readers, np.inf, confidence=confidence))
    denominator = parts.var_error - parts.cov1 + (readers - 1) * max(parts.cov2 - parts.cov3, 0)
    return Inference(*each, _tested(values, denominator, np.inf, confidence=confidence))


def fixed_cases(values: np.ndarray, *, confidence: float) -> Inference:
    """Return what holds for readers like these on these very cases: a paired t test over the readers."""
    readers = values.shape[1]
    variances = np.var(values, axis=1, ddof=1) / readers
    each = [
        _effect(float(value), float(variance), readers - 1, confidence=confidence)
        for value, variance in zip(values.mean(axis=1), variances, strict=True)
    ]
    spread = float(np.var(values[0] - values[1], ddof=1) / 2)
    return Inference(*each, _tested(values, spread, readers - 1, confidence=confidence))


def of_reader(values: np.ndarray, covariance: np.ndarray, reader: int, *, confidence: float) -> Inference:
    """Return what holds for one reader and cases like these."""
    readers = values.shape[1]
    own = covariance.reshape(2, readers, 2, readers)[:, reader, :, reader]
    first, second = (
        _effect(float(values[modality, reader]), float(own[modality, modality]), np.inf, confidence=confidence)
        for modality in (0, 1)
    )
    # As in the analyses of all readers, the variance of an error is taken as the same in both modalities.
    denominator = float((own[0, 0] + own[1, 1]) / 2 - own[0, 1])
    return Inference(first, second, _tested(values[:, [reader]], denominator, np.inf, confidence=confidence))


def _cov2_of(covariance: np.ndarray, modality: int, readers: int) -> float:
    own = covariance.reshape(2, readers, 2, readers)[modality, :, modality]
    return float(own[~np.eye(readers, dtype=bool)].mean())


def _hillis(total: float, spread: float, readers: int) -> float:
    """Return the degrees of freedom of a sum of which only `spread`, with J − 1 of them, is uncertain."""
    return np.inf if spread <= 0 else total**2 / (spread**2 / (readers - 1))


def _tested(values: np.ndarray, denominator: float, df: float, *, confidence: float) -> Effect:
    """Return the difference of the modalities' means, whose variance is 2/J of the denominator of F."""
    readers = values.shape[1]
    difference = float(values[0].mean() - values[1].mean())
    effect = _effect(difference, 2 / readers * denominator, df, confidence=confidence)
    if not effect.error > 0:
        return effect
    t = difference / effect.error
    return effect._replace(f=t * t, p=float(2 * scipy.stats.t.sf(abs(t), df)))


def _effect(value: float, variance: float, df: float, *, confidence: float) -> Effect:
    """Return a value with its t interval; none where nothing varies: a sample cannot show that."""
    if not variance > 0:
        return Effect(value, NAN, NAN, NAN, NAN)
    error = float(np.sqrt(variance))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, df)) * error
    return Effect(value, error, value - half, value + half, float(df))
