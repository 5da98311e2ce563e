"""The reference against hand calculations and closed forms, for networks of flags."""

import numpy as np
import pytest
import reference_chains as reference
from reference_layers import layers
from reference_networks import network
from refusals import refusing

F32 = np.float32
ONE = {"input_shape": (1, 1, 1), "conv_channels": (), "hidden": (), "num_classes": 1}


def one_neuron(currents, **settings):
    """A network whose only neuron gets these currents, one per step."""
    tensors = {"fc1.weight": np.ones((1, 1)), "fc1.bias": np.zeros(1)}
    return {**ONE, "input_bits": 12, **settings}, tensors, np.reshape(currents, (-1, 1, 1, 1, 1))


def steps(currents, tensors=None, name="membrane", **settings):
    settings, weights, x = one_neuron(currents, **settings)
    return reference.trace(settings, weights | (tensors or {}), x)["fc1"][name].ravel().tolist()


# Neurons by hand. Beta is 0.5, theta is 1; the second step is the first to spike.

INPUT = [0.75, 0.75, 0.75, 2.0]


@pytest.mark.parametrize(
    ("neuron", "reset", "membranes"),
    [
        ("leaky", "subtract", [0.75, 1.125, 0.3125, 2.15625]),
        ("leaky", "zero", [0.75, 1.125, 0.75, 2.375]),
        ("leaky", "none", [0.75, 1.125, 1.3125, 2.65625]),
        ("synaptic", "subtract", [0.75, 1.5, 1.0625, 2.1875]),
        ("synaptic", "zero", [0.75, 1.5, 0.0, 2.65625]),
        ("synaptic", "clear", [0.75, 1.5, 1.3125, 2.65625]),
        ("synaptic", "none", [0.75, 1.5, 2.0625, 3.6875]),
    ],
)
def test_neurons(neuron, reset, membranes):
    settings = {"neuron": neuron, "reset": reset, "alpha": 0.5}
    assert steps(INPUT, **settings) == membranes
    assert steps(INPUT, name="spikes", **settings) == [float(u > 1) for u in membranes]
    if neuron == "synaptic":
        assert steps(INPUT, name="synaptic", **settings) == [0.75, 1.125, 1.3125, 2.65625]


def test_integrator():
    assert steps(INPUT, output="integrator") == [0.75, 1.125, 1.3125, 2.65625]
    assert steps(INPUT, output="integrator", name="spikes") == [0, 0, 0, 0]


def test_membrane_at_its_threshold_does_not_spike():
    assert steps([1.0, 0.75], name="spikes") == [0, 1]
    assert steps([1.0, 0.75]) == [1.0, 1.25]


def test_decays_are_limited_to_one_and_zero():
    assert steps([0.25, 0.25, 0.25], {"lif1.beta": F32(1.5)}) == [0.25, 0.5, 0.75]
    assert steps([0.25, 0.25, 0.25], {"lif1.beta": F32(-0.5)}) == [0.25, 0.25, 0.25]
    limited = {"lif1.alpha": F32(2), "lif1.beta": F32(0)}
    assert steps([0.25, 0.25, 0.25], limited, neuron="synaptic") == [0.25, 0.5, 0.75]


def test_products_are_rounded_before_the_current_is_added():
    beta, first, second = F32(0.7), F32(4093 / 256), F32(1231 / 256)
    product = F32(beta * first)
    fused = F32(np.float64(beta) * np.float64(first) + np.float64(second))
    assert F32(product + second) != fused
    assert steps([first, second], beta=0.7, threshold=100.0)[1] == F32(product + second)


def test_each_layer_and_channel_has_its_own_neuron():
    settings, tensors, _ = one_neuron([])
    settings |= {"hidden": (2,), "reset": ("none", "zero"), "neuron": ("leaky", "synaptic"), "alpha": 0.5}
    tensors = {"fc1.weight": np.ones((2, 1)), "fc2.weight": np.ones((1, 2))}
    tensors |= {"fc1.bias": np.zeros(2), "fc2.bias": np.zeros(1)}
    tensors |= {"lif1.beta": np.array([0.5, 0.0]), "lif1.threshold": np.array([1.0, 0.5])}
    states = reference.trace(settings, tensors, np.full((3, 1, 1, 1, 1), 0.75))
    assert states["fc1"]["membrane"][:, 0].tolist() == [[0.75, 0.75], [1.125, 0.75], [1.3125, 0.75]]
    assert states["fc1"]["spikes"][:, 0].tolist() == [[0, 1], [1, 1], [1, 1]]
    assert states["fc2"]["synaptic"].ravel().tolist() == [1, 2.5, 3.25]
    assert states["fc2"]["membrane"].ravel().tolist() == [1, 3.0, 0]


