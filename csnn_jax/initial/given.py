"""The weights of another run, for a training that starts from them (`--init-from`)."""

import numpy as np

from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.initial.drawn import drawn
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import Tensors, expected_shapes, to_tensors


def tensors(config: Config) -> Tensors:
    """The parameters that a job starts from.

    Raises:
        UserError: the weights are another network's; names the first layer that differs.
    """
    path = config.train.init_from
    assert path is not None
    _, found = rundir.origin(path)
    made: Tensors = {}
    neurons = {name: value for layer in config.model.layers for name, value in layer.neurons.initial.items()}
    last = config.model.layers[-1].name
    anew = to_tensors(config.model, drawn(config)) if config.train.init_from_output == "new" else {}
    for name, shape in expected_shapes(config.model).items():
        layer = name.partition(".")[0]
        if name in neurons:
            made[name] = np.asarray(neurons[name], config.train.dtype)
        elif anew and layer == last:
            made[name] = anew[name]
        elif name not in found or found[name].shape != shape:
            theirs = f"shape {list(found[name].shape)}" if name in found else "nothing"
            hint = "; --init-from-output new draws the last layer anew" if layer == last and not anew else ""
            raise UserError(f"--init-from {path}: has {theirs} for {name}, this network needs {list(shape)}{hint}")
        else:
            made[name] = found[name]
    left = [name for name in found if name not in made and not name.startswith("lif")]
    if left:
        raise UserError(f"--init-from {path}: has {left[0]}, for which this network has no place")
    return made
