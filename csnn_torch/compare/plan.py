"""How much of everything a comparison does."""

from dataclasses import dataclass, replace
from typing import get_args

from csnn_jax.config import SurrogateName
from csnn_jax.errors import UserError
from csnn_torch.compare import worker

ENGINES = ("scan", "event")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything; the numbers are explained where they are flags, in `__main__`.

    Attributes:
        gradient_images: images that gradients are compared on.
        from_seed: whether the float32 training starts from the seed's weights, as it does where `seeds` are given;
            else, being too short for a network that is silent at first, from the run's.
        variants: whether variants of the run's network are compared too.
        surrogates: those whose gradients are compared on the run's network; None: the run's own.
        turns: processes of every side whose cost is measured.
        sides: those sides.
        seeds: of the float32 training, one after the other; None: the run's alone.
        time_steps: of that training; None: the run's.
    """

    images: int
    variant_images: int
    gradient_images: int
    iterations: int
    from_seed: bool
    exact_iterations: int
    exact_batch: int
    variant_iterations: int
    rounds: int
    turns: int
    variants: bool
    surrogates: tuple[SurrogateName, ...] | None
    sides: tuple[str, ...]
    seeds: tuple[int, ...] | None = None
    time_steps: int | None = None

    @classmethod
    def full(cls) -> "Plan":
        """The comparison that the results in this repository are of."""
        return cls(
            images=1000,
            variant_images=200,
            gradient_images=16,
            iterations=80,
            from_seed=True,
            exact_iterations=20,
            exact_batch=32,
            variant_iterations=150,
            rounds=5,
            turns=2,
            variants=True,
            surrogates=get_args(SurrogateName),
            sides=tuple(worker.SIDES),
        )

    @classmethod
    def quick(cls) -> "Plan":
        """Under 3 minutes on two CPU cores."""
        return cls(
            images=20,
            variant_images=20,
            gradient_images=4,
            iterations=3,
            from_seed=False,
            exact_iterations=20,
            exact_batch=4,
            variant_iterations=80,
            rounds=1,
            turns=1,
            variants=False,
            surrogates=None,
            sides=(*ENGINES, "snntorch"),
        )

    def changed(self, **numbers: int | None) -> "Plan":
        """The plan with other numbers, where they are not None.

        Raises:
            UserError: a number below 1, which would prove nothing.
        """
        given = {name: value for name, value in numbers.items() if value is not None}
        for name, value in given.items():
            if value < 1:
                raise UserError(f"--{name.replace('_', '-')} {value}: expected a whole number of at least 1")
        return replace(self, **given)  # type: ignore[arg-type]
