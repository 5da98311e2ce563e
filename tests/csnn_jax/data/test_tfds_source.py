"""Real TFDS files, prepared here by builders that aren't registered with TFDS."""

import io
import json
import shlex
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from refusals import refused, refusing
from tfds_files import prepare, tensor

from csnn_jax.data import load
from csnn_jax.errors import UserError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (7, 6, 5, 1), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> str:
    examples = [{"image": png(image), "label": i % 3, "id": str(i)} for i, image in enumerate(GRAY)]
    features = {
        "image": tfds.features.Image(shape=(6, 5, 1), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["cat", "dog", "a cow", "owl"]),
        "id": tfds.features.Text(),
    }
    return prepare(tmp_path_factory.mktemp("tfds"), "tiny_digits", features, train=examples[:4], test=examples[4:])


def by_label(labels, images):
    """Images in an order that doesn't depend on TFDS's shuffling."""
    return sorted((int(label), image.tobytes()) for label, image in zip(labels, images, strict=True))


def test_prepared_images_are_read_by_name_without_their_code(digits, monkeypatch, caplog):
    data = load(digits, (6, 5, 1))
    assert data.names == ("cat", "dog", "a cow", "owl"), "as the metadata list them"
    assert data.notes == () and caplog.records == []
    assert data.train.images.dtype == np.uint8 and data.train.labels.dtype == np.int32
    assert by_label(data.train.labels, data.train.images) == by_label([0, 1, 2, 0], GRAY[:4])
    assert by_label(data.test.labels, data.test.images) == by_label([1, 2, 0], GRAY[4:])
    name, _, data_dir = digits.partition("@")
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    np.testing.assert_array_equal(load(f"{name}:1.0.0", (6, 5, 1)).train.images, data.train.images)


def test_images_of_several_sizes_are_each_resized(tmp_path):
    examples = [{"image": png(np.full((3 + i, 9, 3), 40 * i, np.uint8)), "label": i} for i in range(3)]
    features = {"image": tfds.features.Image(), "label": tensor((), np.int32)}
    name = prepare(tmp_path, "sizes", features, train=examples, validation=examples)
    data = load(name, (8, 8, 1))
    assert data.num_classes == 3
    assert sorted(data.train.images.max(axis=(1, 2, 3))) == sorted(data.train.images.min(axis=(1, 2, 3))) == [0, 40, 80]
    assert data.notes == (
        "tfds:sizes: no test split, using its validation split",
        "tfds:sizes: resized to 8x8 (bilinear, antialiased)",
        "tfds:sizes: converted to gray (ITU-R 601 luma)",
    )


def test_event_frames_keep_their_time_axis(tmp_path):
    frames = RNG.integers(0, 2, (2, 5, 4, 4, 2), dtype=np.uint8)
    examples = [{"frames": f, "label": i} for i, f in enumerate(frames)]
    features = {"frames": tensor((None, 4, 4, 2), np.uint8), "label": tensor((), np.int64)}
    data = load(prepare(tmp_path, "events", features, train=examples, test=examples), (4, 4, 2))
    np.testing.assert_array_equal(data.train.images[np.argsort(data.train.labels)], frames)
    assert (data.pixels.scale, data.frames) == (1, 5)
    assert data.notes == ("tfds:events: values of 0 and 1 are used unscaled (scale 1)",)
    examples[1] = {"frames": frames[1, :3], "label": 1}
    name = prepare(tmp_path / "ragged", "ragged", features, train=examples, test=examples)
    with refusing(UserError, "tfds:ragged", 3, 5):
        load(name, (4, 4, 2))


@pytest.mark.parametrize(
    ("features", "splits", "facts"),
    [
        ({"image": (4, 4), "label": ()}, "train test", ("'image'", 2, "'label'", 0)),
        ({"image": (4, 4, 1), "class": ()}, "train test", ("'label'",)),
        ({"image": (4, 4, 1), "label": ()}, "train", ("['train']",)),
        ({"image": (4, 4, 1), "label": ()}, "train test", ("input_shape 4 4 2", 1)),
    ],
)
def test_other_contents_are_refused(tmp_path, features, splits, facts):
    examples = [{key: np.zeros(shape, np.uint8) for key, shape in features.items()}]
    tensors = {key: tensor(shape, np.uint8) for key, shape in features.items()}
    name = prepare(tmp_path, "other", tensors, **dict.fromkeys(splits.split(), examples))
    with refusing(UserError, *facts):
        load(name, (4, 4, 2))


def test_unprepared_says_how_to_prepare_and_downloads_nothing(tmp_path):
    with pytest.raises(UserError) as caught:
        load(f"tfds:mnist@{tmp_path}", (28, 28, 1))
    head, _, command = str(caught.value).partition("; prepare it with: ")
    assert head == f"name tfds:mnist@{tmp_path}: not prepared in {tmp_path}"
    pip, python = command.split(" && ")
    assert pip == "pip install tensorflow"
    code = shlex.split(python)[2]
    assert code.endswith(f"builder('mnist', data_dir='{tmp_path}', file_format='array_record').download_and_prepare()")
    builder = eval(code.split("; ")[1].removesuffix(".download_and_prepare()"), {"tfds": tfds})
    assert str(builder.data_dir).startswith(str(tmp_path / "mnist")), "the command prepares what load looks for"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("minst", ("minst", "'tfds:mnist'")),
        ("qqqqqq", ("qqqqqq", "TFDS")),
        ("not a name", ("'tfds:not a name'", "tfds:NAME")),
    ],
)
def test_unknown_names_take_one_line(tmp_path, name, facts):
    with refusing(UserError, *facts):
        load(f"tfds:{name}@{tmp_path}", (28, 28, 1))


@pytest.mark.parametrize("module", ["tensorflow_datasets", "importlib_resources", "array_record.python"])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, module):
    monkeypatch.delitem(sys.modules, "array_record.python.array_record_data_source", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    flags, facts = ("--dataset", f"tfds:mnist@{tmp_path}"), ("--dataset tfds:mnist", "`pip install 'csnn-jax[tfds]'`")
    refused("csnn_jax.train", *flags, "--out", tmp_path / "run", names=facts, unchanged=tmp_path)


def test_damaged_files_take_one_line(digits, tmp_path):
    data_dir = digits.partition("@")[2]

    def check(damage, *facts):
        shutil.rmtree(tmp_path)
        shutil.copytree(data_dir, tmp_path)
        damage(tmp_path / "tiny_digits" / "1.0.0")
        with refusing(UserError, "tiny_digits", *facts):
            load(f"tfds:tiny_digits@{tmp_path}", (6, 5, 1))

    def as_tfrecord(folder):
        info = json.loads((folder / "dataset_info.json").read_text())
        (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))

    def overwrite(folder):
        file = next(folder.glob("*train*"))
        file.write_bytes(bytes(file.stat().st_size))

    check(as_tfrecord, "1.0.0", "tfrecord", "array_record")
    check(overwrite, "unreadable")
    check(lambda folder: next(folder.glob("*test*")).unlink(), "unreadable")
    check(lambda folder: (folder / "dataset_info.json").unlink(), "unreadable")
    check(lambda folder: (folder / "dataset_info.json").write_text("{"), "unreadable")
