"""The lock on a run: errors name its owner, and it ends with the process."""

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from refusals import refusing

from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.runs import claim, rundir


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def run(out):
    return rundir.create(str(out), Config())


def test_a_claimed_run_names_its_owner(run, out):
    with run.claimed():
        owner = (os.getpid(), platform.node())
        for overwrite in (False, True):
            with refusing(UserError, f"out {out}", *owner, unchanged=out):
                rundir.create(str(out), Config(), overwrite)
        with refusing(UserError, *owner), run.claimed():
            pytest.fail("claimed twice")
        assert (out / "trained_by.json").exists()
    assert [path.name for path in out.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["[]", '{"process": 1, "host": "gone"}'])
def test_the_claim_of_a_dead_process_does_not_matter(text, run, out):
    (out / "trained_by.json").write_text(text)
    with run.claimed():
        with refusing(UserError, f"out {out}", os.getpid(), unchanged=out):
            rundir.create(str(out), Config(), overwrite=True)
        (out / "trained_by.json").write_text(text)
        with refusing(UserError, f"out {out}", "another process", unchanged=out):
            rundir.create(str(out), Config(), overwrite=True)
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_a_claim_waits_for_processes_that_only_check(run):
    """Processes that start with the same path check, and are refused."""
    with ThreadPoolExecutor(1) as threads:
        with claim._locked(run.path, shared=True):
            claiming = threads.submit(run.claimed().__enter__)
            time.sleep(0.1)
            assert not claiming.done()
        assert claiming.result() is None
