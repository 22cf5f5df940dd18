"""What `cml doctor` says of GPUs, of the driver and of Docker, for each way in which they fail people.

A machine's files stand in a folder, and standins/nvml answers below NVIDIA's own binding.
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
from cml.commands.doctor_gpu import machine_checks
print(json.dumps([asdict(check) for check in machine_checks(Path(sys.argv[1]), json.loads(sys.argv[2]))]))
"""


def checks(
    folder: Path, files: Mapping[str, str], machine: Mapping[str, Any] | None = None, /, **environment: str
) -> dict[str, dict[str, str]]:
    """What the doctor says of a machine with these files, by name."""
    root = folder / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    said = python(DOCTOR, str(root), json.dumps(environment), env=with_nvml(folder, machine or {}))
    found = {check["name"]: check for check in json.loads(said)}
    assert all("\n" not in check["found"] + check["advice"] for check in found.values())
    return found


def only(found: dict[str, dict[str, str]], name: str, status: str) -> str:
    """The one check there is, as one text."""
    assert [(check["name"], check["status"]) for check in found.values()] == [(name, status)], found
    return f"{found[name]['found']} -> {found[name]['advice']}"


@pytest.mark.parametrize("files", [{}, CONTAINER, SOUND, {"sys/bus/pci/devices/0/vendor": "0x8086\n"}])
def test_a_machine_without_a_gpu_hears_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    assert checks(tmp_path, files) == {}


def test_a_gpu_is_told_with_memory_driver_and_cuda(tmp_path: Path) -> None:
    machine = {**DRIVER, "gpus": [A10, A10, {**A10, "name": "Tesla T4", "total": 16 * GIB}]}
    said = only(checks(tmp_path, {**CARD, **LOADED, **NODES}, machine), "gpu", "ok")
    assert said.startswith(
        "2 x NVIDIA A10 (24.0 GiB), Tesla T4 (16.0 GiB); driver 535.54.03, which runs CUDA up to 12.2"
    )


def test_in_a_container_it_says_that_the_runtime_hands_gpus_on(tmp_path: Path) -> None:
    found = checks(tmp_path, {**CONTAINER, **NODES}, DRIVER, NVIDIA_VISIBLE_DEVICES="all", CUDA_VERSION="12.9.1")
    assert [(name, check["status"]) for name, check in found.items()] == [
        ("gpu", "ok"),
        ("gpu runtime", "ok"),
        ("gpu cuda", "ok"),
    ]


def test_a_gpu_without_a_driver_is_a_note_that_says_how_to_install_it(tmp_path: Path) -> None:
    said = only(checks(tmp_path, {**CARD, **SOUND}), "gpu", "note")
    assert said.startswith("a GPU of NVIDIA on the PCI bus, without NVIDIA's driver")
    assert "sudo ubuntu-drivers install" in said


def test_a_driver_that_is_installed_and_not_loaded(tmp_path: Path) -> None:
    said = only(checks(tmp_path, CARD, {**DRIVER, "init": 9}), "gpu", "problem")
    assert "not loaded -> restart the machine; with Secure Boot" in said


def test_a_driver_without_its_libraries(tmp_path: Path) -> None:
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
def test_a_container_that_asks_for_no_gpu_hears_how_to_ask(
    tmp_path: Path, value: str | None, place: dict[str, str], advice: str
) -> None:
    asked = {} if value is None else {"NVIDIA_VISIBLE_DEVICES": value}
    said = only(checks(tmp_path, {**CONTAINER, **CARD}, **place, **asked), "gpu runtime", "note")
    assert "NVIDIA_VISIBLE_DEVICES is" in said
    assert advice in said


@pytest.mark.parametrize("files", [CARD, LOADED])
def test_a_gpu_that_was_asked_for_and_did_not_arrive_is_a_problem(tmp_path: Path, files: dict[str, str]) -> None:
    found = checks(tmp_path, {**CONTAINER, **files}, NVIDIA_VISIBLE_DEVICES="all")
    said = only(found, "gpu runtime", "problem")
    assert "NVIDIA_VISIBLE_DEVICES is all, and no GPU arrived" in said
    assert "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker" in said


def test_an_image_for_gpus_on_a_machine_without_one_is_a_note(tmp_path: Path) -> None:
    assert "the machine has none" in only(checks(tmp_path, CONTAINER, NVIDIA_VISIBLE_DEVICES="all"), "gpu", "note")


def test_gpus_without_the_driver_s_library_lack_a_capability(tmp_path: Path) -> None:
    found = checks(tmp_path, {**CONTAINER, **CARD, **NODES}, NVIDIA_VISIBLE_DEVICES="all")
    assert "NVIDIA_DRIVER_CAPABILITIES: compute,utility" in only(found, "gpu runtime", "note")


