"""A window with the accuracy of a run, where matplotlib can open one."""

from csnn_jax.errors import UserError
from csnn_jax.figures import accuracy
from csnn_jax.runs.rundir import RunDir

DPI = 200  # a figure as wide as a journal's column is small on a screen


def require() -> None:
    """Raises UserError unless matplotlib can open a window here."""
    import matplotlib.pyplot as plt

    before = plt.get_backend()
    try:
        plt.switch_backend("TkAgg")
    except ImportError as error:
        raise UserError(f"--show: no window can be opened: {error}") from None
    plt.switch_backend(before)


def show(run: RunDir) -> None:
    """Opens a window with the accuracy plot and waits until it is closed."""
    import matplotlib.pyplot as plt

    plt.switch_backend("TkAgg")
    accuracy.draw(run, plt.figure(figsize=(4.5, 4.1), dpi=DPI, layout="constrained"))
    plt.show()
