#!/usr/bin/env python3
"""Writes trends.json: series, and what reference implementations say of them.

The Rust test `golden` compares ours with these numbers; it never runs this script. To write the file again, in a
virtual environment:

    pip install numpy==2.4.6 scipy==1.17.1 pymannkendall==1.4.3 statsmodels==0.15.0
    python tests/golden/generate.py

References: scipy (Theil-Sen with Sen's interval), pymannkendall (Mann-Kendall, plain and Hamed-Rao), statsmodels (the
mean increment with a Newey-West long-run variance), numpy (quantiles). A null says that the reference has no answer:
not even a variance, because nothing varies, or one that is not positive.
"""
import json
import pathlib
import warnings

import numpy
import pymannkendall
import statsmodels.api
from scipy import stats

CONFIDENCES = (0.5, 0.9, 0.95, 0.99)
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.9, 1.0)
random = numpy.random.default_rng(20240501)


def autoregressive(n, phi):
    """AR(1) noise of unit variance; phi = 1 is a random walk."""
    fresh = 1.0 if phi == 1 else (1 - phi * phi) ** 0.5
    level, values = random.normal(), []
    for _ in range(n):
        level = phi * level + fresh * random.normal()
        values.append(level)
    return numpy.array(values)


def every(n, seconds=60):
    return numpy.arange(n) * float(seconds)


def uneven(n):
    return numpy.cumsum(random.integers(1, 200, n)).astype(float)


def series():
    """(name, times, values) of all series. At most six decimals, so that every parser reads the same number."""
    i = numpy.arange(48)
    for phi in (0, 0.5, 0.8, 0.95, 1):
        yield f"noise, phi {phi}", every(48), autoregressive(48, phi)
        yield f"leak in noise, phi {phi}", every(48), autoregressive(48, phi) + 0.15 * i
    yield "falling", every(48), autoregressive(48, 0.5) - 0.2 * i
    for n in (4, 5, 7, 10, 20):
        yield f"short, {n} values", every(n), random.normal(size=n) + 0.3 * numpy.arange(n)
    yield "long, 120 values", every(120, 180), autoregressive(120, 0.8) + 0.02 * numpy.arange(120)
    yield "ties: a slow count", every(48), 16 + i // 5
    yield "ties: a noisy count", every(48), random.poisson(6 + 0.1 * i)
    yield "ties: a fixed pool", every(48), 16 + random.integers(-1, 2, 48)
    yield "mostly zero", every(48), numpy.where(random.random(48) < 0.1, 1, 0)
    yield "step", every(48), numpy.where(i < 30, 10, 50) + random.normal(size=48)
    yield "bare step", every(48), numpy.where(i < 30, 10, 50)
    yield "saturating", every(48), 100 * (1 - numpy.exp(-i / 8)) + random.normal(size=48)
    yield "sawtooth on a slope", every(48), 10 * (i % 6) + 0.5 * i
    yield "alternating", every(48), i % 2
    yield "outliers", every(48), numpy.where(i % 11 == 5, 500, 0.5 * i) + random.normal(size=48)
    yield "constant", every(20), numpy.full(20, 16)
    yield "line of whole numbers", every(30), 3 + 2 * numpy.arange(30)
    yield "line of tenths", every(30), 0.1 * numpy.arange(30)
    yield "uneven times", uneven(40), autoregressive(40, 0.5) + 0.2 * numpy.arange(40)
    yield "uneven times, ties in value", uneven(40), random.poisson(10 + 0.2 * numpy.arange(40))
    yield "repeated times", numpy.repeat(every(20), 2), random.normal(size=40) + 0.1 * numpy.arange(40)
    yield "Unix times and bytes", 1714550000 + every(48, 30), 512e6 + 131072 * i + random.integers(0, 2**22, 48)
    yield "Hamed-Rao variance below zero", every(13), [6, 0, 4, 1, 4, 3, 6, 4, 5, 6, 5, 8, 6]


def theil_sen(t, y):
    rows = []
    for confidence in CONFIDENCES:
        it = stats.theilslopes(y, t, confidence, method="separate")
        rows.append([confidence, it.slope, it.low_slope, it.high_slope, it.intercept])
    return rows


def mann_kendall(test, y):
    it = test(y)
    if not (it.var_s > 0 and numpy.isfinite(it.z)):
        return None
    p_value = 2 * stats.norm.sf(abs(it.z))  # their 2 * (1 - cdf) loses the digits of a small p
    assert abs(p_value - it.p) < 1e-12
    return {"s": it.s, "variance": it.var_s, "z": it.z, "p_value": p_value, "tau": it.Tau}


def is_line(y):
    """True if the increments are equal but for rounding: residuals and their correlation then mean nothing."""
    return numpy.ptp(numpy.diff(y)) < 1e-12 * max(1.0, numpy.abs(y).max())


def increment(y):
    steps = numpy.diff(y)
    lags = max(len(steps) // 8, 1)
    model = statsmodels.api.OLS(steps, numpy.ones(len(steps)))
    return model.fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}).tvalues[0]


def growth(y):
    """The combined z: the smaller of the two tests, that of the increments as a Student t read as a normal deviate."""
    level, drift, steps = mann_kendall(pymannkendall.hamed_rao_modification_test, y), increment(y), len(y) - 1
    if level is None or drift is None:
        return None
    lags = max(steps // 8, 1)
    weights = 1 - numpy.arange(1, lags + 1) / (lags + 1)
    freedom = steps / (1 + 2 * numpy.sum(weights**2)) * steps / 12
    wallace = numpy.sqrt(freedom * numpy.log1p(drift**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    if 16 <= len(y) <= 50 and 0 < drift < 8:
        exact = stats.norm.isf(stats.t.sf(drift, freedom))
        assert abs(wallace - exact) < 0.02, "the approximation is one"
    return max(0.0, min(level["z"], numpy.copysign(wallace, drift)))


def plain(value):
    """The value with numpy's numbers turned into Python's, and what is not a number into null."""
    if isinstance(value, dict):
        return {key: plain(it) for key, it in value.items()}
    if isinstance(value, (list, tuple, numpy.ndarray)):
        return [plain(it) for it in value]
    if value is None or isinstance(value, str):
        return value
    return float(value) if numpy.isfinite(value) else None


def case(name, t, y):
    t, y = numpy.asarray(t, float), numpy.round(numpy.asarray(y, float), 6)
    line = is_line(y)
    return plain({
        "name": name,
        "t": t,
        "y": y,
        "theil_sen": theil_sen(t, y),
        "mann_kendall": mann_kendall(pymannkendall.original_test, y),
        "hamed_rao": None if line else mann_kendall(pymannkendall.hamed_rao_modification_test, y),
        "increment": None if line else increment(y),
        "growth": None if line else growth(y),
        "quantiles": [[q, numpy.quantile(y, q)] for q in QUANTILES],
    })


def main():
    warnings.simplefilter("ignore")
    lines = []
    for it in (case(*it) for it in series()):
        fields = (f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in it.items())
        lines.append("{\n" + ",\n".join(fields) + "\n}")
    path = pathlib.Path(__file__).with_name("trends.json")
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} series in {path}")


if __name__ == "__main__":
    main()