def test_a_driver_that_shows_no_gpu(tmp_path: Path) -> None:
    said = only(checks(tmp_path, CONTAINER, {**DRIVER, "gpus": []}, NVIDIA_VISIBLE_DEVICES="7"), "gpu", "problem")
    assert "driver 535.54.03 shows no GPU here" in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (18, "NVIDIA's library and its loaded driver are of different versions"),
        (4, "this user may not use the GPUs -> let it open /dev/nvidia*"),
        (15, "NVIDIA's driver says: GPU is lost -> see what nvidia-smi says"),
    ],
)
def test_a_driver_that_does_not_answer_is_a_problem(tmp_path: Path, code: int, said: str) -> None:
    assert said in only(checks(tmp_path, {**CARD, **LOADED, **NODES}, {**DRIVER, "init": code}), "gpu", "problem")
    found = checks(tmp_path, {**CONTAINER, **CARD, **NODES}, {**DRIVER, "init": 18})
    assert only(found, "gpu", "problem").endswith("-> restart the machine that runs this container")


@pytest.mark.parametrize(
    ("driver", "cuda", "capability", "image", "said"),
    [
        ("418.39", 10010, [7, 5], "10.1.243", ""),
        ("410.48", 10000, [7, 5], "10.1.243", "driver 418.39 or newer on the machine, or an image with CUDA 10.0 or"),
        ("470.57.02", 11040, [8, 0], "11.8.0", ""),
        ("470.57.02", 11040, [8, 0], "12.9.1", "driver 525.60.13 or newer on the machine, or an image with CUDA 11.4"),
        ("525.60.12", 11080, [8, 0], "12.0.0", "driver 525.60.12 is too old for the image's CUDA 12.0.0"),
        ("525.60.13", 12000, [8, 0], "12.9.1", ""),
        ("570.10", 12080, [9, 0], "13.0.1", "driver 580.65.06 or newer"),
        ("535.54.03", 13000, [8, 0], "13.0.1", ""),  # the image's own libcuda
        ("580.65.06", 13000, [8, 0], "14.0.0", "a newer driver on the machine"),
        ("580.65.06", 13000, [8, 6], "10.1.243", "8.6, newer than the image's CUDA 10.1.243"),
        ("580.65.06", 13000, [12, 0], "12.6.3", "an image with CUDA 12.8 or newer"),
        ("580.65.06", 13000, [7, 0], "13.0.1", "7.0, older than the image's CUDA 13.0.1"),
        ("580.65.06", 13000, [7, 0], "13.0.1", "an image with CUDA 12 or older"),
        ("580.65.06", 13000, None, "10.1.243", ""),
    ],
)
def test_the_image_s_cuda_is_held_against_the_driver_and_the_gpu(
    tmp_path: Path, driver: str, cuda: int, capability: list[int] | None, image: str, said: str
) -> None:
    machine = {"driver": driver, "cuda": cuda, "gpus": [{**A10, "capability": capability}]}
    check = checks(tmp_path, {**CONTAINER, **NODES}, machine, CUDA_VERSION=image)["gpu cuda"]
    assert check["status"] == ("problem" if said else "ok"), check
    assert said in f"{check['found']} -> {check['advice']}"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_socket_of_docker_s_that_this_user_may_not_write_to(open_folder: Path) -> None:
    from cml.commands.doctor_gpu import machine_checks

    socket = open_folder / "run" / "docker.sock"
    socket.parent.mkdir()
    socket.write_text("")
    socket.chmod(0o440)
    user = os.geteuid()
    if user == 0:  # who may everything
        os.seteuid(65534)
    try:
        said = {check.name: check for check in machine_checks(open_folder, {})}["docker"]
        assert not list(machine_checks(open_folder, {"DOCKER_HOST": "unix:///run/user/1/docker.sock"}))
    finally:
        os.seteuid(user)
    assert (said.status, "sudo usermod -aG docker $USER" in said.advice) == ("note", True)
    socket.chmod(0o660)
    assert not list(machine_checks(open_folder, {}))


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ({}, "note", "install nvidia-container-toolkit, then sudo nvidia-ctk runtime configure"),
        ({"etc/docker/daemon.json": '{"runtimes": {"runc": {}}}'}, "note", "install nvidia-container-toolkit"),
        ({"etc/docker/daemon.json": '{"runtimes": null}'}, "note", "install nvidia-container-toolkit"),
        ({"etc/docker/daemon.json": '{"runtimes": {"nvidia": {}}}'}, "ok", "Docker has the runtime nvidia"),
        ({"etc/docker/daemon.json": "{oops"}, "note", "/etc/docker/daemon.json is no JSON"),
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


def test_the_doctor_tells_of_the_gpu_with_and_without_a_repository(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.project.mkdir()
    env = with_nvml(tmp_path, DRIVER)
    for options in ([], ["--push", "maybe"]):
        done = world.cml("doctor", "--json", *options, env=env)
        found = {check["name"]: check for check in json.loads(done.out)}
        assert "NVIDIA A10 (24.0 GiB)" in found["gpu"]["found"]
        assert found["start"]["status"] == "problem"
