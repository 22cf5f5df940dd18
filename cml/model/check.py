"""One finding of `cml doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckStatus = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check: what was checked, its status, what was found, and what to do about it ("": nothing).

    For a DVC remote, `uses` are the credential variables that are set, `missing` those that are not.
    """

    name: str
    status: CheckStatus
    found: str
    advice: str = ""
    uses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
