"""Reads the walkthrough: the commands and file changes of each chapter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scripts.paths import TOP

EXAMPLE = TOP / "examples" / "mnist"
Forge = Literal["github", "gitlab"]
# The chapters whose commands the test runs, and commands that it does not run: they need a reader's machine or a GPU.
FOLLOWED = ("1", "2", "3", "4", "6", "7", "8")
NOT_HERE = ("pipx install", "git clone --depth 1 https://github.com/org/cml", "sudo gitlab-runner register")
FORGES: Mapping[str, Forge] = {"On GitHub": "github", "On GitLab": "gitlab"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: language, text, number of its chapter ("" before the first), and its forge (None: both)."""

    language: str
    text: str
    chapter: str
    forge: Forge | None

    @property
    def commands(self) -> list[str]:
        """The commands after `$`. A command that continues on the next line is one command."""
        whole = self.text.replace("\\\n", "")
        return [line.removeprefix("$ ") for line in whole.splitlines() if line.startswith("$ ")]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The (old line, new line) pairs of a diff."""
        lines = self.text.splitlines()
        gone, new = ([line[1:] for line in lines if line.startswith(sign)] for sign in "-+")
        assert len(gone) == len(new) > 0
        return list(zip(gone, new, strict=True))


def read() -> list[Block]:
    """Returns the blocks of README.md.

    Blocks after a line that begins with "On GitHub" or "On GitLab" belong to that forge, up to the next such line or
    heading.
    """
    blocks: list[Block] = []
    chapter, language = "", ""
    forge: Forge | None = None
    inside: list[str] | None = None
    for line in (EXAMPLE / "README.md").read_text().splitlines():
        if inside is not None:
            if line == "```":
                blocks.append(Block(language=language, text="\n".join(inside) + "\n", chapter=chapter, forge=forge))
                inside = None
            else:
                inside.append(line)
        elif line.startswith("```"):
            language, inside = line.removeprefix("```"), []
        elif heading := re.match(r"#+ (\d*)", line):
            chapter, forge = heading[1] or chapter, None
        elif line[:9] in FORGES:
            forge = FORGES[line[:9]]
    return blocks
