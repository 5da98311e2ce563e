"""A whole training job: the network, its data and how it is trained."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from csnn_jax.config.checks import check, check_choice, flag_of, is_count, is_number, settle
from csnn_jax.config.network import ModelConfig, Readout

Init = Literal["auto", "torch", "fluctuation", "calibrated"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["auto", "constant", "cosine"]
Loss = Literal["ce_rate", "ce_membrane", "mse_count"]
Frames = Literal["time", "count"]


@dataclass(frozen=True)
class DataConfig:
    """Where a job's images come from, and how they are changed for training."""

    dataset: str = "mnist"
    """mnist (ships with the package), idx:DIR (a folder with the four IDX files), tfds:NAME (prepared by
    tensorflow-datasets), recordings of event cameras: nmnist:DIR, dvsgesture:DIR, events:DIR or saccades (MNIST's
    digits before a simulated camera), or arrays:FILE.npz (images and labels, which are not resized)."""
    validation: int = 0
    """Training images held out, from the end of the training set; they then take the place of the test images
    at each evaluation, and the test set is used once, at the end."""
    subset: int | None = None
    """Use the first so many training images, and as large a share of the test images; None: all."""
    augment: tuple[float, float, float] | None = None
    """Move each training image at random, by up to so many pixels of shift, degrees of rotation and share of scale,
    such as 2 10 0.1; None: not at all."""
    flip: bool = False
    """Mirror each training image, left to right, with a probability of one half; for things, not for digits."""

    event_drop: float = 0.0
    """Recordings of events: share of the events that each iteration leaves out at random, at least 0 and below 1."""
    frames: Frames = "time"
    """Recordings of events: frames that last equally long, or that take equally many events. A pixel holds the number
    of its events in a frame, up to 15."""

    def __post_init__(self):
        settle(self)
        named = isinstance(self.dataset, str) and "\0" not in self.dataset
        check("--dataset", self.dataset, "the name of a data set", named)
        check("--validation", self.validation, "a whole number of at least 0", is_count(self.validation, 0))
        if self.augment is not None:
            _check_augment(self.augment)
        check_choice("--frames", self.frames, Frames)
        share = is_number(self.event_drop) and 0 <= self.event_drop < 1
        check("--event-drop", self.event_drop, "a number of at least 0 and below 1", share)
        fits = self.subset is None or is_count(self.subset)
        check("--subset", self.subset, "a whole number of at least 1", fits)
        check("--flip", self.flip, "true or false", isinstance(self.flip, bool))


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained. The formulas of the optimisation stand in docs/train.md."""

    epochs: int = 1
    """Passes over the training images."""
    batch_size: int = 128
    """Images per iteration; an epoch's last partial batch is dropped."""
    lr: float | None = None
    """Learning rate; None: 0.01 for the default network, 0.0025 for neurons with another beta, without a reset or with
    learnt parameters, else 0.005; a tenth of these with --init-from."""
    init: Init = "auto"
    """Initial weights: torch's uniform, fluctuation (Rossbroich et al. 2022: from the neurons' parameters), calibrated
    (scaled until every layer fires on a training batch), or auto: torch for the default stack, else calibrated."""
    init_density: float = 0.1
    """Share of neurons that spike at a step (0.001 to 0.6), which fluctuation and calibrated aim at."""
    init_from: str | None = None
    """Run directory, or weights.safetensors of one, whose weights the training starts from. Stack and neurons are its
    own, but for those that flags name; the last layer is redrawn where the number of classes differs; the optimizer
    starts afresh; None: weights are drawn."""
    microbatch: Literal["auto", "off"] | int = "auto"
    """Images that go through the network at once; their gradients are added. It must divide --batch-size. off: all;
    auto: all, or as many as keep membranes of at most 512 MiB."""
    seed: int = 0
    """Draws the initial weights, the order of the images and the rate encoding."""
    max_iters: int | None = None
    """Stop after this many iterations in all; None: when the epochs are over."""
    eval_every: int = 50
    """Iterations between evaluations, of which the first is before training; 0: at the end alone, and with --init-from
    before training."""
    eval_images: int | None = None
    """Evaluate on so many images, the first ones of the held-out and of the test images, for short jobs; None: all."""
    checkpoint_every: int = 0
    """Iterations between checkpoints, beside those at evaluations and at the end; 0: only these."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints are kept; with --validation the best one is kept as well."""
    engine: Literal["auto", "scan", "event"] = "auto"
    """How JAX runs the time loop: event (CPU, cost follows the spikes), scan (anywhere), or auto: event if it can."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of weights, membranes and gradients."""
    optimizer: Optimizer = "adam"
    """What makes an update of a gradient, with torch's formulas and constants."""
    momentum: float = 0.0
    """Of sgd: the share of the last update's direction that is kept, from 0 to below 1."""
    schedule: Schedule = "auto"
    """The learning rate after the warm-up: constant, half a cosine from --lr down to 0 at the end of the job, or auto:
    cosine without convolutions, and for neurons with another beta, without a reset or with learnt parameters, else
    constant."""
    warmup: int = 0
    """Iterations at the start over which the learning rate rises in equal steps to --lr."""
    weight_decay: float | None = None
    """Draws weights, not biases, betas or thresholds, to 0: adamw shrinks the weights themselves, adam and sgd add to
    the gradient, as in torch; None: 0.01 with adamw, else 0."""
    clip_norm: float | None = None
    """Longest gradient, over all parameters together (Euclidean norm); a longer one is scaled down; None: any."""
    dropout: float = 0.0
    """Share of the hidden neurons whose spikes the next linear layer does not get, drawn anew for each training image,
    for its whole window; the others count for 1 / (1 - share). From 0 to below 1."""
    ema: float | None = None
    """Decay of averaged weights, from above 0 to below 1, such as 0.999, which evaluations, weights.safetensors and
    exports then have; None: the weights themselves."""
    loss: Loss = "ce_rate"
    """What is minimized: the cross entropy of every step's output spikes (snnTorch's ce_rate_loss), that of every
    step's output membranes (both names mean that with --output integrator), or the squared distance of the spike counts
    from all steps for the right class and none for the others (snnTorch's mse_count_loss)."""
    label_smoothing: float = 0.0
    """Share of the truth that is spread evenly over all classes, from 0 to below 1."""
    rate_target: float | None = None
    """Density, the share of neurons that spike at a step, that every hidden layer is drawn to; needs the scan engine;
    None: any."""
    rate_weight: float | None = None
    """Weight of the squared distance from --rate-target in the loss; None: 10."""

    def __post_init__(self):
        settle(self)
        least_of = {"epochs": 1, "batch_size": 1, "seed": 0, "eval_every": 0}
        for name, least in (least_of | {"checkpoint_every": 0, "keep_checkpoints": 1}).items():
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
        few = self.eval_images
        check("--eval-images", few, "a whole number of at least 1", few is None or is_count(few))
        check("--engine", self.engine, "auto, scan or event", self.engine in ("auto", "scan", "event"))
        check("--dtype", self.dtype, "float32 or float64", self.dtype in ("float32", "float64"))
        self._check_init_from()
        self._check_microbatch()
        self._check_optimizer()
        self._check_loss()

    def _check_init_from(self) -> None:
        given = self.init_from
        named = given is None or (isinstance(given, str) and given != "" and "\0" not in given)
        check("--init-from", given, "a run directory, or a weights.safetensors", named)
        alone = given is None or self.init == "auto"
        check("--init", self.init, "no --init-from beside it, whose weights are drawn already", alone)

    def _check_microbatch(self) -> None:
        size, batch = self.microbatch, self.batch_size
        if size not in ("auto", "off"):
            divides = is_count(size) and batch % int(size) == 0
            check("--microbatch", size, f"auto, off, or a divisor of the batch of {batch} images", divides)
            whole = self.rate_target is None or size == batch
            check("--microbatch", size, "auto or off beside --rate-target, which looks at a whole batch", whole)

    def _check_optimizer(self) -> None:
        check_choice("--optimizer", self.optimizer, Optimizer)
        check("--momentum", self.momentum, "a number from 0 to below 1", _is_share(self.momentum))
        alone = self.optimizer == "sgd" or not self.momentum
        check("--momentum", self.momentum, f"--optimizer sgd, {self.optimizer} has a momentum of its own", alone)
        check_choice("--schedule", self.schedule, Schedule)
        check("--warmup", self.warmup, "a whole number of at least 0", is_count(self.warmup, 0))
        decay, clip = self.weight_decay, self.clip_norm
        check("--weight-decay", decay, "a number of at least 0", decay is None or (is_number(decay) and decay >= 0))
        check("--clip-norm", clip, "a positive number", clip is None or is_number(clip, 0.0))
        check("--dropout", self.dropout, "a number from 0 to below 1", _is_share(self.dropout))
        is_decay = self.ema is None or (_is_share(self.ema) and self.ema > 0)
        check("--ema", self.ema, "a number above 0 and below 1", is_decay)

    def _check_loss(self) -> None:
        target, weight = self.rate_target, self.rate_weight
        check_choice("--loss", self.loss, Loss)
        check("--label-smoothing", self.label_smoothing, "a number from 0 to below 1", _is_share(self.label_smoothing))
        is_density = target is None or (_is_share(target) and target > 0)
        check("--rate-target", target, "a number above 0 and below 1", is_density)
        check("--rate-weight", weight, "a positive number", weight is None or is_number(weight, 0.0))
        check("--rate-weight", weight, "a --rate-target beside it", weight is None or target is not None)

    @property
    def part(self) -> int | None:
        """Images that go through the network at once; None: all of the batch."""
        assert self.microbatch != "auto"
        return None if self.microbatch == "off" else self.microbatch

    @property
    def decay(self) -> float:
        """The weight decay; torch's own for the optimizer where none is given."""
        if self.weight_decay is None:
            return 0.01 if self.optimizer == "adamw" else 0.0
        return self.weight_decay

    @property
    def reads(self) -> Readout:
        """What the loss takes of the output layer."""
        return "membrane" if self.loss == "ce_membrane" else "spikes"

    def renewal(self, iteration: int) -> float:
        """Share of the new weights in the average after an iteration: 1 - min(ema, (1 + n) / (10 + n)), n from 1 on.

        The average follows closely at first, so that the initial weights are soon forgotten (as in TensorFlow's
        ExponentialMovingAverage).
        """
        assert self.ema is not None
        number = iteration + 1
        return 1 - min(self.ema, (1 + number) / (10 + number))

    @property
    def rate(self) -> tuple[float, float] | None:
        """The density that hidden layers are drawn to, and the weight of that; None where there is no target."""
        if self.rate_target is None:
            return None
        return self.rate_target, 10.0 if self.rate_weight is None else self.rate_weight


