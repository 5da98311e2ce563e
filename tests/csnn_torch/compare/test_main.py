"""The comparison finds what differs: it passes for equal networks, and every kind of mutation breaks a bound."""

import json
import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from commands import ENVIRONMENT
from PIL import Image

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.network import layers
from csnn_jax.network import model as jax_model
from csnn_jax.network.neuron import leaky
from csnn_jax.runs import rundir, weights
from csnn_torch.compare import __main__ as command
from csnn_torch.compare import cases as variants
from csnn_torch.compare import gradients
from csnn_torch.compare import spikes as parity
from csnn_torch.compare.bounds import Check
from csnn_torch.compare.comparison import Comparison

torch.set_num_threads(1)
STACK = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(12,), num_classes=4, time_steps=8)


@pytest.fixture
def network() -> parity.Network:
    """Whole eighths and binary images: sums are exact, many membranes lie on the threshold, and windows have ties."""
    rng = np.random.default_rng(2)
    shapes = weights.expected_shapes(STACK)
    tensors = {name: (rng.integers(-8, 7, shape) / 8).astype(np.float32) for name, shape in shapes.items()}
    images = (255 * rng.integers(0, 2, (6, 8, 8, 1))).astype(np.uint8)
    return parity.Network("run", STACK, tensors, images, rng.integers(0, 4, 6))


def broken(results) -> list[Check]:
    return [check for result in results for check in result.checks() if not check.holds]


def spikes(network, dtype="float64", engines=("scan",)):
    found = parity.spikes(network, engines, dtype)
    assert all(result.counted or result.refused for result in found)
    return found


def test_equal_networks_break_no_bound(network):
    results = [*spikes(network), *spikes(network, "float32", ("scan", "event"))]
    assert broken(results) == [] and [r.different for r in results] == [0, 0, 0]
    assert all(r.compared == 6 * 8 * (64 + 12 + 4) and r.membranes == 1 and r.refused is None for r in results)
    found = list(gradients.compare(network, ("scan", "event"), ("fast_sigmoid", "leaky_spike")))
    assert broken(found) == [] and sum(len(result.checks()) for result in found) == 6
    assert [r.side for r in found if r.refused] == ["event", "event"]  # in float64


def test_a_spike_at_the_threshold_is_found_and_located(network, monkeypatch):
    def at_least(membrane, current, beta, threshold, reset, derivative):
        membrane = beta * membrane + current - jnp.where(membrane >= threshold, threshold, 0)
        return membrane, (membrane >= threshold).astype(membrane.dtype)  # where it should be >

    monkeypatch.setattr(jax_model, "leaky", at_least)
    (result,) = spikes(network)
    assert broken([result])[0].name == "run, scan, float64: share of spikes that differ"
    first = result.first[0]
    assert (first.layer, first.step, first.image) == ("lif1", 0, 0)
    assert first.ours == first.theirs == 1 and first.distance == 0
    assert len(first.neuron) == 3


def test_a_threshold_that_is_off_by_one_percent_is_found(network, monkeypatch):
    monkeypatch.setattr(jax_model, "leaky", lambda u, i, beta, theta, *rest: leaky(u, i, beta, 0.99 * theta, *rest))
    assert broken(spikes(network)) and broken(spikes(network, "float32"))


def test_a_pool_that_splits_the_gradient_among_ties_is_found(network, monkeypatch):
    def maximum(x, bias):
        return jnp.stack(layers._quarters(x + bias)).max(0)

    monkeypatch.setattr(layers, "max_pool", maximum)
    assert broken(spikes(network)) == []  # the forward pass is the same
    found = [g for g in gradients.compare(network, ("scan",), ("fast_sigmoid",)) if g.dtype == "float64"]
    assert [check.name.split(":")[0] for check in broken(found)] == ["run, fast_sigmoid, scan, float64"]


