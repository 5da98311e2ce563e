"""Run directories: what they hold, what may replace them, and the lock that ends with its process."""

import os
import platform
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from bundles import TRAIN, drawn, make_checkpoint
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import claim, layouts, rundir, weights
from csnn_jax.runs.rundir import RunDir

CONFIG = Config(
    model=ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=3), train=TrainConfig(seed=7)
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs" / "one"


@pytest.fixture
def run(out):
    return rundir.create(str(out), CONFIG)


def finish(run):
    run.record("end", iter=3, interrupted=False, accuracy=0.5)


def test_a_new_run_holds_its_configuration(run, out):
    assert [p.name for p in out.iterdir()] == ["config.json"]
    assert run.path == out and run.config() == CONFIG and run.records() == [] and not run.finished
    weights.save(run.weights, drawn(CONFIG.model, 0), CONFIG.model)
    opened, config, loaded = rundir.open_run(str(out))
    assert opened == run and config == CONFIG and loaded.keys() == layouts.expected_shapes(CONFIG.model).keys()


def test_without_a_path_every_run_gets_a_new_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [rundir.create(None, CONFIG).path for _ in range(3)]
    assert len(set(paths)) == 3
    assert all(re.fullmatch(r"runs/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d)?", str(path)) for path in paths)
    assert all(RunDir(tmp_path / path).config() == CONFIG for path in paths)


def test_one_of_several_runs_started_with_the_same_path_gets_it(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        for number in range(10):
            out = tmp_path / str(number)
            errors = [one.exception() for one in [threads.submit(rundir.create, str(out), CONFIG) for _ in range(4)]]
            assert [type(error) for error in errors if error] == [UserError] * 3
            assert RunDir(out).config() == CONFIG and [p.name for p in out.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("", ("out ''",)),
        ("y" * 256, ("File name too long",)),
        ("file/run", ("file", "directory")),
        ("file", ("out file", "directory")),
    ],
)
def test_an_unusable_path_is_refused(path, facts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with refusing(UserError, *facts, unchanged=tmp_path):
        rundir.create(path, CONFIG)


def test_finished_and_unfinished_runs_are_not_overwritten(run, out):
    run.record("end", iter=1, interrupted=True)
    with refusing(UserError, f"out {out}", "unfinished", "overwrite", unchanged=out) as nothing_to_resume:
        rundir.create(str(out), CONFIG)
    assert "resume" not in str(nothing_to_resume.value)
    (out / "checkpoints" / "1").mkdir(parents=True)
    with refusing(UserError, f"out {out}", "unfinished", "overwrite", "resume", unchanged=out):
        rundir.create(str(out), CONFIG)
    finish(run)
    with refusing(UserError, f"out {out}", "finished", "overwrite", unchanged=out):
        rundir.create(str(out), CONFIG)
    assert run.config() == CONFIG and run.finished


def test_overwriting_removes_only_the_files_of_the_run(run, out):
    finish(run)
    for name in rundir.FILES:
        if name not in ("config.json", "metrics.jsonl", "checkpoints"):
            (out / name).write_text("old")
    (out / "checkpoints" / "5").mkdir(parents=True)
    (out / "checkpoints" / "mine").mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "bundle").mkdir()
    other = replace(CONFIG, train=TrainConfig(seed=8))
    again = rundir.create(str(out), other, overwrite=True)
    assert sorted(p.name for p in out.iterdir()) == ["bundle", "checkpoints", "config.json", "notes.txt"]
    assert again.config() == other and (out / "notes.txt").read_text() == "mine"
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["mine"]


@pytest.mark.parametrize("text", ['{"model_type": "bert"}', "[]", "{", ""])
def test_another_programs_config_is_not_a_run(text, out):
    out.mkdir(parents=True)
    (out / "config.json").write_text(text)
    for overwrite in (False, True):
        with refusing(UserError, f"out {out}", "config.json", "isn't a run's", unchanged=out):
            rundir.create(str(out), CONFIG, overwrite)


def test_a_bundle_is_not_replaced_by_a_run(run, out):
    (out / "manifest.json").touch()
    for overwrite in (False, True):
        with refusing(UserError, f"out {out}", "manifest.json", "bundle", unchanged=out):
            rundir.create(str(out), CONFIG, overwrite)


@pytest.mark.parametrize("name", ["weights.safetensors", "notes.txt", ".hidden"])
def test_a_folder_with_files_but_no_run_is_refused(name, out):
    out.mkdir(parents=True)
    rundir.check_out(str(out))
    (out / name).write_bytes(b"precious")
    for overwrite in (False, True):
        with refusing(UserError, f"out {out}", "config.json", "empty", unchanged=out):
            rundir.create(str(out), CONFIG, overwrite)


@pytest.mark.parametrize("there", [(), ("notes.txt",)])
def test_a_run_that_fails_before_it_has_weights_is_removed_but_no_other_file(there, run, out):
    for name in there:
        (out / name).write_text("mine")
    with pytest.raises(ZeroDivisionError), rundir.removed_if_failed(run):
        run.record("train", iter=1, **TRAIN)
        _ = 1 / 0
    assert [p.name for p in out.iterdir()] == [*there] if there else not out.exists()


def test_a_run_that_fails_later_stays(run):
    weights.save(run.weights, drawn(CONFIG.model, 0), CONFIG.model)
    with pytest.raises(ZeroDivisionError), rundir.removed_if_failed(run):
        _ = 1 / 0
    assert run.config() == CONFIG and run.weights.exists()


