"""The use of GPUs by stages, in the report; without a GPU the report does not mention it.

No test needs a GPU: standins/nvml answers below NVIDIA's own binding.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.small_world import dvc_yaml, make_small_world

STANDIN = Path(__file__).parent / "standins" / "nvml"
GIB = 2**30
A10: dict[str, Any] = {"name": "NVIDIA A10", "total": 24 * GIB, "used": GIB, "busy": 5, "capability": [8, 6]}
DRIVER: dict[str, Any] = {"driver": "535.54.03", "cuda": 12020, "gpus": [A10]}

# What a training does to a GPU, as NVML would report it.
TAKE = """\
import json, os, pathlib, sys, time
path = pathlib.Path(os.environ["CML_TEST_NVML"])
def take(**what):
    machine = json.loads(path.read_text())
    machine["gpus"][0].update(what)
    path.with_suffix(".new").write_text(json.dumps(machine))
    os.replace(path.with_suffix(".new"), path)
"""
TRAIN = (
    TAKE
    + "take(used=6 << 30, busy=80)\ntime.sleep(1)\ntake(used=1 << 30, busy=0)\npathlib.Path('out.txt').write_text('1')\n"
)
CPU = "import pathlib, time\ntime.sleep(0.6)\npathlib.Path('other.txt').write_text('1')\n"
PIPELINE = {
    "train.py": TRAIN,
    "other.py": CPU,
    "dvc.yaml": dvc_yaml(
        train={"cmd": "python train.py", "deps": ["train.py"], "outs": ["out.txt"]},
        other={"cmd": "python other.py", "deps": ["other.py", "out.txt"], "outs": ["other.txt"]},
    ),
}


def with_nvml(folder: Path, machine: Mapping[str, Any]) -> dict[str, str]:
    """The environment in which NVML reports this machine."""
    file = folder / "nvml.json"
    file.write_text(json.dumps(machine))
    return {"PYTHONPATH": str(STANDIN), "CML_TEST_NVML": str(file)}


def python(code: str, *arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


# In a run


def test_only_a_stage_that_used_a_gpu_has_gpu_usage(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, PIPELINE)
    done = world.cml("run", env=with_nvml(tmp_path, {**DRIVER, "gpus": [{**A10, "busy": 80}]}))
    assert done.code == 0, done.err
    train, other = world.report()["pipeline"]["stages"]
    assert (train["gpu"]["devices"], train["gpu"]["peak_memory"]) == (1, 5 * GIB), "other programs used one GiB before"
    assert train["gpu"]["utilization"] == pytest.approx(0.8), "samples after the memory was freed do not count"
    assert other["gpu"] is None
    assert "| train | ran |" in world.markdown()
    assert "| 5.0 GiB | 80% |" in world.markdown()


def test_a_failed_stage_has_gpu_usage(tmp_path: Path) -> None:
    failing = TAKE + "take(used=24 << 30, busy=100)\ntime.sleep(1)\nsys.exit('out of memory')\n"
    world = make_small_world(tmp_path, {**PIPELINE, "train.py": failing})
    assert world.cml("run", env=with_nvml(tmp_path, DRIVER)).code == 1
    train = world.report()["pipeline"]["stages"][0]
    assert (train["status"], train["gpu"]["peak_memory"]) == ("failed", 23 * GIB)


def test_without_a_gpu_the_report_mentions_none_and_the_binding_is_not_imported(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {**PIPELINE, "train.py": "open('out.txt', 'w').close()\n"})
    env = {**with_nvml(tmp_path, {}), "PYTHONPROFILEIMPORTTIME": "1"}
    done = world.cml("run", env=env)
    assert done.code == 0, done.err
    assert {stage["gpu"] for stage in world.report()["pipeline"]["stages"]} == {None}
    page = (world.project / "cml-report" / "report.html").read_text()
    assert "GPU" not in world.markdown() + done.out + page
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "cml.process.gpu" in imported
    assert "pynvml" not in imported


def test_a_cancelled_run_ends_while_it_monitors_a_gpu(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {**PIPELINE, "train.py": TAKE + "take(used=6 << 30)\ntime.sleep(60)\n"})
    env = world.environment(with_nvml(tmp_path, DRIVER))
    run = subprocess.Popen(["cml", "run"], cwd=world.project, env=env, stderr=subprocess.DEVNULL, stdout=-3)
    try:
        while json.loads((tmp_path / "nvml.json").read_text())["gpus"][0]["used"] == GIB:
            time.sleep(0.1)
            assert run.poll() is None
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=20) != 0
    finally:
        run.kill()
        run.wait()


# How it is measured

WATCH = (
    TAKE
    + """\
