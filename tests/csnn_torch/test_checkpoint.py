"""The training state on disk comes back bit for bit, and a damaged one is refused."""

import pytest
import torch
from disk import content, largest_file

from csnn_jax.errors import UserError
from csnn_torch import checkpoint


def state(**other: torch.Tensor) -> checkpoint.State:
    """A matrix whose memory is not contiguous, a number of steps, and something in float64."""
    torch.manual_seed(0)
    tensors = {"0.parameter": torch.randn(3, 4).T, "0.step": torch.tensor(7.0), "1.parameter": torch.randn(2).double()}
    return tensors | other


def test_the_latest_state_comes_back_bit_for_bit(tmp_path):
    checkpoint.save(tmp_path / "new", 3, state())
    checkpoint.save(tmp_path / "new", 4, saved := state(**{"0.step": torch.tensor(8.0)}))
    iteration, found = checkpoint.restore(tmp_path / "new", state())
    assert iteration == 4 and found.keys() == saved.keys()
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize(
    "like",
    [state(more=torch.zeros(1)), state(**{"0.step": torch.zeros(1)}), state(**{"1.parameter": torch.zeros(2)})],
    ids=["name", "shape", "type"],
)
def test_another_networks_state_is_refused(like, tmp_path):
    checkpoint.save(tmp_path, 3, state())
    with pytest.raises(UserError, match="its tensors have other shapes or types"):
        checkpoint.restore(tmp_path, like)


def test_a_file_that_is_damaged_or_not_ours_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.raises(UserError, match=r"no such file, expected the state of a run that csnn_torch.train made"):
        checkpoint.restore(tmp_path, state())
    checkpoint.save(tmp_path, 3, state())
    path.write_bytes(path.read_bytes().replace(b'"iteration":"3"', b'"iteration":"x"'))
    with pytest.raises(UserError, match="expected a checkpoint of this network: invalid literal"):
        checkpoint.restore(tmp_path, state())


def test_a_full_disk_keeps_the_state_written_before(tmp_path):
    checkpoint.save(tmp_path, 3, state())
    before = content(tmp_path)
    with largest_file(100), pytest.raises(UserError, match=r"state.safetensors"):
        checkpoint.save(tmp_path, 4, state())
    assert content(tmp_path) == before and checkpoint.restore(tmp_path, state())[0] == 3
    with pytest.raises(UserError, match="can't be made"):
        checkpoint.save(tmp_path / "state.safetensors" / "x", 4, state())
