"""A network has as many classes as its data."""

import pytest
from idx_files import write_folder

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError


@pytest.fixture
def two_classes(tmp_path):
    return f"idx:{write_folder(tmp_path)}"


def test_the_default_follows_the_data(two_classes):
    found = data.load(two_classes, (3, 4, 1))
    assert found.num_classes == 2
    assert data.fit_classes(ModelConfig(), found).num_classes == 2


def test_more_outputs_than_classes_are_kept_and_fewer_refused():
    mnist = data.load("mnist", (28, 28, 1))
    assert data.fit_classes(ModelConfig(num_classes=12), mnist).num_classes == 12
    with pytest.raises(UserError, match="--num-classes 9: mnist has labels up to 9, expected at least 10"):
        data.fit_classes(ModelConfig(num_classes=9), mnist)


def test_a_data_set_with_more_classes_than_the_network_is_refused(two_classes):
    assert data.load_for(ModelConfig(input_shape=(3, 4, 1), conv_channels=(), num_classes=2), two_classes)
    with pytest.raises(UserError, match="--dataset mnist: has 10 classes, expected at most the network's 2"):
        data.load_for(ModelConfig(num_classes=2), "mnist")