def test_gradients_are_compared_on_images_that_flip_no_spike_between_the_types(network, monkeypatch):
    real = gradients._spikes

    def flipped(network, dtype, rows):
        layers = real(network, dtype, rows)
        if dtype == "float32" and rows.start in (0, 2):
            layers[1][3, 1, 5] = 1 - layers[1][3, 1, 5]  # of the chunk's second image
        return layers

    monkeypatch.setattr(gradients, "_spikes", flipped)
    few = gradients.steady(network, 2)
    np.testing.assert_array_equal(few.images, network.images[[0, 2]])
    np.testing.assert_array_equal(few.labels, network.labels[[0, 2]])
    np.testing.assert_array_equal(gradients.steady(network, 6).images, network.images)  # too few: all of them


def test_a_float32_spike_may_differ_only_by_a_rounding(network):
    flip = parity.Flip("lif1", 3, 0, (1, 2, 3), 1.0002, 0.9999, 2e-4)
    densities = {"lif1": 0.1}
    result = parity.Spikes("run", "event", "float32", 1, None, 10**7, 1, densities, 1.0, 1, 2e-4, (flip,))
    assert [check.name.split(": ")[1] for check in broken([result])] == [
        "distance of a first different spike from the threshold"
    ]
    assert broken([replace(result, farthest=1e-6)]) == []


def test_more_images_decide_where_one_rounding_breaks_the_bound(network, monkeypatch):
    asked = []

    def spikes(network, engines, dtype):
        asked.append((engines, len(network.images)))
        different = 5 if len(asked) == 1 else 7
        one = parity.Spikes("run", "", dtype, len(network.images), None, 10**6, different, {"lif1": 0.1})
        sizes = (1e-7, 1e-2)  # of which the second is no rounding
        return [replace(one, engine=e, farthest=size) for e, size in zip(engines, sizes, strict=False)]

    monkeypatch.setattr(parity, "spikes", spikes)
    found = parity.decided(network, ("scan", "event"), "float32", 2)
    assert asked == [(("scan", "event"), 2), (("scan",), 6)]  # 6 images are all there are
    assert [r.different for r in found] == [7, 5] and len(broken(found)) == 3
    assert not replace(found[0], different=100).undecided and not replace(found[0], dtype="float64").undecided


@pytest.mark.parametrize(
    "flag", ["images", "variant-images", "iterations", "exact-iterations", "exact-batch", "rounds"]
)
def test_numbers_that_would_prove_nothing_are_refused(flag, capsys):
    assert command.main(["--run", "nowhere", f"--{flag}", "0"]) == 2
    assert capsys.readouterr().err == f"error: --{flag} 0: expected a whole number of at least 1\n"


