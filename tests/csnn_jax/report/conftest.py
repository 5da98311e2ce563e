"""A run and its measurements, for the tests of a report's parts."""

import pytest
from bundles import INTEGRATOR, SMALL, make_run
from digits import few_digits

from csnn_jax.report import measure, subject


@pytest.fixture(scope="session", params=[SMALL, INTEGRATOR], ids=["spikes", "membranes"])
def measured(request, tmp_path_factory) -> tuple[subject.ReportedRun, measure.Measured]:
    folder = tmp_path_factory.mktemp("measured")
    run = make_run(folder / "run", request.param, few_digits(folder / "digits", train=20, test=50))
    one = subject.read(str(run), 0, None)
    return one, measure.measure(one)
