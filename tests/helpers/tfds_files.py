"""Prepares small data sets with tensorflow-datasets, using builders that aren't registered."""

import numpy as np
import tensorflow_datasets as tfds

tfds.disable_progress_bar()


def prepare(data_dir, name: str, features: dict, **splits):
    """Prepares a data set on disk: for each split, a list of examples."""

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(examples) for split, examples in splits.items()}

        def _generate_examples(self, examples):
            yield from enumerate(examples)

    Tiny.name = name
    Tiny(data_dir=data_dir, file_format="array_record").download_and_prepare()
    return f"tfds:{name}@{data_dir}"


def tensor(shape, dtype):
    return tfds.features.Tensor(shape=shape, dtype=dtype)


def prepare_frames(data_dir, frames: np.ndarray, labels: np.ndarray) -> str:
    """Prepares a data set of frames [N, T, H, W, C], equal for training and test; returns its name for `--dataset`."""
    examples = [{"frames": f, "label": label} for f, label in zip(frames, labels, strict=True)]
    features = {"frames": tensor((None, *frames.shape[2:]), frames.dtype), "label": tensor((), np.int64)}
    return prepare(data_dir, "events", features, train=examples, test=examples)
