"""Calls are timed for as long as is asked, and no more than are needed."""

import time

from export.proof import latency


def test_a_slow_call_is_timed_as_often_as_there_is_time():
    found = latency.of(lambda: time.sleep(0.02), 0.1)
    assert 20 <= found["median_ms"] <= found["p99_ms"] < 1000 and 1 <= found["calls"] <= 5


def test_one_call_is_enough_where_there_is_no_time_and_a_fast_one_ends_by_count():
    calls = []
    assert latency.of(lambda: calls.append(1), 0.0)["calls"] == len(calls) == 1
    assert latency.of(lambda: None, 60.0 / 20)["calls"] == latency.CALLS
