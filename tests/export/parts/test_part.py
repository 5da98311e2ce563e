"""A comparison reads the figures of a proof, and says them in a line."""

from export.parts.part import ComparedRow

SPIKES = {"different_output_spikes": 2, "different_hidden_spikes": 1, "output_spikes": 1000, "hidden_spikes": 4000}
FREE = SPIKES | {"different_spikes_by_layer": [1, 2]}
STEP = {"beyond_limit": 4, "max_difference": 0.5, "max_difference_by_layer": [0.25, 0.5]}


def test_a_proof_of_both_kinds_has_membranes():
    found = ComparedRow.of("it", "torch", {"free_running": FREE, "stepwise": STEP})
    assert found == ComparedRow("it", "torch", 3, 5000, 4, 0.5, "", (1, 2), (0.25, 0.5))


def test_whole_windows_alone_have_none():
    found = ComparedRow.of("it", "torch", FREE, "spikes differ from torch's")
    assert found == ComparedRow("it", "torch", 3, 5000, None, None, "spikes differ from torch's", (1, 2))
    said = "spikes differ from torch's, which began at a membrane within rounding of its threshold"
    assert found.line() == f"3 of 5,000 {said}"
    assert found._replace(different=0).line() == "0 of 5,000 spikes differ from torch's"
