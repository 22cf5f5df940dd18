"""What only the GPU image has: CUDA's variables and libraries, CML's own Python, and what Ubuntu 18.04 needs.

On 18.04 the wheels must load with an old glibc, git is old, and the project has its own Python.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from container.conftest import Image, Runner, docker
from scripts.paths import TOP

# Ubuntu 18.04's own.
GLIBC, GLIBCXX, CXXABI = (2, 27), (3, 4, 25), (1, 3, 11)

LIBRARIES = {
    "10": ("libcublas.so.10", "libcudart.so.10.1", "libcudnn.so.7", "libcufft.so.10", "libnvinfer.so.6"),
    "12": ("libcublas.so.12", "libcudart.so.12", "libcudnn.so.9", "libcufft.so.11"),
    "13": ("libcublas.so.13", "libcudart.so.13", "libcudnn.so.9", "libcufft.so.12"),
}

# A library contains the versions of the symbols that it needs as text.
SYMBOLS = """
import json, pathlib, re
found, count = {}, 0
for path in pathlib.Path("/opt/cml").rglob("*"):
    if path.is_symlink() or not path.is_file() or path.open("rb").read(4) != b"\\x7fELF":
        continue
    count += 1
    for name, version in re.findall(rb"\\b(GLIBC|GLIBCXX|CXXABI)_(\\d+(?:\\.\\d+)+)", path.read_bytes()):
        kinds = found.setdefault(str(path), {})
        kinds[name.decode()] = max(kinds.get(name.decode(), []), [int(part) for part in version.split(b".")])
print(json.dumps([count, found]))
"""


def is_standin(box: Image) -> bool:
    """Returns whether the image was built on the stand-in of gpu_base.py, without NVIDIA's packages."""
    return box.sh("test -e /standin && echo yes || true") == "yes"


def test_the_image_requests_all_gpus_from_the_nvidia_runtime(box: Image) -> None:
    env = docker("image", "inspect", "--format", "{{json .Config.Env}}", box.name).out
    found = dict(text.split("=", 1) for text in json.loads(env))
    assert found["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert found["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert found["LD_LIBRARY_PATH"].split(":")[-1] == "/usr/local/cuda/lib64"
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["CUDA_VERSION"])


def test_the_cuda_libraries_load(box: Image) -> None:
    if is_standin(box):
        pytest.skip(
            "the base image has no NVIDIA packages (NVIDIA's registry is not reachable); the release tests the real image"
        )
    wanted = LIBRARIES[box.cuda.split(".")[0]]
    box.sh("python -c 'import ctypes, sys; [ctypes.CDLL(name) for name in sys.argv[1:]]' " + " ".join(wanted))


def test_each_library_of_cml_loads_with_glibc_2_27(box: Image) -> None:
    count, found = json.loads(box.python(SYMBOLS))
    left_out = "/opt/cml/python/" if is_standin(box) else "none"
    assert count > 150
    too_new = {
        path: kinds
        for path, kinds in found.items()
        # The Python of the stand-in image comes from this machine; the release checks the real, portable one.
        if not path.startswith(left_out)
        and (
            kinds.get("GLIBC", []) > [*GLIBC]
            or kinds.get("GLIBCXX", []) > [*GLIBCXX]
            or kinds.get("CXXABI", []) > [*CXXABI]
        )
    }
    assert too_new == {}


def test_cml_has_its_own_python(box: Image) -> None:
    prefix = box.python("import sys; print(sys.base_prefix)")
    assert prefix.startswith("/opt/cml/python/cpython-3.12")
    box.sh("rm -rf /usr/bin/python3* /opt/python /opt/pythons /usr/lib/python3* && cml --version && dvc --version")


def test_the_frameworks_support_the_python_of_the_project(box: Image) -> None:
    series = "3.8" if box.cuda.startswith("10.") else "3.12"
    output = box.sh("python --version; python3 --version; pip --version").splitlines()
    assert [line.split()[1].startswith(f"{series}.") for line in output[:2]] == [True, True]
    assert output[2].endswith(f"(python {series})")
    assert (
        box.sh("python -m venv /tmp/v && /tmp/v/bin/pip install -q six && /tmp/v/bin/python -c 'import six; print(1)'")
        == "1"
    )


def test_setup_can_install_another_python(box: Image) -> None:
    """The lines of docs/gpu.md for TensorFlow 1 and 2.1, which support Python up to 3.7, and for 18.04's Python 3.6."""
    if not box.cuda.startswith("10."):
        pytest.skip("only the CUDA 10 image needs another Python: current frameworks support the one in the image")
    output = box.sh(
        "uv venv --quiet --seed --python 3.7 /opt/env; pip install -q six; python -c 'import six'; pip --version"
    )
    assert output.endswith("(python 3.7)")
    own = "/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || apt-get install -y -qq python3-venv >/dev/null"
    output = box.sh(
        f"{own}; /usr/bin/python3 -m venv /opt/env; pip install -q six; python -c 'import six'; pip --version"
    )
    assert output.endswith("(python 3.6)")


def test_git_takes_a_token_from_its_environment(box: Image) -> None:
    env = "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=a.b GIT_CONFIG_VALUE_0=c"
    assert box.sh(f"{env} git config a.b") == "c", "2.31 can; Ubuntu 18.04's 2.17 cannot"
    box.sh("cd /tmp && git init -q a && git clone -q a b && git -C a lfs env >/dev/null")


def test_a_job_without_javascript_checks_out_with_git(runner: Runner) -> None:
    """Runs the steps of examples/github/gpu-cuda10.yml, twice, as in a workspace that the runner keeps."""
    (job,) = yaml.safe_load((TOP / "examples" / "github" / "gpu-cuda10.yml").read_text())["jobs"].values()
    checkout, run = (step["run"] for step in job["steps"])
    head = runner.branch("try", 0.1)
    env = runner.forge.event("push", ref="try")
    Path(env["GITHUB_WORKSPACE"]).mkdir(parents=True, exist_ok=True)
    runner.own(env)
    script = f"({checkout})\ntouch left-over\n({checkout})\ntest ! -e left-over\nunset TOKEN\n{run}\n"
    done = runner.job_container(env, script, TOKEN=runner.token, repo_token=runner.token, tag_prefix="exp_")
    assert done.code == 0, done.err[-3000:]
    tip = runner.world.tip("try")
    assert runner.world.git("rev-parse", f"{tip}~1", cwd=runner.world.origin) == head
    assert "Authorization" not in (Path(env["GITHUB_WORKSPACE"]) / ".git" / "config").read_text()
    assert runner.strangers(env) == []
