"""A whole training job: the network, its data and how it's trained.

`decided` resolves `auto`: the original recipe for the original network, otherwise the best settings in
docs/learning.md. The choice depends only on the flags that describe the stack, its input and its neurons. Changing the
window, the seed, the batch or the data doesn't change it.
"""

import json
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from csnn_jax.config.grid import LARGEST
from csnn_jax.config.names import is_class_name, is_plain
from csnn_jax.config.network import ModelConfig, Readout, is_delicate, is_original, slope_of, surrogate_of
from csnn_jax.config.unknown import UnknownConfig
from csnn_jax.errors import UserError
from csnn_jax.options import Options, Rule, as_values, check_rules, from_values, option, parsed_json, show
from csnn_jax.options.kinds import SWITCH, choice, count, either, number, several, text

Init = Literal["auto", "torch", "fluctuation", "calibrated"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine"]
Loss = Literal["ce_rate", "ce_membrane", "mse_count"]
Frames = Literal["time", "count"]
Engine = Literal["auto", "scan", "event"]
Dtype = Literal["float32", "float64"]

MOST_MEMBRANE_BYTES = 2**29
"""Bytes of membranes that an iteration may keep before `auto` splits it into micro-batches. The same on every
machine."""
SCHEMA_VERSION = 3
"""The version of `config.json`."""
MOST_BYTES = 2**24
"""Maximum size of `config.json`, of which class names take the most."""

_data, _training, _optimization = (partial(option, group=name) for name in ("data", "training", "optimization"))
SEED = count(0, 2**63 - 1, limits="from 0 to below 2**63")
"""The values of a seed."""
_LR = f"above 0 and below 2^{LARGEST}"
_NAME = "the name of a data set, without control characters"
_NAMES = "different names of classes, none empty or -, without control characters"
_AUGMENT = "three numbers: shift in pixels, rotation in degrees, scale as a fraction"


@dataclass(frozen=True)
class DataConfig(Options):
    """Where a job's images come from, and how they're augmented for training."""

    # fmt: off
    dataset: str = _data("mnist", text(_NAME, is_plain, "NAME"), """
        mnist (ships with the package), images:DIR (PNG and JPEG files in a folder per class), idx:DIR (the four IDX
        files), tfds:NAME (prepared with tensorflow-datasets), event-camera recordings (nmnist:DIR, dvsgesture:DIR,
        events:DIR, or saccades: MNIST's digits seen by a simulated camera), or arrays:FILE.npz (images and labels,
        which aren't resized).""")
    validation: int = _data(0, count(0), """
        Number of training images to hold out, from the end of the training set. Evaluations then use them instead of
        the test images, and the test set is used once, at the end. Required if a folder of pictures has no test
        images.""")
    subset: int | None = _data(None, count(), """
        Use the first N training images, and the same fraction of the test images; default: all.""")
    augment: tuple[float, float, float] | None = _data(
        None, several(number(least=0), 3, expected=_AUGMENT), """
        Shift, rotate and scale each training image at random, by at most this many pixels, degrees and fraction of its
        size, such as 2 10 0.1; default: off.""")
    flip: bool = _data(False, SWITCH, """
        Mirror each training image left to right with probability 0.5. Useful for objects, not for digits.""")
    event_drop: float = _data(0.0, number(0, below=1), """
        Event recordings only: fraction of the events to drop at random in each iteration, at least 0 and below 1.""")
    frames: Frames = _data("time", choice(Frames), """
        Event recordings only: divide each recording into frames of equal duration (time) or with equally many events
        (count). A pixel's value is its number of events in the frame, up to 15.""")
    cache: str | None = _data(None, text("a folder, or off", metavar="DIR"), """
        Event recordings only: folder in which to cache decoded frames; off: no caching; default: the user's cache
        folder.""")
    classes: tuple[str, ...] | None = option(
        None, several(text(valid=is_class_name), distinct=True, expected=_NAMES), """
        Names of the classes, in the order of the output neurons; None: their numbers.""", has_flag=False)
    # fmt: on

    RULES = (
        Rule(
            "augment", "a rotation from 0 to 180 degrees", lambda data: data.augment is None or data.augment[1] <= 180
        ),
        Rule("augment", "a scale of at least 0 and below 1", lambda data: data.augment is None or data.augment[2] < 1),
    )


@dataclass(frozen=True)
class TrainConfig(Options):
    """How the network is trained. docs/optimization.md has the formulas."""

    # fmt: off
    epochs: int = _training(1, count(), "Passes over the training images.")
    batch_size: int = _training(128, count(), """
        Images per iteration; an epoch's last partial batch is dropped.""")
    lr: float | None = _optimization(None, number(above=0, below=2**LARGEST, limits=_LR), """
        Learning rate; default: 0.01 for the default network, 0.0025 for neurons with a different beta, without a reset
        or with learned parameters, otherwise 0.005; a tenth of that with --init-from.""")
    init: Init = _training("auto", choice(Init), """
        Initial weights: torch (torch's uniform distribution), fluctuation (Rossbroich et al. 2022, from the neurons'
        parameters), calibrated (scaled until every layer fires on a training batch), or auto (torch for the default
        network, otherwise calibrated).""")
    init_density: float = _training(0.1, number(0.001, 0.6), """
        Fraction of neurons that should spike at each step (0.001 to 0.6), the target of fluctuation and calibrated.""")
    init_from: str | None = _training(
        None, text("a run directory, or a weights.safetensors", metavar="RUN"), """
        Run directory, or its weights.safetensors, to start training from. Layers and neurons come from that run unless
        flags override them. The last layer is reinitialized if the number of classes differs, and the optimizer starts
        from scratch. Default: random weights.""")
    microbatch: Literal["auto", "off"] | int = _training("auto", either(("auto", "off"), count()), """
        Number of images that go through the network at once; their gradients are averaged. Must divide --batch-size.
        off: the whole batch; auto: the whole batch, or as many images as fit in 512 MiB of membranes.""")
    seed: int = _training(0, SEED, """
        Seed of the initial weights, the order of the images and the rate encoding.""")
    max_iters: int | None = _training(None, count(), """
        Stop after this many iterations in total; default: after the last epoch.""")
    eval_every: int = _training(50, count(0), """
        Iterations between evaluations, the first of which comes before training. 0: evaluate only at the end, and with
        --init-from also before training.""")
    eval_images: int | None = _training(None, count(), """
        Evaluate on only the first N held-out or test images, for short jobs; default: all.""")
    checkpoint_every: int = _training(0, count(0), """
        Iterations between checkpoints, in addition to those at evaluations and at the end; 0: no additional ones.""")
    keep_checkpoints: int = _training(2, count(), """
        Number of recent checkpoints to keep. With --validation, the best one is kept as well.""")
    engine: Engine = _training("auto", choice(Engine), """
        How JAX runs the time loop: event (CPU only, cost proportional to the spikes), scan (any device), or auto (event
        where possible).""")
    dtype: Dtype = _training("float32", choice(Dtype), """
        Floating-point type of weights, membranes and gradients.""")
    optimizer: Optimizer = _optimization("adam", choice(Optimizer), """
        Optimizer, with torch's formulas and constants.""")
    momentum: float = _optimization(0.0, number(0, below=1), "Momentum of sgd, from 0 to below 1.")
    schedule: Schedule = _optimization("cosine", choice(Schedule), """
        Learning rate after the warmup: constant, or cosine (from --lr down to 0 at the end of the job).""")
    warmup: int = _optimization(0, count(0), """
        Iterations at the start over which the learning rate rises linearly to --lr.""")
    weight_decay: float | None = _optimization(None, number(0), """
        Weight decay, which doesn't apply to biases, betas and thresholds: adamw shrinks the weights directly, adam and
        sgd add to the gradient, as in torch. Default: 0.01 with adamw, otherwise 0.""")
    clip_norm: float | None = _optimization(None, number(above=0), """
        Largest Euclidean norm of the gradient over all parameters; larger gradients are scaled down to it. Default: no
        limit.""")
    dropout: float = _optimization(0.0, number(0, below=1), """
        Fraction of the hidden neurons whose spikes are dropped before the next linear layer, from 0 to below 1. The
        neurons are redrawn for each training image and stay dropped for its whole window; the others are scaled by 1 /
        (1 - fraction).""")
    batch_norm: bool = _optimization(False, SWITCH, """
        Normalize the output of every convolution in training, over the batch, all positions and all steps; the result
        is folded into the weights, so evaluations, files and exports have a plain network. Trains with the scan engine,
        the whole batch at once.""")
    ema: float | None = _optimization(None, number(above=0, below=1), """
        Decay of an exponential moving average of the weights, above 0 and below 1, such as 0.999. Evaluations,
        weights.safetensors and exports then use the average. Default: no averaging.""")
    loss: Loss = _optimization("ce_rate", choice(Loss), """
        Loss: ce_rate (cross entropy of the output spikes at each step, snnTorch's ce_rate_loss), ce_membrane (cross
        entropy of the output membranes at each step; --output integrator uses it for ce_rate, too), or mse_count
        (squared error of the spike counts, where the correct class should spike at every step and the others never,
        snnTorch's mse_count_loss).""")
    label_smoothing: float = _optimization(0.0, number(0, below=1), """
        Fraction of the label that is spread evenly over all classes, from 0 to below 1.""")
    rate_target: float | None = _optimization(None, number(above=0, below=1), """
        Target density of every hidden layer, which is the fraction of its neurons that spike at a step; default:
        none.""")
    rate_weight: float | None = _optimization(None, number(above=0), """
        Weight of the squared distance from --rate-target in the loss; default: 10.""")
    # fmt: on

    RULES = (
        Rule(
            "init",
            "auto with --init-from, which provides the weights",
            lambda train: train.init_from is None or train.init == "auto",
        ),
        Rule(
            "microbatch",
            lambda train: f"auto, off, or a divisor of the batch of {train.batch_size} images",
            lambda train: train.microbatch in ("auto", "off") or train.batch_size % train.microbatch == 0,
        ),
        Rule(
            "microbatch",
            lambda train: f"auto or off with {train.undivided}, which needs the whole batch",
            lambda train: train.undivided is None or train.microbatch in ("auto", "off", train.batch_size),
        ),
        Rule(
            "engine",
            "auto or scan with --batch-norm",
            lambda train: not train.batch_norm or train.engine != "event",
        ),
        Rule(
            "momentum",
            lambda train: f"--optimizer sgd; {train.optimizer} has built-in momentum",
            lambda train: train.optimizer == "sgd" or not train.momentum,
        ),
        Rule(
            "rate_weight",
            "--rate-target, too",
            lambda train: train.rate_weight is None or train.rate_target is not None,
        ),
    )

    @property
    def undivided(self) -> str | None:
        """The flag that keeps batches from being divided into micro-batches; None: there is none."""
        return "--batch-norm" if self.batch_norm else None if self.rate_target is None else "--rate-target"

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

        Args:
            iteration: n.
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


@dataclass(frozen=True)
class Config:
    """A whole training job, as stored in a run directory's `config.json`.

    Attributes:
        model: the network.
        data: the images and what's done to them.
        train: how it's trained.
        unknown: when a network answers that it doesn't know.

    Raises:
        UserError: fields contradict each other; each part checks its own.

    Examples:
        >>> from csnn_jax import Config, ModelConfig, TrainConfig
        >>> config = Config(ModelConfig(conv_channels=(8, 16), hidden=()), train=TrainConfig(epochs=2))
        >>> [node.shape for node in config.model.graph.neurons]
        [(14, 14, 8), (7, 7, 16), (10,)]
        >>> Config(train=TrainConfig(lr=-1))
        Traceback (most recent call last):
        csnn_jax.errors.UserError: lr -1: expected a number above 0 and below 2^30
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    unknown: UnknownConfig = field(default_factory=UnknownConfig)

    def __post_init__(self):
        parts = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig, "unknown": UnknownConfig}
        for name, kind in parts.items():
            part = getattr(self, name)
            if not isinstance(part, kind):
                raise UserError(f"{name} {show(part)}: expected a {kind.__name__}")
        if self.model.output == "integrator" and self.train.loss == "ce_rate":
            object.__setattr__(self, "train", replace(self.train, loss="ce_membrane"))
        check_rules(self, _RULES, self.model, self.data, self.train, self.unknown)

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each output neuron: its class's, or its number if the data has no name for it."""
        known = self.data.classes or ()
        return (*known, *map(str, range(len(known), self.model.num_classes)))


def lr_of(config: Config) -> float:
    """The learning rate that a job uses."""
    return usual_lr(config) if config.train.lr is None else config.train.lr


def usual_lr(config: Config) -> float:
    """The default learning rate of a job; a tenth with `init_from`, to keep the given weights useful."""
    rate = 1e-2 if is_original(config.model) else 2.5e-3 if is_delicate(config.model) else 5e-3
    return rate if config.train.init_from is None else rate / 10


def init_of(config: Config) -> Init:
    """The initial weights that a job uses; `init_from` provides its own."""
    if config.train.init != "auto" or config.train.init_from is not None:
        return config.train.init
    return "torch" if is_original(config.model) else "calibrated"


def membranes(config: Config) -> int:
    """Bytes of the neuron states of all layers over the window, for one image."""
    neurons = sum(len(node.operation.kind.states) * node.size for node in config.model.graph.neurons)
    return neurons * config.model.time_steps * (8 if config.train.dtype == "float64" else 4)


def microbatch_of(config: Config) -> int | Literal["off"]:
    """How many images go through the network at once; "off": the whole batch."""
    settings = config.train
    if settings.microbatch != "auto":
        return settings.microbatch
    fitting = max(1, MOST_MEMBRANE_BYTES // membranes(config))
    if fitting >= settings.batch_size or settings.undivided is not None:
        return "off"
    return max(size for size in range(1, fitting + 1) if settings.batch_size % size == 0)


def decided(config: Config) -> Config:
    """The job with every `auto` resolved: surrogate, slope, initial weights, learning rate, micro-batches."""
    model = replace(config.model, surrogate=surrogate_of(config.model), slope=slope_of(config.model))
    train = replace(
        config.train,
        init=init_of(config),
        lr=lr_of(config),
        microbatch=microbatch_of(config),
    )
    return replace(config, model=model, train=train)


def check_decided(config: Config) -> None:
    """Raises ValueError if a job that is about to start still contains `auto`."""
    if config != decided(config):
        raise ValueError("config contains `auto`, expected the config that csnn_jax.config.decided returns")


def auto_summary(before: Config, after: Config) -> str | None:
    """The flags that `auto` chose, for the log; None if it chose none."""
    chosen = {
        "--surrogate": (before.model.surrogate == "auto", after.model.surrogate),
        "--slope": (before.model.slope != after.model.slope, f"{after.model.slope or 0:g}"),
        "--init": (before.train.init != after.train.init, after.train.init),
        "--lr": (before.train.lr is None, f"{after.train.lr:g}"),
    }
    flags = [f"{flag} {value}" for flag, (was_auto, value) in chosen.items() if was_auto]
    return ", ".join(flags) or None


def microbatch_summary(before: Config, after: Config) -> str | None:
    """Why a job uses micro-batches, for the log; None if it uses none, or if the user set them."""
    if before.train.microbatch != "auto" or after.train.microbatch == "off":
        return None
    whole = membranes(after) * after.train.batch_size
    return f"of {after.train.microbatch} images, because all {after.train.batch_size} would need {whole / 1e9:.1f} GB"


def job_to_json(config: Config) -> str:
    """The text of a run's `config.json`.

    Raises:
        UserError: the names of its classes are too long.
    """
    text = json.dumps({"schema_version": SCHEMA_VERSION} | as_values(config), indent=2)
    if len(text) > MOST_BYTES:
        names = f"{len(config.class_names):,} names"
        raise UserError(f"classes: {names} make config.json larger than {MOST_BYTES:,} bytes, expected shorter names")
    return text


def job_from_json(text: str, source: str) -> Config:
    """Reads `config.json` of a run.

    Raises:
        UserError: the schema version is missing or unsupported, or as in `from_json`; the message names `source`.
    """
    values = parsed_json(text, source)
    if isinstance(values, dict):
        version = values.pop("schema_version", None)
        if type(version) is not int or version != SCHEMA_VERSION:
            only = f"expected {SCHEMA_VERSION}; this version supports no other"
            raise UserError(f"{source}: schema_version {show(version, quoted=True)}: {only}")
    return from_values(Config, values, source)


def _is_counted(config: Config) -> bool:
    """Whether a margin is a possible difference of scores, if they count spikes."""
    margin, steps = config.unknown.margin, config.unknown.steps
    return margin is None or steps is None or (float(margin).is_integer() and margin <= steps)


def _size(config: Config) -> tuple[int, int]:
    return config.model.input_shape[:2]


def _is_layered(config: Config) -> bool:
    return len(config.model.graph.neurons) > 1


def _normalizable(config: Config) -> str | None:
    """What `batch_norm` expects of a network that lacks it; None: nothing."""
    graph = config.model.graph
    cycles, convolutions = list(graph.loops.values()), [node for node in graph.weighted if node.is_convolution]
    for node in convolutions:
        if not node.bias:
            return f"convolutions with a bias, but {node.name} has none"
        if cycles.count(graph.loops[node.name]) > 1:
            return f"convolutions outside of cycles, but {node.name} is in one"
    return None if convolutions else "a network with convolutions"


_RULES = (
    Rule(
        "augment",
        lambda config: "a shift below {} pixels for {}x{} images".format(min(_size(config)), *_size(config)),
        lambda config: config.data.augment is None or config.data.augment[0] < min(_size(config)),
    ),
    Rule(
        "classes",
        lambda config: f"at most {config.model.num_classes} names, one for each class",
        lambda config: len(config.data.classes or ()) <= config.model.num_classes,
    ),
    Rule(
        "loss",
        "ce_membrane with --output integrator, whose neurons never spike",
        lambda config: config.train.loss != "mse_count" or config.model.output == "spiking",
    ),
    Rule(
        "readout",
        lambda config: f"spikes with --loss {config.train.loss}, which trains the spike counts",
        lambda config: config.train.loss != "mse_count" or config.model.readout == "spikes",
    ),
    Rule(
        "rate_target",
        "a network with a hidden layer",
        lambda config: config.train.rate_target is None or _is_layered(config),
    ),
    Rule(
        "dropout",
        "a network with a hidden layer",
        lambda config: not config.train.dropout or _is_layered(config),
    ),
    Rule(
        "batch_norm",
        lambda config: _normalizable(config) or "",
        lambda config: not config.train.batch_norm or _normalizable(config) is None,
    ),
    Rule(
        "weight_bits",
        "none with --batch-norm; train with --batch-norm first, then with --weight-bits and --init-from that run",
        lambda config: not config.train.batch_norm or config.model.weight_bits is None,
    ),
    Rule(
        "share",
        "none without --validation, which holds out images",
        lambda config: config.unknown.share is None or config.data.validation > 0,
    ),
    Rule(
        "margin",
        "a whole number of spikes, at most one for each step",
        lambda config: config.model.readout != "spikes" or _is_counted(config),
    ),
)
