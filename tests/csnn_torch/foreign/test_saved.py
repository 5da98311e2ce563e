"""Tensors are found wherever they are in a saved file; other content is named, and none of its code runs."""

import argparse

import numpy as np
import pytest
import torch
from foreign_networks import foreign
from refusals import refusing
from safetensors.torch import save_file

from csnn_jax.errors import UserError
from csnn_torch.foreign import saved


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ({"epoch": 3} | foreign().state_dict(), ("epoch", "int")),
        ({}, ("an empty dict",)),
        ({"net": foreign().state_dict(), "model": foreign().state_dict()}, ("2 state_dicts", "net and model")),
        ([foreign().state_dict()], ("a list",)),
    ],
)
def test_other_content_is_named(tmp_path, content, facts):
    path = str(tmp_path / "net.pt")
    torch.save(content, path)
    with refusing(UserError, *facts):
        saved.read(path)


@pytest.mark.parametrize(("name", "old_format"), [("model_state_dict", False), ("weights of mine", True)])
def test_a_state_dict_is_found_next_to_numpy_numbers_and_a_namespace(tmp_path, name, old_format):
    path = str(tmp_path / "net.pt")
    beside = {
        "optimizer": torch.optim.Adam(foreign().parameters()).state_dict(),
        "best_acc": np.float64(0.9),
        "epoch": np.int32(3),
        "args": argparse.Namespace(lr=0.1, name="x"),
        "losses": [np.float32(1), np.arange(3.0)],
    }
    torch.save(beside | {name: foreign().state_dict()}, path, _use_new_zipfile_serialization=not old_format)
    contents = saved.read(path)
    assert list(contents.tensors) == list(foreign().state_dict())
    assert torch.equal(contents.tensors["3.weight"], foreign()[3].weight)
    assert contents.notes == (f"using the file's {name} as the state_dict",)


class Hostile:
    """Pickled like a NumPy number, but calls something else."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def test_nothing_stored_next_to_the_weights_is_called(tmp_path, capfd):
    path = str(tmp_path / "net.pt")
    torch.save({"best": Hostile(print, "code ran"), "net": foreign().state_dict()}, path)
    with refusing(UserError, path, "print"):
        saved.read(path)
    torch.save({"best": Hostile(np.dtype, "no such type"), "net": foreign().state_dict()}, path)
    assert set(saved.read(path).tensors) == set(foreign().state_dict())  # np.dtype would have raised
    assert capfd.readouterr().out == ""
    torch.save({"conv1.weight": torch.ones(1), "best": np.float64(1)}, path)
    with refusing(UserError, "best", "NumPy's"):
        saved.read(path)


def test_tensors_of_a_safetensors_file_are_sorted_by_number(tmp_path):
    state = {f"conv{number}.weight": torch.full((1, 1, 3, 3), float(number)) for number in (10, 9, 1, 2)}
    save_file(state, tmp_path / "net.safetensors")
    contents = saved.read(str(tmp_path / "net.safetensors"))
    assert list(contents.tensors) == ["conv1.weight", "conv2.weight", "conv9.weight", "conv10.weight"]
    assert not contents.ordered and "doesn't contain the order of the modules" in contents.notes[0]
    assert all(torch.equal(contents.tensors[name], state[name]) for name in state)


ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "without values": lambda: torch.ones(3, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "torch.float8_e4m3fn": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "as many values as are stored": lambda: torch.ones(1).expand(10**9),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch warns about deprecated types
@pytest.mark.parametrize("kind", ODD)
def test_tensors_other_than_dense_floats_are_named(kind):
    with refusing(UserError, kind, "net.pt", "lif1.threshold"):
        saved.plain({"conv1.weight": torch.ones(1), "lif1.threshold": ODD[kind]()}, "net.pt")


def test_unsupported_files_are_named(tmp_path):
    run = tmp_path / "weights.safetensors"
    save_file(foreign().state_dict(), run, {"config": "{}"})
    save_file({}, empty := tmp_path / "empty.safetensors")
    absent = tmp_path / "absent.safetensors"
    for path, facts in ((run, (run, "a run")), (empty, (empty, "no tensors")), (absent, ("no such file",))):
        with refusing(UserError, *facts):
            saved.read(str(path))


def test_values_marked_as_a_folder_are_refused(tmp_path):
    """torch returns whatever was in memory for them."""
    path = tmp_path / "net.pt"
    torch.save({"fc1.bias": torch.arange(3.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"net/data/0") - 8] |= 0x10  # the attributes, in the list of files
    path.write_bytes(content)
    with refusing(UserError, path):
        saved.read(str(path))
