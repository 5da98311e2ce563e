"""`python -m csnn_torch.convert FILE --out RUN`: makes a run of a network of another program."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

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
from csnn_jax.config.checks import flag_of, show
from csnn_jax.errors import UserError
from csnn_jax.flags import parse, run_command
from csnn_torch import require_torch
from csnn_torch.foreign.nir_programs import WrittenBy

if TYPE_CHECKING:
    from csnn_jax.data import Dataset
    from csnn_torch.foreign.network import ForeignNetwork

DESCRIPTION = """Makes a run directory, for csnn_jax.evaluate and export, of a network that was trained elsewhere.

FILE is a NIR file, or a state_dict of snnTorch. The state_dict was written by `torch.save(network.state_dict(), FILE)`,
or is the model_state_dict, state_dict or net of what the file holds, or is a safetensors file. Its network consists of
Conv2d, perhaps BatchNorm2d, a pool or none, and snn.Leaky, ..., then Linear and snn.Leaky, ...; all neurons may be
snn.Synaptic instead, and the last Linear may have none. A NIR file's network is a chain of Conv2d, IF, LIF or CubaLIF,
and SumPool2d or AvgPool2d before or after them, ..., Flatten, Linear or Affine and neurons, .... What the file lacks
comes from the flags. Weights are rounded so that every sum is exact. On --dataset, if its images have the size that the
network takes, the test accuracy is measured, and on its first 1,000 test images what the rounding changed."""

OF_BOTH = ("surrogate", "slope", "time_steps", "encoding", "normalize")
"""The flags that say of the network what no file has."""
OF_NIR = ("dt", "written_by", "reset", "norm_input")
"""Those that say what a NIR file lacks."""
OF_STATE_DICT = (
    *("padding", "stride", "pool", "pool_size", "pool_after", "batchnorm_eps", "output", "readout"),
    *("map", "reset_delay"),
)
"""Those that say what a state_dict lacks."""
OWN = "arrays"
"""The data set of a run whose images only its user has."""
DRAWN = 20
"""Random images on which the rounding is tried where there are no others."""


@dataclass(frozen=True)
class ConvertFlags:
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The NIR file, by its content or the ending .nir, or the state_dict."""
    out: str
    """Run directory to make."""
    overwrite: bool = False
    """Replace the run that --out holds."""
    input_shape: tuple[int, int, int] | None = None
    """Image height, width and channels; None: what a NIR file says; 28 28 and the channels of the first convolution for
    a state_dict."""
    dt: float | None = None
    """Time step, seconds, for the time constants of a NIR file; None: what the file says, else the program's usual one,
    1e-4 for most."""
    written_by: WrittenBy | None = None
    """Program that wrote the NIR file, whose own rules for time constants, inputs and thresholds apply; None: those of
    NIR's definition."""
    reset: Reset | None = None
    """What a spike does to a membrane, which no program's NIR file says; None: what NIR's or the program's usual
    neurons do."""
    norm_input: bool = True
    """Whether Sinabs' LIF, in a NIR file, multiplies its input by what its membrane loses in a step."""
    map: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PLACE")] = ()
    """Places of modules whose order in FILE does not tell them: layers conv1, ..., fc1, ..., neurons lif1, ...; a
    BatchNorm is given the layer that it follows."""
    padding: Padding | tuple[Padding, ...] = ModelConfig.padding
    """Zeros around a convolution's input: same, half a kernel on each side, or valid, none; one value, or one per
    convolution."""
    stride: int | tuple[int, ...] = ModelConfig.stride
    """Stride of the convolutions: one value, or one per convolution."""
    pool: Pool | tuple[Pool, ...] = ModelConfig.pool
    """Pooling after each convolution, or none; one value, or one per convolution."""
    pool_size: int | tuple[int, ...] = ModelConfig.pool_size
    """Height and width of a pool's window, which is its stride, too; one value, or one per convolution."""
    pool_after: bool = ModelConfig.pool_after
    """The pools follow the neurons."""
    output: Output | None = None
    """What the last layer is: spiking, or an integrator, which neither spikes nor resets and whose membranes the class
    is read from; None: an integrator if it alone has no reset, or if it is a Linear without a neuron."""
    readout: Readout = ModelConfig.readout
    """What the class is read from where the last layer spikes: its spikes, or its membranes, summed over the window."""
    surrogate: SurrogateName = "atan"
    """Surrogate derivative that it was trained with. snnTorch's own is atan."""
    slope: float | None = None
    """Sharpness of the surrogate; None: snnTorch's default."""
    time_steps: int | None = None
    """Time steps that each image is presented for; None: what a NIR file by export says, else 100."""
    encoding: Encoding | None = None
    """Image to input; None: what a NIR file by export says, else direct."""
    batchnorm_eps: float = 1e-5
    """eps of the BatchNorms; torch's default is 1e-5."""
    normalize: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="MEAN... STD...")] = None
    """Mean and standard deviation of the images that it was trained on, as torchvision's Normalize takes them: two
    numbers, or the means of all channels and then their standard deviations; None: images as pixel / --scale."""
    weight_bits: int | None = None
    """Bits of a weight with its sign, 2 to 8, that the weights are rounded to; None: as many as stay exact."""
    scale: float | None = None
    """What pixel values were divided by: any positive number; None: what a NIR file by export says, else 255, as
    torchvision's ToTensor does, and 1 for counts and images of 0 and 1. It is folded into the first weights, for
    networks here divide by powers of two."""
    reset_delay: bool = True
    """The snnTorch neurons' reset_delay; csnn_jax has neurons with the delay only."""
    dataset: str | None = None
    """Data set that it was trained on, named as for csnn_jax.train; None: mnist, if the network takes its images and
    has its ten classes."""


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
                "--no-reset-delay: csnn_jax has no neurons that reset at once, expected a network with the delay"
            )
        found = _read(flags)
        name = flags.dataset or (DataConfig.dataset if _takes_mnist(found.config) else OWN)
        job = Config(found.config, DataConfig(name), TrainConfig(init="torch", lr=1e-2))
        dataset = None if name == OWN else data.load_for(job)
        if dataset is not None:
            found = _read(flags, **_entering(found.config, dataset))
            job = replace(job, data=replace(job.data, classes=data.named(dataset)))
        for note in found.notes:
            print(f"Note: {note}")
        config = replace(job, model=replace(found.config, weight_bits=flags.weight_bits))
        for line in config.model.narrower:
            print(f"Note: {line}")
        process.set_up(config.train.dtype)
        masters = layouts.with_exponents(config.model, found.tensors)
        tensors = layouts.on_grid(config.model, found.tensors)
        trained = Trained(config, tensors)
        run = rundir.create(flags.out, config, flags.overwrite)
        weights.save(run.weights, tensors, config.model)
        print(f"Network: {_text(config.model, nir_file.is_nir(flags.file))}")
        print(f"Run directory: {run.path}", flush=True)
        end: dict[str, Any] = {"converted_from": flags.file, "accuracy": None}
        if dataset is None or dataset.fitted:
            why = "".join(f": {note}" for note in dataset.fitted) if dataset else ""
            wanted = f"images of {_size(config.model.input_shape)} and at most {config.model.num_classes} classes"
            changed = rounding.effect(config, masters, rounding.drawn(config.model, DRAWN))
            print(f"Rounding the weights, on {DRAWN} random images, a fifth of their pixels above 0: {changed}")
            print(f"No accuracy was measured{why}; give the data set that it was trained on, of {wanted}, by --dataset")
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
    """The network of FILE, for images that enter as these fields of ModelConfig say."""
    from csnn_torch import state_dict
    from csnn_torch.foreign import nir_file, nir_network

    def given(names: Iterable[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(flags, name)) is not None}

    nir = nir_file.is_nir(flags.file)
    for name in OF_STATE_DICT if nir else OF_NIR:
        if (value := getattr(flags, name)) != getattr(ConvertFlags, name):
            flag = f"--no-{name.replace('_', '-')}" if value is False else f"{flag_of(name)} {show(value)}"
            this, other = ("a NIR file", "a state_dict") if nir else ("a state_dict", "a NIR file")
            raise UserError(f"{flag}: {flags.file} is {this}, expected {other} with it")
    said = given(OF_BOTH) | {"divided_by": flags.scale} | entering
    if nir:
        return nir_network.read(flags.file, input_shape=flags.input_shape, **given(OF_NIR) | said)
    geometry = given(name for name in OF_STATE_DICT if name not in ("map", "reset_delay"))
    return state_dict.read(flags.file, flags.input_shape, flags.map, **geometry | said)