# Closed forms


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_without_memory_a_spike_depends_on_the_past_only_through_the_reset(reset):
    rng = np.random.default_rng(0)
    currents = rng.integers(0, 500, 40) / 256
    membranes = np.array(steps(currents, beta=0.0, reset=reset))
    if reset == "subtract":
        expected = []
        for current in currents:
            expected.append(current - (1 if expected and expected[-1] > 1 else 0))
        assert membranes.tolist() == expected
    else:
        assert membranes.tolist() == currents.tolist()


def test_constant_current_charges_geometrically_until_the_first_spike():
    beta, current = 0.75, 0.5
    membranes = np.array(steps([current] * 12, beta=beta, threshold=1.75))
    expected = current * (1 - beta ** np.arange(1, 13)) / (1 - beta)
    first = np.argmax(expected > 1.75)
    assert 2 < first < 11
    assert membranes[: first + 1].tolist() == expected[: first + 1].tolist()
    assert membranes[first + 1] == beta * expected[first] + current - 1.75


def test_constant_current_through_two_decays():
    alpha, beta, current = 0.5, 0.75, 0.25
    membranes = steps([current] * 8, alpha=alpha, beta=beta, threshold=50.0, neuron="synaptic")
    n = np.arange(1, 9)
    expected = current / (1 - alpha) * ((1 - beta**n) / (1 - beta) - alpha * (beta**n - alpha**n) / (beta - alpha))
    np.testing.assert_allclose(membranes, expected, rtol=1e-6)


# Grids by hand


def grid(weights, bias=0.0, **settings):
    """The grid of one neuron with these weights, by default on images."""
    settings = {**ONE, "input_shape": (1, 1, len(weights)), **settings}
    tensors = {"fc1.weight": np.array([weights], float), "fc1.bias": np.array([bias])}
    result = reference.rounded(settings, tensors)
    return result["fc1.weight"][0].tolist(), result["fc1.bias"][0]


def test_default_network_has_the_bits_that_the_page_names():
    assert [layer.bits for layer in layers({})] == [11, 15, 12, 14]
    assert [layer.bits for layer in layers({"pool": "avg"})] == [9, 13, 12, 14]
    assert [layer.bits for layer in layers({"encoding": "rate"})] == [19, 15, 12, 14]
    assert [layer.bits for layer in layers({"pool": "avg", "pool_after": True})] == [11, 13, 10, 14]


def test_weights_and_biases_are_rounded_half_to_even():
    # 2 products and 8: B = 24 - 8 - 4 = 12, x = 0, g = 2^-12, e = 2^-8
    assert grid([0.75, 0.1]) == ([0.75, 410 / 4096], 0)
    assert grid([0.75, 2.5 / 4096]) == ([0.75, 2 / 4096], 0)
    assert grid([0.75, -3.5 / 4096]) == ([0.75, -4 / 4096], 0)
    assert grid([0.75, 0.1], 0.1)[1] == 104858 / 2**20
    assert grid([0.75, 0.1], 2.5 / 2**20)[1] == 2 / 2**20


def test_grid_follows_the_largest_weight():
    assert grid([1.0, 0.1])[0] == [1.0, 205 / 2048]
    assert grid([-100.0, 0.1])[0] == [-100.0, 3 / 32]
    assert grid([0.0, 0.0]) == ([0, 0], 0)
    assert grid([2.0**-70 + 2.0**-74, 0], 2.0**-90) == ([2.0**-70, 0], 0)  # x = -60, not -69


def test_no_value_is_rounded_up_to_the_next_power_of_two():
    assert grid([1 - 2.0**-20, 0.0])[0] == [4095 / 4096, 0]
    assert grid([0.0, 0.0], 8 - 2.0**-30) == ([0, 0], 8 - 2.0**-20)


def test_large_bias_makes_the_grid_coarser():
    # 100 / (8 2^8 2^-8) = 12.5, so x = 4 and g = 2^-8
    assert grid([0.75, 0.1], 100.001) == ([0.75, 26 / 256], 100 + 66 / 2**16)


def test_inputs_of_other_scales():
    # b = 4, s = 0: B = 24 - 4 - 4 = 16; the bias is a multiple of 2^-16
    assert grid([0.75, 0.1], 0.3, scale=1, input_bits=4) == ([0.75, 6554 / 65536], 19661 / 65536)


