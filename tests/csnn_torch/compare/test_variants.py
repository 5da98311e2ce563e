"""In every variant of the run's network all layers fire, or it was trained for as long as allowed."""

from dataclasses import replace

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_torch.compare import cases


@pytest.mark.parametrize("threshold, iterations", [(0.1, 3), (100.0, 3 * cases.PATIENCE)])
def test_a_variant_is_trained_longer_until_every_layer_fires(threshold, iterations, monkeypatch):
    """With the low threshold every layer fires immediately; with the high one, none ever does."""
    model = ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=16, threshold=threshold)
    step, steps = cases.Trainer.step, []
    monkeypatch.setattr(cases.Trainer, "step", lambda self, *batch: (steps.append(batch), step(self, *batch))[1])
    cases.briefly_trained(model, data.load("mnist", model.input_shape), 3)
    assert len(steps) == iterations


def test_the_variants_cover_every_reset_pool_neuron_and_output_another_beta_and_color():
    found = {variant.name: variant.model for variant in cases.variants(ModelConfig())}
    assert len(set(found.values())) == len(found) == 12
    summed = found.pop("sum pools after the neurons")
    assert summed.pool == "sum" and summed.pool_after
    assert {(m.reset, m.pool) for m in found.values()} == {
        (r, p) for r in ("subtract", "zero", "none") for p in ("max", "avg")
    }
    assert found["beta 0.9"].beta == 0.9 and found["learned beta"].learn_beta
    synaptic = found["synaptic, learned alpha and beta"]
    assert synaptic.neuron == "synaptic" and synaptic.learn_alpha and synaptic.learn_beta
    assert found["integrator output"].readout == "membrane"
    others = {variant.name: variant.model for variant in cases.variants(ModelConfig(output="integrator"))}
    assert len(set(others.values())) == len(others) == 12 and others["spiking output"] == ModelConfig()
    assert found["three blocks, color"].conv_channels == (32, 32, 64)


def test_a_variant_of_the_same_shapes_starts_from_the_runs_weights(case):
    learned = replace(case.config, beta=(0.6, 0.7, 0.8), learn_beta=True)
    found = cases._fitting(learned, case.tensors)
    assert found["fc1.weight"] is case.tensors["fc1.weight"] and found["lif2.beta"] == np.float32(0.7)
    assert cases._fitting(replace(case.config, hidden=(13,)), case.tensors) is None
