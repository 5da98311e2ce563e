"""A bundle verifies wherever it was made: with other thread counts, on one core, with older instruction sets."""

import os

import pytest
from bundles import SMALL, make_run
from commands import ENVIRONMENT, run

OLD = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}


def run_at(cores: set[int], settings: dict[str, str], module: str, *arguments: object) -> str:
    """Runs a command there. Torch's threads follow OMP_NUM_THREADS; those of XLA and ONNX Runtime follow the cores."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # the process inherits it
    try:
        done = run(module, *arguments, env=ENVIRONMENT | settings)
    finally:
        os.sched_setaffinity(0, all_cores)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.mark.slow
def test_a_bundle_made_with_older_instructions_on_one_core_verifies_here_and_with_one_thread(tmp_path):
    cores, bundle = os.sched_getaffinity(0), tmp_path / "bundle"
    run_at({min(cores)}, OLD, "export", make_run(tmp_path / "run", SMALL), "--out", bundle, "--quick")
    for settings in ({}, {"OMP_NUM_THREADS": "1"}):
        assert run_at(cores, settings, "export.verify", bundle).splitlines()[-1] == "all ok"
