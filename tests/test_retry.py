"""How often, and for how long, a call to an API is retried."""

from __future__ import annotations

import time

import pytest
import requests

from cml.forges.retry import RUN_SECONDS, ApiCalls, ApiProblem, read_connection_error
from cml.process.retry import Budget


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def failing(error: Exception) -> None:
    raise error


def test_calls_stop_when_the_time_of_the_whole_run_is_over(pauses: list[float]) -> None:
    calls = ApiCalls(read_connection_error)
    assert calls.call("note", lambda: failing(OSError("no route"))) is None
    assert RUN_SECONDS - 40 < sum(pauses) <= RUN_SECONDS
    before = len(pauses)
    assert calls.call("release", lambda: failing(OSError("no route"))) is None
    assert sum(pauses) <= RUN_SECONDS
    assert len(pauses) - before < 6
    assert set(calls.problems) == {"note", "release"}


def test_an_optional_call_takes_little_of_that_time(pauses: list[float]) -> None:
    calls = ApiCalls(read_connection_error)
    calls.call("job", lambda: failing(OSError("no route")), at_most=20)
    assert sum(pauses) <= 20
    calls.call("note", lambda: failing(OSError("no route")))
    assert sum(pauses) > 60


def test_an_api_that_asks_for_no_wait_is_not_called_too_often(pauses: list[float]) -> None:
    calls = ApiCalls(lambda _: ApiProblem(status=429, message="slow down", wait=0.0))
    calls.call("note", lambda: failing(OSError()))
    assert min(pauses) >= 1
    assert len(pauses) < 15


def test_an_api_that_asks_for_more_time_than_is_left_is_not_retried(pauses: list[float]) -> None:
    calls = ApiCalls(lambda _: ApiProblem(status=429, message="tomorrow", wait=86_400.0))
    assert calls.call("note", lambda: failing(OSError())) is None
    assert pauses == []


def test_an_api_that_asks_for_a_wait_gets_it(pauses: list[float]) -> None:
    calls = ApiCalls(lambda _: ApiProblem(status=429, message="slow down", wait=50.0))
    assert calls.call("note", lambda: failing(OSError())) is None
    assert pauses == [50.0, 50.0]


def test_a_success_after_a_failure_is_no_problem(pauses: list[float]) -> None:
    answers = iter([OSError("reset"), OSError("reset")])

    def work() -> str:
        for error in answers:
            raise error
        return "done"

    calls = ApiCalls(read_connection_error)
    assert calls.call("note", work) == "done"
    assert calls.problems == {}
    assert pauses == [1.0, 2.0]


def test_hurry_leaves_little_time(pauses: list[float]) -> None:
    calls = ApiCalls(read_connection_error)
    calls.hurry(3.0)
    calls.call("note", lambda: failing(OSError("no route")))
    assert sum(pauses) <= 3


def test_a_budget_inside_another_one_spends_both() -> None:
    run = Budget(100.0)
    call = Budget(20.0, of=run)
    call.spend(15.0)
    assert (call.left, run.left) == (5.0, 85.0)
    run.lower_to(2.0)
    assert call.left == 2.0


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (requests.ConnectionError("reset"), False),
        (requests.Timeout("slow"), False),
        (requests.exceptions.ChunkedEncodingError("cut"), False),
        (ValueError("no JSON"), False),
        (requests.exceptions.SSLError("self-signed"), True),
        (TypeError("ours"), True),
        (KeyError("id"), True),
    ],
)
def test_only_problems_that_may_pass_are_retried(error: Exception, *, is_final: bool) -> None:
    assert read_connection_error(error).is_final == is_final
