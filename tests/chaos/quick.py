"""A plugin of pytest that leaves out the tests which need a place on the disk: those that are left take milliseconds."""

from __future__ import annotations

import pytest

PLACES = {"tmp_path", "tmp_path_factory"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [item for item in items if PLACES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