def test_a_folder_that_can_not_be_made_is_refused_before_anything_is_compared(run, capsys):
    assert command.main(["--run", str(run), "--out", f"{run}/config.json/x"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_wrong_run_leaves_no_folder_and_a_run_is_not_written_into(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert command.main(["--run", str(tmp_path / "nope"), "--out", str(out)]) == 2
    assert "nope: no such directory" in capsys.readouterr().err and not out.exists()
    assert command.main(["--run", str(run), "--out", str(run)]) == 2
    assert f"--out {run}: is a run directory" in capsys.readouterr().err


def test_a_silent_network_proves_nothing(network):
    silent = replace(network, tensors={name: 0 * tensor for name, tensor in network.tensors.items()})
    (result,) = parity.spikes(silent, ("scan",), "float64")
    assert not result.counted and result.checks() == []
    (found,) = (g for g in gradients.compare(silent, ("scan",), ("fast_sigmoid",)) if g.dtype == "float64")
    assert np.isnan(found.errors["conv1.weight"]) and broken([found])


@pytest.mark.parametrize("threshold, iterations", [(0.05, 3), (100.0, 3 * variants.PATIENCE)])
def test_a_variant_is_trained_longer_until_every_layer_fires(threshold, iterations, monkeypatch):
    """With the low threshold every layer fires at once, with the high one no layer ever does."""
    model = ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=16, threshold=threshold)
    step, steps = variants.Learner.step, []
    monkeypatch.setattr(variants.Learner, "step", lambda self, *batch: (steps.append(batch), step(self, *batch))[1])
    variants.briefly_trained(model, data.load("mnist", model.input_shape), 3)
    assert len(steps) == iterations


def test_predictions_may_differ_where_two_classes_tie_within_one_spike(network):
    total = parity._Total(network, "scan", "float32")
    total._predictions(np.array([[5, 6], [5, 7], [5, 4]]), np.array([[6, 5], [6, 5], [5, 4]]))
    assert (total.near_ties, total.predictions) == (1, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a network of which every layer fires on MNIST."""
    config = Config(ModelConfig(conv_channels=(4, 6), hidden=(16,), time_steps=8))
    rng = np.random.default_rng(1)
    tensors = {}
    for name, shape in weights.expected_shapes(config.model).items():
        bound = 4 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
        tensors[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    path = rundir.create(str(tmp_path_factory.mktemp("compare") / "run"), config)
    weights.save(path.weights, tensors, config.model)
    return path.path


def compare(run, out, before: str = "", *flags) -> subprocess.CompletedProcess:
    arguments = ["--run", str(run), "--out", str(out), "--quick", "--images", "8", *map(str, flags)]
    code = f"import sys\n{before}\nfrom csnn_torch.compare.__main__ import main\nsys.exit(main({arguments!r}))"
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=500)


def test_the_command_answers_all_questions(run, tmp_path):
    flags = ("--iterations", 2, "--exact-iterations", 2, "--rounds", 1)
    done = compare(run, tmp_path / "out", "", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert values["bounds"] > 10 and values["broken"] == []
    assert [(s["engine"], s["dtype"], s["different"]) for s in values["spikes"] if not s["refused"]] == [
        ("scan", "float64", 0),
        ("scan", "float32", 0),
        ("event", "float32", 0),
    ]
    exact = values["trajectories"][1]
    assert exact["dtype"] == "float64" and len(exact["losses"]["snntorch"]) == 2 and max(exact["differences"]) < 1e-12
    assert exact["first_flip"] is None and exact["losses"]["snntorch"][0] != exact["losses"]["snntorch"][1]
    costs = {cost["side"]: cost for cost in values["costs"]}
    origins = values["origins"]
    assert set(origins) == {"cost", "network", "training"}
    assert all(
        o["seconds"] > 0 and o["machine"]["cpus"] and "--run RUN --out OUT" in o["command"] for o in origins.values()
    )
    assert list(costs) == ["scan", "event", "snntorch"]
    for cost in costs.values():
        assert cost["step_s"] > 0 and cost["infer_s"] > 0 and cost["peak_memory_mb"] > 100
        assert cost["predictions"] == costs["snntorch"]["predictions"] and "threads" in cost["description"]
    _, config, tensors = rundir.open_run(str(run))
    later = Comparison(str(run), config, tensors)
    assert later.keep(values, ("cost",)) == ["network", "training"] and later.costs == []
    again = json.loads(json.dumps(later.as_json()))
    assert [again[part] for part in ("spikes", "gradients", "trajectories")] == [
        values[part] for part in ("spikes", "gradients", "trajectories")
    ]
    with pytest.raises(ValueError, match="other weights"):
        Comparison(str(run), config, tensors | {"fc1.bias": tensors["fc1.bias"] + 1}).keep(values, ())
    text = (tmp_path / "out" / "comparison.md").read_text()
    for heading in ("## Same network?", "### Gradients", "## Same training?", "## What does each cost?"):
        assert heading in text
    with Image.open(tmp_path / "out" / "comparison.png") as picture:
        assert min(picture.size) > 400


def test_the_command_names_a_broken_bound_and_exits_with_1(run, tmp_path):
    off = (
        "from csnn_jax.network import model, neuron\n"
        "model.leaky = lambda u, i, beta, theta, *rest: neuron.leaky(u, i, beta, 1.01 * theta, *rest)"
    )
    done = compare(run, tmp_path / "out", off, "--questions", "network")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Broken: run, scan, float64: share of spikes that differ" in done.stdout
    assert "**Broken**: run, scan, float64" in (tmp_path / "out" / "comparison.md").read_text()
