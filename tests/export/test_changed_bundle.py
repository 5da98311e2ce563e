"""As tests/test_changed_files.py, for a bundle's manifest, its hashes and its images."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from formats import ANY, SAME, SHAPES, Format, Read, after_header, check

from csnn_jax.errors import UserError
from export import bundle, hashes, manifest


def _hashes(path: Path) -> Read:
    if hashes.check(path.parent):
        raise UserError(f"{path.name}: a difference is printed")
    return {}


def _images(path: Path) -> Read:
    golden = bundle.golden_images(path.parents[1])
    return {"images": golden.images, "labels": golden.labels}


FILES: dict[str, tuple[Callable[[Path], Read], dict]] = {
    manifest.MANIFEST: (lambda path: manifest.read(path.parent), {"stays": ANY}),
    bundle.IMAGES: (_images, {"stays": SHAPES, "marks": b"\\{|\\}", "values": after_header}),
}


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes_are_refused_or_change_values(small_bundle, tmp_path, name):
    def copied(folder: Path) -> Path:
        place = folder / "bundle" / name
        place.parent.mkdir(parents=True)
        shutil.copy(small_bundle / name, place)
        return place

    read, other = FILES[name]
    check(Format(copied, read, **other), tmp_path, 30)


def test_changed_hashes_are_refused_or_the_same(tmp_path):
    def listed(folder: Path) -> Path:
        files = {name: name.encode() for name in ("a", "b/c")}
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        lines = [f"{sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
        (folder / hashes.SUMS).write_text("".join(lines))
        return folder / hashes.SUMS

    check(Format(listed, _hashes, SAME, b"\n"), tmp_path, 100)
