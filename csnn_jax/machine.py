"""Where a number was measured: commit, processor, CPUs, memory, versions. Uses only the standard library."""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "snntorch", "numpy")


def describe() -> dict[str, Any]:
    """Processor, CPUs, and the versions of Python and the frameworks, ready for JSON."""
    return {
        "processor": processor(),
        "cpus": cpus(),
        "python": platform.python_version(),
        "versions": versions(_PACKAGES),
    }


def processor_name() -> str | None:
    """The processor's name as the system reports it, or None; many processors may share a name."""
    return _processor_fields().get("model name") or platform.processor() or None


def processor() -> str:
    """The processor's name, with its family and model, because many share a name such as "AMD EPYC"."""
    fields = _processor_fields()
    if "model name" not in fields:
        return platform.processor()
    return f"{fields['model name']}, family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"


@functools.cache
def cpus() -> int:
    """CPUs that this process may use, as of the first call: threads are started for them."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the installed packages among these, by name."""
    installed = {}
    for name in packages:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def commit() -> str | None:
    """The commit of this code, with "-dirty" if files have changed; None outside a repository."""
    here = Path(__file__)
    try:
        for command in (
            ["ls-files", "--error-unmatch", here.name],
            ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        ):
            done = subprocess.run(["git", "-C", str(here.parent), *command], capture_output=True, text=True)
            if done.returncode:
                return None
    except OSError:  # no git
        return None
    return done.stdout.strip()


def peak_memory_mb() -> int:
    """Peak memory of this process, in MB of 2**20 bytes; 0 if the system doesn't report it."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would return the parent's if that was larger
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20  # macOS, in bytes


def available_memory() -> int:
    """Bytes that this process could still use: what the system has left, within the limits of container and process."""
    if sys.platform == "win32":
        return 2**33
    import resource  # not on Windows

    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        limits.append(limit)
    for path in ("/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            words = Path(path).read_text().split()
        except OSError:
            continue
        if "MemAvailable:" in words:
            limits.append(1024 * int(words[words.index("MemAvailable:") + 1]))
        elif words and words[0].isdecimal():  # a container without a limit says "max"
            limits.append(int(words[0]))
    return min(limits)


def busy_s() -> float | None:
    """CPU time in seconds that all programs have used on this process's CPUs since the system started.

    Includes time that a virtual machine's host gave to others. None if the system doesn't report it.
    """
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    own_cpus = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    for name, *times in filter(None, map(str.split, lines)):
        if name in own_cpus:
            user, nice, system, _, _, irq, softirq, steal = map(int, times[:8])  # without idle and iowait
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") or None  # a sandbox may show zeros


def _processor_fields() -> dict[str, str]:
    """/proc/cpuinfo of the first processor; empty except on Linux."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
