"""Prints seed and size of the run, and marks the figures of a complete run at full size."""

from __future__ import annotations

import pytest

from chaos import figures
from chaos.size import IS_FULL, SEED, TIMES

SOME = pytest.StashKey[bool]()


def pytest_report_header() -> str:
    size = "full size" if IS_FULL else f"a part, {TIMES} times (CML_CHAOS=full for all)"
    return f"chaos: seed {SEED} (CML_CHAOS_SEED), {size}"


def pytest_deselected(items: list[pytest.Item]) -> None:
    items[0].config.stash[SOME] = True


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    is_cut = session.shouldstop or session.shouldfail or exitstatus not in (0, 1)
    is_some = SOME in session.config.stash or any("::" in argument for argument in session.config.args)
    is_aside = hasattr(session.config, "workerinput") or session.config.option.collectonly
    if IS_FULL and not (is_cut or is_some or is_aside):
        figures.mark_complete()
