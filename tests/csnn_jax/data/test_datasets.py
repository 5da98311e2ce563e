import importlib
from dataclasses import replace

import numpy as np
import pytest
from idx_files import IMAGES, write_folder
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig, decided
from csnn_jax.data import (
    Dataset,
    Split,
    check_names,
    fit_model,
    load,
    load_for,
    load_to_train,
    named,
    shortened,
)
from csnn_jax.data.images import pixels_of
from csnn_jax.data.source import Wanted
from csnn_jax.errors import UserError

SMALL = ModelConfig(input_shape=(3, 4, 1), conv_channels=())


def written(folder, train=(0, 1), test=(0, 1), images=None) -> str:
    """Writes black images with these labels, or `images`; returns the value for `--dataset`."""
    sets = ((np.zeros((len(each), 3, 4), np.uint8) if images is None else images, each) for each in (train, test))
    folder.mkdir(exist_ok=True)
    return f"idx:{write_folder(folder, *sets)}"


def test_mnist_with_images_held_out():
    whole = load("mnist", (28, 28, 1))
    assert whole.name == "mnist" and whole.num_classes == 10 and whole.notes == () and whole.validation is None
    assert whole.train.images.shape == (60_000, 28, 28, 1) and whole.train.labels.dtype == np.int32
    assert whole.test.images.shape == (10_000, 28, 28, 1) and whole.test.images.dtype == np.uint8
    parts = load("mnist", (28, 28, 1), validation=5_000)
    assert parts.validation is not None
    for field in ("images", "labels"):
        expected = getattr(whole.train, field)
        np.testing.assert_array_equal(getattr(parts.train, field), expected[:55_000])
        np.testing.assert_array_equal(getattr(parts.validation, field), expected[55_000:])
    few = load("mnist", (28, 28, 1), subset=600)
    assert (len(few.train.labels), len(few.test.labels)) == (600, 100)


def test_idx_folder_is_fitted_to_the_network(tmp_path):
    name = written(tmp_path, (0, 4), (3, 1), IMAGES)
    data = load(name, (6, 8, 3))
    assert data.names == ("0", "1", "2", "3", "4"), "up to the highest training label"
    assert data.train.images.shape == data.test.images.shape == (2, 6, 8, 3) and data.test.labels.tolist() == [3, 1]
    changes = ("resized to 6x8 (bilinear, antialiased)", "gray repeated to color")
    assert data.notes == tuple(f"{name}: {change}" for change in changes), "each once, not once per split"


def test_a_subset_bounds_the_data_set_that_was_trained_on(tmp_path):
    assert [Wanted((1, 1, 1), 1, subset=subset).of(10, 60) for subset in (1, 11, 12, 60)] == [1, 1, 2, 10]
    config = Config(replace(SMALL, num_classes=2), DataConfig(dataset="mnist", subset=600))
    assert len(load_for(config, written(tmp_path)).train.labels) == 2
    assert len(load_for(replace(config, model=replace(SMALL, input_shape=(28, 28, 1)))).train.labels) == 600


@pytest.mark.parametrize(
    ("name", "settings", "facts"),
    [
        ("DATA", {"test": (0, 2)}, ("labels", 2, "0 to 1")),
        ("DATA", {"validation": -1}, ("validation -1", "0 to 1", 2)),
        ("DATA", {"validation": 2}, ("validation 2", "0 to 1", 2)),
        ("DATA", {"input_shape": (10**6, 10**6, 1)}, (2, "1000000x1000000x1")),
        ("mnist", {"frames": "count"}, ("frames count", "mnist")),
        ("mnist", {"subset": 60_001}, ("subset 60001", "1 to 60000", "mnist")),
        *(
            ("mnist", {"input_shape": shape}, (f"input_shape {shape!r}", "height, width, channels"))
            for shape in ((28, 28), (28, 28, 1, 1), (28, 28, 0), (28.0, 28.0, 1.0), 28, "abc")
        ),
        ("minst", {}, ("'minst'", "'mnist'", "DIR", "NAME")),
        ("MNIST", {}, ("'mnist'",)),
        ("cifar10", {}, ("'cifar10'", "'tfds:cifar10'", "DIR")),
        ("cifar", {}, ("'cifar'", "'tfds:cifar10'")),
        ("fashion_mnist", {}, ("'tfds:fashion_mnist'",)),
        ("", {}, ("''", "expected one of mnist")),
        ("a/b", {}, ("'a/b'", "DIR", "NAME")),
        ("idx:/nowhere", {}, ("/nowhere", "no such folder")),
    ],
)
def test_what_can_not_be_loaded_is_named(tmp_path, name, settings, facts):
    data = written(tmp_path, test=settings.pop("test", (0, 1)))
    with refusing(UserError, data if name == "DATA" else "", *facts):
        load(data if name == "DATA" else name, **{"input_shape": (3, 4, 1)} | settings)


def test_extra_outputs_are_kept_and_too_few_refused(tmp_path):
    mnist = load("mnist", (28, 28, 1))
    assert fit_model(ModelConfig(num_classes=12), mnist).num_classes == 12
    with refusing(UserError, "num_classes 9", "mnist", 10):
        fit_model(ModelConfig(num_classes=9), mnist)
    assert load_for(Config(replace(SMALL, num_classes=2)), written(tmp_path))
    with refusing(UserError, "dataset mnist", 10, 2):
        load_for(Config(ModelConfig(num_classes=2)))


