from dataclasses import fields

import pytest
from commands import call

from csnn_jax.config import RECORDED, Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.flag_groups import TITLES, fill, form
from csnn_jax.flags import TrainFlags

MINE = TrainFlags(
    Config(ModelConfig(beta=0.7, hidden=(3, 4)), DataConfig(validation=5), TrainConfig(lr=0.5, schedule="cosine")),
    out="somewhere",
    tensorboard=True,
)


def test_forms_restore_the_flags():
    assert fill(TrainFlags, form(MINE)()) == MINE


def test_every_field_is_in_one_group():
    made = form(TrainFlags())()
    names = [name for group in TITLES for name in vars(getattr(made, group))]
    parts = (ModelConfig, DataConfig, TrainConfig)
    assert sorted(names) == sorted(one.name for part in parts for one in fields(part) if one.name not in RECORDED)
    assert {"beta", "reset"} <= vars(made.neuron).keys() and {"lr", "warmup"} <= vars(made.optimization).keys()
    assert list(vars(made.data))[:2] == ["dataset", "validation"] and "engine" in vars(made.training)


@pytest.mark.parametrize("module", ["csnn_jax.train", "csnn_torch.train"])
def test_the_help_shows_groups_texts_and_defaults(module):
    lines = call(module, "--help").stdout.splitlines()
    heads = [line.strip("\u256d\u256e\u2500 ") for line in lines if line.startswith("\u256d")]
    assert heads == ["options", *(f"{group} options" for group in TITLES)]
    text = " ".join(" ".join(line.strip("\u2502 ").split()) for line in lines)
    assert "Iterations at the start over which the learning rate rises linearly to --lr. (default: 0)" in text
