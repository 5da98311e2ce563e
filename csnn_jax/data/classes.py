"""The classes of a data set and those of a network."""

from dataclasses import replace

from csnn_jax.config import ModelConfig
from csnn_jax.data.datasets import Dataset, load
from csnn_jax.errors import UserError


def fit_classes(model: ModelConfig, dataset: Dataset) -> ModelConfig:
    """The model with as many classes as the data set has, unless the flags gave more.

    Raises:
        UserError: the flags gave fewer.
    """
    if model.num_classes == ModelConfig.num_classes:
        return replace(model, num_classes=max(2, dataset.num_classes))
    if model.num_classes < dataset.num_classes:
        raise UserError(
            f"--num-classes {model.num_classes}: {dataset.name} has labels up to {dataset.num_classes - 1}, "
            f"expected at least {dataset.num_classes}"
        )
    return model


def load_for(model: ModelConfig, name: str) -> Dataset:
    """A data set for a trained network.

    Raises:
        UserError: it can't be loaded, or has more classes than the network.
    """
    dataset = load(name, model.input_shape)
    if dataset.num_classes > model.num_classes:
        raise UserError(
            f"--dataset {dataset.name}: has {dataset.num_classes} classes, expected at most the network's "
            f"{model.num_classes}"
        )
    return dataset