def test_images_that_are_all_equal_are_pointed_out(tmp_path):
    images = np.full_like(IMAGES, 3)
    assert (
        load(written(tmp_path / "equal", images=images), (3, 4, 1))
        .notes[-1]
        .endswith(": warning: all images are equal, so no network can learn from them")
    )
    images[-1, 0, 0] = 4
    assert not load(written(tmp_path / "other", images=images), (3, 4, 1)).notes


def test_images_are_divided_by_256_and_zeros_and_ones_stay(tmp_path):
    mnist = load("mnist", (28, 28, 1))
    fitted = fit_model(ModelConfig(), mnist)
    assert mnist.pixels == (256, 8) and (fitted.scale, fitted.input_bits) == (256, 8)
    binary = load(written(tmp_path, images=IMAGES % 2), (3, 4, 1))
    assert binary.pixels == (1, 0) and binary.notes[-1].endswith("values of 0 and 1 are used unscaled (scale 1)")
    assert fit_model(SMALL, binary).scale == 1
    fitted = fit_model(replace(SMALL, scale=8.0), binary)
    assert (fitted.scale, fitted.input_bits) == (8, 0)


def test_a_given_scale_of_floats_sets_their_bits():
    images = np.full((4, 3, 4, 1), 0.5, np.float32)  # 12 bits with a scale of 2^13, one less for the first layer
    split = Split(images, np.arange(4) % 2)
    floats = Dataset("arrays:own", split, None, split, ("0", "1"), pixels_of(images), ())
    for scale, bits in ((None, 11), (2.0**13, 12), (2.0**11, 10), (0.5, 0)):
        fitted = fit_model(replace(SMALL, scale=scale), floats)
        assert (fitted.scale, fitted.input_bits) == (scale or 2**12, bits)
    with refusing(UserError, "scale 16384", 8192):
        fit_model(replace(SMALL, scale=2.0**14), floats)


def test_eval_images_takes_the_first_images():
    whole = load("mnist", (28, 28, 1), validation=100)
    assert shortened(whole, None) is whole
    shorter = shortened(whole, 30)
    assert shorter.train is whole.train and shorter.validation is not None
    np.testing.assert_array_equal(shorter.test.images, whole.test.images[:30])
    np.testing.assert_array_equal(shorter.validation.labels, whole.validation.labels[:30])
    assert shorter.notes[-1] == "accuracy is measured on the first 30 images (--eval-images)"


@pytest.mark.parametrize("package", ["csnn_jax.update.trainer", "csnn_torch.trainer"])
def test_trainers_refuse_what_does_not_fit_the_network(package):
    model, trainer = ModelConfig((8, 6, 2), (5,), num_classes=4), importlib.import_module(package).Trainer
    images, labels = np.zeros((3, 8, 6, 2), np.uint8), np.array([0, 1, 4])
    for config, split, facts in (
        (Config(model), Split(images, labels), ("`auto`",)),
        (decided(Config(model)), Split(images, labels), ("labels", "0 to 4", "0 to 3")),
        (decided(Config(model)), Split(images[..., :1], labels % 4), ("[3, 8, 6, 1]",)),
        (decided(Config(model)), (images, labels), ("split", "tuple")),
    ):
        with refusing(ValueError, *facts):
            trainer(config, split)


def test_training_labels_have_no_gaps_but_may_start_at_1(tmp_path):
    for labels, gap in (((0, 1, 2, 255), 3), ((5, 0, 1), 2), ((0, 2), 1)):
        name = written(tmp_path / str(gap), labels, labels)
        with refusing(UserError, f"dataset {name}", f"label {gap}"):
            load_to_train(Config(data=DataConfig(name)))
        assert load(name, None).num_classes == max(labels) + 1, "only training needs every label"
    letters = written(tmp_path / "letters", (1, 2, 3), (1, 2, 3))
    assert load_to_train(Config(data=DataConfig(letters))).names == ("0", "1", "2", "3")
    with refusing(UserError, "one class"):
        load(written(tmp_path / "one", (0, 0), (0, 0)), None)
    name = written(tmp_path / "mixed", (0, 2, 1, 3), (0, 2, 1, 3))
    assert len(load(name, None, subset=4).train.labels) == 4
    assert load_to_train(Config(data=DataConfig(name, subset=2))).num_classes == 4, "those of all training images"


def dataset(*names: str) -> Dataset:
    split = Split(np.zeros((4, 5, 6, 1), np.uint8), np.arange(4) % len(names))
    return Dataset("images:shapes", split, None, split, names, pixels_of(split.images), ())


def test_a_job_takes_shape_and_names_from_its_data():
    model = fit_model(ModelConfig(), dataset("disc", "bar"))
    assert (model.input_shape, model.num_classes) == ((5, 6, 1), 2)
    assert named(dataset("disc", "bar")) == ("disc", "bar")


def test_consecutive_numbers_from_0_are_not_names():
    assert named(dataset("0", "1")) is None and named(dataset("1", "2")) == ("1", "2")


def test_other_names_or_another_order_are_refused():
    check_names("images:other", ("disc", "bar"), ("disc", "bar"))
    check_names("images:other", None, ("disc", "bar"))
    with refusing(UserError, "dataset images:other", 0, "bar", "disc"):
        check_names("images:other", ("bar", "disc"), ("disc", "bar"))
