"""The figures of a run: accuracy over time, and the neurons' response to one image."""

from csnn_jax import data
from csnn_jax.config import NEVER, Config
from csnn_jax.figures import Figures, accuracy, spikes, style
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training.trainer import Trainer


def names(figures: Figures) -> tuple[str, ...]:
    """The figure files of a finished run."""
    return (*style.files("accuracy", figures), *style.files("spikes", figures))


def draw(run: RunDir, config: Config, dataset: data.Dataset, trainer: Trainer, figures: Figures) -> None:
    """Writes the figures of a run, see `names`."""
    style.save(accuracy.draw(run), run.path, "accuracy", figures)
    style.save(spikes.draw(sample(config, dataset, trainer)), run.path, "spikes", figures)


def sample(config: Config, dataset: data.Dataset, trainer: Trainer) -> spikes.Sample:
    """The first image of the final evaluation, and the network's current response to it."""
    image, label = dataset.test.images[:1], int(dataset.test.labels[0])
    trace = trainer.trace(image).map(lambda layer: layer[:, 0])
    membranes, fired = list(trace.membranes.values()), list(trace.spikes.values())
    thresholds = [None if value == NEVER else value for value in config.model.thresholds]
    return spikes.Sample(image[0], label, membranes, fired, thresholds, config.class_names, dataset.final)
