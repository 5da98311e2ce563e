"""torch's profiler, as `csnn_jax.training.profile.Tracer` wants it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch.profiler


class Tracer:
    """Writes `iterations-<first>.trace.json`, for Perfetto."""

    @contextmanager
    def window(self, folder: Path, first: int) -> Iterator[None]:
        with torch.profiler.profile() as profiler:
            yield
        folder.mkdir(exist_ok=True)
        profiler.export_chrome_trace(str(folder / f"iterations-{first}.trace.json"))

    def step(self, iteration: int) -> AbstractContextManager:
        return torch.profiler.record_function(f"iteration {iteration}")
