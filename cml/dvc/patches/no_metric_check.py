"""Accepts metrics files that are not text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cml.process.patch import Replacement

if TYPE_CHECKING:
    from dvc.stage import Stage


class NoMetricCheck(Replacement):
    """Replaces `Output.verify_metric` for the outputs of a stage.

    DVC fails a stage whose metrics file is binary, after all its work is done (DVC 3.63 to 3.67). The report has a
    warning instead.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def replacements(self) -> list[tuple[Any, str, Any]]:
        return [(out, "verify_metric", lambda: None) for out in self._stage.outs]
