import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csnn_jax import machine


@pytest.mark.skipif(sys.platform != "linux", reason="needs sched_setaffinity")
def test_cpus_are_those_available_to_the_process():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from csnn_jax import machine; "
    code += "print(machine.cpus())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert machine.cpus() == len(os.sched_getaffinity(0))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_busy_seconds_include_those_of_this_process():
    before = machine.busy_s()
    assert before
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    assert machine.busy_s() - before >= 0.3  # counted in ticks


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_processor_and_the_peak_of_this_process():
    name, described = machine.processor_name(), machine.describe()
    if "model name" in (text := Path("/proc/cpuinfo").read_text()):  # on x86
        assert f": {name}\n" in text and described["processor"].startswith(f"{name}, family ")
    assert 10 < machine.peak_memory_mb() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def test_the_commit_is_that_of_git(tmp_path):
    folder = Path(machine.__file__).parent
    head = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:  # in a clone
        commit = machine.commit()
        assert commit and head.stdout.startswith(commit.removesuffix("-dirty"))
    copy = tmp_path / "machine.py"
    copy.write_text(Path(machine.__file__).read_text())
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import machine; print(machine.commit())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/meminfo")
def test_available_memory_is_within_the_limit_of_the_process():
    free = machine.available_memory()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**26 < free <= total
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); from csnn_jax import machine; "
    code += "print(machine.available_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2**30 or (int(done.stdout) < 2**30 and free < 2**31)
