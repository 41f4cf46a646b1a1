#!/usr/bin/env python3
"""Writes models.json: regressions, p-values and correlations, and what reference implementations say of them.

As generate.py, in the same virtual environment. References: scipy (least squares with a bound, false discovery
control, median absolute deviation), statsmodels (standard errors, curvature), numpy (correlations).
"""
import json
import pathlib

import numpy
import statsmodels.api
from generate import plain
from scipy import optimize, stats

random = numpy.random.default_rng(20240502)


def loads():
    """(name, u, r, y): clock, load and level."""
    u = numpy.arange(48) * 60.0
    diurnal = 100 + 40 * numpy.sin(u / 500) + 5 * random.normal(size=48)
    noise = random.normal(size=48)
    yield "pool", u, diurnal, 0.3 * diurnal + noise
    yield "leak", u, diurnal, 16 + 0.01 * u + noise
    yield "pool and leak", u, diurnal, 0.3 * diurnal + 0.01 * u + noise
    yield "falls with load", u, diurnal, 50 - 0.2 * diurnal + 0.01 * u + noise
    yield "ramp", u, 10 + 0.1 * u + random.normal(size=48), 0.02 * u + noise
    yield "constant load", u, numpy.full(48, 7.0), 0.02 * u + noise
    yield "calls as the clock", numpy.cumsum(diurnal * 60), diurnal, 1e-4 * numpy.cumsum(diurnal * 60) + noise
    yield "Unix times and bytes", 1714550000 + u, diurnal, 512e6 + 131072 * u / 60 + random.integers(0, 2**22, 48)
    yield "four points", u[:4], numpy.array([1.0, 5, 2, 2]), numpy.array([3.0, 9, 6, 8])


def load_fit(u, r, y):
    bounded = optimize.lsq_linear(
        numpy.column_stack([numpy.ones(len(y)), (u - u.mean()) / u.std(), (r - r.mean()) / (r.std() or 1)]),
        y,
        bounds=([-numpy.inf, -numpy.inf, 0], numpy.inf),
        method="bvls",
        tol=1e-15,
    )
    b = bounded.x[2] / (r.std() or 1)
    used = b > 1e-9 and r.std() > 0
    columns = [u - u.mean(), r - r.mean()] if used else [u - u.mean()]
    fit = statsmodels.api.OLS(y, statsmodels.api.add_constant(numpy.column_stack(columns))).fit()
    assert abs(fit.params[1] - bounded.x[1] / u.std()) < 1e-9 * max(abs(fit.params[1]), 1e-6)
    return {
        "lambda": fit.params[1],
        "standard_error": fit.bse[1],
        "b": fit.params[2] if used else 0,
        "sse": fit.ssr,
        "intercept": y.mean() - fit.params[1] * u.mean() - (fit.params[2] * r.mean() if used else 0),
        "variance_inflation": 1 / (1 - numpy.corrcoef(u, r)[0, 1] ** 2) if used else 1,
    }


def curvature(u, y):
    """Fitted in a centred and scaled clock, which is the same curve and loses no digits."""
    middle, half = u.mean(), numpy.ptp(u) / 2
    v = (u - middle) / half
    fit = statsmodels.api.OLS(y, numpy.column_stack([numpy.ones(len(v)), v, v * v])).fit()
    _, b, c = fit.params
    return {
        "kappa": c / half**2,
        "t_kappa": fit.tvalues[2],
        "end_slope": (b + 2 * c * v.max()) / half,
        "mean_slope": (b + c * (v.max() + v.min())) / half,
        "freedom": fit.df_resid,
    }


def fits():
    for name, *columns in loads():
        u, r, y = (numpy.round(column, 6) for column in columns)
        yield {"name": name, "u": u, "r": r, "y": y, "load": load_fit(u, r, y), "curvature": curvature(u, y)}
    u = numpy.cumsum(random.integers(1, 200, 40)).astype(float)
    for name, y in [("cache", 100 * (1 - numpy.exp(-u / 900))), ("accelerating", u**1.5 / 100)]:
        y = numpy.round(y + random.normal(size=40), 6)
        r = numpy.round(random.normal(size=40), 6)
        yield {"name": name, "u": u, "r": r, "y": y, "load": load_fit(u, r, y), "curvature": curvature(u, y)}


def discoveries():
    for p in (random.random(20), random.random(12) ** 6, numpy.round(random.random(30), 1), [1.0, 0.0, 0.5]):
        yield {"p": p, "adjusted": stats.false_discovery_control(p, method="bh")}


def pools():
    """Rows of residuals with something in common, and the z of the pool."""
    for k, share in ((2, 0.0), (4, 0.5), (8, 0.9), (5, 0.0), (3, -0.6)):
        common = random.normal(size=48)
        rows = numpy.round([share * common * (1 if i else numpy.sign(share)) + random.normal(size=48) for i in range(k)], 6)
        z = numpy.round(random.normal(size=k) + 2, 6)
        mean = numpy.corrcoef(rows)[numpy.triu_indices(k, 1)].mean()
        rho = min(max(mean, 0), 1)
        yield {"z": z, "residuals": rows, "correlation": rho, "pooled": z.sum() / numpy.sqrt(k + k * (k - 1) * rho)}


def outliers():
    for values in (random.normal(size=9), random.standard_t(1, size=15), numpy.array([0.01, 0.02, 5.0])):
        values = numpy.round(values, 6)
        spread = stats.median_abs_deviation(values)
        yield {"values": values, "modified_z": stats.norm.ppf(0.75) * (values - numpy.median(values)) / spread}


def main():
    parts = {"fits": fits(), "discoveries": discoveries(), "pools": pools(), "outliers": outliers()}
    lines = []
    for part, cases in parts.items():
        rows = ",\n".join(json.dumps(plain(case), allow_nan=False) for case in cases)
        lines.append(f"{json.dumps(part)}: [\n{rows}\n]")
    path = pathlib.Path(__file__).with_name("models.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(lines)} parts in {path}")


if __name__ == "__main__":
    main()
