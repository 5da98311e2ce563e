"""A whole training job: the network, its data and how it's trained."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from csnn_jax.config.checks import check, check_choice, flag_of, is_class_name, is_count, is_number, is_plain, settle
from csnn_jax.config.grid import LARGEST
from csnn_jax.config.network import ModelConfig, Readout

Init = Literal["auto", "torch", "fluctuation", "calibrated"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["auto", "constant", "cosine"]
Loss = Literal["ce_rate", "ce_membrane", "mse_count"]
Frames = Literal["time", "count"]


@dataclass(frozen=True)
class DataConfig:
    """Where a job's images come from, and how they're augmented for training."""

    dataset: str = "mnist"
    """mnist (ships with the package), images:DIR (PNG and JPEG files in a folder per class), idx:DIR (the four IDX
    files), tfds:NAME (prepared with tensorflow-datasets), event-camera recordings (nmnist:DIR, dvsgesture:DIR,
    events:DIR, or saccades: MNIST's digits seen by a simulated camera), or arrays:FILE.npz (images and labels, which
    aren't resized)."""
    validation: int = 0
    """Number of training images to hold out, from the end of the training set. Evaluations then use them instead of the
    test images, and the test set is used once, at the end. Required if a folder of pictures has no test images."""
    subset: int | None = None
    """Use the first N training images, and the same fraction of the test images; default: all."""
    augment: tuple[float, float, float] | None = None
    """Shift, rotate and scale each training image at random, by at most this many pixels, degrees and fraction of its
    size, such as 2 10 0.1; default: off."""
    flip: bool = False
    """Mirror each training image left to right with probability 0.5. Useful for objects, not for digits."""

    event_drop: float = 0.0
    """Event recordings only: fraction of the events to drop at random in each iteration, at least 0 and below 1."""
    frames: Frames = "time"
    """Event recordings only: divide each recording into frames of equal duration (time) or with equally many events
    (count). A pixel's value is its number of events in the frame, up to 15."""
    classes: tuple[str, ...] | None = None
    """Names of the classes, in the order of the output neurons; None: their numbers."""

    def __post_init__(self):
        settle(self)
        named = isinstance(self.dataset, str) and is_plain(self.dataset)
        check("--dataset", self.dataset, "the name of a data set, without control characters", named)
        check("--validation", self.validation, "a whole number of at least 0", is_count(self.validation, 0))
        if self.augment is not None:
            _check_augment(self.augment)
        check_choice("--frames", self.frames, Frames)
        share = is_number(self.event_drop) and 0 <= self.event_drop < 1
        check("--event-drop", self.event_drop, "a number of at least 0 and below 1", share)
        fits = self.subset is None or is_count(self.subset)
        check("--subset", self.subset, "a whole number of at least 1", fits)
        check("--flip", self.flip, "true or false", isinstance(self.flip, bool))
        if self.classes is not None:
            names = "different names of classes, none empty or -, without control characters"
            check("classes", self.classes, names, _are_names(self.classes))


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained. docs/optimization.md has the formulas."""

    epochs: int = 1
    """Passes over the training images."""
    batch_size: int = 128
    """Images per iteration; an epoch's last partial batch is dropped."""
    lr: float | None = None
    """Learning rate; default: 0.01 for the default network, 0.0025 for neurons with a different beta, without a reset
    or with learned parameters, otherwise 0.005; a tenth of that with --init-from."""
    init: Init = "auto"
    """Initial weights: torch (torch's uniform distribution), fluctuation (Rossbroich et al. 2022, from the neurons'
    parameters), calibrated (scaled until every layer fires on a training batch), or auto (torch for the default
    network, otherwise calibrated)."""
    init_density: float = 0.1
    """Fraction of neurons that should spike at each step (0.001 to 0.6), the target of fluctuation and calibrated."""
    init_from: str | None = None
    """Run directory, or its weights.safetensors, to start training from. Layers and neurons come from that run unless
    flags override them. The last layer is reinitialized if the number of classes differs, and the optimizer starts from
    scratch. Default: random weights."""
    microbatch: Literal["auto", "off"] | int = "auto"
    """Number of images that go through the network at once; their gradients are averaged. Must divide --batch-size.
    off: the whole batch; auto: the whole batch, or as many images as fit in 512 MiB of membranes."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and the rate encoding."""
    max_iters: int | None = None
    """Stop after this many iterations in total; default: after the last epoch."""
    eval_every: int = 50
    """Iterations between evaluations, the first of which comes before training. 0: evaluate only at the end, and with
    --init-from also before training."""
    eval_images: int | None = None
    """Evaluate on only the first N held-out or test images, for short jobs; default: all."""
    checkpoint_every: int = 0
    """Iterations between checkpoints, in addition to those at evaluations and at the end; 0: no additional ones."""
    keep_checkpoints: int = 2
    """Number of recent checkpoints to keep. With --validation, the best one is kept as well."""
    engine: Literal["auto", "scan", "event"] = "auto"
    """How JAX runs the time loop: event (CPU only, cost proportional to the spikes), scan (any device), or auto (event
    where possible)."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of weights, membranes and gradients."""
    optimizer: Optimizer = "adam"
    """Optimizer, with torch's formulas and constants."""
    momentum: float = 0.0
    """Momentum of sgd, from 0 to below 1."""
    schedule: Schedule = "auto"
    """Learning rate after the warmup: constant, cosine (from --lr down to 0 at the end of the job), or auto (cosine for
    networks without convolutions and for neurons with a different beta, without a reset or with learned parameters,
    otherwise constant)."""
    warmup: int = 0
    """Iterations at the start over which the learning rate rises linearly to --lr."""
    weight_decay: float | None = None
    """Weight decay, which doesn't apply to biases, betas and thresholds: adamw shrinks the weights directly, adam and
    sgd add to the gradient, as in torch. Default: 0.01 with adamw, otherwise 0."""
    clip_norm: float | None = None
    """Largest Euclidean norm of the gradient over all parameters; larger gradients are scaled down to it. Default: no
    limit."""
    dropout: float = 0.0
    """Fraction of the hidden neurons whose spikes are dropped before the next linear layer, from 0 to below 1. The
    neurons are redrawn for each training image and stay dropped for its whole window; the others are scaled by 1 / (1 -
    fraction)."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, above 0 and below 1, such as 0.999. Evaluations,
    weights.safetensors and exports then use the average. Default: no averaging."""
    loss: Loss = "ce_rate"
    """Loss: ce_rate (cross entropy of the output spikes at each step, snnTorch's ce_rate_loss), ce_membrane (cross
    entropy of the output membranes at each step; --output integrator uses it for ce_rate, too), or mse_count (squared
    error of the spike counts, where the correct class should spike at every step and the others never, snnTorch's
    mse_count_loss)."""
    label_smoothing: float = 0.0
    """Fraction of the label that is spread evenly over all classes, from 0 to below 1."""
    rate_target: float | None = None
    """Target density of every hidden layer, which is the fraction of its neurons that spike at a step; needs the scan
    engine. Default: none."""
    rate_weight: float | None = None
    """Weight of the squared distance from --rate-target in the loss; default: 10."""

    def __post_init__(self):
        settle(self)
        least_of = {"epochs": 1, "batch_size": 1, "seed": 0, "eval_every": 0}
        for name, least in (least_of | {"checkpoint_every": 0, "keep_checkpoints": 1}).items():
            value = getattr(self, name)
            check(flag_of(name), value, f"a whole number of at least {least}", is_count(value, least))
        check("--seed", self.seed, "less than 2**63", self.seed < 2**63)
        is_rate = self.lr is None or (is_number(self.lr, 0.0) and self.lr < 2**LARGEST)
        check("--lr", self.lr, f"a positive number below 2^{LARGEST}, as weights are", is_rate)
        check_choice("--init", self.init, Init)
        dense = is_number(self.init_density) and 0.001 <= self.init_density <= 0.6
        check("--init-density", self.init_density, "a number from 0.001 to 0.6", dense)
        for flag, number in (("--max-iters", self.max_iters), ("--eval-images", self.eval_images)):
            check(flag, number, "a whole number of at least 1", number is None or is_count(number))
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
        check("--init", self.init, "auto with --init-from, which provides the weights", alone)

    def _check_microbatch(self) -> None:
        size, batch = self.microbatch, self.batch_size
        if size not in ("auto", "off"):
            divides = is_count(size) and batch % int(size) == 0
            check("--microbatch", size, f"auto, off, or a divisor of the batch of {batch} images", divides)
            whole = self.rate_target is None or size == batch
            check("--microbatch", size, "auto or off with --rate-target, which needs the whole batch", whole)

    def _check_optimizer(self) -> None:
        check_choice("--optimizer", self.optimizer, Optimizer)
        check("--momentum", self.momentum, "a number from 0 to below 1", _is_share(self.momentum))
        alone = self.optimizer == "sgd" or not self.momentum
        check("--momentum", self.momentum, f"--optimizer sgd; {self.optimizer} has built-in momentum", alone)
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
        check("--rate-weight", weight, "--rate-target, too", weight is None or target is not None)

    @property
    def part(self) -> int | None:
        """Images that go through the network at once; None: the whole batch."""
        assert self.microbatch != "auto"
        return None if self.microbatch == "off" else self.microbatch

    @property
    def decay(self) -> float:
        """The weight decay; torch's default for the optimizer if it isn't set."""
        if self.weight_decay is None:
            return 0.01 if self.optimizer == "adamw" else 0.0
        return self.weight_decay

    @property
    def reads(self) -> Readout:
        """What the loss reads from the output layer."""
        return "membrane" if self.loss == "ce_membrane" else "spikes"

    def renewal(self, iteration: int) -> float:
        """Weight of the new parameters in the average after iteration n, from 1: 1 - min(ema, (1 + n) / (10 + n)).

        The average follows closely at first, so the initial weights are soon forgotten, as in TensorFlow's
        ExponentialMovingAverage.
        """
        assert self.ema is not None
        number = iteration + 1
        return 1 - min(self.ema, (1 + number) / (10 + number))

    @property
    def rate(self) -> tuple[float, float] | None:
        """The target density of hidden layers and its weight in the loss; None if there is no target."""
        if self.rate_target is None:
            return None
        return self.rate_target, 10.0 if self.rate_weight is None else self.rate_weight


def _is_share(value: object) -> bool:
    return is_number(value) and 0 <= value < 1  # type: ignore[operator]


@dataclass(frozen=True)
class Config:
    """A whole training job, as stored in a run directory's `config.json`.

    Raises:
        UserError: fields contradict each other; each part checks its own.

    Examples:
        >>> from csnn_jax import Config, ModelConfig, TrainConfig
        >>> config = Config(ModelConfig(conv_channels=(8, 16), hidden=()), train=TrainConfig(epochs=2))
        >>> [node.shape for node in config.model.graph.neurons]
        [(14, 14, 8), (7, 7, 16), (10,)]
        >>> Config(train=TrainConfig(lr=-1))
        Traceback (most recent call last):
        csnn_jax.errors.UserError: lr -1: expected a positive number below 2^30, as weights are
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
        below = f"a shift below {min(height, width)} pixels for {height}x{width} images"
        check("--augment", self.data.augment, below, shift < min(height, width))
        if self.model.output == "integrator" and self.train.loss == "ce_rate":
            object.__setattr__(self, "train", replace(self.train, loss="ce_membrane"))
        named, most = len(self.data.classes or ()), self.model.num_classes
        check("classes", self.data.classes, f"at most {most} names, one for each class", named <= most)
        counts = self.train.loss == "mse_count"
        expected = "ce_membrane with --output integrator, whose neurons never spike"
        check("--loss", self.train.loss, expected, not counts or self.model.output == "spiking")
        read = f"spikes with --loss {self.train.loss}, which trains the spike counts"
        check("--readout", self.model.readout, read, not counts or self.model.readout == "spikes")
        target = self.train.rate_target
        hidden = len(self.model.graph.neurons) > 1
        check("--rate-target", target, "a network with a hidden layer", target is None or hidden)
        check("--dropout", self.train.dropout, "a network with a hidden layer", not self.train.dropout or hidden)

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each output neuron: its class's, or its number if the data has no name for it."""
        known = self.data.classes or ()
        return (*known, *map(str, range(len(known), self.model.num_classes)))


def _are_names(values: object) -> bool:
    return isinstance(values, tuple) and all(map(is_class_name, values)) and len(set(values)) == len(values)


def _check_augment(amounts: Any) -> None:
    three = isinstance(amounts, tuple) and len(amounts) == 3 and all(map(is_number, amounts))
    check("--augment", amounts, "three numbers: shift in pixels, rotation in degrees, scale as a fraction", three)
    shift, rotation, scale = amounts
    check("--augment", amounts, "a shift of at least 0 pixels", shift >= 0)
    check("--augment", amounts, "a rotation from 0 to 180 degrees", 0 <= rotation <= 180)
    check("--augment", amounts, "a scale of at least 0 and below 1", 0 <= scale < 1)
