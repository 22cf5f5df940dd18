"""A pytest plugin that deselects the tests that use a temporary folder. The others take milliseconds (see `mutants`)."""

from __future__ import annotations

import pytest

DISK_FIXTURES = {"tmp_path", "tmp_path_factory"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [item for item in items if DISK_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