def _is_share(value: object) -> bool:
    return is_number(value) and 0 <= value < 1  # type: ignore[operator]


@dataclass(frozen=True)
class Config:
    """A whole training job, as `config.json` of a run directory holds it.

    Raises:
        UserError: a value is wrong, or fields contradict each other.

    Examples:
        >>> from csnn_jax import Config, ModelConfig, TrainConfig
        >>> config = Config(ModelConfig(conv_channels=(8, 16), hidden=()), train=TrainConfig(epochs=2))
        >>> [layer.out_shape for layer in config.model.layers]
        [(14, 14, 8), (7, 7, 16), (10,)]
        >>> Config(train=TrainConfig(lr=-1))
        Traceback (most recent call last):
        csnn_jax.errors.UserError: --lr -1: expected a positive number below 1e38
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        for name, kind in (("model", ModelConfig), ("data", DataConfig), ("train", TrainConfig)):
            part = getattr(self, name)
            check(name, part, f"a {kind.__name__}", isinstance(part, kind))
        height, width, _ = self.model.input_shape
        shift = self.data.augment[0] if self.data.augment else 0
        below = f"a shift below {min(height, width)} pixels, for images of {height}x{width}"
        check("--augment", self.data.augment, below, shift < min(height, width))
        if self.model.output == "integrator" and self.train.loss == "ce_rate":
            object.__setattr__(self, "train", replace(self.train, loss="ce_membrane"))
        counts = self.train.loss == "mse_count"
        expected = "ce_membrane with --output integrator, whose neurons never spike"
        check("--loss", self.train.loss, expected, not counts or self.model.output == "spiking")
        read = f"spikes with --loss {self.train.loss}, which trains the spike counts"
        check("--readout", self.model.readout, read, not counts or self.model.readout == "spikes")
        target = self.train.rate_target
        hidden = len(self.model.layers) > 1
        check("--rate-target", target, "a network with a hidden layer", target is None or hidden)
        check("--dropout", self.train.dropout, "a network with a hidden layer", not self.train.dropout or hidden)


def _check_augment(amounts: Any) -> None:
    three = isinstance(amounts, tuple) and len(amounts) == 3 and all(map(is_number, amounts))
    check("--augment", amounts, "three numbers: pixels of shift, degrees of rotation, share of scale", three)
    shift, rotation, scale = amounts
    check("--augment", amounts, "a shift of at least 0 pixels", shift >= 0)
    check("--augment", amounts, "a rotation from 0 to 180 degrees", 0 <= rotation <= 180)
    check("--augment", amounts, "a scale of at least 0 and below 1", 0 <= scale < 1)
