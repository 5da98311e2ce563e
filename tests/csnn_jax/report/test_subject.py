import pytest

from csnn_jax.report import subject


@pytest.mark.parametrize(
    "name, shown",
    [
        ("mnist", "mnist"),
        ("idx:/home/me/x", "idx:DIR"),
        ("nmnist:/home/me/x", "nmnist:DIR"),
        ("events:/home/me@x", "events:DIR"),
        ("saccades", "saccades"),
        ("tfds:fashion_mnist", "tfds:fashion_mnist"),
        ("arrays:/home/me/x.npz", "arrays:FILE.npz"),
        ("arrays", "arrays:FILE.npz"),
        ("tfds:a/b:1.0.0@/home/me", "tfds:a/b:1.0.0@DATA_DIR"),
    ],
)
def test_data_sets_are_shown_without_their_folder(name, shown):
    assert subject.shown_dataset(name) == shown
