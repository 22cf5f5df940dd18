"""What a run has come to: it grows from step to step, and the report is told from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cml.git.remote import PushOutcome
    from cml.model.report import Baseline, Failure
    from cml.run.save import Saved


@dataclass(kw_only=True)
class Work:
    """What a run has come to. `branch` is where results go, None when nothing is to be pushed, and `no_push` why not;
    targets that are None were switched off. `key` is what the work is known by. `is_looking_on` means that nothing was
    run: the report shows what git holds of `head`. `is_up_to_date` means that there was nothing to run, `is_gathered`
    that other jobs have done it, and have sent the data. `push_answer` waits for what origin says to a push.
    """

    head: str
    baseline: Baseline | None
    branch: str | None
    targets: tuple[str, ...] | None
    pulled: tuple[str, ...] | None
    template: str | None
    changed_paths: list[str] = field(default_factory=list)
    saved: Saved | None = None
    failure: Failure | None = None
    no_push: str = ""
    key: str = ""
    is_report_only: bool = False
    is_up_to_date: bool = False
    is_gathered: bool = False
    is_new_branch: bool = False
    push_answer: Callable[[], PushOutcome] | None = None
