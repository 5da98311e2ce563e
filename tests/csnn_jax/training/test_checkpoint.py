"""The training state on disk: bit-equal after a restart, and what is no such state refused in one line."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.network.model import CSNN
from csnn_jax.training import checkpoint
from csnn_jax.training.learner import State

CONFIG = ModelConfig(input_shape=(4, 4, 1), conv_channels=(2,), hidden=(), num_classes=3, learn_beta=True)


def state(key: int, config: ModelConfig = CONFIG) -> State:
    """A training state with no two arrays alike."""
    params = nnx.state(CSNN(config, key))
    adam = optax.adam(0.01)
    moments = adam.init(params)
    for step in range(key + 1):
        gradient = jax.tree.map(lambda p, step=step: jnp.sin(p + step), params)
        _, moments = adam.update(gradient, moments)
    return State(jax.tree.map(lambda p: 2 * p, params), params, moments)


def refusal(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        checkpoint.restore(*arguments)
    message = str(caught.value)
    assert message.startswith(f"{arguments[0]}: expected a checkpoint of this network: ")
    assert "\n" not in message and len(message) < 400
    return message


def test_the_latest_state_comes_back_bit_by_bit(tmp_path):
    directory = tmp_path / "checkpoints"
    for iteration in (1, 51, 101):
        checkpoint.save(directory, iteration, state(iteration % 50))
    last = state(3)
    checkpoint.save(directory, 130, last)
    assert [p.name for p in directory.iterdir()] == ["130"]
    iteration, found = checkpoint.restore(directory, state(0))
    assert iteration == 130 and jax.tree.structure(found) == jax.tree.structure(last)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(last), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_saving_an_iteration_twice_keeps_its_state(tmp_path):
    for _ in range(2):
        checkpoint.save(tmp_path / "checkpoints", 4, {"a": jnp.arange(3)})
    iteration, found = checkpoint.restore(tmp_path / "checkpoints", {"a": jnp.zeros(3, int)})
    assert iteration == 4
    np.testing.assert_array_equal(found["a"], [0, 1, 2])


def test_a_missing_directory_is_named(tmp_path):
    assert refusal(tmp_path / "checkpoints", state(0)).endswith("no such directory")


def test_an_empty_directory_is_named(tmp_path):
    assert refusal(tmp_path, state(0)).endswith("no checkpoint in it")


def test_the_state_of_another_network_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, state(0))
    other = ModelConfig(input_shape=(4, 4, 1), conv_channels=(3,), hidden=(), num_classes=3, learn_beta=True)
    assert refusal(tmp_path, state(0, other)).endswith("it is damaged, or its arrays have other shapes or types")


def test_a_damaged_state_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, state(0))
    path = tmp_path / "1" / "state" / "_METADATA"
    path.write_bytes(path.read_bytes()[:100])
    refusal(tmp_path, state(0))


FULL_DISK = """
import resource, sys
from pathlib import Path
import jax
from csnn_jax.training import checkpoint
from csnn_jax.errors import UserError
directory = Path(sys.argv[1])
old, new = (jax.random.uniform(jax.random.key(i), (30_000,)) for i in range(2))
checkpoint.save(directory, 1, old)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, unlimited[1]))  # Python ignores the signal, so writes fail
try:
    checkpoint.save(directory, 2, new)
except UserError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
iteration, found = checkpoint.restore(directory, old)
print(iteration, bool((found == old).all()))
checkpoint.save(directory, 2, new)
print(checkpoint.restore(directory, old)[0], sorted(p.name for p in directory.iterdir()))
"""


def test_a_full_disk_is_one_line_and_keeps_the_state_before(tmp_path):
    directory = tmp_path / "checkpoints"
    command = [sys.executable, "-c", FULL_DISK, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, before, after = done.stdout.splitlines()
    assert message.startswith(f"{directory}: can't be written: ") and "File too large" in message
    assert before == "1 True" and after == "2 ['2']"
    assert done.stderr == ""
