"""The list of programs."""

import subprocess
import sys
from pathlib import Path

from commands import ENVIRONMENT

from csnn_torch import programs
from csnn_torch.programs import PROGRAMS


def test_every_module_is_listed():
    modules = {path.stem for path in Path(programs.__file__).parent.glob("*.py")}
    assert PROGRAMS.keys() == modules - {"__init__", "program", "cause", "definition"}
    assert [*PROGRAMS] == [one.name for one in PROGRAMS.values()]
    assert len({one.target.file for one in PROGRAMS.values()}) == len(PROGRAMS)


def test_the_list_needs_none_of_the_packages():
    """The flags of commands have the programs' names, and `--help` works without torch."""
    code = "import sys, csnn_torch.programs; print({'torch', 'jax', 'nir', 'h5py', 'snntorch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
