"""Documentation: links lead somewhere, quoted messages are messages of the program, and `make` targets exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from scripts.paths import README, TOP

FILES = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=TOP, capture_output=True, text=True, check=True,
).stdout.split("\0")  # fmt: skip
DOCUMENTS = [TOP / name for name in FILES if name and not name.startswith("tests/golden/") and (TOP / name).exists()]
# Messages in the README's tables that GitHub, GitLab, Docker or a shell prints, and not CML.
FOREIGN = {
    "input: provided value is not a string",
    "chosen stage test does not exist",
    "This job is stuck",
    "You are not allowed to upload code",
    "You are not allowed to push code to this project",
    "HTTP Basic: Access denied",
    "nvidia-smi: not found",
}
# What the program puts into a message at run time, as the README shows it.
VALUES = {
    "The Python package dvclive is missing": "The Python package ",
    "GitHub refuses the check run (403 Resource not accessible by integration)": "GitHub refuses the",
    "GitHub refuses the comment (403 Resource not accessible by integration)": "GitHub refuses the",
    "GitLab refuses the note (403": "GitLab refuses the",
    "GitLab refuses the commit status: 400 name: has already been taken": "GitLab refuses the",
    "metrics_gate: accuracy >= 0.9 failed": "metrics_gate: ",
    "comment is 'false'": "comment is ",
}


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Returns the anchors that GitHub makes of the headings: a repeated one gets a number."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)", without_code(path.read_text()), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        repeated = sum(known == anchor or known.startswith(f"{anchor}-") for known in found)
        found.append(f"{anchor}-{repeated}" if anchor in found else anchor)
    return set(found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{target}: no such file"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}: {file.name} has no such heading"


def test_readme_quotes_messages_of_the_program() -> None:
    """Strings of the source are compared without the line breaks between their parts."""
    source = "\n".join(path.read_text() for path in sorted((TOP / "cml").rglob("*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    section = README.read_text().partition("\n## Troubleshooting\n")[2]
    quoted = {
        text for row in re.findall(r"^\| (``.*?``) \|", section, re.MULTILINE) for text in re.findall("``(.*?)``", row)
    }
    assert len(quoted) > len(FOREIGN)
    missing = {text for text in quoted - FOREIGN if VALUES.get(text, text) not in source}
    assert not missing, "README's troubleshooting quotes messages that the program does not print any more"


def test_documents_name_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)|^\$ make ([a-z-]+)", path.read_text(), re.MULTILINE)) <= {
            *((target, "") for target in targets),
            *(("", target) for target in targets),
        }, path.name
