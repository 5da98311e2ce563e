"""The batches of a job, and the thread that makes augmented ones: its order, its bound and its end."""

import json
import signal
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from commands import SMALL, refused, run, start

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.training import feed, plan

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
AUGMENT = (2.0, 30.0, 0.2)


def config(augment=AUGMENT) -> Config:
    model = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,))
    return Config(model, DataConfig(augment=augment), TrainConfig(batch_size=4, epochs=3, seed=5))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("augment")]


class Watched(np.ndarray):
    """Images that note in `taken` the batches taken of them, and have none after `last`."""

    def __getitem__(self, index):
        if isinstance(index, np.ndarray):
            if len(self.taken) == self.last:
                raise MemoryError("no more")
            self.taken.append(index)
        return super().__getitem__(index).view(np.ndarray)


def watched(last: int = 10**6) -> Watched:
    images = IMAGES.copy().view(Watched)
    images.taken, images.last = [], last
    return images


def test_without_augmentation_there_is_no_thread_and_no_copy():
    images, settings = watched(), config(None)
    planned = plan.batches(settings.train, 40)
    with closing(feed.batches(settings, images)) as batches:
        for (iteration, index, made), (n, expected) in zip(batches, planned, strict=True):
            assert iteration == n and made is None and not threads()
            np.testing.assert_array_equal(index, expected)
    assert images.taken == []


@pytest.mark.parametrize("begin", [0, 13, 29])
def test_batches_come_in_order_wherever_it_starts(begin):
    augmentation = data.Augmentation(IMAGES, AUGMENT, 5)
    planned = list(plan.batches(config().train, 40))
    found = list(feed.batches(config(), IMAGES, begin))
    assert [iteration for iteration, _, _ in found] == list(range(begin, 30))
    for iteration, index, made in found:
        np.testing.assert_array_equal(index, planned[iteration][1])
        np.testing.assert_array_equal(made, augmentation.batch(iteration, index))
    assert not threads()


def test_it_works_ahead_by_a_bounded_number_of_batches():
    images = watched()
    with closing(feed.batches(config(), images)) as batches:
        for learnt in range(1, 6):
            next(batches)
            deadline = time.monotonic() + 30
            while len(images.taken) < learnt + feed.AHEAD and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)
            assert len(images.taken) == learnt + feed.AHEAD and threads() == ["augment_0"]


def test_closing_it_ends_the_thread():
    images = watched()
    batches = feed.batches(config(), images)
    next(batches)
    batches.close()
    assert not threads() and len(images.taken) <= 1 + feed.AHEAD


def test_an_error_of_the_thread_is_raised_at_its_iteration():
    done = []
    with pytest.raises(MemoryError, match="no more"), closing(feed.batches(config(), watched(7))) as batches:
        for iteration, _, _ in batches:
            done.append(iteration)
    assert done == list(range(7)) and not threads()


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_with_the_same_augmented_images(tmp_path):
    whole, broken, plain = tmp_path / "whole", tmp_path / "broken", tmp_path / "plain"
    flags = ("csnn_jax.train", *SMALL, "--eval-every", 20, "--max-iters", 60)
    augment = ("--augment", 2, 10, 0.1, "--flip")
    for out, more in ((whole, augment), (plain, ())):
        done = run(*flags, *more, "--out", out)
        assert done.returncode == 0, done.stderr
    process = start(*flags, *augment, "--out", broken)
    assert any("Iter 20" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    line = refused("csnn_jax.train", "--out", broken, "--resume", "--augment", 2, 10, 0.2)
    assert line.startswith(f"error: --augment: {broken} was started with (2.0, 10.0, 0.1), not (2.0, 10.0, 0.2)")
    resumed = run("csnn_jax.train", "--out", broken, "--resume")
    assert resumed.returncode == 0 and "resumed after" in resumed.stdout, resumed.stderr
    assert losses(broken) == losses(whole) and len(losses(whole)) == 60
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert losses(plain) != losses(whole)
    assert "--augment 28.0 0.0 0.0: expected a shift below 28" in refused(*flags[:1], "--augment", 28, 0, 0)


def losses(out) -> list[float]:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "train"]
