"""Opens the two sides of a comparison."""

from pathlib import Path

import torch
from torch import Tensor

from csnn_jax.config import Config
from csnn_jax.errors import UserError, one_line
from csnn_jax.runs import rundir
from csnn_jax.window import Trace
from csnn_torch.first_difference.nir_file import NirFile, defined
from csnn_torch.first_difference.onnx_step import OnnxStep
from csnn_torch.first_difference.side import BEFORE, Side
from csnn_torch.first_difference.simulation import Network, simulate
from csnn_torch.foreign import nir_file
from csnn_torch.programs import PROGRAMS

EXPECTED = f"a run directory, a step.onnx, FILE.nir or PROGRAM:FILE.nir, where PROGRAM is one of {', '.join(PROGRAMS)}"


def open_side(given: str, dt: float | None = None, written_by: str | None = None) -> Side:
    """Opens A or B.

    Args:
        given: as given by the user.
        dt: time step of a NIR file's network, seconds; None: the program's own.
        written_by: program whose rules apply to a NIR file without a PROGRAM; None: NIR's definition.

    Raises:
        UserError: it doesn't exist, can't be run, or needs a program that isn't installed.
    """
    program, colon, file = given.partition(":")
    if colon and file.endswith(".nir"):
        if program not in PROGRAMS:
            raise UserError(f"{one_line(given)}: there is no program {one_line(program)}, expected {EXPECTED}")
        return NirFile(PROGRAMS[program], file, given, dt)
    if nir_file.is_nir(given):
        return File(given, dt, written_by)
    path = Path(given)
    if not path.exists():
        raise UserError(f"{one_line(given)}: no such file or directory, expected {EXPECTED}")
    if path.is_dir():
        if (path / "manifest.json").is_file():
            raise UserError(f"{one_line(given)}: is a bundle, expected its {path / 'step.onnx'} or a run directory")
        return Run(given)
    if path.suffix == ".onnx":
        return OnnxStep(given)
    raise UserError(f"{one_line(given)}: expected {EXPECTED}")


class _Computed:
    """A network that's computed here, in torch."""

    held = BEFORE
    why_unread = ""
    network: Network | None

    def record(self, x: Tensor) -> Trace:
        """Runs the window."""
        assert self.network is not None
        return simulate(self.network, x)


class Run(_Computed):
    """A run; see `side.Side`."""

    def __init__(self, path: str):
        _, config, tensors = rundir.open_run(path)
        height, width, channels = config.model.input_shape
        self.name, self.program = path, f"the run's network in torch {torch.__version__}"
        self.input_shape: tuple[int, ...] | None = (channels, height, width)
        self.network = Network(config.model, tensors)
        self.job: Config | None = config


class File(_Computed):
    """A NIR file by NIR's definition or a program's rules, with its own weights; see `side.Side`."""

    job: Config | None = None

    def __init__(self, path: str, dt: float | None, written_by: str | None):
        rules = f"the rules of {written_by}" if written_by else "NIR's definition"
        self.name = path
        self.network = defined(path, dt, written_by)
        self.program = f"by {rules}, in torch {torch.__version__}"
        height, width, channels = self.network.model.input_shape
        self.input_shape: tuple[int, ...] | None = (channels, height, width)
