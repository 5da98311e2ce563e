"""All results of a comparison, from and to its file."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from csnn_jax.config import Config, DataConfig, ModelConfig, decided
from csnn_jax.errors import UserError
from csnn_torch.compare import comparison
from csnn_torch.compare.comparison import Comparison, Origin
from csnn_torch.compare.results import Spikes
from csnn_torch.compare.timings import Cost

SPIKES = Spikes("run", "scan", "float64", 4, None, 1000, 0, {"lif1": 0.1, "lif2": 0.2}, 1.0)


@pytest.fixture
def found(case) -> Comparison:
    found = Comparison("somewhere", Config(case.config), case.tensors, [SPIKES], costs=[Cost("scan", "RuntimeError")])
    found.origins |= {question: Origin.of_now("command", 1.25) for question in ("network", "cost")}
    return found


def test_the_runs_own_network_must_fire(found):
    assert len(found.checks) == 2 + 2 and found.broken == []
    variant = replace(SPIKES, network="beta 0.9", densities={"lif1": 0.0, "lif2": 0.2})
    found.spikes.append(variant)
    assert found.broken == []
    found.spikes[0] = replace(variant, network="run")
    assert [str(check) for check in found.broken] == ["run: density of lif1: 0, expected 0.01 to 0.6"]
    assert found.as_json()["broken"] == ["run: density of lif1: 0, expected 0.01 to 0.6"]


def test_answers_about_the_same_weights_are_kept(found, tmp_path, capsys):
    (tmp_path / comparison.NAME).write_text(json.dumps(found.as_json()))
    later = Comparison("elsewhere", found.config, found.tensors)
    comparison.keep_earlier(later, tmp_path, ("cost", "training"))
    assert capsys.readouterr().out == f"{tmp_path / comparison.NAME}: its answers are kept: network\n"
    assert later.spikes == found.spikes and later.costs == [] and later.origins == {"network": found.origins["network"]}


def test_a_field_that_has_its_default_does_not_enter_the_digest():
    """So a comparison stays that of its weights when a later version has more fields."""
    tensors = {"fc1.bias": np.arange(3, dtype=np.float32)}
    told = [
        ("model", "surrogate", "fast_sigmoid"),
        *(("train", "lr", 0.01), ("train", "init", "torch"), ("train", "microbatch", "off")),
        ("train", "schedule", "constant"),
    ]
    digest = hashlib.sha256(json.dumps(told).encode() + b"fc1.bias" + tensors["fc1.bias"].tobytes()).hexdigest()
    assert Comparison("somewhere", decided(Config()), tensors).weights == digest
    augmented = decided(Config(data=DataConfig(augment=(2.0, 10.0, 0.1))))
    assert Comparison("somewhere", augmented, tensors).weights != digest
    assert Comparison("somewhere", decided(Config()), {"fc1.bias": tensors["fc1.bias"] + 1}).weights != digest


@pytest.mark.parametrize("other", ["weights", "configuration", "text"])
def test_another_file_is_replaced_only_when_asked(other, found, tmp_path):
    text = "{}" if other == "text" else json.dumps(found.as_json())
    (tmp_path / comparison.NAME).write_text(text)
    later = Comparison("somewhere", found.config, dict(found.tensors))
    if other == "weights":
        later.tensors["fc1.bias"] = later.tensors["fc1.bias"] + 1
    if other == "configuration":
        later.config = Config(ModelConfig())
    with pytest.raises(UserError, match="holds a comparison of other weights; expected another path, or --overwrite"):
        comparison.keep_earlier(later, tmp_path, ("cost",))
    comparison.keep_earlier(later, tmp_path, ("cost",), overwrite=True)
    assert later.spikes == [] and later.origins == {}


def test_an_origin_tells_command_day_and_machine():
    origin = Origin.of_now("command", 1.26)
    assert (origin.command, origin.seconds) == ("command", 1.3) and origin.date.count("-") == 2
    assert {"jax", "torch", "snntorch"} <= origin.machine["versions"].keys() and origin.machine["cpus"] >= 1


def test_a_folder_is_made_unless_it_is_a_run(small_run, tmp_path):
    assert comparison.make_folder(str(tmp_path / "a" / "b")).is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(UserError, match="is a run directory"):
        comparison.make_folder(str(small_run))
