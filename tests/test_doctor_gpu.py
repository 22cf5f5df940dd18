"""The checks of `cml doctor` for GPUs, the driver and Docker, for each common fault.

The files of a machine are in a folder, and standins/nvml replaces the library below NVIDIA's own binding.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.world import World
from test_gpu import A10, DRIVER, GIB, python, with_nvml

CONTAINER = {".dockerenv": ""}
CARD = {"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n"}
SOUND = {"sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n"}
LOADED = {
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: gcc 12.3.0\n"
}
NODES = {"dev/nvidia0": "", "dev/nvidiactl": ""}
SOCKET = {"var/run/docker.sock": ""}
DOCTOR = """\
import json, sys
from dataclasses import asdict
from pathlib import Path
from cml.commands.doctor_gpu import check_machine
print(json.dumps([asdict(check) for check in check_machine(Path(sys.argv[1]), json.loads(sys.argv[2]))]))
"""


def checks(
    folder: Path, files: Mapping[str, str], machine: Mapping[str, Any] | None = None, /, **environment: str
) -> dict[str, dict[str, str]]:
    """The checks for a machine with these files, by name."""
    root = folder / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    output = python(DOCTOR, str(root), json.dumps(environment), env=with_nvml(folder, machine or {}))
    found = {check["name"]: check for check in json.loads(output)}
    assert all("\n" not in check["found"] + check["advice"] for check in found.values())
    return found


def only(found: dict[str, dict[str, str]], name: str, status: str) -> str:
    """The only check, as one text."""
    assert [(check["name"], check["status"]) for check in found.values()] == [(name, status)], found
    return f"{found[name]['found']} -> {found[name]['advice']}"


@pytest.mark.parametrize("files", [{}, CONTAINER, SOUND, {"sys/bus/pci/devices/0/vendor": "0x8086\n"}])
def test_a_machine_without_a_gpu_has_no_checks(tmp_path: Path, files: dict[str, str]) -> None:
    assert checks(tmp_path, files) == {}


def test_a_gpu_is_shown_with_memory_driver_and_cuda(tmp_path: Path) -> None:
    machine = {**DRIVER, "gpus": [A10, A10, {**A10, "name": "Tesla T4", "total": 16 * GIB}]}
    said = only(checks(tmp_path, {**CARD, **LOADED, **NODES}, machine), "gpu", "ok")
    assert said.startswith(
        "2 x NVIDIA A10 (24.0 GiB), Tesla T4 (16.0 GiB); driver 535.54.03, which supports CUDA up to 12.2"
    )


def test_in_a_container_the_runtime_and_cuda_are_checked_too(tmp_path: Path) -> None:
    found = checks(tmp_path, {**CONTAINER, **NODES}, DRIVER, NVIDIA_VISIBLE_DEVICES="all", CUDA_VERSION="12.9.1")
    assert [(name, check["status"]) for name, check in found.items()] == [
        ("gpu", "ok"),
        ("gpu runtime", "ok"),
        ("gpu cuda", "ok"),
    ]


def test_a_gpu_without_a_driver_is_a_note_with_the_command_to_install_it(tmp_path: Path) -> None:
    said = only(checks(tmp_path, {**CARD, **SOUND}), "gpu", "note")
    assert said.startswith("an NVIDIA GPU on the PCI bus, but NVIDIA's driver is not installed")
    assert "sudo ubuntu-drivers install" in said


def test_a_driver_that_is_installed_but_not_loaded_is_a_problem(tmp_path: Path) -> None:
    said = only(checks(tmp_path, CARD, {**DRIVER, "init": 9}), "gpu", "problem")
    assert "not loaded -> restart the machine; with Secure Boot" in said


def test_a_driver_without_its_libraries_is_a_problem(tmp_path: Path) -> None:
    assert "libnvidia-compute-580" in only(checks(tmp_path, {**CARD, **LOADED}), "gpu", "problem")


@pytest.mark.parametrize("value", [None, "", "void", "none"])
@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ({"GITHUB_ACTIONS": "true"}, "options: --gpus all"),
        ({"GITLAB_CI": "true"}, "NVIDIA_VISIBLE_DEVICES: all, on a runner registered with --docker-runtime nvidia"),
        ({}, "docker run --gpus all"),
    ],
)
def test_a_container_that_requests_no_gpu_gets_advice_how_to_request_one(
    tmp_path: Path, value: str | None, place: dict[str, str], advice: str
) -> None:
    asked = {} if value is None else {"NVIDIA_VISIBLE_DEVICES": value}
    said = only(checks(tmp_path, {**CONTAINER, **CARD}, **place, **asked), "gpu runtime", "note")
    assert "NVIDIA_VISIBLE_DEVICES is" in said
    assert advice in said


@pytest.mark.parametrize("files", [CARD, LOADED])
def test_a_requested_gpu_that_the_container_does_not_have_is_a_problem(tmp_path: Path, files: dict[str, str]) -> None:
    found = checks(tmp_path, {**CONTAINER, **files}, NVIDIA_VISIBLE_DEVICES="all")
    said = only(found, "gpu runtime", "problem")
    assert "NVIDIA_VISIBLE_DEVICES is all, but this container has no GPU" in said
    assert "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker" in said


def test_an_image_for_gpus_on_a_machine_without_one_is_a_note(tmp_path: Path) -> None:
    assert "the machine has no GPU" in only(checks(tmp_path, CONTAINER, NVIDIA_VISIBLE_DEVICES="all"), "gpu", "note")


def test_gpus_without_the_library_of_the_driver_need_a_driver_capability(tmp_path: Path) -> None:
    found = checks(tmp_path, {**CONTAINER, **CARD, **NODES}, NVIDIA_VISIBLE_DEVICES="all")
    assert "NVIDIA_DRIVER_CAPABILITIES: compute,utility" in only(found, "gpu runtime", "note")


def test_a_driver_that_finds_no_gpu_is_a_problem(tmp_path: Path) -> None:
    said = only(checks(tmp_path, CONTAINER, {**DRIVER, "gpus": []}, NVIDIA_VISIBLE_DEVICES="7"), "gpu", "problem")
    assert "driver 535.54.03 finds no GPU here" in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (18, "the loaded NVIDIA driver and its library have different versions"),
        (4, "this user may not use the GPUs -> allow this user to open /dev/nvidia*"),
        (15, "NVIDIA's driver reports: GPU is lost -> run nvidia-smi for details"),
    ],
)
def test_a_driver_that_fails_is_a_problem(tmp_path: Path, code: int, said: str) -> None:
    assert said in only(checks(tmp_path, {**CARD, **LOADED, **NODES}, {**DRIVER, "init": code}), "gpu", "problem")
    found = checks(tmp_path, {**CONTAINER, **CARD, **NODES}, {**DRIVER, "init": 18})
    assert only(found, "gpu", "problem").endswith("-> restart the machine that runs this container")


@pytest.mark.parametrize(
    ("driver", "cuda", "capability", "image", "said"),
    [
        ("418.39", 10010, [7, 5], "10.1.243", ""),
        (
            "410.48",
            10000,
            [7, 5],
            "10.1.243",
            "driver 418.39 or newer on the machine, or use an image with CUDA 10.0 or",
        ),
        ("470.57.02", 11040, [8, 0], "11.8.0", ""),
        (
            "470.57.02",
            11040,
            [8, 0],
            "12.9.1",
            "driver 525.60.13 or newer on the machine, or use an image with CUDA 11.4",
        ),
        ("525.60.12", 11080, [8, 0], "12.0.0", "driver 525.60.12 is too old for CUDA 12.0.0 of the image"),
        ("525.60.13", 12000, [8, 0], "12.9.1", ""),
        ("570.10", 12080, [9, 0], "13.0.1", "driver 580.65.06 or newer"),
        ("535.54.03", 13000, [8, 0], "13.0.1", ""),  # the image's own libcuda
        ("580.65.06", 13000, [8, 0], "14.0.0", "a newer driver on the machine"),
        ("580.65.06", 13000, [8, 6], "10.1.243", "8.6, which is too new for CUDA 10.1.243 of the image"),
        ("580.65.06", 13000, [12, 0], "12.6.3", "an image with CUDA 12.8 or newer"),
        ("580.65.06", 13000, [7, 0], "13.0.1", "7.0, which is too old for CUDA 13.0.1 of the image"),
        ("580.65.06", 13000, [7, 0], "13.0.1", "an image with CUDA 12 or older"),
        ("580.65.06", 13000, None, "10.1.243", ""),
    ],
)
def test_the_cuda_of_the_image_is_compared_with_the_driver_and_the_gpu(
    tmp_path: Path, driver: str, cuda: int, capability: list[int] | None, image: str, said: str
) -> None:
    machine = {"driver": driver, "cuda": cuda, "gpus": [{**A10, "capability": capability}]}
    check = checks(tmp_path, {**CONTAINER, **NODES}, machine, CUDA_VERSION=image)["gpu cuda"]
    assert check["status"] == ("problem" if said else "ok"), check
    assert said in f"{check['found']} -> {check['advice']}"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter: those of pytest are private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_docker_socket_that_this_user_may_not_write_to_is_a_note(open_folder: Path) -> None:
    from cml.commands.doctor_gpu import check_machine

    socket = open_folder / "run" / "docker.sock"
    socket.parent.mkdir()
    socket.write_text("")
    socket.chmod(0o440)
    user = os.geteuid()
    if user == 0:  # root may write everywhere
        os.seteuid(65534)
    try:
        said = {check.name: check for check in check_machine(open_folder, {})}["docker"]
        assert not list(check_machine(open_folder, {"DOCKER_HOST": "unix:///run/user/1/docker.sock"}))
    finally:
        os.seteuid(user)
    assert (said.status, "sudo usermod -aG docker $USER" in said.advice) == ("note", True)
    socket.chmod(0o660)
    assert not list(check_machine(open_folder, {}))


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ({}, "note", "install nvidia-container-toolkit, then sudo nvidia-ctk runtime configure"),
        ({"etc/docker/daemon.json": '{"runtimes": {"runc": {}}}'}, "note", "install nvidia-container-toolkit"),
        ({"etc/docker/daemon.json": '{"runtimes": null}'}, "note", "install nvidia-container-toolkit"),
        ({"etc/docker/daemon.json": '{"runtimes": {"nvidia": {}}}'}, "ok", "Docker has the runtime nvidia"),
        ({"etc/docker/daemon.json": "{oops"}, "note", "/etc/docker/daemon.json is not valid JSON"),
        ({"usr/bin/nvidia-ctk": ""}, "note", "has no runtime nvidia"),
        ({"var/run/cdi/nvidia.yaml": ""}, "note", "has no runtime nvidia"),
    ],
)
def test_docker_on_a_machine_with_a_gpu(tmp_path: Path, files: dict[str, str], status: str, said: str) -> None:
    tool = tmp_path / "root/usr/bin/nvidia-ctk"
    if "usr/bin/nvidia-ctk" in files:
        tool.parent.mkdir(parents=True)
        tool.touch(0o755)
    found = checks(tmp_path, {**CARD, **LOADED, **NODES, **SOCKET, **files}, DRIVER, PATH="/usr/sbin:/usr/bin")
    assert found.keys() == {"gpu", "docker runtime"}
    assert found["docker runtime"]["status"] == status
    assert said in f"{found['docker runtime']['found']} -> {found['docker runtime']['advice']}"


def test_gpus_are_checked_with_and_without_a_repository(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.project.mkdir()
    env = with_nvml(tmp_path, DRIVER)
    for options in ([], ["--push", "maybe"]):
        done = world.cml("doctor", "--json", *options, env=env)
        found = {check["name"]: check for check in json.loads(done.out)}
        assert "NVIDIA A10 (24.0 GiB)" in found["gpu"]["found"]
        assert found["start"]["status"] == "problem"
