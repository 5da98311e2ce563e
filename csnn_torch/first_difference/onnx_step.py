"""Runs an ONNX step in ONNX Runtime, and reads the spikes of its hidden layers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from csnn_jax import reading
from csnn_jax.config import Config
from csnn_jax.errors import UserError, first_line
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs import rundir
from csnn_jax.window import Trace, joined
from csnn_torch.first_difference.side import BEFORE
from csnn_torch.first_difference.simulation import Network


class OnnxStep:
    """A step graph as `python -m export` writes it; see `side.Side`.

    Its job and network come from the config.json and the weights.safetensors in its folder.

    Args:
        path: the file.

    Raises:
        UserError: onnx or ONNX Runtime isn't installed, or the file isn't such a graph.
    """

    held = BEFORE

    def __init__(self, path: str):
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path}: {error.name} isn't installed, expected `pip install onnx onnxruntime`") from None
        self.name, self.program = path, f"ONNX Runtime {onnxruntime.__version__}"
        data = reading.read(path, "an ONNX file", reading.PROTOBUF)
        try:
            model = onnx.ModelProto.FromString(data)
            onnx.checker.check_model(model)
        except Exception as error:  # protobuf and onnx raise many kinds
            raise UserError(f"{path}: expected an ONNX file: {first_line(error)}") from None
        self._names = [value.name for value in model.graph.input]
        self._states = [value.name for value in model.graph.output][1:]
        if self._names[:1] != ["image"] or not self._states or len(self._names) != 1 + len(self._states):
            expected = "expected a single step, as in a bundle's step.onnx: image and the states, mem1, ..."
            raise UserError(f"{path}: takes {', '.join(self._names)}; {expected}")
        self._layers = [name.startswith(MEMBRANE) for name in self._states]
        shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input]
        self._one, self._shapes = shapes[0][0] == 1, [tuple(shape[1:]) for shape in shapes]
        self.input_shape: tuple[int, ...] | None = self._shapes[0]
        self._spikes = _spikes(model.graph, sum(self._layers))
        asked = {value.name for value in model.graph.output}
        hidden = [name for name in self._spikes.values() if name not in asked]
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, None) for one in hidden
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised, too, and would be printed with names from the file
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise UserError(f"{path}: ONNX Runtime can't run it: {first_line(error)}") from None
        steps = next((prop.value for prop in model.metadata_props if prop.key == "time_steps"), None)
        self.job, self.network, self.why_unread = _beside(Path(path), steps)

    def record(self, x: Tensor) -> Trace:
        """Runs the window; if the graph's batch size is fixed at 1, image by image."""
        if not self._one:
            return self._window(x.numpy())
        images = [self._window(x[:, i : i + 1].numpy()) for i in range(x.shape[1])]
        return joined(images, lambda arrays: np.concatenate(arrays, axis=1))

    def _window(self, x: np.ndarray) -> Trace:
        states = [np.zeros((x.shape[1], *shape), np.float32) for shape in self._shapes[1:]]
        asked = [self._session.get_outputs()[0].name, *self._states, *self._spikes.values()]
        steps = []
        for frame in x:
            try:
                values: list[Any] = self._session.run(asked, dict(zip(self._names, (frame, *states), strict=True)))
            except Exception as error:  # ONNX Runtime's errors have no common class
                raise UserError(f"{self.name}: ONNX Runtime can't run it: {first_line(error)}") from None
            found = dict(zip(asked, values, strict=True))
            states = values[1 : 1 + len(states)]
            membranes = [one for one, is_membrane in zip(states, self._layers, strict=True) if is_membrane]
            by_node = {f"lif{number}": {MEMBRANE: one} for number, one in enumerate(membranes, 1)}
            steps.append(Trace(by_node, {node: found[name] for node, name in self._spikes.items()}))
        return joined(steps, np.stack)


def _spikes(graph: Any, layers: int) -> dict[str, str]:
    """The names of the spikes, `spikes1`, ..., and the output's, by that of the neurons, if the graph has them."""
    made = {name for node in graph.node for name in node.output}
    names = {f"lif{number}": f"spikes{number}" for number in range(1, layers)}
    hidden = {neurons: name for neurons, name in names.items() if name in made}
    return hidden | ({f"lif{layers}": "spikes"} if graph.output[0].name == "spikes" else {})


def _beside(path: Path, steps: str | None) -> tuple[Config | None, Network | None, str]:
    """The job and the network of a file's bundle, or why there's none."""
    try:
        _, config, tensors = rundir.open_run(str(path.parent))
    except UserError:
        return None, None, "it's not in a folder with a bundle's config.json and weights.safetensors"
    if steps and steps.isdecimal() and int(steps):
        config = replace(config, model=replace(config.model, time_steps=int(steps)))
    return config, Network(config.model, tensors), ""
