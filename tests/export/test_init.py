"""What importing the package does to its process."""

import os
import subprocess
import sys


def test_onnx_runtime_reports_nothing(tmp_path):
    """Where it reports, it leaves an identifier and a data base in these folders."""
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    environment = {"PATH": os.environ["PATH"], **folders}  # without CI, in which it stays silent by itself
    subprocess.run([sys.executable, "-c", "import export, onnxruntime"], env=environment, check=True)
    assert not list(tmp_path.iterdir())
