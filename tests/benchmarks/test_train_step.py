"""Any run can be timed, and the JSON holds densities, both kinds of seconds, and every baseline."""

import json
from dataclasses import replace

import pytest
import train_step
from bundles import make_run

from csnn_jax.config import Config, ModelConfig


@pytest.mark.slow
def test_a_small_run_is_timed(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", ModelConfig(conv_channels=(2,), hidden=(), time_steps=3))
    monkeypatch.setattr("sys.argv", ["train_step.py", str(run), "--rounds", "1"])
    monkeypatch.setattr(train_step, "TURNS", 1)
    train_step.main()
    found = json.loads(capsys.readouterr().out)
    assert found["time_steps"] == 3 and set(found["densities"]) == {"lif1", "lif2"}
    assert list(found["times_faster"]) == list(train_step.BASELINES) and "default_job_s_extrapolated" not in found
    for side in ("csnn_jax", "snntorch", "snntorch_channels_last", "snntorch_first_convolution_once"):
        for seconds in ("step_s", "step_processor_s", "infer_s", "infer_processor_s"):
            assert found[side][seconds] > 0
        assert len(found[side]["others"]) <= 1 and "predictions" not in found[side]


def test_the_default_job_is_told_from_others():
    assert train_step.is_default(Config())
    assert not train_step.is_default(replace(Config(), model=ModelConfig(time_steps=5)))