def test_a_resumed_run_drops_the_records_it_will_write_again(run):
    for i in range(1, 5):
        run.record("train", iter=i, **TRAIN)
    run.record("test", iter=4, accuracy=0.5)
    run.record("end", iter=4, interrupted=False, accuracy=0.5)
    run.record("health", iter=4, text="")  # from the final evaluation
    run.truncate_records(4)
    assert [(r["kind"], r["iter"]) for r in run.records()] == [*(("train", i) for i in range(1, 5)), ("test", 4)]
    run.truncate_records(2)
    assert run.records() == [{"kind": "train", "iter": number} | TRAIN for number in (1, 2)]


@pytest.mark.parametrize(
    "line",
    [
        *(b"[1]", b'{"iter": 1}', b'{"kind": "train"}'),
        *(b'{"kind": "%s", "iter": 1}' % kind for kind in (b"train", b"health", b"test", b"end")),
        b'{"kind": "end", "iter": 1, "interrupted": false}',
    ],
)
def test_a_broken_record_is_reported_with_file_and_line(run, out, line):
    run.record("train", iter=0, **TRAIN)
    with open(out / "metrics.jsonl", "ab") as file:
        file.write(line + b"\n")
    with refusing(UserError, out / "metrics.jsonl", "line 2", "JSON object"):
        run.records()


def test_weights_of_an_unfinished_job_have_a_note_unless_a_checkpoint_was_chosen(run):
    assert run.unfinished == "training hasn't ended"
    run.record("end", iter=1, interrupted=True)
    assert run.unfinished == "training was interrupted after 1 iteration"
    assert replace(run, checkpoint=1).unfinished is None
    finish(run)
    assert run.unfinished is None


def test_half_a_line_left_by_a_kill_is_skipped(run, out):
    run.record("train", iter=0, **TRAIN)
    with open(out / "metrics.jsonl", "ab") as file:
        file.write(b'{"kind": "train", "it')
    assert run.records() == [{"kind": "train", "iter": 0} | TRAIN]
    run.truncate_records(1)
    run.record("train", iter=1, **TRAIN)
    assert [record["iter"] for record in run.records()] == [0, 1]


def test_a_checkpoint_opens_by_its_name(out):
    run = rundir.create(str(out), replace(CONFIG, data=DataConfig(validation=5)))
    weights.save(run.weights, drawn(CONFIG.model, 0), CONFIG.model)
    for number, accuracy in ((3, 0.9), (6, 0.2), (9, None)):
        make_checkpoint(out, number)
        if accuracy is not None:
            run.record("validation", iter=number, accuracy=accuracy)
    for name, number in (("best", 3), ("last", 9), ("6", 6), (6, 6)):
        opened, config, tensors = rundir.open_run(str(out), name)
        assert (opened.checkpoint, config) == (number, run.config())
        np.testing.assert_array_equal(tensors["fc1.weight"], drawn(CONFIG.model, number)["fc1.weight"])
    np.testing.assert_array_equal(rundir.open_run(str(out))[2]["fc1.weight"], drawn(CONFIG.model, 0)["fc1.weight"])
    with refusing(UserError, "checkpoint 7", "best", "last", run.checkpoints, "3, 6, 9"):
        rundir.open_run(str(out), "7")


def test_files_left_half_written_by_a_kill_are_removed(run, out):
    run.checkpoints.mkdir()
    for name in (".weights.safetensors.x1", ".metrics.jsonl.x2", ".mine", "notes.txt"):
        (out / name).write_text("half")
    for name in (".4.x3", "4", ".3.gone"):
        (run.checkpoints / name).mkdir()
    run.sweep()
    assert sorted(p.name for p in out.iterdir()) == [".mine", "checkpoints", "config.json", "notes.txt"]
    assert [p.name for p in run.checkpoints.iterdir()] == ["4"]


def test_errors_name_what_is_not_a_run(tmp_path, run, out):
    for path, facts in (
        (tmp_path / "missing", (tmp_path / "missing", "no such directory")),
        (tmp_path, (tmp_path, "config.json")),
        (out.parent, (out.parent, "config.json", f"perhaps you meant {out}")),
        (out, (run.weights, "no such file")),
    ):
        with refusing(UserError, *facts):
            rundir.open_run(str(path))
    (out / "config.json").write_bytes(b"\xff\xfe\x00")
    with refusing(UserError, out / "config.json"):
        rundir.open_run(str(out))


def test_weights_of_another_model_are_refused(run, out):
    other = replace(CONFIG.model, reset="zero")
    weights.save(run.weights, drawn(other, 0), other)
    with refusing(UserError, run.weights, out / "config.json"):
        rundir.open_run(str(out))


def test_a_claimed_run_names_its_owner(run, out):
    with run.claimed():
        owner = (os.getpid(), platform.node())
        for overwrite in (False, True):
            with refusing(UserError, f"out {out}", *owner, unchanged=out):
                rundir.create(str(out), CONFIG, overwrite)
        with refusing(UserError, *owner), run.claimed():
            pytest.fail("claimed twice")
        (out / "trained_by.json").unlink()  # as in a read-only folder, which never has it
    assert [path.name for path in out.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["[]", '{"process": 1, "host": "gone"}'])
def test_the_claim_of_a_dead_process_does_not_matter(text, run, out):
    (out / "trained_by.json").write_text(text)
    with run.claimed():
        with refusing(UserError, f"out {out}", os.getpid(), unchanged=out):
            rundir.create(str(out), CONFIG, overwrite=True)
        (out / "trained_by.json").write_text(text)
        with refusing(UserError, f"out {out}", "another process", unchanged=out):
            rundir.create(str(out), CONFIG, overwrite=True)
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_a_claim_waits_for_processes_that_only_check(run):
    """Processes that start with the same path check, and are refused."""
    with ThreadPoolExecutor(1) as threads:
        with claim._locked(run.path, shared=True):
            claiming = threads.submit(run.claimed().__enter__)
            time.sleep(0.1)
            assert not claiming.done()
        assert claiming.result() is None
