"""Trains and evaluates the network in snnTorch, eager, on CUDA, MPS or the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import snntorch
import torch

from csnn_jax.config import Config, check_decided
from csnn_jax.config.operations import Linear
from csnn_jax.data import Images, Split, as_input, batches, check_split
from csnn_jax.errors import UserError, first_line
from csnn_jax.initial import start as initial
from csnn_jax.runs import layouts, normalization
from csnn_jax.runs.metrics import Evaluation, Moments, NeuronSummary, StepMetrics, evaluate, moments, summarize
from csnn_jax.training import plan
from csnn_jax.training.feed import Batch
from csnn_jax.window import Trace
from csnn_torch import losses, model, normalized, optimizer
from csnn_torch.network import dropping

_DEVICES = "expected auto, cpu, cuda, cuda:N or mps"


def choose_device(name: str) -> torch.device:
    """The device with that name; "auto": CUDA if available, otherwise MPS, otherwise the CPU.

    Raises:
        UserError: the device isn't available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = named_device(name)
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # backends raise different ones
        raise UserError(f"--device {name}: can't be used here, {_DEVICES}: {first_line(error)[:200]}") from None
    return device


def named_device(name: str) -> torch.device:
    """The device with that name, whether it's available or not.

    Raises:
        UserError: torch has no such device.
    """
    try:
        return torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no such device, {_DEVICES}") from None


