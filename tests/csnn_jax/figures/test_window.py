"""`--show` where no window can be opened."""

from commands import ENVIRONMENT, refused_by_process


def test_without_a_display_it_is_refused_and_makes_nothing(tmp_path):
    blind = {name: value for name, value in ENVIRONMENT.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    line = refused_by_process("csnn_jax.train", "--show", cwd=tmp_path, env=blind)
    assert "--show: no window can be opened: " in line
    assert not list(tmp_path.iterdir())
