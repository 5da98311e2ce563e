"""Health messages are true, and their hints are existing flags that aren't in use."""

import math
import re
from dataclasses import replace

import pytest
from configs import CONFIGS
from hypothesis import given, settings
from hypothesis import strategies as st

from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.health import advice
from csnn_jax.health.health import EVIDENCE

STEEP = "fast_sigmoid"
FLAG = re.compile(r"--([\w-]+) ?([a-z\d]*)")


@pytest.mark.parametrize("hint", sorted({*advice.HINTS.values()}))
def test_a_hint_is_one_existing_flag(hint):
    ((flag, value),) = FLAG.findall(hint)
    value = value or ("64" if flag == "batch-size" else "0.5")
    parse_train(TrainFlags, "test", "", [f"--{flag}", value])  # refuses unknown flags


@settings(max_examples=25)
@given(CONFIGS, st.sampled_from(list(EVIDENCE)), st.booleans())
def test_hints_suggest_no_flag_already_in_use(config, what, early):
    made = decided(config)
    ((flag, value),) = FLAG.findall(advice.hint(what, made, range(len(config.model.graph.neurons)), early))
    now = vars(made.model) | vars(made.train)
    assert not value or str(now[flag.replace("-", "_")]) != value


@pytest.mark.parametrize(
    ("what", "model", "early", "hint"),
    [
        ("silent", {"threshold": (1.0, 1.0, 2.0, 1.0)}, True, "a lower --threshold (now 1 1 2 1)"),
        ("silent", {}, False, "a smaller --lr (now 0.01)"),
        ("silent", {}, True, "--init calibrated"),
        ("silent", {"hidden": (20,), "surrogate": STEEP}, True, f"--surrogate atan instead of {STEEP}"),
        ("silent", {"hidden": (20,)}, True, "a larger --init-density (now 0.1)"),
        ("saturated", {"threshold": 0.01}, True, "a higher --threshold (now 0.01)"),
        ("saturated", {"reset": "none"}, True, "--reset subtract"),
        ("saturated", {"hidden": (20,)}, True, "a smaller --init-density (now 0.1)"),
        ("vanishing", {}, False, f"--surrogate atan instead of {STEEP}"),
        ("vanishing", {"surrogate": "atan"}, False, "a smaller --slope"),
        ("exploding", {}, True, "--clip-norm 1"),
        ("stuck", {"hidden": (20,)}, True, "a smaller --lr (now 0.01)"),
    ],
)
def test_the_first_applicable_cause_is_used(what, model, early, hint):
    config = decided(Config(ModelConfig(**model), train=TrainConfig(lr=0.01)))
    assert advice.hint(what, config, range(len(config.model.graph.neurons)), early) == hint


ATAN = f"--surrogate atan, because sigmoid {advice.FAULTS['sigmoid']}"


@pytest.mark.parametrize("what", advice.CAUSES)
@pytest.mark.parametrize(
    ("surrogate", "train", "hint"),
    [
        *((name, {}, f"--surrogate atan, because {name} {fault}") for name, fault in advice.FAULTS.items()),
        ("atan", {"batch_size": 1}, "a larger --batch-size (now 1)"),
        ("sigmoid", {"batch_size": 1}, ATAN),
        ("sigmoid", {"lr": 1e3, "batch_size": 1}, "a smaller --lr (now 1000, usually 0.01)"),
        ("sigmoid", {"lr": 0.11}, "a smaller --lr (now 0.11, usually 0.01)"),
        ("sigmoid", {"lr": 0.011, "init_from": "RUN"}, "a smaller --lr (now 0.011, usually 0.001)"),
    ],
)
def test_a_far_learning_rate_a_faulty_surrogate_and_a_small_batch_come_first(what, surrogate, train, hint):
    config = decided(Config(ModelConfig(surrogate=surrogate), train=TrainConfig(**train)))
    assert advice.hint(what, config, [0], early=True) == hint


@pytest.mark.parametrize("what", advice.CAUSES)
def test_a_batch_of_eight_images_is_large_enough(what):
    assert "--batch-size" not in advice.hint(what, decided(Config(train=TrainConfig(batch_size=8))), [0], early=True)


@pytest.mark.parametrize("deviation", [150.0, None])
def test_membranes_that_blow_up_are_blamed_on_the_learning_rate(deviation):
    """Also with SGD, which has no usual learning rate."""
    figures = {"membranes": {"lif1": SEEN, "lif2": SEEN | {"deviation": deviation}}}
    config = decided(Config(train=TrainConfig(lr=5.0, optimizer="sgd")))
    assert advice.hint("silent", config, [0], True, figures) == "a smaller --lr (now 5, usually 0.01)"
    config = decided(replace(config, train=replace(config.train, loss="ce_membrane")))
    for times, blamed in ((99, False), (101, True)):  # the loss of chance
        hint = advice.hint("silent", config, [0], True, {"loss": times * math.log(10)})
        assert ("usually" in hint) == blamed


DENSITY = {"lif1": 0.013, "lif2": 0.00001, "lif3": 0.0, "lif4": 0.0}
GRADIENT = {"conv1": 1e-10, "conv2": 2e-9, "fc1": 1e-3, "fc2": 3456.0}
SEEN = {"mean": 0.0812, "deviation": 0.121, "highest": 1.327, "near": 0.1, "threshold": 1.0}
NOT_FINITE = SEEN | {"highest": None}
FIGURES = {
    "density": DENSITY,
    "gradient": GRADIENT,
    "membranes": {"lif1": NOT_FINITE, "lif2": SEEN},
    "dead": {"lif1": 30, "lif2": 0, "lif3": 0, "lif4": 9},
    "loss": 2.2812,
}
LIF1 = "membranes of lif1 0.081 +- 0.12, highest not finite, threshold 1"
UNSEEN = "channels without a spike in 32 images"


@pytest.mark.parametrize(
    ("what", "layers", "text"),
    [
        ("silent", ["lif2", "lif3"], "silent layers: lif2, lif3 (density 0.001, 0 %)"),
        ("saturated", ["lif1"], f"saturated layers: lif1 (density 1.3 %; {LIF1})"),
        ("vanishing", ["conv1", "conv2"], "vanishing gradients: conv1, conv2 (norm 1e-10, 2e-09)"),
        ("exploding", ["fc2"], "exploding gradients: fc2 (norm 3.5e+03)"),
        ("stuck", [], "stuck loss: 2.2812 is not below 0.99 ln(10) = 2.2796 after 47 of 468 iterations"),
        ("dead", ["lif1", "lif4"], f"mostly dead layers: lif1, lif4 (30 of 32, 9 of 10 {UNSEEN})"),
    ],
)
def test_a_line_states_layers_and_figures(what, layers, text):
    assert advice.line(what, layers, FIGURES, Config(), "47 of 468") == text
