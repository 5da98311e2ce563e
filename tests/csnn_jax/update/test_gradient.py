"""A batch's gradient in parts and on several devices equals that of the whole batch on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csnn_jax.config import ModelConfig, TrainConfig
from csnn_jax.data import batches
from csnn_jax.devices.mesh import Devices
from csnn_jax.engine import event, scan
from csnn_jax.network import model as models
from csnn_jax.network.model import CSNN
from csnn_jax.update import gradient as gradients
from csnn_jax.update import objective
from csnn_jax.update.gradient import Gradients
from csnn_jax.update.objective import ce_rate

SMALL = ModelConfig(input_shape=(6, 6, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=6)
BATCH = 12


@pytest.fixture
def batch() -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 256, (BATCH, 6, 6, 1)), jnp.uint8), jnp.asarray(rng.integers(0, 3, BATCH))


def found(model: CSNN, x, labels, settings: TrainConfig | None = None, devices: int = 1, **options) -> Gradients:
    """Gradients of one batch, on the first `devices` devices."""
    graph, params = nnx.split(model)
    on = Devices(jax.devices()[:devices])
    made = gradients.make(graph, objective.make(settings or TrainConfig()), devices=on, **options)
    x, labels = np.asarray(x), np.asarray(labels)
    shared = on.put(x, len(labels), x.ndim - 4), on.put(labels, len(labels))
    return jax.tree.map(np.asarray, jax.jit(made)(on.copy(params), *shared))


def assert_close(one: Gradients, other: Gradients, bound: float) -> None:
    """Checks that differences are within `bound` of each array's largest value."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.shape == b.shape and np.abs(b).max() > 0
        assert np.abs(a - b).max() <= bound * np.abs(b).max()


def test_one_device_gets_a_program_without_mapping(batch):
    """XLA rounds a mapped program differently, so a job on one device would no longer have the same bits."""
    graph, params = nnx.split(CSNN(SMALL, key=0))
    texts = [
        str(jax.make_jaxpr(gradients.make(graph, objective.make(TrainConfig()), devices=on))(params, *batch))
        for on in (None, Devices(jax.devices()[:1]), Devices(jax.devices()[:2]))
    ]
    assert texts[0] == texts[1] and "psum" not in texts[1]
    assert "shard_map" in texts[2] and "shard_map" not in texts[1]


def test_dropout_scales_up_the_kept_spikes(firing, batch):
    model = firing(SMALL)
    graph, params = nnx.split(model)
    x, labels = batch
    masks = tuple(map(jnp.asarray, batches.dropout_masks(SMALL, 0.75, 0, 0, BATCH)))
    made = gradients.make(graph, objective.make(TrainConfig()), dropout=0.75)
    dropped = scan.Dropout(masks, 4.0)
    output, _ = jax.jit(lambda x: scan.forward_with_densities(model, x, dropout=dropped))(x)
    expected = ce_rate(output, labels)
    assert jax.jit(made)(params, x, labels, *masks).loss == pytest.approx(float(expected), 1e-12)


def test_the_gradient_in_float64(firing, batch):
    model = firing(SMALL)
    whole = found(model, *batch)
    assert min(whole.densities) > 0.01
    for part, devices in [(5, 1), (2, 3)]:  # a rate target's test has only devices
        assert_close(found(model, *batch, devices=devices, part=part), whole, 1e-12)


def test_the_gradient_of_the_event_engine(firing, batch):
    """Parts and devices don't depend on the engine, so one of the spreads is enough."""
    model = models.from_tensors(SMALL, models.tensors(firing(SMALL)), jnp.float32)
    whole = found(model, *batch, engine=event)
    again = found(model, *batch, engine=event, part=2, devices=3)
    np.testing.assert_allclose(again.densities, whole.densities, rtol=1e-6)
    assert_close(again, whole, 1e-5)


def test_a_rate_target_applies_to_the_whole_batch(firing, batch):
    model = firing(SMALL)
    settings = TrainConfig(rate_target=0.3, rate_weight=50)
    x = batch[0].at[: BATCH // 2].set(0)  # makes the devices' densities differ
    whole = found(model, x, batch[1], settings)
    assert_close(found(model, x, batch[1], settings, devices=4), whole, 1e-12)
    for devices in (1, 2):
        model32 = models.from_tensors(SMALL, models.tensors(firing(SMALL)), jnp.float32)
        assert_close(found(model32, x, batch[1], settings, engine=event, devices=devices), whole, 1e-5)


@pytest.mark.parametrize(
    "rows, part, size", [(128, 32, 32), (128, 48, 32), (32, 64, 32), (7, 3, 1), (12, None, 12), (12, 5, 4)]
)
def test_the_number_of_images_per_part(rows, part, size):
    assert gradients.part_of(rows, part) == size
