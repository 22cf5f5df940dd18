"""The data of a report: status of values, defaults."""

from __future__ import annotations

import math

import pytest

from cml.model.report import DataEntry, Report, status_of


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (1, 1, "unchanged"),
        (1, 1.0, "unchanged"),
        (1, 2, "changed"),
        (1, True, "changed"),
        (0, False, "changed"),
        (True, True, "unchanged"),
        (True, False, "changed"),
        ("a", "a", "unchanged"),
        (None, None, "unchanged"),
        (None, 0, "changed"),
        (math.nan, math.nan, "unchanged"),
        (math.nan, 1.0, "changed"),
        (1.0, math.nan, "changed"),
    ],
)
def test_status_of_a_value_on_both_sides(old: object, new: object, status: str) -> None:
    assert status_of(old, new, has_old=True, has_new=True) == status


def test_status_of_a_value_on_one_side() -> None:
    assert status_of(None, None, has_old=False, has_new=True) == "added"
    assert status_of(None, None, has_old=True, has_new=False) == "removed"


def test_defaults_mean_no_change() -> None:
    assert DataEntry(path="a").files == 0
    assert Report(name="", verdict="none", sha="", baseline=None).has_workspace_changes is False
