"""Fetches packages with `npm pack`, checks their SHA-256 and keeps them in the user's cache directory."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, user_cache

PATIENCE = 300
"""Timeout for npm, in seconds."""


class Package(NamedTuple):
    """One version of a package.

    Attributes:
        name: its name in the registry.
        version: its exact version.
        sha256: SHA-256 of the archive, in hexadecimal digits.
    """

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def fetch(package: Package) -> Path:
    """The package's archive, a .tgz file in the cache; fetched only if it's missing or damaged.

    Raises:
        UserError: npm is missing or fails, or the archive doesn't have the pinned SHA-256.
    """
    archive = cache() / f"{package.name}-{package.version}.tgz"
    if archive.is_file() and _digest(archive) == package.sha256:
        return archive
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"{package}: npm isn't installed (`apt-get install npm`)")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with Temporary(archive) as folder:
            folder.mkdir()
            packed = _pack(npm, package, folder)
            if (digest := _digest(packed)) != package.sha256:
                raise UserError(f"{package}: the archive from npm has SHA-256 {digest}, expected {package.sha256}")
            os.replace(packed, archive)
    except OSError as error:
        raise UserError(f"{archive}: can't be written: {error.strerror or error}") from None
    return archive


def read(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Files from an archive, by their paths in the package.

    Raises:
        UserError: a file is missing.
    """
    contents = {}
    with tarfile.open(archive) as opened:
        for name in names:
            try:
                file = opened.extractfile(f"package/{name}")
            except KeyError:
                file = None
            if file is None:
                raise UserError(f"{archive}: has no {name}")
            contents[name] = file.read()
    return contents


def cache() -> Path:
    """The folder for archives."""
    return user_cache("npm")


def _pack(npm: str, package: Package, folder: Path) -> Path:
    command = [npm, "pack", str(package), "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    except OSError as error:
        raise UserError(f"{npm}: can't be run: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{package}: npm took longer than {PATIENCE} s, expected the archive") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        output = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise UserError(f"{package}: `npm pack` failed, expected the archive: {output[-1]}")
    return archives[0]


def _digest(path: Path) -> str:
    with reading.opened(path, "an npm package") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
