"""How often, and how long, an API is asked again."""

from __future__ import annotations

import time

import pytest
import requests

from cml.forges.retry import WAIT_SECONDS, ApiError, ApiRetry, unanswered


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def failing(error: Exception) -> None:
    raise error


def test_it_gives_up_when_the_time_of_the_whole_run_is_over(slept: list[float]) -> None:
    patience = ApiRetry(unanswered)
    assert patience.ask("note", lambda: failing(OSError("no route"))) is None
    assert WAIT_SECONDS - 40 < sum(slept) <= WAIT_SECONDS
    before = len(slept)
    assert patience.ask("release", lambda: failing(OSError("no route"))) is None
    assert sum(slept) <= WAIT_SECONDS
    assert len(slept) - before < 6
    assert set(patience.troubles) == {"note", "release"}


def test_what_a_run_can_do_without_takes_little_of_it(slept: list[float]) -> None:
    patience = ApiRetry(unanswered)
    patience.ask("job", lambda: failing(OSError("no route")), at_most=20)
    assert sum(slept) <= 20
    patience.ask("note", lambda: failing(OSError("no route")))
    assert sum(slept) > 60


def test_an_api_that_asks_for_no_wait_is_not_hammered(slept: list[float]) -> None:
    patience = ApiRetry(lambda _: ApiError(status=429, words="slow down", wait=0.0))
    patience.ask("note", lambda: failing(OSError()))
    assert min(slept) >= 1
    assert len(slept) < 15


def test_an_api_that_asks_for_more_time_than_is_left_is_not_waited_for(slept: list[float]) -> None:
    patience = ApiRetry(lambda _: ApiError(status=429, words="tomorrow", wait=86_400.0))
    assert patience.ask("note", lambda: failing(OSError())) is None
    assert slept == []


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
def test_only_what_may_pass_is_tried_again(error: Exception, *, is_final: bool) -> None:
    assert unanswered(error).is_final == is_final
