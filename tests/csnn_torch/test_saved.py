"""The tensors of a saved file, wherever they are in it; other content is named, and none of its code runs."""

import pytest
import torch
from foreign_networks import foreign

from csnn_jax.errors import UserError
from csnn_torch import saved


def test_a_saved_file_gives_its_tensors(tmp_path):
    path = str(tmp_path / "net.pt")
    torch.save(foreign().state_dict(), path)
    found = saved.read(path)
    assert list(found.tensors) == list(foreign().state_dict()) and found.notes == ()
    assert torch.equal(found.tensors["3.weight"], foreign()[3].weight)


@pytest.mark.parametrize("name", ["model_state_dict", "state_dict", "net", "weights of mine"])
def test_a_state_dict_inside_is_found_and_told(tmp_path, name):
    path = str(tmp_path / "net.pt")
    adam = torch.optim.Adam(foreign().parameters()).state_dict()
    torch.save({"epoch": 3, "optimizer": adam, name: foreign().state_dict(), "loss": [1.0]}, path)
    found = saved.read(path)
    assert list(found.tensors) == list(foreign().state_dict())
    assert found.notes == (f"the state_dict is the file's {name}",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3} | foreign().state_dict(), r"epoch is of type int, expected a state_dict .*of tensors only"),
        ({}, "holds an empty dict, expected a state_dict"),
        (
            {"net": foreign().state_dict(), "model": foreign().state_dict()},
            "holds 2 state_dicts, net and model, expected one",
        ),
        ([foreign().state_dict()], "holds a list, expected a state_dict"),
    ],
)
def test_other_content_is_named(tmp_path, content, message):
    path = str(tmp_path / "net.pt")
    torch.save(content, path)
    with pytest.raises(UserError, match=message):
        saved.read(path)


def test_files_of_other_kinds_are_named(tmp_path):
    with pytest.raises(UserError, match="the weights of a run need no conversion, and any other"):
        saved.read(str(tmp_path / "weights.safetensors"))
    for name, kind in (("net.nir", "is a NIR graph, which is not read"), ("net.h5", "is an HDF5 file, such as a NIR")):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
        with pytest.raises(UserError, match=kind):
            saved.read(str(tmp_path / name))