def test_spikes_pooled_after_the_neurons():
    settings = {"input_shape": (4, 4, 1), "conv_channels": (1,), "hidden": (), "num_classes": 1, "pool_after": True}
    tensors = {"conv1.weight": np.ones((1, 1, 3, 3)), "conv1.bias": np.zeros(1)}
    tensors |= {"fc1.weight": np.full((1, 4), 0.7), "fc1.bias": np.full(1, 0.7)}
    for pool, weight, bias in (("max", 20, 20), ("sum", 18, 18), ("avg", 18, 20)):
        rounded = reference.rounded(settings | {"pool": pool}, tensors)
        assert rounded["fc1.weight"][0, 0] == np.rint(0.7 * 2**weight) / 2**weight
        assert rounded["fc1.bias"][0] == np.rint(0.7 * 2**bias) / 2**bias


def test_dense_layers_on_images_get_extra_bits():
    # n = 784: B = 24 - 8 - 10 = 6. The sum has to stay below 2^(24 - 6 - m) 2^-8 = 2^(10 - m).
    few = [0.7] + [0.0] * 783
    assert grid(few)[0][0] == np.rint(0.7 * 2**10) / 2**10
    for value, bits in ((0.7, 6), (0.6, 7), (0.5, 7), (0.15, 9)):
        assert grid([0.7] + [value] * 783)[0][1] == np.rint(value * 2**bits) / 2**bits
    # 772 x 0.6602 is below 512, but with 7 bits 0.6602 becomes 85 / 128, and 772 x 85 / 128 isn't
    assert grid([0.6602] * 772 + [0.0] * 12)[0][0] == 42 / 64
    # 40 x 31 / 64 + 0.7 = 20.1. A bias of 45 makes x = 3, so g is 8 times and the limit 2^(13 - m): it doesn't matter.
    some = [0.7] + [31 / 64] * 40 + [0.0] * 743
    assert grid(some)[0][0] == np.rint(0.7 * 2**10) / 2**10
    assert grid(some, 45.0) == ([90 / 128] + [62 / 128] * 40 + [0] * 743, 45)
    # |bias| counts: the weights' sum of 62.0 is below 64, but 62.0 + 3 isn't
    wide = [0.5] * 124 + [0.0] * 660
    assert grid(wide, 1 / 3)[1] == np.rint(2**18 / 3) / 2**18
    assert grid(wide, 3 + 1 / 3)[1] == np.rint(2**17 * (3 + 1 / 3)) / 2**17


def test_extra_bits_before_a_sum_of_currents():
    # B = 24 - 12 - 5 - 2 = 5. The sum of 9 x 0.7 has to stay below 2^(22 - 5 - m) 2^-12 = 2^(5 - m), so m = 2.
    settings = {"input_shape": (4, 4, 1), "conv_channels": (1,), "hidden": (), "scale": 4096, "input_bits": 12}
    tensors = {"conv1.weight": np.full((1, 1, 3, 3), 0.7), "conv1.bias": np.zeros(1)}
    tensors |= {"fc1.weight": np.zeros((10, 4)), "fc1.bias": np.zeros(10)}
    rounded = reference.rounded(settings | {"pool": "sum"}, tensors)
    assert rounded["conv1.weight"][0, 0, 0, 0] == np.rint(0.7 * 2**7) / 2**7


def test_too_many_products_are_an_error():
    with refusing(ValueError, "fc1", 3):
        layers({"input_shape": (64, 64, 1), "conv_channels": ()})


def test_few_bits():
    # x = 0 and multiples of 1/2; the error at x = -1 would be larger
    assert grid([0.75, 0.2, 0.2, 0.2], weight_bits=2)[0] == [0.5, 0, 0, 0]
    # at x = -1 the errors are 0.25 + 9 x 0.0025, at x = 0 0.0625 + 9 x 0.04
    assert grid([0.75] + [0.3] * 9, weight_bits=2)[0] == [0.25] * 10
    # a bias of 5 needs x >= 0
    assert grid([0.75] + [0.3] * 9, 5.0, weight_bits=2)[0] == [0.5] * 10
    assert grid([0.75, 0.3, -0.1, 0.9], weight_bits=3)[0] == [0.75, 0.25, 0, 0.75]
    assert grid([0.75, 0.3, -0.1, 0.99], weight_bits=8)[0] == [96 / 128, 38 / 128, -13 / 128, 127 / 128]
    assert grid([0.75, 0.3], weight_bits=16) == grid([0.75, 0.3])


