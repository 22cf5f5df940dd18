"""Every run of these tests says its seed and its size."""

from __future__ import annotations

from chaos.size import IS_FULL, SEED


def pytest_report_header() -> str:
    return f"chaos: seed {SEED} (CML_CHAOS_SEED), {'full size' if IS_FULL else 'a part (CML_CHAOS=full for all)'}"
