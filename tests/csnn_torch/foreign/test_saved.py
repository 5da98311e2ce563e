"""Tensors are found wherever they are in a saved file; other content is named, and none of its code runs."""

import argparse
import io
import pickle
import struct

import numpy as np
import pytest
import torch
from foreign_networks import foreign
from safetensors.torch import save_file

from csnn_jax.errors import UserError
from csnn_torch.foreign import saved


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3} | foreign().state_dict(), r"epoch is of type int, expected a state_dict .*with only tensors"),
        ({}, "contains an empty dict, expected a state_dict"),
        ({"net": foreign().state_dict(), "model": foreign().state_dict()}, "contains 2 state_dicts, net and model"),
        ([foreign().state_dict()], "contains a list, expected a state_dict"),
    ],
)
def test_other_content_is_named(tmp_path, content, message):
    path = str(tmp_path / "net.pt")
    torch.save(content, path)
    with pytest.raises(UserError, match=message):
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
    found = saved.read(path)
    assert list(found.tensors) == list(foreign().state_dict())
    assert torch.equal(found.tensors["3.weight"], foreign()[3].weight)
    assert found.notes == (f"using the file's {name} as the state_dict",)


class Hostile:
    """Pickled like a NumPy number, but calls something else."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def test_nothing_stored_next_to_the_weights_is_called(tmp_path, capfd):
    path = str(tmp_path / "net.pt")
    torch.save({"best": Hostile(print, "code ran"), "net": foreign().state_dict()}, path)
    with pytest.raises(UserError, match=r"it refers to print\), expected a state_dict"):
        saved.read(path)
    torch.save({"best": Hostile(np.dtype, "no such type"), "net": foreign().state_dict()}, path)
    assert set(saved.read(path).tensors) == set(foreign().state_dict())  # np.dtype would have raised
    assert capfd.readouterr().out == ""
    torch.save({"conv1.weight": torch.ones(1), "best": np.float64(1)}, path)
    with pytest.raises(UserError, match=r"best is of type NumPy's or argparse's, expected .* with only tensors"):
        saved.read(path)


def test_tensors_of_a_safetensors_file_are_sorted_by_number(tmp_path):
    state = {f"conv{number}.weight": torch.full((1, 1, 3, 3), float(number)) for number in (10, 9, 1, 2)}
    save_file(state, tmp_path / "net.safetensors")
    found = saved.read(str(tmp_path / "net.safetensors"))
    assert list(found.tensors) == ["conv1.weight", "conv2.weight", "conv9.weight", "conv10.weight"]
    assert not found.ordered and "doesn't contain the order of the modules" in found.notes[0]
    assert all(torch.equal(found.tensors[name], state[name]) for name in state)


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
    with pytest.raises(UserError, match=f"^net.pt: lif1.threshold .*{kind}"):
        saved.plain({"conv1.weight": torch.ones(1), "lif1.threshold": ODD[kind]()}, "net.pt")


def test_unsupported_files_are_named(tmp_path):
    run = tmp_path / "weights.safetensors"
    save_file(foreign().state_dict(), run, {"config": "{}"})
    for path, message in (
        (run, "contains the weights of a run, which need no conversion"),
        (tmp_path / "absent.safetensors", "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            saved.read(str(path))


def damaged(content: bytes) -> list[bytes]:
    """The file truncated at many points, with bytes flipped, and with some bytes removed."""
    found = [content[:size] for size in range(0, len(content), max(1, len(content) // 25))]
    for place in range(0, min(len(content), 1200), 17):
        found.append(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        found.append(content[:place] + content[place + 5 :])
    return found


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pt")
    state = {"fc1.weight": torch.ones(3, 4), "lif1.beta": torch.tensor(0.5)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"net": state}, path, _use_new_zipfile_serialization=kind == "zip")
    refused = 0
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        try:
            saved.plain(saved.read(str(path)).tensors, "net.pt")
        except UserError as error:
            refused += 1
            assert str(error).isprintable() and "expected" in str(error)
    assert refused > 40


@pytest.mark.parametrize(
    ("end", "raised"),
    [(b"\x80\x02J\x01", struct.error), (b"\x80\x02}(X\x01\x00\x00\x00aK\x01Qu.", AssertionError)],
)
def test_errors_of_torchs_unpickler_are_refused_in_one_line(tmp_path, end, raised):
    """Files for which `torch.load` raises an error that isn't one of pickle's."""
    header = b"".join(pickle.dumps(one, protocol=2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    (tmp_path / "net.pt").write_bytes(header + end)
    with pytest.raises(raised):
        torch.load(io.BytesIO(header + end), weights_only=True)
    with pytest.raises(UserError, match=r"^.*net.pt: empty, truncated or another kind of file, expected a state_dict"):
        saved.read(str(tmp_path / "net.pt"))
