"""A whole training job: the network, its data and how it is trained."""

from dataclasses import dataclass, field
from typing import Any, Literal

from csnn_jax.config.checks import check, check_choice, flag_of, is_count, is_number
from csnn_jax.config.network import ModelConfig

Init = Literal["auto", "torch", "fluctuation", "calibrated"]


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    dataset: str = "mnist"
    """mnist (ships with the package), idx:DIR (a folder with the four IDX files), or tfds:NAME (prepared by
    tensorflow-datasets)."""
    validation: int = 0
    """Training images held out, from the end of the training set; they then take the place of the test images
    at each evaluation, and the test set is used once, at the end."""
    augment: tuple[float, float, float] | None = None
    """Move each training image at random, by up to so many pixels of shift, degrees of rotation and share of scale,
    such as 2 10 0.1; None: not at all."""

    def __post_init__(self):
        if isinstance(self.augment, list):  # as JSON has it
            object.__setattr__(self, "augment", tuple(self.augment))  # frozen
        check("--dataset", self.dataset, "the name of a data set", isinstance(self.dataset, str))
        check("--validation", self.validation, "a whole number of at least 0", is_count(self.validation, 0))
        if self.augment is not None:
            _check_augment(self.augment)


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained: Adam on the cross entropy of every step's spikes (snnTorch's ce_rate_loss)."""

    epochs: int = 1
    """Passes over the training images."""
    batch_size: int = 128
    """Images per iteration; an epoch's last partial batch is dropped."""
    lr: float | None = None
    """Learning rate; None: 0.01 for the default stack, else 0.005."""
    init: Init = "auto"
    """Initial weights: torch's uniform, fluctuation (Rossbroich et al. 2022: from the neurons' parameters), calibrated
    (scaled until every layer fires on a training batch), or auto: torch for the default stack, else calibrated."""
    init_density: float = 0.1
    """Share of neurons that spike at a step (0.001 to 0.6), which fluctuation and calibrated aim at."""
    seed: int = 0
    """Draws the initial weights, the order of the images and the rate encoding."""
    max_iters: int | None = None
    """Stop after this many iterations in all; None: when the epochs are over."""
    eval_every: int = 50
    """Iterations between evaluations; 0: only at the end."""
    engine: Literal["auto", "scan", "event"] = "auto"
    """How JAX runs the time loop: event (CPU, cost follows the spikes), scan (anywhere), or auto: event if it can."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of weights, membranes and gradients."""

    def __post_init__(self):
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("eval_every", 0)):
            value = getattr(self, name)
            check(flag_of(name), value, f"a whole number of at least {least}", is_count(value, least))
        check("--seed", self.seed, "less than 2**63", self.seed < 2**63)
        is_rate = self.lr is None or (is_number(self.lr, 0.0) and self.lr < 1e38)
        check("--lr", self.lr, "a positive number below 1e38", is_rate)
        check_choice("--init", self.init, Init)
        dense = is_number(self.init_density) and 0.001 <= self.init_density <= 0.6
        check("--init-density", self.init_density, "0.001 to 0.6", dense)
        check(
            "--max-iters",
            self.max_iters,
            "a whole number of at least 1",
            self.max_iters is None or is_count(self.max_iters),
        )
        check("--engine", self.engine, "auto, scan or event", self.engine in ("auto", "scan", "event"))
        check("--dtype", self.dtype, "float32 or float64", self.dtype in ("float32", "float64"))


@dataclass(frozen=True)
class Config:
    """A whole training job, as `config.json` of a run directory holds it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        height, width, _ = self.model.input_shape
        shift = self.data.augment[0] if self.data.augment else 0
        below = f"a shift below {min(height, width)} pixels, for images of {height}x{width}"
        check("--augment", self.data.augment, below, shift < min(height, width))


def _check_augment(amounts: Any) -> None:
    three = isinstance(amounts, tuple) and len(amounts) == 3 and all(map(is_number, amounts))
    check("--augment", amounts, "three numbers: pixels of shift, degrees of rotation, share of scale", three)
    shift, rotation, scale = amounts
    check("--augment", amounts, "a shift of at least 0 pixels", shift >= 0)
    check("--augment", amounts, "a rotation from 0 to 180 degrees", 0 <= rotation <= 180)
    check("--augment", amounts, "a scale of at least 0 and below 1", 0 <= scale < 1)
