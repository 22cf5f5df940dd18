"""Both Dockerfiles install the same CML, as docs/gpu.md says. `make test-image` builds and runs them."""

from __future__ import annotations

import re

import pytest

from cml.commands.doctor_gpu import FIRST_CUDA, OLDEST_DRIVER, OLDEST_GPU
from scripts.paths import TOP

STEPS = ["packages", "cml", "system", "finish"]
DOCS = (TOP / "docs" / "gpu.md").read_text()
GPU = (TOP / "Dockerfile.gpu").read_text()


def pins(name: str) -> dict[str, str]:
    """The versions in a lock file, by package."""
    lines = re.findall(r"^([a-z0-9-]+)==(.*?) ?\\$", (TOP / "requirements" / name).read_text(), re.MULTILINE)
    return dict(lines)


@pytest.mark.parametrize("file", ["Dockerfile", "Dockerfile.gpu"])
def test_what_the_images_install_is_in_one_place(file: str) -> None:
    text = (TOP / file).read_text()
    assert re.findall(r"image\.sh (packages|cml|system|finish)\b", text) == STEPS
    assert not re.search(r"pip install|uv venv|compileall|ln -s /opt/cml", text)


def test_both_images_have_the_same_packages_except_pyarrow() -> None:
    plain, gpu = pins("all.txt"), pins("gpu.txt")
    assert {name for name in plain.keys() | gpu.keys() if plain.get(name) != gpu.get(name)} == {"pyarrow"}


def test_the_default_versions_are_those_of_the_first_cml() -> None:
    """Ubuntu 18.04, CUDA 10.1, cuDNN 7, cuBLAS 10 and TensorRT 6, each by its exact version."""
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)", GPU, re.MULTILINE))
    assert defaults["UBUNTU_VERSION"] == "18.04"
    assert defaults["CUDA_VERSION"] == "10.1.243"
    assert defaults["CUDNN_VERSION"] == "7.6.4.38"
    for pin in ("libcublas10=10.2.1.243-1", "libnvinfer6=6.0.1-1+cuda10.1", "libcudnn7=$CUDNN_VERSION-1+cuda10.1"):
        assert pin in GPU
    assert "sha256" not in GPU, "apt's signed index says what a package is"


def test_every_build_argument_is_documented() -> None:
    head = GPU[: GPU.index("\nFROM")]
    for name in set(re.findall(r"^ARG (\w+)", GPU, re.MULTILINE)):
        assert re.search(rf"^#   {name} +\S", head, re.MULTILINE), name


def test_the_docs_and_the_doctor_agree_on_drivers_and_gpus() -> None:
    drivers = dict(re.findall(r"^\| (\d+\.[\dx]+)[^|]*\| ([\d.]+) \|", DOCS, re.MULTILINE))
    assert set(drivers) == {"10.1", "11.x", "12.x", "13.x"}
    for cuda, oldest in drivers.items():
        key = tuple(int(part) for part in cuda.split(".") if part != "x")
        assert OLDEST_DRIVER[key].startswith(oldest)
    rows = re.findall(
        r"^\| \w+ \((\d+)\.[^)]*\) \| [^|]+\| ([\d.]+) \| ([\d.]*) ?\| (yes|no) \| (yes|no) \|", DOCS, re.MULTILINE
    )
    assert len(rows) == 9
    for capability, first, last, on_old, on_new in rows:
        major = int(capability)
        since = tuple(int(part) for part in first.split("."))
        assert (since <= (10, 1)) == (on_old == "yes")
        assert (since <= (12, 9) and last != "11.8") == (on_new == "yes")
        if major in FIRST_CUDA and since >= (11, 0):
            assert FIRST_CUDA[major] <= since
        if last:
            assert OLDEST_GPU[int(last.split(".")[0]) + 1] > (major, 0)
