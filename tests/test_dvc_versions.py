"""Which versions of DVC are supported: the range in pyproject.toml, what CI installs, and what a run says about others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.small_world import COPY, dvc_yaml, make_small_world

from cml.dvc.opening import NEWEST_TESTED, OLDEST, check_version
from cml.errors import BadInput
from cml.process.log import Log
from cml.process.masking import Masks

TOP = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.dvc


def locked(name: str) -> tuple[int, int]:
    """The minor version of DVC in a file of requirements."""
    match = re.search(r"^dvc==(\d+)\.(\d+)\.", (TOP / "requirements" / name).read_text(), re.MULTILINE)
    assert match
    return int(match[1]), int(match[2])


def test_the_range_is_the_same_everywhere() -> None:
    found = re.findall(r'"dvc(?:\[\w+\])?>=([^"]+)"', (TOP / "pyproject.toml").read_text())
    assert len(found) > 9, "DVC and its extras"
    assert set(found) == {f"{OLDEST[0]}.{OLDEST[1]},<4"}


def test_the_oldest_and_the_newest_version_are_locked() -> None:
    assert locked("dvc-oldest.txt") == OLDEST
    newest = {name: locked(name) for name in ("cml.txt", "dev.txt", "all.txt")}
    assert set(newest.values()) == {NEWEST_TESTED}, "after `make lock`, `make test-dvc DVC=newest`: set NEWEST_TESTED"


@pytest.mark.parametrize("version", ["3.63.0", "3.66.1", "3.67.0", "3.67.9.dev3+gabc123", "unknown"])
def test_a_tested_version_needs_no_words(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_version(version, Log(Masks()))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("version", ["3.68.0", "3.100.1", "4.0.0"])
def test_a_newer_version_is_one_warning_in_the_log(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(Masks())
    check_version(version, log)
    [line] = capsys.readouterr().err.splitlines()
    newest = ".".join(map(str, NEWEST_TESTED))
    assert line == f"warning: DVC {version} is newer than {newest}, the newest version that CML was tested with"
    assert log.warnings == [], "people who read the report cannot do anything about it"


@pytest.mark.parametrize("version", ["3.62.9", "3.9.0", "2.58.2"])
def test_an_older_version_is_refused_with_advice(version: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_version(version, Log(Masks()))
    assert str(caught.value) == (f"DVC {version} is installed, and CML needs 3.63 or newer: pip install 'dvc>=3.63,<4'")


def test_packages_that_do_not_fit_together_are_bad_input(tmp_path: Path) -> None:
    """As with DVC 3.63 and pathspec 1, which fails when it is imported."""
    world = make_small_world(tmp_path / "world", {"dvc.yaml": dvc_yaml(make=COPY), "in.txt": "1"})
    broken = tmp_path / "packages" / "scmrepo"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError(\"cannot import name 'Git' from 'scmrepo'\")\n")
    done = world.try_run("cml", "run", env={"PYTHONPATH": str(broken.parent), "CML_TEST_PRELOAD": "0"})
    assert done.code == 2
    [line] = [line for line in done.err.splitlines() if line.startswith("error:")]
    assert line == (
        "error: cannot load a Python package: cannot import name 'Git' from 'scmrepo'. Its version may be wrong: "
        "pip install --upgrade dvc-cml"
    )
    assert not (world.project / "cml-report").exists()
