"""`python -m csnn_torch.convert FILE --out RUN`: converts another program's network to a run."""

import operator
import sys
from collections.abc import Iterable, Sequence, Set
from dataclasses import MISSING, dataclass, replace
from typing import TYPE_CHECKING, Any

from csnn_jax.command import run_command
from csnn_jax.config import (
    Config,
    DataConfig,
    Encoding,
    ModelConfig,
    Output,
    Padding,
    Pool,
    Readout,
    Reset,
    SurrogateName,
    TrainConfig,
)
from csnn_jax.config.network import WEIGHT_BITS
from csnn_jax.config.operations import Convolution
from csnn_jax.errors import UserError
from csnn_jax.flags import Flags, parse
from csnn_jax.options import option, show, words_of
from csnn_jax.options.kinds import NAME, SWITCH, choice, count, each, number, several, text
from csnn_torch import require_torch
from csnn_torch.programs import PROGRAMS

if TYPE_CHECKING:
    from csnn_jax.data import Dataset
    from csnn_torch.foreign.network import ForeignNetwork

DESCRIPTION = """Converts a network that was trained elsewhere to a run directory, for csnn_jax.evaluate and export.

FILE is a NIR file or an snnTorch state_dict: a file written by `torch.save(network.state_dict(), FILE)`, a checkpoint
with a model_state_dict, state_dict or net, or a safetensors file. Its network consists of blocks of Conv2d, optionally
BatchNorm2d and pooling, and snn.Leaky, followed by blocks of Linear and snn.Leaky. All neurons may be snn.Synaptic
instead, or recurrent (snn.RLeaky, snn.RSynaptic), and the last Linear may have none. A NIR file's network is a graph
of Conv2d, Linear, Affine, Scale, SumPool2d, AvgPool2d, Flatten and IF, LIF or CubaLIF. Flags provide whatever the file
doesn't contain. Weights are rounded to make every sum exact. If the images of --dataset have the
network's input size, the test accuracy is measured, and the effect of the rounding on the first 1,000 test images."""

OF_BOTH = ("surrogate", "slope", "time_steps", "encoding", "normalize")
"""The flags for what no file contains."""
OF_NIR = ("dt", "written_by", "reset", "norm_input")
"""The flags for what a NIR file doesn't contain."""
OF_STATE_DICT = (
    *("padding", "stride", "pool", "pool_size", "pool_after", "batchnorm_eps", "output", "readout"),
    *("map", "reset_delay"),
)
"""The flags for what a state_dict doesn't contain."""
OWN = "arrays"
"""The data set of a run whose images only the user has."""
DRAWN = 20
"""Number of random images to test the rounding on if there are no others."""


