"""A network that someone trained in snnTorch becomes a run of ours."""

import pickle

import numpy as np
import pytest
import torch
from foreign_networks import foreign
from snntorch import utils

from csnn_jax import data
from csnn_jax.runs import rundir
from csnn_jax.trained import Trained
from csnn_torch import convert

torch.set_num_threads(1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.save(foreign().state_dict(), path)
    return path


def test_the_converted_run_gives_snntorchs_spikes(file, tmp_path, capsys):
    assert {"0.weight", "3.weight", "7.weight", "9.weight"} < foreign().state_dict().keys()
    out = tmp_path / "run"
    assert convert.main([str(file), "--out", str(out), "--time-steps", "12"]) == 0
    printed = capsys.readouterr().out
    assert "as flags say: padding same, stride 1, pool max, atan, direct, 12 steps" in printed
    assert "Note: a state_dict does not show inhibition, reset_delay, state_quant" in printed
    run, config, tensors = rundir.open_run(str(out))
    assert config.model.conv_channels == (4, 6) and config.model.hidden == (20,) and config.model.reset == "zero"
    assert config.model.betas == pytest.approx((0.9, 1.0, 0.3, 0.8)) and config.model.time_steps == 12
    assert tensors["fc1.weight"].tobytes() == foreign()[7].weight.detach().numpy().tobytes()
    (end,) = run.records("end")
    assert run.finished and f"Final Test Accuracy: {end['accuracy']:.2%}" in printed

    images = data.load("mnist", (28, 28, 1)).test.images[:40]
    network, x = foreign(), torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    utils.reset(network)
    with torch.no_grad():
        theirs = torch.stack([network(x)[0] for _ in range(12)]).numpy()
    ours = Trained(config, tensors).trace(images).spikes
    assert all(0.01 < layer.mean() < 0.9 for layer in ours) and len(set(theirs.sum(0).argmax(1))) > 1
    assert np.count_nonzero(ours[-1] != theirs) <= 2  # 4,800 spikes; the pixels may differ in the last bit


class Code:
    def __reduce__(self):
        return print, ("a pickle ran code",)


def test_a_file_that_is_no_state_dict_is_refused_and_none_of_its_code_runs(file, tmp_path, capfd):
    files = {
        "absent": None,
        "code": Code(),
        "list": [1, 2],
        "numbers": {"trained": 0.9},
        "truncated": file.read_bytes()[:-2000],
        "text": b"hello",
        "pickle": pickle.dumps(Code()),
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        assert convert.main([str(path), "--out", str(tmp_path / "run")]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.startswith(f"error: {path}: ") and err.count("\n") == 1 and "expected a state" in err
    assert not (tmp_path / "run").exists()


def test_flags_that_contradict_the_file_are_refused(file, tmp_path, capsys):
    for flags, message in (
        (("--input-shape", "32", "32", "1"), "7.weight has shape [20, 294], expected [20, 384]"),
        (("--no-reset-delay",), "--no-reset-delay"),
        (("--dataset", "minst"), "--dataset 'minst'"),
    ):
        assert convert.main([str(file), "--out", str(tmp_path / "run"), *flags]) == 2
        assert message in capsys.readouterr().err
