"""Recipes are valid jobs that flags can express and override."""

from dataclasses import replace

import pytest
from refusals import refusing
from trainings import read_flags

from csnn_jax.config import check_decided, decided
from csnn_jax.errors import UserError
from csnn_jax.flags import job_words
from csnn_jax.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_can_be_written_as_flags(name):
    config = read_flags("--recipe", name).config
    assert config == RECIPES[name] == read_flags(*job_words(config)).config
    check_decided(decided(config))


def test_explicit_flags_override_a_recipe():
    fast = RECIPES["fast"]
    config = read_flags("--recipe", "fast", "--lr", 0.02, "--time-steps", 7, "--seed", 3, "--no-bias").config
    train_part, model = replace(fast.train, lr=0.02, seed=3), replace(fast.model, time_steps=7, bias=False)
    assert config == replace(fast, model=model, train=train_part)
    assert read_flags("--seeds", 0, 1, "--recipe", "fast").config == fast


def test_a_recipes_flags_are_printed_with_the_values_in_use():
    flags = ("--recipe", "nir", "--pool", "max", "--lr", 0.001, "--seed", 5)
    said = " ".join(job_words(RECIPES["nir"], used=read_flags(*flags).config))
    expected = (
        " ".join(job_words(RECIPES["nir"])).replace("--pool avg", "--pool max").replace("--lr 0.005", "--lr 0.001")
    )
    assert said == expected and "--pool max" in said and "--seed" not in said


def test_recipes_refuse_other_image_sizes():
    with refusing(UserError, "recipe fast", "28x28x1", "32x32x1"):
        read_flags("--recipe", "fast", "--input-shape", 32, 32, 1)


def test_the_event_recipe_accepts_any_sensor():
    config = read_flags("--recipe", "events", "--dataset", "dvsgesture:D", "--input-shape", 32, 32, 2).config
    assert config.model.input_shape == (32, 32, 2) and config.train == RECIPES["events"].train
