"""What the README shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from commands import ENVIRONMENT

README = Path(__file__).parent.parent / "README.md"


def test_the_library_example_learns(tmp_path):
    (code,) = re.findall(r"<!-- library -->\n```python\n(.*?)```", README.read_text(), re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert float(re.fullmatch(r"loss (\d\.\d+)\n", done.stdout)[1]) < 2.0
