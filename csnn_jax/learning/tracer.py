"""JAX's profiler, as `profile.Tracer` wants it."""

from contextlib import AbstractContextManager
from pathlib import Path

import jax


class Tracer:
    """Writes `plugins/profile/<date-time>/<host>.xplane.pb` and `.trace.json.gz`, for XProf and Perfetto."""

    def window(self, folder: Path, first: int) -> AbstractContextManager:
        return jax.profiler.trace(folder)

    def step(self, iteration: int) -> AbstractContextManager:
        return jax.profiler.StepTraceAnnotation("iteration", step_num=iteration)