@dataclass(frozen=True)
class ConvertFlags(Flags):
    # fmt: off
    file: str = option(MISSING, text("a file", metavar="FILE"), """
        NIR file (recognized by its content or the extension .nir) or state_dict.""", positional=True)
    out: str = option(MISSING, text("a path", metavar="RUN"), "Run directory to create.")
    overwrite: bool = option(False, SWITCH, "Replace the run in --out.")
    input_shape: tuple[int, int, int] | None = option(None, several(count(), 3), """
        Height, width and channels of an image; default: from the NIR file, or 28 28 and the channels of the first
        convolution for a state_dict.""")
    dt: float | None = option(None, number(above=0), """
        Time step in seconds, for the time constants of a NIR file; default: from the file, otherwise the program's
        usual time step, mostly 1e-4.""")
    written_by: str | None = option(None, choice(PROGRAMS), """
        Program that wrote the NIR file, to apply its rules for time constants, inputs and thresholds; default: NIR's
        definition.""")
    reset: Reset | None = option(None, choice(Reset), """
        What a spike does to the membrane, which NIR files don't contain; default: the usual reset of NIR or of the
        program.""")
    norm_input: bool = option(True, SWITCH, """
        Sinabs' LIF in a NIR file multiplies its input by its leak; --no-norm-input disables this.""")
    map: tuple[str, ...] = option((), several(text("NAME=PLACE", metavar="NAME=PLACE")), """
        Places of modules whose order in FILE differs from the network: conv1, ..., fc1, ... for layers, lif1, ... for
        neurons, and the preceding layer for a BatchNorm.""")
    padding: Padding | tuple[Padding, ...] = option(ModelConfig.padding, each(choice(Padding), "convolution"), """
        Zero padding of the convolutions: same (half a kernel on each side) or valid (none); one value, or one per
        convolution.""")
    stride: int | tuple[int, ...] = option(ModelConfig.stride, each(count(), "convolution"), """
        Stride of the convolutions: one value, or one per convolution.""")
    pool: Pool | tuple[Pool, ...] = option(ModelConfig.pool, each(choice(Pool), "convolution"), """
        Pooling after each convolution, or none; one value, or one per convolution.""")
    pool_size: int | tuple[int, ...] = option(ModelConfig.pool_size, each(count(2), "convolution"), """
        Height, width and stride of the pooling windows; one value, or one per convolution.""")
    pool_after: bool = option(ModelConfig.pool_after, SWITCH, "Pooling comes after the neurons.")
    output: Output | None = option(None, choice(Output), """
        Last layer: spiking, or an integrator, which neither spikes nor resets and whose membranes determine the class.
        Default: integrator if only the last layer has no reset, or if it's a Linear without a neuron.""")
    readout: Readout = option(ModelConfig.readout, choice(Readout), """
        How the class is chosen if the last layer spikes: by its spikes, or by its membranes summed over the window.""")
    surrogate: SurrogateName = option("atan", choice(SurrogateName), """
        Surrogate derivative that the network was trained with; snnTorch's default is atan.""")
    slope: float | None = option(None, number(above=0), "Slope of the surrogate; default: snnTorch's.")
    time_steps: int | None = option(None, count(), """
        Number of time steps for which each image is presented; default: from a NIR file written by export, otherwise
        100.""")
    encoding: Encoding | None = option(None, choice(Encoding), """
        How images become input; default: from a NIR file written by export, otherwise direct.""")
    batchnorm_eps: float = option(1e-5, number(0), "eps of the BatchNorms.")
    normalize: tuple[float, ...] | None = option(None, several(number()), """
        Mean and standard deviation of the training images, as in torchvision's Normalize: two numbers, or the means of
        all channels followed by their standard deviations; default: images aren't normalized.""")
    weight_bits: int | None = option(None, WEIGHT_BITS, """
        Round weights to this many bits, 2 to 8 including the sign; default: as many as stay exact.""")
    scale: float | None = option(None, number(above=0), """
        Any positive number that pixel values were divided by. It's folded into the first weights, because networks here
        divide by powers of two. Default: from a NIR file written by export, otherwise 255, as in torchvision's
        ToTensor, and 1 for counts and images of 0 and 1.""")
    reset_delay: bool = option(True, SWITCH, """
        The snnTorch neurons have reset_delay, the only kind that csnn_jax supports; --no-reset-delay is an error.""")
    dataset: str | None = option(None, NAME, """
        Data set that the network was trained on, named as for csnn_jax.train; default: mnist if image size and number
        of classes match.""")
    # fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(ConvertFlags, "csnn-torch-convert", DESCRIPTION, arguments)
        require_torch()
        from csnn_jax import data
        from csnn_jax.engine import process
        from csnn_jax.runs import layouts, rundir, weights
        from csnn_jax.trained import Trained
        from csnn_torch.foreign import nir_file, rounding

        if not flags.reset_delay and not nir_file.is_nir(flags.file):
            raise UserError(
                "--no-reset-delay: csnn_jax doesn't support neurons without the delay, expected a network with it"
            )
        rundir.check_out(flags.out, flags.overwrite)
        network = _read(flags)
        name = flags.dataset or (DataConfig.dataset if _takes_mnist(network.config) else OWN)
        job = Config(network.config, DataConfig(name), TrainConfig(init="torch", lr=1e-2))
        dataset = None if name == OWN else data.load_for(job)
        if dataset is not None:
            network = _read(flags, **_entering(network.config, dataset))
            job = replace(job, data=replace(job.data, classes=data.named(dataset)))
        for note in network.notes:
            print(f"Note: {note}")
        config = replace(job, model=replace(network.config, weight_bits=flags.weight_bits))
        process.set_up(config.train.dtype)
        masters = layouts.with_exponents(config.model, network.tensors)
        tensors = layouts.on_grid(config.model, network.tensors)
        trained = Trained(config, tensors)
        run = rundir.create(flags.out, config, flags.overwrite)
        with rundir.removed_if_failed(run):
            weights.save(run.weights, tensors, config.model)
        print(f"Network: {_text(config.model, nir_file.is_nir(flags.file), flags.given)}")
        print(f"Run directory: {run.path}", flush=True)
        end: dict[str, Any] = {"converted_from": flags.file, "accuracy": None}
        if dataset is None or dataset.fitted:
            why = "".join(f": {note}" for note in dataset.fitted) if dataset else ""
            wanted = f"images of {_size(config.model.input_shape)} and at most {config.model.num_classes} classes"
            changed = rounding.effect(config, masters, rounding.drawn(config.model, DRAWN))
            print(f"Rounding the weights, on {DRAWN} random images with a fifth of their pixels above 0: {changed}")
            print(f"No accuracy was measured{why}; use --dataset with its training data set, {wanted}")
        else:
            changed = rounding.effect(config, masters, dataset.test.images, dataset.test.labels)
            print(f"Rounding the weights, on the first {changed.images:,} test images: {changed}", flush=True)
            result = trained.evaluate(dataset.test)
            print(f"Final Test Accuracy: {result.accuracy:.2%} ({len(dataset.test.labels)} images of {dataset.name})")
            end |= {"accuracy": result.accuracy, "density": result.densities}
        run.record("end", iter=0, interrupted=False, **end)
        return 0

    return run_command(command, arguments)


