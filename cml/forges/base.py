"""What a run knows of the place it runs in, and what every place must be able to do. No forge is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cml.report.model import Report
from cml.repository import Identity

Place = Literal["github", "gitlab", "local"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """The event a run answers, as plain facts.

    `head` is the commit the run is for where the place says so, else the one that is checked out. `push_branch` is
    where results go; without one `no_push` says why. `target_branch` is what a pull request would be merged into.
    """

    place: Place
    event: str
    head: str | None = None
    push_branch: str | None = None
    no_push: str | None = None
    target_branch: str | None = None
    default_branch: str | None = None
    identity: Identity | None = None
    run_url: str | None = None

    @property
    def is_ci(self) -> bool:
        return self.place != "local"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a job's later steps can read, the same on every path that is not bad input."""

    skipped: bool = False
    changed: bool = False
    sha: str = ""
    tag: str = ""
    verdict: str = "none"
    report: str = ""
    report_url: str = ""

    def pairs(self) -> dict[str, str]:
        """Returns name -> text, booleans as true and false."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in vars(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was shown: where people find it, and what could not be (each a warning)."""

    url: str = ""
    warnings: tuple[str, ...] = ()


class Forge(Protocol):
    """A place that shows reports. Publishing never raises: its troubles are warnings."""

    context: Context

    def annotate(self, kind: str, text: str) -> bool:
        """Shows a "warning" or "error" in the place's own way; returns whether it has one."""

    def publish(self, report: Report, *, folder: Path) -> Published:
        """Shows a report whose files lie in `folder`."""

    def set_outputs(self, outputs: Outputs) -> None:
        """Hands the outputs to later steps."""