def _entering(model: ModelConfig, dataset: "Dataset") -> dict[str, Any]:
    """How a data set's images enter a network, and its steps; a UserError where it has images of another shape."""
    from csnn_jax import data

    shape = dataset.test.images.shape[-3:]
    if shape != model.input_shape:
        wanted = f"expected {_size(model.input_shape)}, which the network takes"
        raise UserError(f"--dataset {dataset.name}: has images of {_size(shape)}, {wanted}")
    fitted = data.fit_model(replace(model, time_steps=dataset.frames or model.time_steps), dataset)
    return {name: getattr(fitted, name) for name in ("scale", "input_bits", "time_steps")}


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _text(model: ModelConfig, has_geometry: bool) -> str:
    """The network in a line; `has_geometry`: padding, strides and pools were read, too."""
    shape = _size(model.input_shape)
    layers = [f"{one.channels}C{one.kernel}" if one.kind == "conv" else f"fc{one.channels}" for one in model.layers]
    bias = "" if model.bias else ", no bias"
    values = [
        f"{name} {'per channel' if name in model.per_channel else show(getattr(model, name))}"
        for name in model.kind.parameters
    ]
    neurons = ", ".join([f"{model.neuron} neurons", f"reset {show(model.reset)}", *values])
    read = f"{shape} {' '.join(layers)}{bias}, {neurons}{', integrator' if model.output == 'integrator' else ''}"
    size = f" of {show(model.pool_size)}" * (model.pool_size != ModelConfig.pool_size)
    pool = f"pool {show(model.pool)}{size}{' after the neurons' * model.pool_after}"
    geometry = f"padding {show(model.padding)}, stride {show(model.stride)}, {pool}" if model.conv_channels else ""
    flags = f"{model.surrogate}, {model.encoding}, {model.time_steps} steps"
    if geometry and has_geometry:
        return f"{read}, {geometry}; as flags say: {flags}"
    return f"{read}; as flags say: {geometry}{', ' if geometry else ''}{flags}"


if __name__ == "__main__":
    sys.exit(main())
