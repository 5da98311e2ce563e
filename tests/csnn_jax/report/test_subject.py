"""Runs as a report finds them, whole ones and others."""

import shutil

import pytest
from bundles import SMALL, make_run
from digits import few_digits

from csnn_jax.errors import UserError
from csnn_jax.report import subject


@pytest.fixture
def run(tmp_path):
    (tmp_path / "digits").mkdir()
    return make_run(tmp_path / "run", SMALL, few_digits(tmp_path / "digits", train=20, test=8))


def test_a_whole_run(run):
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"accuracy": null', '"accuracy": 0.1'))
    found = subject.read(str(run), 3, None)
    assert (found.name, found.number, found.missing) == (str(run), 3, ())
    assert (found.accuracy, found.iterations) == (0.1, 60)
    assert found.tensors.keys() >= {"conv1.weight", "fc2.bias"}
    assert len(found.dataset.test.labels) == 8 and found.classes == tuple("0123456789")


def test_a_run_without_weights_says_so(run):
    (run / "weights.safetensors").unlink()
    found = subject.read(str(run), 0, None)
    assert found.tensors is None and found.dataset is None
    assert found.missing == (
        f"Its weights can't be used ({run}/weights.safetensors: no such file, expected weights.safetensors of a run).",
    )


def test_images_that_are_gone_are_named_without_their_place(run, tmp_path):
    shutil.rmtree(tmp_path / "digits")
    found = subject.read(str(run), 0, None)
    assert found.tensors is not None and found.dataset is None
    assert found.missing == ("Its test images (idx:DIR) could not be had.",)


def test_what_is_no_run_is_refused(tmp_path, run):
    with pytest.raises(UserError, match="no such directory"):
        subject.read(str(tmp_path / "nowhere"), 0, None)
    with pytest.raises(UserError, match="not a run directory"):
        subject.read(str(tmp_path), 0, None)
    (run / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json: expected JSON"):
        subject.read(str(run), 0, None)


@pytest.mark.parametrize(
    "name, shown",
    [
        ("mnist", "mnist"),
        ("idx:/home/me/x", "idx:DIR"),
        ("tfds:fashion_mnist", "tfds:fashion_mnist"),
        ("arrays:/home/me/x.npz", "arrays:FILE.npz"),
        ("arrays", "arrays:FILE.npz"),
        ("tfds:a/b:1.0.0@/home/me", "tfds:a/b:1.0.0@DATA_DIR"),
    ],
)
def test_data_sets_are_shown_without_their_folder(name, shown):
    assert subject.shown_dataset(name) == shown
