"""Compiles native/*.cc into one plain shared library next to the sources: `python -m csnn_jax.engine.build`.

Needs a C++20 compiler (GCC 10, Clang 12 or later) and the headers that jaxlib ships, but no Python headers. A
setuptools build step also calls `build`. The kernels are compiled once for each instruction set; the library picks one
at the first call. An editable installation compiles only those of its own processor, in a third of the time.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from csnn_jax.errors import first_error
from csnn_jax.files import Temporary

SOURCES = Path(__file__).parent / "native"
LIBRARY = SOURCES / "libcsnn.so"
# Without -ffp-contract=off, compilers fuse multiplications with additions if the instruction set supports it, and
# membranes would differ between machines. Kernels that fuse do so explicitly.
FLAGS = ("-std=c++20", "-O3", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden")
LONGEST = "conv_lif.cc"  # takes half of the time, so it's compiled first
RELEASE = ("-DNDEBUG",)  # kernels don't check their sizes, because the handlers do; tests run with asserts
WARNINGS = ("-Wall", "-Wextra", "-Wno-psabi")
X86_SETS = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mbmi2", "-mbmi", "-mpopcnt"),
    "avx2": ("-mavx2", "-mfma", "-mbmi2", "-mbmi", "-mpopcnt"),
    "baseline": (),
}


class BuildError(Exception):
    """There is no compiler, or it failed; the message is one line."""


def find_compiler() -> tuple[str, ...]:
    """The C++ compiler's command: $CXX, such as `ccache g++`, or the first of c++, g++ and clang++ on the PATH.

    Raises:
        BuildError: there is none.
    """
    named = tuple(shlex.split(os.environ.get("CXX", "")))
    for words in [named] if named else [("c++",), ("g++",), ("clang++",)]:
        if shutil.which(words[0]):
            return words
    if named:
        raise BuildError(f"CXX {shlex.join(named)}: no such program")
    raise BuildError("no C++ compiler: looked for c++, g++ and clang++")


def instruction_sets(compiler: Sequence[str], here: bool = False) -> dict[str, tuple[str, ...]]:
    """The instruction sets that the kernels are compiled for on the compiler's target, with their flags.

    Args:
        compiler: the C++ compiler's command.
        here: only the newest that this processor has. All, if the compiler can't tell.
    """
    machine = _output(*compiler, "-dumpmachine")
    if not (machine or platform.machine()).lower().startswith(("x86_64", "amd64")):
        return {"baseline": ()}
    macros = _output(*compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull) if here else ""
    defined = {line.split()[1] for line in macros.splitlines()}
    for name, flags in X86_SETS.items() if macros else ():
        if defined.issuperset(f"__{flag.removeprefix('-m').upper()}__" for flag in flags):
            return {name: flags}
    return X86_SETS


def _output(*command: str) -> str:
    """What a command prints; empty if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def sources_digest() -> str | None:
    """SHA-256 of the C++ sources, to detect a library built from different ones; None if they aren't installed."""
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix in (".cc", ".h"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(SOURCES).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest() if files else None


def build(library: Path = LIBRARY, here: bool = False) -> Path:
    """Compiles the sources.

    Args:
        library: the shared library to write.
        here: whether kernels for this processor are enough.

    Returns:
        `library`.

    Raises:
        BuildError: no compiler, no jaxlib, or a compilation failed.
    """
    jaxlib = importlib.util.find_spec("jaxlib")  # jax.ffi.include_dir(), without the seconds that importing jax takes
    if jaxlib is None or jaxlib.origin is None:
        raise BuildError("jaxlib is not installed: its FFI headers are needed")
    headers = str(Path(jaxlib.origin).parent / "include")
    flags = ("-isystem", headers, f'-DCSNN_SOURCES="{sources_digest()}"')
    handlers = [(SOURCES / "handlers.cc", flags)]
    with tempfile.TemporaryDirectory() as folder:
        linked = f"{folder}/library"
        _compile([*_operations(here), *handlers], RELEASE, linked, "-shared")
        # In one step, so a program that loads the library gets either the old or the new one.
        with Temporary(library) as complete:
            shutil.copy(linked, complete)
            complete.replace(library)
    return library


def link_program(source: Path, program: Path, extra: tuple[str, ...]) -> Path:
    """Compiles a C++ program with the operations, with asserts and without JAX, for tests. Errors are as in `build`."""
    _compile([*_operations(), (source, ())], extra, str(program))
    return program


Job = tuple[Path, tuple[str, ...]]


def _operations(here: bool = False) -> list[Job]:
    """The sources that don't depend on JAX, with their flags; those that take longest to compile come first."""
    sets = instruction_sets(find_compiler(), here)
    kernels = sorted((SOURCES / "kernels").glob("*.cc"), key=lambda path: (path.name != LONGEST, path))
    jobs: list[Job] = [(path, (f"-DISA={name}", *flags)) for path in kernels for name, flags in sets.items()]
    chosen = tuple(f"-DCSNN_HAS_{name.upper()}" for name in sets)
    return jobs + [(SOURCES / name, chosen) for name in ("forward.cc", "ops.cc", "choose.cc", "workers.cc")]


def _compile(jobs: list[Job], extra: tuple[str, ...], output: str, *link: str) -> None:
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:

        def compile_one(job: tuple[int, Job]) -> str:
            number, (source, flags) = job
            target = f"{folder}/{number}.o"
            _call([*compiler, *FLAGS, *WARNINGS, *flags, *extra, "-c", str(source), "-o", target], source.name)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            objects = list(threads.map(compile_one, enumerate(jobs)))
        _call([*compiler, "-pthread", *link, *extra, *objects, "-o", output], "linking")


def _call(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{what}: {command[0]} failed: {first_error(done.stderr)}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


def main() -> int:
    """Builds the library, prints its path and returns 0; on an error, prints one line and returns 1."""
    try:
        print(build())
    except BuildError as error:
        print(f"csnn_jax: event engine not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
