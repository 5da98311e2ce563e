"""What is said of a trouble names flags that there are, that suit it, and that are not in use."""

import re
from dataclasses import fields

import pytest
from configs import CONFIGS
from hypothesis import given
from hypothesis import strategies as st

from csnn_jax.config import Config, ModelConfig, TrainConfig
from csnn_jax.health import advice
from csnn_jax.health.health import EVIDENCE

FLAGS = {"--" + f.name.replace("_", "-") for part in fields(Config) for f in fields(part.default_factory)}


@given(CONFIGS, st.sampled_from(list(EVIDENCE)), st.booleans())
def test_two_flags_that_exist_and_would_change_something(config, what, early):
    layers = range(1 if what == "stuck" else len(config.model.layers))
    first, second = advice.tries(what, config, layers, early).split(" or ")
    values = {name: value for part in vars(config).values() for name, value in vars(part).items()}
    for text in (first, second):
        (flag,) = re.findall(r"--[\w-]+", text)
        assert flag in FLAGS
        if text.startswith("--"):
            _, value = text.split()
            assert str(values[flag[2:].replace("-", "_")]) != value
    assert first != second


@pytest.mark.parametrize(
    ("what", "model", "early", "first"),
    [
        ("silent", {"threshold": 50.0}, True, "a lower --threshold (now 50)"),
        ("silent", {"threshold": (1.0, 1.0, 2.0, 1.0)}, True, "a lower --threshold (now 1 1 2 1)"),
        ("silent", {}, False, "a smaller --lr (now 0.01)"),
        ("silent", {}, True, "--init calibrated"),
        ("silent", {"hidden": (20,)}, True, "a larger --init-density (now 0.1)"),
        ("saturated", {"threshold": 0.01}, True, "a higher --threshold (now 0.01)"),
        ("saturated", {"reset": "none"}, True, "--reset subtract"),
        ("saturated", {"beta": 0.0}, False, "--rate-target 0.1"),
        ("exploding", {}, True, "--clip-norm 1"),
        ("vanishing", {}, False, "--surrogate atan"),
        ("vanishing", {"surrogate": "atan"}, False, "a smaller --slope"),
        ("exploding", {"surrogate": "straight_through"}, False, "--surrogate atan"),
    ],
)
def test_the_likeliest_comes_first(what, model, early, first):
    config = Config(ModelConfig(**model), train=TrainConfig(lr=0.01))
    assert advice.tries(what, config, range(len(config.model.layers)), early).split(" or ")[0] == first


DENSITY = {"lif1": 0.013, "lif2": 0.00001, "lif3": 0.0, "lif4": 0.0}
GRADIENT = {"conv1": 1e-10, "conv2": 2e-9, "fc1": 1e-3, "fc2": 0.0}
SEEN = {"mean": 0.0812, "deviation": 0.121, "highest": 1.327, "near": 0.1, "threshold": 1.0}
NOT_FINITE = SEEN | {"highest": None}


@pytest.mark.parametrize(
    ("what", "layers", "figures", "text"),
    [
        (
            "silent",
            ["lif2", "lif3", "lif4"],
            {"density": DENSITY, "gradient": GRADIENT, "membranes": {"lif2": SEEN}},
            "lif2 to lif4 are silent (density 0.000 to 0.001 %), the membranes of lif2 are 0.081 +- 0.12 and reach 1.3 "
            "of a threshold of 1, gradients vanish at conv1, conv2 and fc2 (norm 0 to 2e-09)",
        ),
        (
            "saturated",
            ["lif1"],
            {"density": {"lif1": 0.72}, "gradient": {"conv1": 1.0}, "membranes": {"lif1": NOT_FINITE}},
            "lif1 is saturated (density 72.0 %), its membranes are not finite",
        ),
        ("vanishing", ["conv1"], {"gradient": GRADIENT}, "gradients vanish at conv1 (norm 1e-10)"),
        (
            "exploding",
            ["conv1", "fc1"],
            {"gradient": {"conv1": 3456.0, "conv2": 1.0, "fc1": 2e3}},
            "gradients explode at conv1 and fc1 (norm 2e+03 to 3.5e+03)",
        ),
        (
            "stuck",
            [""],
            {"loss": 2.3},
            "the loss, 2.300, has not fallen below ln(10) = 2.303 after 47 of 468 iterations",
        ),
        (
            "dead",
            ["lif1", "lif4"],
            {"dead": {"lif1": 30, "lif2": 0, "lif3": 0, "lif4": 9}},
            "30 of 32 channels of lif1 and 9 of 10 channels of lif4 are dead (no spike in 32 images)",
        ),
    ],
)
def test_a_line_is_in_plain_words(what, layers, figures, text):
    assert advice.line(what, layers, figures, Config(), "47 of 468", early=True) == text


def test_a_loss_that_comes_back():
    text = advice.line("stuck", [""], {"loss": 2.3}, Config(), "300 of 468", early=False)
    assert text == "the loss, 2.300, is back at ln(10) = 2.303 after 300 of 468 iterations"
    assert advice.passed("stuck", Config(), 312) == "the loss is below ln(10) since iteration 312"
