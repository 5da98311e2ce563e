"""Health messages in training: one when a problem begins, one when it has passed, none for a healthy network."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.health.health import (
    DEAD,
    EXPLODING,
    PATIENCE,
    SATURATED,
    SILENT,
    STEADY,
    Detectors,
    Event,
    HealthMonitor,
    bounds_of_loss,
    by_figure,
    silence,
    states,
)
from csnn_jax.runs.metrics import NeuronSummary
from csnn_jax.runs.rundir import RunDir

LAYERS = 4
FINE = np.array([0.03, 0.03, 0.33, 0.1])  # densities of a trained default network
STRONG = np.array([1e-4, 1e-3, 1e-2, 1e-1])  # and its gradients' norms
LEARNT, CHANCE = 1.5, math.log(10)


def feed(health: Detectors, *, iterations, densities=FINE, gradients=STRONG, loss=LEARNT) -> list[tuple[int, Event]]:
    """(iterations done, event) pairs from `iterations`, a range of 0-based iterations."""
    events = []
    for before in iterations:
        step = health.step(before + 1, loss, np.array(densities), np.array(gradients))
        events += [(before + 1, event) for event in step]
    return events


def but(values: np.ndarray, **changes: float) -> np.ndarray:
    """The values with changes for layers such as `lif2`."""
    changed = values.copy()
    for name, value in changes.items():
        changed[int(name[3:]) - 1] = value
    return changed


def healthy(total=1000) -> Detectors:
    return Detectors(Config(), total)


def test_a_healthy_network_gets_no_message():
    rng = np.random.default_rng(0)
    health = healthy()
    for iteration in range(1, 1001):
        noise = rng.uniform(0.5, 1.5, LAYERS)
        assert health.step(iteration, 1.5 + rng.normal() / 20, FINE * noise, STRONG * noise**4) == []
        if iteration % 50 == 0:
            assert health.evaluated(iteration, np.array([16, 44, 100, 0])) == []


def test_silent_layers_get_one_message_together_and_one_when_all_spike():
    health = healthy()
    start = feed(health, iterations=range(257), densities=but(FINE, lif2=9e-4, lif3=0, lif4=0), loss=CHANCE)
    assert start == [(200, Event("silent", (1, 2, 3), 1))]
    assert feed(health, iterations=range(257, 270), densities=but(FINE, lif4=0)) == []
    assert feed(health, iterations=range(270, 400)) == [(270 + STEADY, Event("silent", (), 271))]


def test_a_silence_within_the_first_fifth_gets_no_message():
    health = healthy()
    assert feed(health, iterations=range(195), densities=but(FINE, lif2=0, lif3=0, lif4=0), loss=CHANCE) == []
    assert feed(health, iterations=range(195, 1000)) == []


@pytest.mark.parametrize(
    ("what", "layers", "trouble", "after"),
    [
        ("saturated", (2,), {"densities": but(FINE, lif3=SATURATED + 0.01)}, STEADY),
        ("vanishing", (0, 1), {"gradients": [1e-12, 1e-9, 1e-3, 1e-2], "loss": 2}, PATIENCE),
        ("exploding", (0,), {"gradients": but(STRONG, lif1=1.01 * EXPLODING)}, PATIENCE),
    ],
)
def test_a_problem_gets_a_message_once_it_has_lasted_and_once_it_has_passed(what, layers, trouble, after):
    health = healthy()
    assert feed(health, iterations=range(50), **trouble) == [(after, Event(what, layers, 1))]
    near = {"densities": but(FINE, lif3=SATURATED - 0.01)} if what == "saturated" else trouble
    assert feed(health, iterations=range(50, 60), **near) == []
    assert feed(health, iterations=range(60, 99)) == [(60 + after, Event(what, (), 61))]


@pytest.mark.parametrize("low", [0.0, SILENT * 0.99])
def test_a_density_near_its_bound_gets_no_repeated_messages(low):
    """Each silence lasts long enough for a message if earlier ones were forgotten."""
    health = healthy()
    count = 0
    for iteration in range(200, 2600, 2 * STEADY):
        count += len(feed(health, iterations=range(iteration, iteration + STEADY), densities=but(FINE, lif1=low)))
        count += len(feed(health, iterations=range(iteration + STEADY, iteration + 2 * STEADY)))
    assert count == 2


def test_small_gradients_of_silent_layers_or_a_minimal_loss_are_no_problem():
    weak = np.full(LAYERS, 1e-12)
    events = feed(healthy(), iterations=range(250), densities=but(FINE, lif4=0), gradients=weak, loss=2)
    assert {event.what for _, event in events} == {"silent"}
    assert feed(healthy(), iterations=range(50), gradients=weak, loss=math.log(1 + 9 / math.e) + 0.01) == []


def test_a_stuck_loss_gets_a_message_after_a_fifth_of_the_job():
    health = healthy(468)
    assert feed(health, iterations=range(93), loss=0.995 * CHANCE) == []
    assert feed(health, iterations=range(93, 120), loss=1.1 * CHANCE) == [(94, Event("stuck", (0,), 94))]
    (passed,) = feed(health, iterations=range(120, 160), loss=2)
    assert passed[1].what == "stuck" and passed[1].layers == () and 120 < passed[0] < 130


def test_a_loss_that_is_low_now_and_then_is_not_stuck():
    health = healthy(100)
    assert not [event for n in range(1, 50) for event in health.step(n, CHANCE + n % 2 - 0.5, FINE, STRONG)]


def test_a_loss_is_stuck_because_of_saturated_layers():
    health = healthy(100)
    (began, _), (_, stuck) = feed(health, iterations=range(30), densities=but(FINE, lif3=0.9), loss=1.1 * CHANCE)
    assert began == STEADY and health.cause(stuck) == Event("saturated", (2,), 20)
    assert health.cause(Event("silent", (0,), 1)).what == "silent"


def test_figures_of_small_batches_are_means_over_32_images():
    health = Detectors(Config(train=TrainConfig(batch_size=9)), 1000)
    for number in range(1, 7):
        health.step(number, float(number), FINE * number, STRONG)
    assert health.loss == 4.5 and health.densities == pytest.approx(FINE * 4.5)


@pytest.mark.parametrize(
    ("loss", "bounds"),
    [("ce_rate", (math.log(1 + 4 / math.e), math.log(5))), ("ce_membrane", (0, math.log(5))), ("mse_count", (0, 1.6))],
)
def test_the_lowest_loss_and_the_one_of_chance(loss, bounds):
    """Two spikes of each class in 10 steps are (8^2 + 4 * 2^2) / 5 / 10 from the target."""
    config = Config(ModelConfig(num_classes=5, time_steps=10), train=TrainConfig(loss=loss))
    assert bounds_of_loss(config) == pytest.approx(bounds)


def test_the_rate_targets_cost_is_not_compared_with_chance():
    added = 2 * ((FINE[:-1] - 0.5) ** 2).mean()
    config = Config(train=TrainConfig(rate_target=0.5, rate_weight=2.0))
    assert feed(Detectors(config, 100), iterations=range(50), loss=0.9 * CHANCE + added) == []
    assert feed(healthy(100), iterations=range(50), loss=0.9 * CHANCE + added) != []
    stays = feed(Detectors(config, 100), iterations=range(50), loss=CHANCE + added)
    assert stays == [(20, Event("stuck", (0,), 20))]


def test_layers_with_mostly_dead_channels():
    health, channels = healthy(100), np.array([32, 64, 512, 10])
    feed(health, iterations=range(50))
    dead = np.array([31, 44, 511, 1])
    assert health.evaluated(50, dead) == [Event("dead", (0, 2), 50)] and health.evaluated(60, dead) == []
    assert health.evaluated(70, (channels * (DEAD - 0.05)).astype(int)) == []  # still close
    assert health.evaluated(80, (channels * (DEAD - 0.2)).astype(int)) == [Event("dead", (), 80)]


def test_unknown_densities_are_no_problem():
    unknown = np.full(LAYERS, np.nan)
    assert feed(healthy(), iterations=range(50), densities=unknown, gradients=unknown) == []


def test_a_layers_state_depends_on_its_density_and_dead_channels():
    """With many classes, each output rarely spikes."""
    many = ModelConfig(num_classes=1000)
    np.testing.assert_array_equal(silence(many), [SILENT, SILENT, SILENT, 0.05 / 1000])
    densities = {"lif1": 0.0009, "lif2": 0.61, "lif3": 0.6, "lif4": 0.0009}
    layer_states = states(many, densities, {name: neurons(dead=5) for name in densities})
    assert layer_states == {"lif1": "silent", "lif2": "saturated", "lif3": "healthy", "lif4": "healthy"}
    layer_states = states(many, dict.fromkeys(densities, 0.03), {name: neurons(dead=6) for name in densities})
    assert set(layer_states.values()) == {"over half dead"}
    layer_states = states(
        ModelConfig(output="integrator"), dict.fromkeys(densities, 0.0), {name: neurons() for name in layer_states}
    )
    assert [*layer_states.values()] == ["silent"] * 3 + ["integrator"]


def neurons(dead: int = 0) -> NeuronSummary:
    return NeuronSummary(mean=0.03, deviation=0.2, highest=0.12, near=0.1, threshold=1.0, dead=dead, channels=10)


def watch(path, total: int, say=id) -> HealthMonitor:
    names = [f"lif{i}" for i in range(1, LAYERS + 1)]
    return HealthMonitor(decided(Config()), total, RunDir(path), lambda: {name: neurons() for name in names}, say)


def test_a_line_and_a_record_say_what_is_wrong_and_what_to_try(tmp_path):
    said: list[str] = []
    watched = watch(tmp_path, 50, said.append)
    for iteration in range(20):
        layers = watched.record(but(FINE, lif3=0.0) if iteration < 12 else FINE, STRONG)
        watched.step(iteration + 1, 2.0, layers)
    assert said == [
        "Health: silent layers: lif3 (density 0 %); try --init calibrated",
        "Health: no silent layers since iteration 13",
    ]
    began, passed = RunDir(tmp_path).records("health")
    assert (began["iter"], began["what"], began["state"], began["layers"]) == (10, "silent", "began", ["lif3"])
    assert began["density"]["lif3"] == 0 and began["membranes"]["lif3"]["highest"] == 0.12
    assert f"Health: {began['text']}" == said[0] and f"Health: {passed['text']}" == said[1]
    assert (passed["iter"], passed["state"], passed["since"], passed["layers"]) == (17, "passed", 13, [])


figures = st.lists(st.sampled_from([0, 1e-13, 0.0009, 0.0011, 0.02, 0.55, 0.7, 5e3]), min_size=4, max_size=4)
stretches = st.lists(
    st.tuples(figures, figures, st.sampled_from([1.47, 2.0, 2.29, 2.31]), st.integers(1, 30)), max_size=12
)


@settings(max_examples=25)
@given(stretches, st.integers(0, 300))
def test_a_resumed_job_gets_the_messages_of_an_uninterrupted_one(tmp_path_factory, drawn, at):
    steps = [(d, g, loss) for d, g, loss, times in drawn for _ in range(times)]

    def go(watched: HealthMonitor, iterations: range) -> None:
        for iteration in iterations:
            densities, gradients, loss = steps[iteration]
            layers = watched.record(np.array(densities), np.array(gradients))
            watched.run.record("train", iter=iteration + 1, loss=loss, images_per_s=1.0, **layers)
            watched.step(iteration + 1, loss, layers)
            if (iteration + 1) % 20 == 0:
                seen = watched.neurons()
                watched.run.record("test", iter=iteration + 1, accuracy=0.5, **by_figure(seen))
                watched.evaluated(iteration + 1, seen)

    whole, broken = (tmp_path_factory.mktemp(name) for name in ("whole", "broken"))
    go(watch(whole, total=len(steps)), range(len(steps)))
    go(watch(broken, total=len(steps)), range(min(at + 9, len(steps))))
    RunDir(broken).truncate_records(min(at, len(steps)))
    resumed = watch(broken, total=len(steps))
    resumed.resume()
    go(resumed, range(min(at, len(steps)), len(steps)))
    assert RunDir(broken).records() == RunDir(whole).records()
