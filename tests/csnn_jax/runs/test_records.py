"""Records that are held in memory."""

from csnn_jax.runs.records import Records


def test_records_are_held_in_order():
    held = Records()
    held.record("train", iter=0, loss=1.5)
    held.record("end", iter=1, interrupted=False)
    assert held.records() == [
        {"kind": "train", "iter": 0, "loss": 1.5},
        {"kind": "end", "iter": 1, "interrupted": False},
    ]
    assert held.records("end") == held.all[1:] and held.records("test") == []