def _takes_mnist(model: ModelConfig) -> bool:
    return (model.input_shape, model.num_classes) == (ModelConfig.input_shape, ModelConfig.num_classes)


def _read(flags: ConvertFlags, **entering: Any) -> "ForeignNetwork":
    """The network of FILE; `entering`: fields of ModelConfig for how images enter it."""
    from csnn_torch import state_dict
    from csnn_torch.foreign import nir_file, nir_network

    def given(names: Iterable[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(flags, name)) is not None}

    nir = nir_file.is_nir(flags.file)
    for name in OF_STATE_DICT if nir else OF_NIR:
        if name in flags.given:
            words = " ".join(words_of(name, getattr(flags, name)))
            this, other = ("a NIR file", "a state_dict") if nir else ("a state_dict", "a NIR file")
            raise UserError(f"{words}: {flags.file} is {this}, but this flag is only for {other}")
    options = given(OF_BOTH) | {"divided_by": flags.scale} | entering
    if nir:
        return nir_network.read(flags.file, input_shape=flags.input_shape, **given(OF_NIR) | options)
    geometry = given(name for name in OF_STATE_DICT if name in flags.given and name not in ("map", "reset_delay"))
    return state_dict.read(flags.file, flags.input_shape, flags.map, **geometry | options)


def _entering(model: ModelConfig, dataset: "Dataset") -> dict[str, Any]:
    """How a data set's images enter a network, and its steps; raises UserError for images of another shape."""
    from csnn_jax import data

    shape = dataset.test.images.shape[-3:]
    if shape != model.input_shape:
        wanted = f"expected {_size(model.input_shape)}, the network's input shape"
        raise UserError(f"--dataset {dataset.name}: has images of {_size(shape)}, {wanted}")
    fitted = data.fit_model(replace(model, time_steps=dataset.frames or model.time_steps), dataset)
    return {name: getattr(fitted, name) for name in ("scale", "input_bits", "time_steps")}


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _text(model: ModelConfig, nir: bool, given: Set[str]) -> str:
    """The network in one line.

    Args:
        model: the network.
        nir: whether the file is a NIR file, which has padding, strides and pools, and if export wrote it, encoding and
            steps.
        given: the names of the flags that were given; other settings are marked.
    """
    shape, default = _size(model.input_shape), "default or the file's" if nir else "default"
    settings = [
        model.surrogate if "surrogate" in given else f"{model.surrogate} (default)",
        model.encoding if "encoding" in given else f"{model.encoding} ({default})",
        f"{model.time_steps} steps" if "time_steps" in given else f"{model.time_steps} steps ({default})",
    ]
    if model.network:
        named = ", ".join(f"{one.name} {one.operation} of {' and '.join(one.inputs)}" for one in model.network.nodes)
        return f"{shape}, {named}; settings: {', '.join(settings)}"
    nodes = ((node.channels, node.operation) for node in model.graph.weighted)
    layers = [f"{n}C{one.kernel}" if isinstance(one, Convolution) else f"fc{n}" for n, one in nodes]
    bias = "" if model.bias else ", no bias"
    values = [
        f"{name} {'per channel' if name in model.per_channel else show(getattr(model, name))}"
        for name in model.kind.parameters
    ]
    neurons = ", ".join([f"{model.neuron} neurons", f"reset {show(model.reset)}", *values])
    read = [f"{shape} {' '.join(layers)}{bias}, {neurons}{', integrator' if model.output == 'integrator' else ''}"]
    if model.conv_channels:
        size = f" of {show(model.pool_size)}" * (model.pool_size != ModelConfig.pool_size)
        pool = f"pool {show(model.pool)}{size}{' after the neurons' * model.pool_after}"
        geometry = [f"padding {show(model.padding)}", f"stride {show(model.stride)}", pool]
        if nir:
            read += geometry
        else:
            flags = {"padding"}, {"stride"}, {"pool", "pool_size", "pool_after"}
            marks = ("" if given & names else " (default)" for names in flags)
            settings = [*map(operator.add, geometry, marks), *settings]
    return f"{', '.join(read)}; settings: {', '.join(settings)}"


if __name__ == "__main__":
    sys.exit(main())
