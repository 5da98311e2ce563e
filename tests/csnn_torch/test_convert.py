"""A network that someone trained in snnTorch becomes a run of ours."""

import pickle

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import utils
from torch import nn

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import rundir
from csnn_jax.training.learner import Learner
from csnn_torch import convert, state_dict

torch.set_num_threads(1)


def foreign() -> nn.Sequential:
    """The default stack, narrower, as snnTorch's tutorials write it; other neurons in every layer."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.MaxPool2d(2),
        snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero"),
        nn.Conv2d(4, 6, 3, padding="same"),
        nn.MaxPool2d(2),
        snn.Leaky(beta=torch.tensor([1.5]), threshold=0.7, init_hidden=True, reset_mechanism="zero"),
        nn.Flatten(),
        nn.Linear(6 * 7 * 7, 20),
        snn.Leaky(beta=0.3, init_hidden=True, learn_beta=True, reset_mechanism="zero"),
        nn.Linear(20, 10),
        snn.Leaky(beta=0.8, threshold=0.5, init_hidden=True, output=True, reset_mechanism="zero"),
    )
    with torch.no_grad():
        for module in network:
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight *= 3  # so that every layer fires
    return network


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
    _, ours = Learner(config, tensors=tensors).trace(images)
    assert all(0.01 < layer.mean() < 0.9 for layer in ours) and len(set(theirs.sum(0).argmax(1))) > 1
    assert np.count_nonzero(ours[-1] != theirs) <= 2  # 4,800 spikes; the pixels may differ in the last bit
    np.testing.assert_array_equal(ours[-1].sum(0).argmax(1), theirs.sum(0).argmax(1))


def broken(change) -> dict:
    state = foreign().state_dict()
    change(state)
    return state


def setting(name, value):
    return lambda state: state.__setitem__(name, torch.as_tensor(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("2.graded_spikes_factor", 2.0), r"2.graded_spikes_factor is 2, expected 1"),
        (setting("5.reset_mechanism_val", 0), r"5.reset_mechanism_val is 0, expected .* \(the first has 1\)"),
        (setting("5.reset_mechanism_val", 7), r"5.reset_mechanism_val is 7, expected 0 \(subtract\)"),
        (setting("2.beta", torch.ones(4)), r"2.beta has shape \[4\], expected one value"),
        (setting("2.beta", float("nan")), r"2.beta is nan"),
        (setting("2.threshold", -1.0), r"2.threshold is -1, expected a positive number"),
        (setting("2.alpha", 0.9), r"2.alpha is not a tensor of a snntorch.Leaky"),
        (setting("3.running_mean", torch.ones(4)), r"3.running_mean is not a tensor of a Conv2d or Linear"),
        (lambda state: state.pop("3.bias"), r"3.bias is missing, expected a Conv2d or Linear with a bias"),
        (lambda state: state.pop("10.threshold"), r"10.threshold is missing, expected a snntorch.Leaky"),
        (setting("11.weight", torch.ones(3, 10)), r"11.bias is missing"),
        (setting("3.weight", torch.full((6, 4, 3, 3), float("nan"))), r"3.weight holds values that are not finite"),
        (
            setting("3.weight", torch.ones(6, 4, 3, 3).double()),
            r"3.weight has type torch.float64, expected torch.float32",
        ),
        (setting("3.weight", torch.ones(6, 5, 3, 3)), r"3.weight has shape \[6, 5, 3, 3\], expected \[6, 4, 3, 3\]"),
        (setting("0.weight", torch.ones(4)), r"0.weight has shape \[4\], expected that of a Conv2d or Linear"),
        (setting("7.weight", torch.ones(20, 96)), r"7.weight .*expected \[20, 294\]: images of --input-shape 28 28 1"),
    ],
)
def test_what_can_not_be_converted_is_refused_by_name(change, message):
    with pytest.raises(UserError, match=f"^net.pt: {message}"):
        state_dict.convert(broken(change), ModelConfig(), None, "net.pt")


def test_an_older_snntorchs_state_has_no_graded_spikes_factor():
    state = broken(lambda state: [state.pop(f"{n}.graded_spikes_factor") for n in (2, 5, 8, 10)])
    config, _ = state_dict.convert(state, ModelConfig(pool="avg"), None, "net.pt")
    assert config.pool == "avg" and config.num_classes == 10


class Code:
    def __reduce__(self):
        return print, ("a pickle ran code",)


def test_a_file_that_is_no_state_dict_is_refused_and_none_of_its_code_runs(file, tmp_path, capfd):
    files = {
        "absent": None,
        "code": Code(),
        "list": [1, 2],
        "nested": {"state_dict": foreign().state_dict()},
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
