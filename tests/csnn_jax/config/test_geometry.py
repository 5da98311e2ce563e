import itertools

from configs import model_configs
from hypothesis import given


def _of(value, number):
    return value[number] if isinstance(value, tuple) else value


@given(model_configs())
def test_layers_fit_one_another(model):
    layers = model.layers
    conv, linear = layers[: len(model.conv_channels)], layers[len(model.conv_channels) :]
    assert [layer.name for layer in conv] == [f"conv{i}" for i in range(1, len(conv) + 1)]
    assert [layer.name for layer in linear] == [f"fc{i}" for i in range(1, len(linear) + 1)]
    assert {layer.kind for layer in conv} <= {"conv"} and {layer.kind for layer in linear} == {"linear"}
    assert layers[0].in_shape == model.input_shape and layers[-1].out_shape == (model.num_classes,)
    for before, after in itertools.pairwise(layers):
        pool = after.before
        assert after.in_shape == (before.out_shape if pool is None else pool.shape(before.out_shape))
        pooled = model.pool_after and before.kind == "conv" and _of(model.pool, layers.index(before)) != "none"
        assert (pool is not None) == pooled
    for number, (layer, channels) in enumerate(zip(conv, model.conv_channels, strict=True)):
        kernel, stride, padding, pool, size = (
            _of(value, number)
            for value in (model.kernel_size, model.stride, model.padding, model.pool, model.pool_size)
        )
        zeros = kernel // 2 if padding == "same" else 0
        positions = [len(range(0, n + 2 * zeros - kernel + 1, stride)) for n in layer.in_shape[:2]]
        assert layer.conv_shape == (*positions, channels)
        assert (layer.pool is None) == (pool == "none" or model.pool_after)
        assert layer.out_shape == (*(positions if layer.pool is None else [n // size for n in positions]), channels)
        assert min(layer.out_shape) >= 1 and layer.kernel_shape == (kernel, kernel, layer.in_shape[-1], channels)
        assert padding == "valid" or stride > 1 or layer.conv_shape[:2] == layer.in_shape[:2]
    assert {layer.bias for layer in layers} == {model.bias}
    assert [layer.out_shape for layer in linear[:-1]] == [(n,) for n in model.hidden]
    assert len(model.each("beta")) == len(model.thresholds) == len(layers)