class Trainer:
    """Trains a network in snnTorch. `csnn_jax.training.trainer.Trainer` documents the methods.

    For a seed, the initial weights and batches equal csnn_jax's.

    Args:
        config: the job, as returned by `config.decided`; `config.model` must fit the data.
        train: training data; None: the trainer only evaluates.
        tensors: initial weights in torch's layout; None: from the seed and `config.train.init`, or without `train` from
            the seed alone.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Attributes:
        watching: whether to record densities. Timings don't, for a bare snnTorch loop, without a rate target.
        once: whether to compute the first current of a constant image before the loop; only without `watching`.
        memory_format: of the images; by default, as data loaders deliver them.

    Raises:
        ValueError: the config contains `auto`, or images or labels don't fit the network.
        UserError: an engine is set, which only csnn_jax supports, or the device isn't available or doesn't support the
            dtype.
    """

    def __init__(
        self,
        config: Config,
        train: Split | None = None,
        tensors: layouts.Tensors | None = None,
        device: str = "auto",
    ):
        if config.train.engine != "auto":
            raise UserError(f"--engine {config.train.engine}: csnn_torch has no engines, expected auto")
        check_decided(config)
        if train is not None:
            check_split(train, config.model)
        self.config = config
        self.device = choose_device(device)
        self.dtype = torch.float64 if config.train.dtype == "float64" else torch.float32
        if self.device.type == "mps" and self.dtype == torch.float64:
            raise UserError("--dtype float64: MPS doesn't support float64, expected float32 or --device cpu")
        self.network = model.sequential(config.model, self.dtype)
        if tensors is not None:
            self.start = initial.Start.given(config.model, tensors)
        elif train is None:
            self.start = initial.Start.given(config.model, layouts.to_tensors(config.model, initial.drawn(config)))
        else:
            self.start = initial.start(config, train)
        starting, norms = self.start.tensors, dict[str, normalization.Norm]()
        if config.train.batch_norm and train is not None:
            starting, norms = initial.normalized(config, self.start, train)
        model.load_tensors(self.network, starting)
        self.network.to(self.device)
        self._norms = normalized.of(self.network, norms)
        self._parameters = [one for part in (self.network, *self._norms.values()) for one in part.parameters()]
        self._last_good = [p.detach().clone() for p in self._parameters]
        self._choosing = plan.choosing(config.train, len(train.labels)) if train is not None else 0
        self._optimizer = optimizer.Optimizer(config.train, self._parameters, model.kernels(self.network))
        averaged = self._parameters if config.train.ema is not None else []
        self._average = [p.detach().clone() for p in averaged]
        self._output_loss = losses.make(config.train, self.dtype)
        self._sound = True  # whether all losses and gradients were finite so far
        self.watching, self.once, self.memory_format = True, False, torch.contiguous_format

    def describe(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        where = f"{torch.get_num_threads()} threads" if self.device.type == "cpu" else name
        versions = f"snnTorch {snntorch.__version__}, torch {torch.__version__}"
        return f"{versions}, {self.device.type}" + (f" ({where})" if where else "")

    def rows(self, batch: int) -> slice:
        return slice(batch)

    def step(self, batch: Batch, rate: float) -> StepMetrics:
        labels = torch.tensor(batch.labels, dtype=torch.int64, device=self.device)
        self._optimizer.zero_grad()
        masks = self._masks(batch.iteration, len(labels))
        loss, densities = self._backward(self._tensor(batch.images), labels, masks)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        self._sound &= bool(torch.stack([values.isfinite().all() for values in (loss, *gradients)]).all())
        norms = self._gradient_norms()
        if self._sound:
            torch._foreach_copy_(self._last_good, [p.detach() for p in self._parameters])
            self._optimizer.update(rate)
            for norm in self._norms.values():
                norm.learn(normalization.share(batch.iteration))
            for average, parameter in zip(self._average, self._parameters, strict=False):
                if parameter.requires_grad or self._norms:  # exponents aren't averaged
                    average.lerp_(parameter.detach(), self.config.train.renewal(batch.iteration))
            if batch.iteration < self._choosing:
                self._choose_exponents()
        return StepMetrics(loss.item(), self._sound, densities.cpu().numpy(), norms)

    def _choose_exponents(self) -> None:
        """Chooses the exponents of the grids, for the parameters and for their averages."""
        if any(grid.chosen for _, _, grid in self.network.weighted):
            self.network.choose_exponents()
            with self._holding(self._average or None):
                self.network.choose_exponents()
                for average, parameter in zip(self._average, self._parameters, strict=False):
                    average.copy_(parameter.detach())

    def roll_back(self) -> None:
        self._set(self._last_good)

    def _set(self, values: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._parameters, values, strict=True):
                parameter.copy_(value)

    def evaluate(self, split: Split, go_on: Callable[[], bool] = lambda: True) -> Evaluation | None:
        def tally(rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
            x = self.input(split.images, rows, (1, number))
            sums = model.count(self.network, x, self.config.model.time_steps, self.config.model.readout)
            return sums.scores.cpu().numpy().argmax(1), sums.fired.cpu().numpy()

        with self._holding(self._average or None):
            return evaluate(split, self.config.model, tally, go_on)

    def summarize_neurons(self, images: Images, before: bool = False) -> dict[str, NeuronSummary]:
        def run(some: np.ndarray, number: int) -> list[Moments]:
            x = self.input(some, np.arange(len(some)), (3, number))
            membranes = self._traced(x).membranes.values()
            # A convolution's thresholds are [channels, 1, 1]; membranes have channels last.
            thresholds = [neuron.threshold.detach().cpu().numpy().squeeze() for neuron in model.neurons(self.network)]
            return [moments(layer, theta) for layer, theta in zip(membranes, thresholds, strict=True)]

        with self._holding(self._last_good if before else None):
            return summarize(images, self.config.model, run)

    @contextmanager
    def _holding(self, values: list[torch.Tensor] | None) -> Iterator[None]:
        """Temporarily sets the network's parameters (None: it keeps its own), and folds normalization into them."""
        if values is None and not self._norms:
            yield
            return
        now = [p.detach().clone() for p in self._parameters]
        self._set(values or now)
        if self._norms:
            model.load_tensors(self.network, normalized.folded(self._norms, model.tensors(self.network)))
        try:
            yield
        finally:
            self._set(now)

    def trace(self, images: np.ndarray) -> Trace:
        x = self.input(images, np.arange(len(images)), (2, 0))
        with self._holding(self._average or None):
            return self._traced(x)

    def _traced(self, x: torch.Tensor) -> Trace:
        """The window as NumPy arrays, channels last."""
        trace = model.trace(self.network, x, self.config.model.time_steps)
        return trace.map(lambda layer: np.ascontiguousarray(np.moveaxis(layer.cpu().numpy(), 2, -1)))

    def tensors(self) -> layouts.Tensors:
        return layouts.on_grid(self.config.model, self.masters())

    def masters(self) -> layouts.Tensors:
        with self._holding(self._average or None):
            return model.tensors(self.network)

    def snapshot(self) -> dict[str, np.ndarray]:
        return {name: np.array(tensor.cpu().numpy(), order="C") for name, tensor in self._state().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._sound = True
        with torch.no_grad():
            for name, tensor in self._state().items():
                tensor.copy_(torch.from_numpy(state[name]))

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Output spikes or membranes, which determine the class, [time, batch, classes] for an `input`."""
        settings = self.config.model
        return model.output_of(self.network, x, settings.time_steps, settings.readout, self.once)

    def input(self, images: Images, index: np.ndarray, stream: tuple[int, int]) -> torch.Tensor:
        """One batch [batch, C, H, W] or [time, batch, C, H, W], encoded with csnn_jax's seeds if needed."""
        return self._tensor(as_input(images[index], self.config.model, (self.config.train.seed, *stream)))

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        """Bytes divided by their scale, floats rounded to whole multiples of 1 / scale."""
        scale = self.config.model.entering.scale
        pixels = model.channels_first(x, self.memory_format).to(self.device).to(self.dtype)
        return (pixels if x.dtype == np.uint8 else torch.round(pixels * scale)) / scale

    def _masks(self, iteration: int, batch: int) -> list[torch.Tensor]:
        """The factors of spikes in an iteration, for `dropping`, in torch's layouts; see dropout."""
        settings, graph = self.config.train, self.config.model.graph
        if not settings.dropout:
            return []
        drawn = batches.dropout_masks(self.config.model, settings.dropout, settings.seed, iteration, batch)
        masks = []
        for stays, neurons in zip(drawn, graph.feeding(Linear), strict=True):
            shaped = np.moveaxis(stays.reshape(batch, *neurons.shape), -1, 1)
            masks.append(torch.tensor(shaped, dtype=self.dtype, device=self.device) * (1 / (1 - settings.dropout)))
        return masks

    def _backward(
        self, x: torch.Tensor, labels: torch.Tensor, masks: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Accumulates a batch's gradients, part by part as csnn_jax does; returns (loss, densities) of the batch."""
        size = self.config.train.part or len(labels)
        loss = densities = torch.zeros(())
        parts = zip(x.split(size, x.ndim - 4), labels.split(size), strict=True)
        for number, (part, part_labels) in enumerate(parts):
            if self._norms:
                settings = self.config.model.time_steps, self.config.train.reads
                output, seen = normalized.forward_with_densities(self.network, self._norms, part, *settings, masks)
            else:
                with dropping(self.network, [mask.split(size)[number] for mask in masks]) if masks else nullcontext():
                    output, seen = self._forward(part)
            value = self._loss(output, part_labels, seen) * (size / len(labels))
            value.backward()
            loss, densities = loss + value.detach(), densities + seen.detach() * (size / len(labels))
        return loss, densities

    def _forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The output that the loss uses, and the layers' densities."""
        if self.watching:
            return model.forward_with_densities(self.network, x, self.config.model.time_steps, self.config.train.reads)
        output = model.output_of(self.network, x, self.config.model.time_steps, self.config.train.reads, self.once)
        return output, torch.full((len(self.config.model.graph.neurons),), torch.nan)

    def _loss(self, output: torch.Tensor, labels: torch.Tensor, densities: torch.Tensor) -> torch.Tensor:
        """The loss that's minimized; see `csnn_jax.update.objective`."""
        loss = self._output_loss(output, labels)
        if self.config.train.rate is None:
            return loss
        target, weight = self.config.train.rate
        return loss + weight * ((densities[:-1] - target) ** 2).mean()

    def _gradient_norms(self) -> np.ndarray:
        """Norm of the gradient of each kernel [nodes with weights]."""
        kernels = model.kernels(self.network)
        norms = [torch.zeros(()) if p.grad is None else p.grad.norm().cpu() for p in kernels]
        return torch.stack(norms).numpy()

    def _state(self) -> dict[str, torch.Tensor]:
        """The tensors that a training step changes, by name, not copied."""
        state: dict[str, torch.Tensor] = {}
        for number, (parameter, before) in enumerate(zip(self._parameters, self._last_good, strict=True)):
            moments = self._optimizer.state[parameter]
            parts = {"parameter": parameter.detach(), "last_good": before, **moments}
            state |= {f"{number}.{name}": tensor for name, tensor in parts.items()}
        state |= {f"{number}.average": tensor for number, tensor in enumerate(self._average)}
        return state