from cml.process import gpu
from dataclasses import asdict
monitor = gpu.GpuMonitor()
"""
)
TOLD = "\nusage = monitor.stop()\nprint(json.dumps(asdict(usage) if usage else None))\n"


def watched(folder: Path, machine: Mapping[str, Any], code: str) -> Any:
    return json.loads(python(WATCH + code + TOLD, env=with_nvml(folder, machine)))


def test_utilization_is_the_mean_over_time(tmp_path: Path) -> None:
    code = "monitor.start()\ntake(used=9 << 30, busy=100)\ntime.sleep(1)\ntake(busy=0)\ntime.sleep(1)"
    assert watched(tmp_path, DRIVER, code)["utilization"] == pytest.approx(0.5, abs=0.2)


def test_memory_of_other_programs_is_not_counted_also_when_they_free_it(tmp_path: Path) -> None:
    code = "monitor.start()\ntake(used=1 << 29)\ntime.sleep(1)\ntake(used=3 << 30)\ntime.sleep(1)"
    assert watched(tmp_path, DRIVER, code)["peak_memory"] == 3 * GIB - GIB // 2


def test_only_the_gpus_that_were_used_count(tmp_path: Path) -> None:
    machine = {**DRIVER, "gpus": [{**A10, "busy": 60}, {**A10, "busy": 100}, {**A10, "is_lost": True}]}
    code = "monitor.start()\ntake(used=2 << 30, busy=60)\ntime.sleep(1)"
    usage = watched(tmp_path, machine, code)
    assert usage == {"devices": 1, "peak_memory": GIB, "utilization": pytest.approx(0.6)}


def test_a_mig_slice_has_memory_but_no_utilization(tmp_path: Path) -> None:
    piece = {"name": "NVIDIA A100 MIG 1g.5gb", "total": 5 * GIB, "used": 0}
    machine = {**DRIVER, "gpus": [{"name": "NVIDIA A100", "slices": [piece, piece]}]}
    code = f"monitor.start()\ntake(slices=[{piece}, {{**{piece}, 'used': 3 << 30}}])\ntime.sleep(1)"
    assert watched(tmp_path, machine, code) == {"devices": 1, "peak_memory": 3 * GIB, "utilization": None}


def test_a_little_memory_is_ignored(tmp_path: Path) -> None:
    assert watched(tmp_path, DRIVER, "monitor.start()\ntake(used=(1 << 30) + (9 << 20))\ntime.sleep(1)") is None


def test_a_gpu_without_memory_information_is_not_measured(tmp_path: Path) -> None:
    machine = {**DRIVER, "gpus": [{"name": "NVIDIA GB10", "capability": [12, 1], "busy": 50}]}
    assert watched(tmp_path, machine, "monitor.start()\ntake(busy=90)\ntime.sleep(1)") is None


def test_samples_from_before_a_driver_failed_are_reported(tmp_path: Path) -> None:
    broken = "path.write_text('no JSON')"
    code = f"monitor.start()\ntake(used=4 << 30, busy=50)\ntime.sleep(1)\n{broken}\ntime.sleep(1)"
    assert watched(tmp_path, DRIVER, code)["peak_memory"] == 3 * GIB


@pytest.mark.parametrize("code", [4, 9, 15, 18, 999])
def test_nvml_that_fails_measures_nothing_and_raises_nothing(tmp_path: Path, code: int) -> None:
    assert watched(tmp_path, {**DRIVER, "init": code}, "monitor.start()\ntime.sleep(.3)") is None


def test_a_driver_that_hangs_delays_nothing(tmp_path: Path) -> None:
    code = "gpu.START_TIMEOUT_SECONDS = 0.2\nstarted = time.monotonic()\nmonitor.start()\nassert time.monotonic() - started < 1"
    started = time.monotonic()
    assert watched(tmp_path, {**DRIVER, "seconds": 30}, code) is None
    assert time.monotonic() - started < 15


def test_a_monitor_that_is_never_stopped_does_not_prevent_exit(tmp_path: Path) -> None:
    python(WATCH + "monitor.start()\n", env=with_nvml(tmp_path, DRIVER))


def test_the_binding_without_a_library_raises_the_error_that_we_catch(tmp_path: Path) -> None:
    code = "import pynvml\ntry:\n    pynvml.nvmlInit()\nexcept pynvml.NVMLError as error:\n    print(error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)"
    assert python(code, env=with_nvml(tmp_path, {})) == "True\n"
