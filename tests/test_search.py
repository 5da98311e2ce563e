"""The search in docs/python.md: after it's killed and restarted, it keeps its results."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from commands import ENVIRONMENT
from documents import marked
from optuna.trial import FrozenTrial, TrialState

SHORTER = (("max_iters=200", "max_iters=20"), ("20 - done", "4 - done"))


def start(folder: Path) -> subprocess.Popen:
    """Starts the search in a folder, with fewer and shorter trials."""
    (block,) = marked("docs/python.md", "search")
    text = block.text
    for whole, short in SHORTER:
        assert text.count(whole) == 1
        text = text.replace(whole, short)
    command = [sys.executable, "-c", text]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def storage(folder: Path) -> str:
    return f"sqlite:///{folder}/search.db"


def trials(folder: Path) -> list[FrozenTrial]:
    """The trials in a search's file, or [] before it has the study."""
    try:
        return optuna.load_study(study_name="mnist", storage=storage(folder)).trials
    except KeyError:
        return []


def stopped_in_the_third(folder: Path) -> list[FrozenTrial]:
    """Kills a search as soon as its third trial has its parameters; returns the trials left behind."""
    optuna.storages.RDBStorage(storage(folder))  # two processes that make the tables at the same time would fail
    process = start(folder)
    until = time.monotonic() + 300
    while not ((stored_trials := trials(folder))[2:] and len(stored_trials[2].params) == 2):
        assert process.poll() is None and time.monotonic() < until, stored_trials
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return trials(folder)


@pytest.mark.slow
def test_a_killed_search_can_be_continued(tmp_path: Path) -> None:
    *finished, killed = stopped_in_the_third(tmp_path)
    assert [trial.state for trial in finished] == [TrialState.COMPLETE] * 2 and killed.state == TrialState.RUNNING
    process = start(tmp_path)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    first, second, third, *others = trials(tmp_path)
    assert [first, second] == finished and third.state == TrialState.FAIL
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * 2
    assert others[0].params == third.params == killed.params != others[1].params
    best = max((first, second, *others), key=lambda trial: trial.value)
    assert said == f"{best.value} {best.params}\n" and 0 < best.value <= 1
    again = start(tmp_path)
    assert again.communicate(timeout=300)[0] == said and len(trials(tmp_path)) == 5
