"""The stages' own Python, in an environment apart from CML's: `make test-mnist` makes it and names it in CML_TEST_MNIST."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.world import BIN, World

from scripts.paths import TOP

WANTED = os.environ.get("CML_TEST_MNIST", "")
# A plain `pytest` ignores this folder. With CML_TEST_MNIST no test is skipped: what is missing is a failure.
collect_ignore_glob = [] if WANTED else ["test_*.py"]

STAGES_BIN = TOP / WANTED / "bin"
# MNIST's file with scikit-learn's 1797 digits of 8 by 8 pixels in it, drawn as MNIST's are: 20 by 20 with a margin.
MAKE_DIGITS = """\
import sys
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

def draw(pixels):
    small = Image.fromarray((pixels * 255 / 16).round().astype("uint8"))
    return np.pad(np.asarray(small.resize((20, 20), Image.Resampling.BICUBIC)), 4)

found = load_digits()
images, digits = np.stack([draw(pixels) for pixels in found.images]), found.target.astype("uint8")
np.savez(sys.argv[1], x_train=images[:1297], y_train=digits[:1297], x_test=images[1297:], y_test=digits[1297:])
"""


class Walker(World):
    """A world whose project has the name in the walkthrough, and whose stages run in their own Python environment."""

    patience = 300.0

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.project = place / "mnist"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        path = os.pathsep.join([str(STAGES_BIN), str(BIN), os.environ["PATH"]])
        return {**super().environment(extra), "PATH": path}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a small mnist.npz."""
    path = tmp_path_factory.mktemp("digits") / "mnist.npz"
    subprocess.run([str(STAGES_BIN / "python"), "-c", MAKE_DIGITS, str(path)], check=True)
    return path.as_uri()
