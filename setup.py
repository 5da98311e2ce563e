"""Builds the event engine's library into the package; where that fails, the package works without it.

With CSNN_WITHOUT_ENGINE=1 in the environment the wheel has no library and is for any platform, see .ci/release; an
editable installation then keeps the one that it finds.
"""

import os
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))
from csnn_jax.engine import build as engine

WITH_ENGINE = os.environ.get("CSNN_WITHOUT_ENGINE") != "1"


class BuildWithEngine(build_py):
    """`build_py`, and the library beside its sources: in the build folder, or in the tree itself if editable.

    A wheel may go to any machine, so it gets every kernel.
    """

    def run(self) -> None:
        super().run()
        if not WITH_ENGINE:
            return
        folder = engine.SOURCES if self.editable_mode else Path(self.build_lib, "csnn_jax", "engine", "native")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            engine.build(folder / engine.LIBRARY.name, here=self.editable_mode)
        except engine.BuildError as error:
            print(
                f"csnn-jax: the event engine is not built, training will use the scan engine: {error}", file=sys.stderr
            )


class PlatformWheel(bdist_wheel):
    """The library is for this platform, but for any Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2] if WITH_ENGINE else "any"


class MaybeWithLibrary(Distribution):
    def has_ext_modules(self) -> bool:
        return WITH_ENGINE


setup(cmdclass={"build_py": BuildWithEngine, "bdist_wheel": PlatformWheel}, distclass=MaybeWithLibrary)