def exponent(weights, bias=0.0, saved=None):
    settings = {**ONE, "input_shape": (1, 1, len(weights)), "weight_bits": 2}
    tensors = {"fc1.weight": np.array([weights]), "fc1.bias": np.array([bias])}
    if saved is not None:
        tensors["fc1.exponents"] = np.array([saved])
    return reference.rounded(settings, tensors)["fc1.exponents"].item()


def test_exponents():
    assert exponent([0.75]) == 0
    assert exponent([0.5, 0.25]) == 0  # x = 0 drops 1/4, and x = -1 halves 1/2: the same error
    assert exponent([0.5, 0.25, 0.25]) == -1
    assert exponent([0.5, 0.25, 0.25], saved=-2) == -2
    assert exponent([0.5, 0.25, 0.25], bias=5.0, saved=-2) == -2  # the bias is clipped
    assert grid([0.0] * 4, weight_bits=2)[0] == [0] * 4
    assert exponent([1.0] + [0.06875] * 800) == -2  # -3 would fit the small ones, but it's 4 below the usual 1


@pytest.mark.parametrize("bits", [None, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("stack", [{}, {"pool": "avg"}, {"pool": "sum", "pool_after": True}, {"conv_channels": ()}])
def test_rounding_twice_is_rounding_once_and_sums_are_exact(bits, stack):
    settings, tensors, x = network(1, weight_bits=bits, **stack)
    once = reference.rounded(settings, tensors)
    twice = reference.rounded(settings, tensors | once)
    for name, values in once.items():
        np.testing.assert_array_equal(values, twice[name])
    for values in reference.trace(settings, tensors, x).values():
        np.testing.assert_array_equal(values["sums"], values["sums"].astype(F32))
        np.testing.assert_array_equal(values["current"], values["current"].astype(np.float64))


def test_inputs_are_rounded_and_limited():
    settings = {"time_steps": 1}
    assert reference.network_input(settings, np.full((1, 1, 1, 1), 128, np.uint8)).item() == 0.5
    assert reference.network_input(settings, np.full((1, 1, 1, 1), 3.5 / 256)).item() == 4 / 256
    assert reference.network_input(settings | {"scale": 1}, np.full((1, 1, 1, 1), 3, np.uint8)).item() == 3
    with refusing(ValueError, "exceeds"):
        reference.network_input(settings, np.full((1, 1, 1, 1), 1.01))


# Convolutions and pools by hand


def block(image, **settings):
    """One convolution with a kernel of size 1 and weight 1, by default without a pool."""
    image = np.array(image, np.uint8)[None, :, :, None]
    height, width = image.shape[1:3]
    one = {"input_shape": (height, width, 1), "scale": 1, "time_steps": 1, "conv_channels": (1,), "hidden": ()}
    settings = {**one, "num_classes": 1, "kernel_size": 1, "pool": "none", "surrogate": "straight_through", **settings}
    tensors = {f"{layer.name}.bias": np.zeros(1) for layer in layers(settings)}
    tensors["fc1.weight"] = np.ones((1, layers(settings)[1].products))
    kernel = settings["kernel_size"]
    tensors["conv1.weight"] = np.ones((1, 1, kernel, kernel))
    states = reference.trace(settings, tensors, image)["conv1"]

    def gradient(values):
        of_conv1 = {"membrane": np.array(values, float)[None, None, :, :, None]}
        return reference.gradients(settings, tensors, image, {"conv1": of_conv1})["x"][0, :, :, 0].tolist()

    return states["current"][0, 0, :, :, 0].tolist(), gradient


IMAGE = [[1, 2, 3, 9], [4, 4, 6, 9], [7, 4, 0, 9]]


def test_pools_drop_incomplete_windows():
    assert block(IMAGE, pool="max")[0] == [[4, 9]]
    assert block(IMAGE, pool="sum")[0] == [[11, 27]]
    assert block(IMAGE, pool="avg")[0] == [[2.75, 6.75]]
    assert block(IMAGE, pool="max", pool_size=3)[0] == [[7]]
    assert block(IMAGE, pool="max", pool_stride=1)[0] == [[4, 6, 9], [7, 6, 9]]


def test_gradient_of_a_pool():
    assert block(IMAGE, pool="max")[1]([[1, 2]]) == [[0, 0, 0, 2], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert block(IMAGE, pool="avg")[1]([[4, 8]]) == [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 0]]
    assert block(IMAGE, pool="sum")[1]([[1, 2]]) == [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 0]]
    overlapping = block(IMAGE, pool="max", pool_stride=1)[1]([[1, 2, 4], [8, 16, 32]])
    assert overlapping == [[0, 0, 0, 4], [1, 0, 18, 32], [8, 0, 0, 0]]


def test_kernels_strides_and_padding():
    assert block(IMAGE, kernel_size=2, padding="valid")[0] == [[11, 15, 27], [19, 14, 24]]
    assert block(IMAGE, kernel_size=3)[0] == [[11, 20, 33, 27], [22, 31, 46, 36], [19, 25, 32, 24]]
    assert block(IMAGE, kernel_size=3, stride=2)[0] == [[11, 33], [19, 32]]
    assert block(IMAGE, kernel_size=2, padding="valid", stride=2)[0] == [[11, 27]]
    gradient = block(IMAGE, kernel_size=3, stride=2)[1]
    assert gradient([[1, 2], [4, 8]]) == [[1, 3, 2, 2], [5, 15, 10, 10], [4, 12, 8, 8]]


def test_linear_layers_read_features_in_channel_height_width_order():
    settings = {**ONE, "input_shape": (2, 2, 2), "scale": 1, "time_steps": 1}
    tensors = {"fc1.weight": np.array([[1, 10, 100, 1000, 0, 0, 0, 2.0]]), "fc1.bias": np.zeros(1)}
    image = np.zeros((1, 2, 2, 2), np.uint8)
    image[0, :, :, 0], image[0, :, :, 1] = [[1, 2], [3, 4]], [[5, 6], [7, 8]]
    assert reference.trace(settings, tensors, image)["fc1"]["current"].item() == 4321 + 16


def test_clipped_decays_have_gradients_at_both_ends():
    for beta, inside in ((1.0, 1), (0.0, 1), (1.001, 0), (-0.001, 0)):
        settings, tensors, x = one_neuron([0.25, 0.5], surrogate="atan")
        tensors |= {"lif1.beta": np.float64(beta)}
        gradients = reference.gradients(settings, tensors, x, {"fc1": {"membrane": np.array([[[0.0]], [[1.0]]])}})
        assert gradients["lif1.beta"] == 0.25 * inside


def test_dropout_by_hand():
    settings = {**ONE, "input_shape": (1, 1, 2), "hidden": (2,), "time_steps": 2, "dropout": 0.5, "surrogate": "atan"}
    tensors = {"fc1.weight": np.array([[4.0, 0], [0, 4.0]]), "fc1.bias": np.zeros(2)}
    tensors |= {"fc2.weight": np.array([[0.5, 0.25]]), "fc2.bias": np.zeros(1)}
    x, masks = np.full((2, 1, 1, 2), 128, np.uint8), {"fc2": np.array([[1, 0], [1, 1]])}
    trace = reference.trace(settings, tensors, x, masks=masks)
    assert trace["fc1"]["spikes"].tolist() == np.ones((2, 2, 2)).tolist()
    assert trace["fc2"]["current"].ravel().tolist() == [1, 1.5, 1, 1.5]
    d_membrane = {"fc2": {"membrane": np.array([[[0.0], [0.0]], [[1.0], [1.0]]])}}
    gradients = reference.gradients(settings, tensors, x, d_membrane, masks=masks)
    assert gradients["fc2.weight"].tolist() == [[2 * 1.5 * 2, 2 * 1.5]]
    gradients = reference.gradients({**settings, "surrogate": "straight_through"}, tensors, x, d_membrane, masks=masks)
    # a kept spike passes 2 x weight at step 1, and half of it at step 0, to which step 1 adds half again
    assert gradients["fc1.bias"].tolist() == [2 * 2 * 0.5 * (1 + 0.5 + 0.5), 2 * 0.25 * (1 + 0.5 + 0.5)]


def test_mistakes_are_errors():
    settings, tensors, x = network(0)
    for wrong, fact in (
        ({"kernel": 3}, "kernel"),
        ({"reset": "clear"}, "clear"),
        ({"kernel_size": 4}, 4),
        ({"pool": "avg", "pool_size": 3}, 3),
        ({"scale": 255}, 255),
        ({"neuron": "synaptic", "alpha": None}, "alpha"),
        ({"surrogate": "sso"}, "sso"),
        ({"surrogate": None}, "surrogate"),
    ):
        with refusing(ValueError, fact):
            reference.gradients({**settings, **wrong}, tensors, x, {})
