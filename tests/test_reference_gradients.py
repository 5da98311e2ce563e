"""The reference network against finite differences, torch and snnTorch."""

import numpy as np
import pytest
import reference_chains as reference
import snntorch
import torch
from reference_layers import layers
from reference_networks import cotangents, network


@pytest.fixture(autouse=True)
def one_thread():
    """On small arrays torch's threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def spacing(values):
    """The largest power of two that divides these values."""
    return max(2.0**k for k in range(-40, 10) if not (values % 2.0**k).any())


def difference(settings, tensors, x, weights, name, place):
    """The central difference of the weighted sum of states, or None where a spike or a maximum changes."""
    step = 2.0**-8 if name == "x" else 2.0**-20
    if name.endswith((".weight", ".bias")):
        weight = tensors[name.replace("bias", "weight")]
        step = spacing(weight[np.unravel_index(place, tensors[name].shape)[0]])
    losses, spikes = [], []
    for sign in (1, 0, -1):
        moved = np.array(x if name == "x" else tensors[name], np.float64)
        moved.flat[place] += sign * step
        arguments = (tensors, moved) if name == "x" else (tensors | {name: moved}, x)
        trace = reference.trace(settings, *arguments, np.float64)
        losses.append(
            sum((weights[layer][state] * trace[layer][state]).sum() for layer in weights for state in weights[layer])
        )
        spikes.append(np.concatenate([values["spikes"].ravel() for values in trace.values()]))
    smooth = (spikes[0] == spikes[2]).all() and abs(losses[0] - 2 * losses[1] + losses[2]) < 1e-3 * step
    return (losses[0] - losses[2]) / (2 * step) if smooth else None


@pytest.mark.parametrize(
    "stack",
    [
        {"pool": "max", "output": "integrator"},
        {"pool": "avg", "reset": ("subtract", "zero", "none", "subtract"), "stride": (1, 2), "pool_size": 2},
        {"pool": ("sum", "max"), "neuron": "synaptic", "pool_after": True, "padding": ("valid", "same")},
        {"pool": "none", "neuron": "synaptic", "reset": ("zero", "clear", "none", "zero"), "kernel_size": (5, 3)},
    ],
)
def test_gradients_of_membranes_are_differences(stack):
    """Membranes are smooth where no spike changes, so a surrogate of 0 makes every gradient a true one."""
    settings, tensors, x = network(3, surrogate=lambda x: 0 * x, **stack)
    tensors |= reference.rounded(settings, tensors)
    x = x / 256
    weights = cotangents(4, reference.trace(settings, tensors, x), ("membrane", "synaptic"))
    gradients = reference.gradients(settings, tensors, x, weights)
    without = {"lif4.threshold"} if "output" in stack else set()
    assert gradients.keys() - {"x"} == tensors.keys() - without
    rng = np.random.default_rng(5)
    for name, gradient in gradients.items():
        differences = {
            place: difference(settings, tensors, x, weights, name, place)
            for place in rng.permutation(gradient.size)[:8]
        }
        smooth = {place: value for place, value in differences.items() if value is not None}
        assert smooth, name
        for place, value in smooth.items():
            np.testing.assert_allclose(gradient.flat[place], value, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("name", "slope", "other"),
    [
        ("fast_sigmoid", 25, snntorch.surrogate.fast_sigmoid(25)),
        ("fast_sigmoid", 5, snntorch.surrogate.fast_sigmoid(5)),
        ("atan", 2, snntorch.surrogate.atan(2)),
        ("atan", 1, snntorch.surrogate.atan(1)),
        ("sigmoid", 25, snntorch.surrogate.sigmoid(25)),
        ("sigmoid", 3, snntorch.surrogate.sigmoid(3)),
        ("straight_through", None, snntorch.surrogate.straight_through_estimator()),
        ("triangular", 1, snntorch.surrogate.triangular(1)),
        ("triangular", 2, snntorch.surrogate.triangular(2)),
        ("heaviside", None, snntorch.surrogate.heaviside()),
        ("spike_rate_escape", 25, snntorch.surrogate.spike_rate_escape(1, 25)),
        ("spike_rate_escape", 7, snntorch.surrogate.spike_rate_escape(1, 7)),
        ("sparse_fast_sigmoid", 25, snntorch.surrogate.SFS(25, 1)),
        ("sparse_fast_sigmoid", 3, snntorch.surrogate.SFS(3, 1)),
    ],
)
def test_surrogates_are_those_of_snntorch(name, slope, other):
    x = torch.linspace(-3, 3, 97, dtype=torch.float64, requires_grad=True)
    other(x).sum().backward()
    expected = reference.surrogate({"surrogate": name, "slope": slope})(x.detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


def test_surrogates_that_snntorch_lacks_or_breaks():
    x = np.array([-1e6, -3.0, 0.0, 2.0, 1e6])
    assert reference.surrogate({"surrogate": "leaky_spike"})(x).tolist() == [0.1, 0.1, 0.1, 1, 1]
    sigmoid = reference.surrogate({"surrogate": "sigmoid"})(x)
    np.testing.assert_allclose(sigmoid, [0, 25 * np.exp(-75), 6.25, 25 * np.exp(-50), 0], rtol=1e-12)


def in_torch(settings, tensors, x, dtype):
    """The same network from torch's and snnTorch's parts: its leaves and its states, [T, B, C, H, W]."""
    names = {"fast_sigmoid": snntorch.surrogate.fast_sigmoid(), "atan": snntorch.surrogate.atan()}
    tensors = tensors | reference.rounded(settings, tensors)
    leaves = {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in tensors.items()}
    values = torch.tensor(np.moveaxis(reference.network_input(settings, x), -1, 2), dtype=dtype, requires_grad=True)
    leaves["x"] = values
    states = {}
    for layer in layers(settings):
        weight, bias = leaves[f"{layer.name}.weight"], leaves.get(f"{layer.name}.bias")

        def pool(values, layer=layer):
            if layer.pool == "none":
                return values
            if layer.pool == "max":
                return torch.nn.functional.max_pool2d(values, layer.pool_size, layer.pool_stride)
            average = torch.nn.functional.avg_pool2d(values, layer.pool_size, layer.pool_stride)
            return average * (layer.pool_size**2 if layer.pool == "sum" else 1)

        options = {name: leaves[f"{layer.neurons}.{name}"] for name in ("beta", "threshold")}
        if layer.neuron == "synaptic":
            options["alpha"] = leaves[f"{layer.neurons}.alpha"]
        if layer.kernel:
            options = {name: value[:, None, None] for name, value in options.items()}
        neuron_type = snntorch.Synaptic if layer.neuron == "synaptic" else snntorch.Leaky
        neuron = neuron_type(**options, reset_mechanism=layer.reset, spike_grad=names[settings["surrogate"]])
        neuron.threshold = options["threshold"]
        carry, steps = [torch.zeros((), dtype=dtype)] * (2 if layer.neuron == "synaptic" else 1), []
        for value in values:
            if layer.kernel:
                current = torch.nn.functional.conv2d(value, weight, bias, layer.stride, layer.padding)
                current = current if layer.pool_after else pool(current)
            else:
                current = torch.nn.functional.linear(value.flatten(1), weight, bias)
            spikes, *carry = neuron(current, *[state.expand_as(current).clone() for state in carry])
            steps.append((spikes.to(dtype), *carry))
        of_layer = [torch.stack(state) for state in zip(*steps, strict=True)]
        order = ("spikes", "synaptic", "membrane") if layer.neuron == "synaptic" else ("spikes", "membrane")
        states[layer.name] = dict(zip(order, of_layer, strict=True))
        values = of_layer[0]
        if layer.pool_after:
            values = torch.stack([pool(value) for value in values])
    return leaves, states


@pytest.mark.parametrize(
    "stack",
    [
        {"surrogate": "fast_sigmoid"},
        {"pool": "avg", "reset": "zero"},
        {"pool": ("sum", "none"), "reset": "none", "stride": (1, 2), "no_bias": True},
        {"pool_after": True, "pool": ("max", "avg"), "neuron": "synaptic"},
        {"neuron": ("synaptic", "leaky", "synaptic", "synaptic"), "reset": ("none", "subtract", "none", "subtract")},
        {"kernel_size": 2, "padding": "valid", "pool_stride": 1},
        {"conv_channels": (), "hidden": (7, 5), "weight_bits": 3},
    ],
)
def test_torch_agrees(stack):
    settings, tensors, x = network(11, **stack)

    def time_major(values):
        values = values.detach().numpy()
        return np.moveaxis(values, 2, -1) if values.ndim == 5 else values

    trace = reference.trace(settings, tensors, x)
    assert all(0.1 < values["spikes"].mean() < 0.9 for values in trace.values())
    for layer, states in in_torch(settings, tensors, x, torch.float32)[1].items():
        for name, values in states.items():
            np.testing.assert_array_equal(time_major(values), trace[layer][name], err_msg=f"{layer} {name}")

    leaves, states = in_torch(settings, tensors, x, torch.float64)
    forward = reference.trace(settings, tensors, x, np.float64)
    weights = cotangents(8, forward)
    total = 0
    for layer, of_layer in states.items():
        for name, values in of_layer.items():
            np.testing.assert_array_equal(time_major(values), forward[layer][name], err_msg=f"{layer} {name}")
            weight = weights[layer][name]
            total += (values * torch.tensor(np.moveaxis(weight, -1, 2) if weight.ndim == 5 else weight)).sum()
    total.backward()
    gradients = reference.gradients(settings, tensors, x, weights)
    assert gradients.keys() == {name for name, leaf in leaves.items() if leaf.grad is not None}
    for name, gradient in gradients.items():
        other = np.moveaxis(leaves[name].grad.numpy(), 2, -1).sum(0) if name == "x" else leaves[name].grad.numpy()
        # snnTorch's surrogates round the gradient of a spike to float32
        np.testing.assert_allclose(gradient, other, rtol=1e-5, atol=1e-6 * np.abs(gradient).max(), err_msg=name)


def test_forward_pass_of_another_type():
    settings, tensors, x = network(9)
    single = reference.trace(settings, tensors, x)
    weights = cotangents(8, single)
    gradients = reference.gradients(settings, tensors, x, weights, np.float32)
    for name, gradient in reference.gradients(settings, tensors, x, weights).items():
        assert gradients[name].dtype == np.float64
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max())
        assert (gradients[name] != gradient).any()
