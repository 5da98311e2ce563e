"""`weights.safetensors`: saved and loaded bit for bit, and every bad file refused in one line."""

import json
import struct

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.network.model import CSNN, load_tensors
from csnn_jax.options import to_json
from csnn_jax.runs import layouts, weights
from csnn_jax.trained import Trained, save

CONFIG = ModelConfig(
    input_shape=(6, 4, 2),
    conv_channels=(3,),
    hidden=(5,),
    num_classes=4,
    beta=(0.25, 0.5, 0.75),
    learn_beta=True,
    learn_threshold=True,
    reset="zero",
    slope=3.0,
)
SHAPES = layouts.expected_shapes(CONFIG)


def drawn(dtype="float32") -> layouts.Tensors:
    rng = np.random.default_rng(0)
    return {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


def write(path, tensors, metadata=None):
    metadata = {"config": to_json(CONFIG)} if metadata is None else metadata
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def check_refusal(path, *facts) -> None:
    """The error for the file is one line that names it."""
    with refusing(UserError, path, *facts) as caught:
        weights.load(path)
    assert len(str(caught.value)) < 600


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_is_loaded_bit_for_bit(path, dtype):
    tensors = layouts.on_grid(CONFIG, drawn(dtype))
    tensors["fc1.bias"][1] = -0.0
    weights.save(path, tensors, CONFIG)
    config, loaded = weights.load(path)
    assert config == CONFIG and loaded.keys() == SHAPES.keys()
    assert safetensors.numpy.load_file(path).keys() == SHAPES.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == dtype and loaded[name].shape == SHAPES[name]
        assert loaded[name].tobytes() == tensor.tobytes()


def test_masters_are_rounded_on_loading_and_other_weights_must_be_rounded(path):
    masters = drawn()
    path.write_bytes(weights.to_bytes(masters, CONFIG, masters=True))
    # a checkpoint stores the bytes' hash
    assert len({weights.to_bytes(masters, CONFIG, masters=True) for _ in range(20)}) == 1
    expected = layouts.on_grid(CONFIG, masters)
    for name, tensor in weights.load(path)[1].items():
        np.testing.assert_array_equal(tensor, expected[name])
    coarser = {name: np.rint(tensor) if name.endswith("weight") else tensor for name, tensor in expected.items()}
    weights.save(path, coarser, CONFIG)  # as after dropping neurons
    assert (weights.load(path)[1]["fc1.weight"] == coarser["fc1.weight"]).all()
    for name in ("conv1.weight", "fc1.bias"):
        off = {key: tensor.copy() for key, tensor in expected.items()}
        off[name].flat[2] = np.nextafter(off[name].flat[2], np.float32(9))
        write(path, off)
        check_refusal(path, name, "grid", "csnn_jax.save")


WITHOUT = {name: tensor for name, tensor in drawn().items() if name != "lif2.beta"}


@pytest.mark.parametrize(
    ("tensors", "metadata", "facts"),
    [
        (WITHOUT, None, ("lif2.beta", "missing", [])),
        (drawn() | {"fc3.weight": np.zeros((2, 2), np.float32)}, None, ("fc3.weight",)),
        (drawn() | {"fc1.weight": np.zeros((18, 5), np.float32)}, None, ("fc1.weight", [18, 5], [5, 18])),
        (drawn() | {"fc2.bias": np.array([1, 2, np.inf, 3.0])}, None, ("fc2.bias", "finite")),
        (drawn(), {}, ("`config`",)),
        (drawn(), {"config": "beta=0.5"}, ("(metadata)", "JSON")),
        (drawn(), {"config": '{"beta": 1.5}'}, ("(metadata)", "beta 1.5", "0 to 1")),
    ],
)
def test_tensors_of_another_network_and_bad_metadata_are_named(path, tensors, metadata, facts):
    write(path, tensors, metadata)
    check_refusal(path, *facts)


@pytest.mark.parametrize("kind, size", [("BF16", 2), ("I32", 4)])
def test_another_type_is_named(path, kind, size):
    header = {
        "__metadata__": {"config": to_json(CONFIG)},
        "conv1.bias": {"dtype": kind, "shape": [3], "data_offsets": [0, 3 * size]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(3 * size))
    check_refusal(path, "conv1.bias", kind, "F32", "F64")


SOME = layouts.on_grid(CONFIG, drawn())


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        *(("lif2.threshold", value, "from 2^-100 to below 2^100") for value in (0.0, 1e-40, -1e-40, 2.0**100)),
        ("conv1.weight", 2.0**38, "below 2^38"),  # for bytes divided by 256
        ("fc1.weight", -3e38, "below 2^30"),
        ("fc1.weight", 2.0**32, "below 2^30"),
        ("fc1.bias", 2.0**33, "below 2^33"),
    ],
)
@pytest.mark.parametrize("masters", [False, True])
def test_values_outside_the_ranges_of_the_proof_are_refused_by_name(path, name, value, range_, masters):
    tensors = {key: tensor.copy() for key, tensor in SOME.items()}
    tensors[name].flat[-1] = value
    path.write_bytes(weights.to_bytes(tensors, CONFIG, masters))
    check_refusal(path, name, f"{np.float32(value):g}", range_)
    with refusing(UserError, "tensors", name):
        Trained(Config(CONFIG), tensors)
    model = CSNN(CONFIG)
    load_tensors(model, tensors)
    with refusing(UserError, "model", name):
        save(model, CONFIG, path.parent / "run")
    assert not (path.parent / "run").exists()


def test_values_at_the_ends_of_the_ranges_are_accepted(path):
    tensors = {key: tensor.copy() for key, tensor in SOME.items()}
    for name, value in {"lif2.threshold": -(2.0**-100), "lif1.threshold": 2.0**99, "fc1.weight": 2.0**29}.items():
        tensors[name].flat[0] = value
    path.write_bytes(weights.to_bytes(tensors, CONFIG, masters=True))
    assert weights.load(path)[1]["fc1.weight"].max() == 2.0**29


@pytest.mark.parametrize(
    ("value", "facts"), [(0.25, ("fractions",)), (-61, (-61, "-60 to 30")), (31, (31, "-60 to 30"))]
)
def test_exponents_outside_the_grids_or_with_fractions_are_refused(value, facts, path):
    config, tensors = layouts.with_bits(CONFIG, drawn(), 3)
    weights.save(path, tensors, config)
    assert weights.load(path)[0] == config
    wrong = tensors | {"fc2.exponents": np.full_like(tensors["fc2.exponents"], value)}
    weights.save(path, wrong, config)
    check_refusal(path, "fc2.exponents", *facts)


def test_a_folder_and_a_missing_file_are_refused(path):
    check_refusal(path, "no such file")
    path.mkdir()
    check_refusal(path, "directory")
