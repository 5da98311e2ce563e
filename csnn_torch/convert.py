"""`python -m csnn_torch.convert FILE --out RUN`: makes a run of a network that was trained in snnTorch."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from csnn_jax.config import Config, DataConfig, Encoding, ModelConfig, Padding, Pool, SurrogateName, TrainConfig
from csnn_jax.config.checks import show
from csnn_jax.errors import UserError
from csnn_jax.flags import parse, run_command
from csnn_torch import require_torch

if TYPE_CHECKING:
    from csnn_jax.data import Dataset

DESCRIPTION = """Makes a run directory, for csnn_jax.evaluate and export, of a network that was trained in snnTorch.

FILE was written by `torch.save(network.state_dict(), FILE)`, or holds the state_dict as model_state_dict, state_dict or
net, or is a safetensors file. The network consists of Conv2d, perhaps BatchNorm2d, a 2x2 pool or none, and snn.Leaky,
..., then Linear and snn.Leaky, ... The stack, beta, threshold and reset are read from it; what a state_dict lacks comes
from the flags. The test accuracy is measured on --dataset if its images have the size that the network takes."""


GIVEN = ("padding", "stride", "pool", "surrogate", "slope", "time_steps", "encoding", "batchnorm_eps", "normalize")
"""The flags that say of the network what a state_dict lacks."""
OWN = "arrays"
"""The data set of a run whose images only its user has."""


@dataclass(frozen=True)
class ConvertFlags:
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The state_dict."""
    out: str
    """Run directory to make."""
    overwrite: bool = False
    """Replace the run that --out holds."""
    input_shape: tuple[int, int, int] | None = None
    """Image height, width and channels; None: 28 28 and the channels of the first convolution."""
    map: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PLACE")] = ()
    """Places of modules whose order in FILE does not tell them: layers conv1, ..., fc1, ..., neurons lif1, ...; a
    BatchNorm is given the layer that it follows."""
    padding: Padding | tuple[Padding, ...] = ModelConfig.padding
    """Zeros around a convolution's input: same, half a kernel on each side, or valid, none; one value, or one per
    convolution."""
    stride: int | tuple[int, ...] = ModelConfig.stride
    """Stride of the convolutions: one value, or one per convolution."""
    pool: Pool | tuple[Pool, ...] = ModelConfig.pool
    """2x2 pooling after each convolution, or none; one value, or one per convolution."""
    surrogate: SurrogateName = "atan"
    """Surrogate derivative that it was trained with. Leaky's own is atan."""
    slope: float | None = None
    """Sharpness of the surrogate; None: snnTorch's default."""
    time_steps: int = ModelConfig.time_steps
    """Time steps that each image is presented for."""
    encoding: Encoding = ModelConfig.encoding
    """Image to input."""
    batchnorm_eps: float = 1e-5
    """eps of the BatchNorms; torch's default is 1e-5."""
    normalize: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="MEAN... STD...")] = None
    """Mean and standard deviation of the images that it was trained on, as torchvision's Normalize takes them: two
    numbers, or the means of all channels and then their standard deviations; None: images as pixel / 255."""
    reset_delay: bool = True
    """snn.Leaky's reset_delay; csnn_jax has neurons with the delay only."""
    dataset: str | None = None
    """Data set that it was trained on, named as for csnn_jax.train; None: mnist, if the network takes its images and
    has its ten classes."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(ConvertFlags, "csnn-torch-convert", DESCRIPTION, arguments)
        require_torch()
        from csnn_jax import data
        from csnn_jax.engine import process
        from csnn_jax.runs import rundir, weights
        from csnn_jax.trained import Trained
        from csnn_torch import state_dict

        if not flags.reset_delay:
            raise UserError(
                "--no-reset-delay: csnn_jax has no neurons that reset at once, expected a network with the delay"
            )
        fields = {name: getattr(flags, name) for name in GIVEN}
        model, tensors, notes = state_dict.read(flags.file, flags.input_shape, flags.map, **fields)
        for note in notes:
            print(f"Note: {note}")
        name = flags.dataset or (DataConfig.dataset if _takes_mnist(model) else OWN)
        config = Config(model, DataConfig(name), TrainConfig(init="torch", lr=1e-2))
        dataset = None if name == OWN else data.load_for(config)
        if dataset is not None:
            config = replace(config, model=_fitted(model, dataset))
        process.set_up(config.train.dtype)
        trained = Trained(config, tensors)
        run = rundir.create(flags.out, config, flags.overwrite)
        weights.save(run.weights, tensors, config.model)
        print(f"Network: {_text(config.model)}")
        print(f"Run directory: {run.path}", flush=True)
        end: dict[str, Any] = {"converted_from": flags.file, "accuracy": None}
        if dataset is None or dataset.fitted:
            why = "".join(f": {note}" for note in dataset.fitted) if dataset else ""
            wanted = f"images of {_size(model.input_shape)} and at most {model.num_classes} classes"
            print(f"No accuracy was measured{why}; give the data set that it was trained on, of {wanted}, by --dataset")
        else:
            result = trained.evaluate(dataset.test)
            print(f"Final Test Accuracy: {result.accuracy:.2%} ({len(dataset.test.labels)} images of {dataset.name})")
            end |= {"accuracy": result.accuracy, "density": result.densities}
        run.record("end", iter=0, interrupted=False, **end)
        return 0

    return run_command(command, arguments)


def _takes_mnist(model: ModelConfig) -> bool:
    return (model.input_shape, model.num_classes) == (ModelConfig.input_shape, ModelConfig.num_classes)


def _fitted(model: ModelConfig, dataset: "Dataset") -> ModelConfig:
    """The network with the scale and the steps of its data set; a UserError where that has images of another shape."""
    shape = dataset.test.images.shape[-3:]
    if shape != model.input_shape:
        wanted = f"expected {_size(model.input_shape)}, which the network takes"
        raise UserError(f"--dataset {dataset.name}: has images of {_size(shape)}, {wanted}")
    return replace(model, scale=dataset.scale, time_steps=dataset.frames or model.time_steps)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _text(model: ModelConfig) -> str:
    shape = _size(model.input_shape)
    layers = [f"{one.channels}C{one.kernel}" if one.kind == "conv" else f"fc{one.channels}" for one in model.layers]
    bias = "" if model.bias else ", no bias"
    read = f"{shape} {' '.join(layers)}{bias}, reset {model.reset}, beta {model.beta}, threshold {model.threshold}"
    geometry = f"padding {show(model.padding)}, stride {show(model.stride)}, pool {show(model.pool)}, "
    shown = geometry if model.conv_channels else ""
    return f"{read}; as flags say: {shown}{model.surrogate}, {model.encoding}, {model.time_steps} steps"


if __name__ == "__main__":
    sys.exit(main())
