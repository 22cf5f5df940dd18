"""The checks of `cml doctor` for GPUs, NVIDIA's driver and Docker.

They read files below a root folder, the environment and NVML. They start no process and change nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cml.model.check import Check
from cml.process.gpu import Driver, Gpu, NvmlError, read_driver

Version = tuple[int, ...]

NVIDIA_VENDOR = "0x10de"  # on the PCI bus
DISPLAY_CLASS = "0x03"  # of PCI devices: display controllers, with or without a screen
CONFIGURE_DOCKER = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
# How a job asks for GPUs, by forge.
REQUEST_GPUS = {
    "github": "set `options: --gpus all` under `container:` of the job (a step with `uses:` cannot request GPUs)",
    "gitlab": "set the variable NVIDIA_VISIBLE_DEVICES: all, on a runner registered with --docker-runtime nvidia",
    "local": "docker run --gpus all",
}
# The oldest driver for each CUDA version, from the release notes of NVIDIA's CUDA Toolkit. From CUDA 11 on, one driver
# supports all minor versions of a major version.
OLDEST_DRIVER: dict[Version, str] = {
    (9, 0): "384.81",
    (9, 1): "390.46",
    (9, 2): "396.26",
    (10, 0): "410.48",
    (10, 1): "418.39",
    (10, 2): "440.33",
    (11,): "450.80.02",
    (12,): "525.60.13",
    (13,): "580.65.06",
}
# Major version of a GPU's compute capability -> the first CUDA that supports it. Programs run on all later minor
# versions of the capability.
FIRST_CUDA = {7: (9, 0), 8: (11, 0), 9: (11, 8), 10: (12, 8), 11: (13, 0), 12: (12, 8)}
# Major version of CUDA -> the oldest compute capability that it still supports.
OLDEST_GPU = {11: (3, 5), 12: (5, 0), 13: (7, 5)}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What files and the environment say about this machine or container.

    `pci_gpus` is the number of NVIDIA's GPUs on the PCI bus, and `loaded_driver` the version of the driver in the
    kernel: both are those of the host, also in a container. `has_device_files`: GPUs can be opened here.
    """

    root: Path
    environment: Mapping[str, str]
    pci_gpus: int
    loaded_driver: str | None
    has_device_files: bool
    is_container: bool

    @property
    def how_to_request(self) -> str:
        """How to request GPUs for the job that this is."""
        if self.environment.get("GITHUB_ACTIONS") == "true":
            return REQUEST_GPUS["github"]
        if self.environment.get("GITLAB_CI") == "true":
            return REQUEST_GPUS["gitlab"]
        return REQUEST_GPUS["local"]

    @property
    def requested(self) -> str:
        """The value of NVIDIA_VISIBLE_DEVICES; empty when it requests no GPU."""
        value = self.environment.get("NVIDIA_VISIBLE_DEVICES", "").strip()
        return "" if value in ("void", "none") else value


def check_machine(root: Path, environment: Mapping[str, str]) -> Iterator[Check]:
    """Checks GPUs and Docker. Yields nothing for a machine that has neither."""
    machine = _read_machine(root, environment)
    try:
        driver = read_driver()
    except NvmlError as error:
        yield from _check_without_nvml(machine, error)
    else:
        yield from _check_gpus(machine, driver) if driver.gpus else _check_empty_driver(machine, driver)
    if not machine.is_container:
        yield from _check_docker(machine)


def _read_machine(root: Path, environment: Mapping[str, str]) -> Machine:
    devices = root.glob("sys/bus/pci/devices/*")
    version = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", _read(root / "proc/driver/nvidia/version"))
    container_files = (root / ".dockerenv", root / "run/.containerenv")  # of Docker and of Podman
    container_variables = {"KUBERNETES_SERVICE_HOST", "container"}
    return Machine(
        root=root,
        environment=environment,
        pci_gpus=sum(_is_nvidia_gpu(device) for device in devices),
        loaded_driver=version[0] if version else None,
        # dev/dxg: the GPU of Windows, in WSL
        has_device_files=any(root.glob("dev/nvidia[0-9]*")) or _exists(root / "dev/dxg"),
        is_container=any(map(_exists, container_files)) or bool(container_variables & environment.keys()),
    )


def _is_nvidia_gpu(device: Path) -> bool:
    return _read(device / "vendor") == NVIDIA_VENDOR and _read(device / "class").startswith(DISPLAY_CLASS)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that this user may not enter
        return False


def _parse_version(text: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _format_version(version: Version) -> str:
    return ".".join(map(str, version))


# With a GPU


def _check_gpus(machine: Machine, driver: Driver) -> Iterator[Check]:
    counts = Counter(map(_describe, driver.gpus))
    names = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())
    found = f"{names}; driver {driver.version}, which supports CUDA up to {_format_version(driver.cuda)}"
    yield Check(name="gpu", status="ok", found=found)
    if machine.is_container:
        yield Check(name="gpu runtime", status="ok", found="the container runtime gives GPUs to this container")
        cuda = _parse_version(machine.environment.get("CUDA_VERSION", ""))  # NVIDIA's images set it
        if len(cuda) > 1:
            yield _check_cuda(cuda, driver)


def _describe(gpu: Gpu) -> str:
    return gpu.name if gpu.memory is None else f"{gpu.name} ({gpu.memory / 2**30:.1f} GiB)"


def _check_cuda(cuda: Version, driver: Driver) -> Check:
    """Checks whether the driver and each GPU support the CUDA version of the image."""
    name, image = "gpu cuda", f"CUDA {_format_version(cuda)} of the image (CUDA_VERSION)"
    oldest = OLDEST_DRIVER.get(cuda[:2]) or OLDEST_DRIVER.get(cuda[:1])
    if oldest:
        is_old = _parse_version(driver.version) < _parse_version(oldest)
    else:
        is_old = driver.cuda[0] < cuda[0]
    # An image may contain a newer libcuda than the driver has. NVML then names the CUDA version of that library.
    if is_old and driver.cuda < cuda[:2]:
        needed = f"driver {oldest} or newer" if oldest else "a newer driver"
        found = f"driver {driver.version} is too old for {image}"
        newest = _format_version(driver.cuda)
        advice = f"install {needed} on the machine, or use an image with CUDA {newest} or older"
        return Check(name=name, status="problem", found=found, advice=advice)
    for gpu in driver.gpus:
        if problem := _compare(gpu, cuda, image):
            found, advice = problem
            return Check(name=name, status="problem", found=found, advice=advice)
    return Check(name=name, status="ok", found=f"driver and GPU support {image}")


def _compare(gpu: Gpu, cuda: Version, image: str) -> tuple[str, str] | None:
    """Returns (what was found, advice) when a GPU does not support a CUDA version."""
    if gpu.capability is None:
        return None
    found = f"{gpu.name} has compute capability {_format_version(gpu.capability)}"
    first_cuda = FIRST_CUDA.get(gpu.capability[0], (0, 0))
    if cuda[:2] < first_cuda:
        advice = f"use an image with CUDA {_format_version(first_cuda)} or newer"
        return f"{found}, which is too new for {image}", advice
    if gpu.capability < OLDEST_GPU.get(cuda[0], (0, 0)):
        return f"{found}, which is too old for {image}", f"use an image with CUDA {cuda[0] - 1} or older"
    return None


# Without a GPU


def _check_empty_driver(machine: Machine, driver: Driver) -> Iterator[Check]:
    yield Check(
        name="gpu",
        status="problem" if machine.requested else "note",
        found=f"NVIDIA's driver {driver.version} finds no GPU here",
        advice=machine.how_to_request if machine.is_container else "run nvidia-smi for details",
    )


def _check_without_nvml(machine: Machine, error: NvmlError) -> Iterator[Check]:
    restart = "restart the machine that runs this container" if machine.is_container else "restart the machine"
    match error.kind:
        case "mismatch":
            found = "the loaded NVIDIA driver and its library have different versions, probably after an update"
            yield Check(name="gpu", status="problem", found=found, advice=restart)
        case "no permission":
            found = "this user may not use the GPUs"
            advice = "allow this user to open /dev/nvidia*, often with: sudo usermod -aG video,render $USER"
            yield Check(name="gpu", status="problem", found=found, advice=advice)
        case "other":
            advice = f"run nvidia-smi for details; if a GPU is lost, {restart}"
            yield Check(name="gpu", status="problem", found=f"NVIDIA's driver reports: {error}", advice=advice)
        case "no driver" if machine.pci_gpus and not machine.is_container:
            found = "NVIDIA's driver is installed but not loaded"
            advice = "restart the machine; with Secure Boot, the driver must be signed (check: mokutil --sb-state)"
            yield Check(name="gpu", status="problem", found=found, advice=advice)
        case _ if machine.is_container:
            yield from _check_container(machine)
        case _:
            yield from _check_host(machine)


def _check_host(machine: Machine) -> Iterator[Check]:
    """Why a machine has no library of the driver."""
    if machine.loaded_driver:
        found = f"NVIDIA's driver {machine.loaded_driver} is loaded, but its library libnvidia-ml.so.1 is not installed"
        package = f"libnvidia-compute-{machine.loaded_driver.split('.')[0]}"
        advice = f"install the libraries of the same version (Ubuntu: sudo apt-get install {package})"
        yield Check(name="gpu", status="problem", found=found, advice=advice)
    elif machine.pci_gpus:
        count = "an NVIDIA GPU" if machine.pci_gpus == 1 else f"{machine.pci_gpus} NVIDIA GPUs"
        found = f"{count} on the PCI bus, but NVIDIA's driver is not installed"
        advice = "to use it, install the driver (Ubuntu: sudo ubuntu-drivers install) and restart the machine"
        yield Check(name="gpu", status="note", found=found, advice=advice)


def _check_container(machine: Machine) -> Iterator[Check]:
    """Why a container got no GPU: was one requested, and does the machine have one?"""
    if machine.has_device_files:
        found = "the GPUs are here, but the driver's library libnvidia-ml.so.1 is not"
        advice = "set the variable NVIDIA_DRIVER_CAPABILITIES: compute,utility"
        yield Check(name="gpu runtime", status="note", found=found, advice=advice)
    elif not machine.pci_gpus and machine.loaded_driver is None:
        if machine.requested:
            found = (
                f"NVIDIA_VISIBLE_DEVICES is {machine.requested} (images for GPUs set it), but the machine has no GPU"
            )
            advice = "use a machine with a GPU, or the smaller image without CUDA"
            yield Check(name="gpu", status="note", found=found, advice=advice)
    elif machine.requested:
        found = (
            f"NVIDIA_VISIBLE_DEVICES is {machine.requested}, but this container has no GPU: "
            "its container runtime is not NVIDIA's"
        )
        advice = f"on the machine: {CONFIGURE_DOCKER}; then {machine.how_to_request}"
        yield Check(name="gpu runtime", status="problem", found=found, advice=advice)
    else:
        value = machine.environment.get("NVIDIA_VISIBLE_DEVICES")
        reason = "is not set" if value is None else f"is {value!r}"
        found = f"the machine has a GPU, but this container does not: NVIDIA_VISIBLE_DEVICES {reason}"
        yield Check(name="gpu runtime", status="note", found=found, advice=machine.how_to_request)


# Docker, on a machine that starts containers for jobs


def _check_docker(machine: Machine) -> Iterator[Check]:
    sockets = (machine.root / "var/run/docker.sock", machine.root / "run/docker.sock")
    socket = next(filter(_exists, sockets), None)
    if socket is None:
        return
    if "DOCKER_HOST" not in machine.environment and not os.access(socket, os.W_OK, effective_ids=True):
        yield Check(
            name="docker",
            status="note",
            found="this user may not write to /var/run/docker.sock, so a runner of this user cannot start containers",
            advice="sudo usermod -aG docker $USER, then log in again (members of this group can become root)",
        )
    if machine.pci_gpus or machine.loaded_driver:
        yield _check_docker_runtime(machine)


def _check_docker_runtime(machine: Machine) -> Check:
    name = "docker runtime"
    try:
        settings = json.loads(_read(machine.root / "etc/docker/daemon.json") or "{}")
    except ValueError as error:
        found = f"/etc/docker/daemon.json is not valid JSON ({error}), so Docker cannot be restarted"
        return Check(name=name, status="note", found=found, advice="correct it, then: sudo systemctl restart docker")
    runtimes = settings.get("runtimes") if isinstance(settings, dict) else None
    if isinstance(runtimes, dict) and "nvidia" in runtimes:
        return Check(name=name, status="ok", found="Docker has the runtime nvidia")
    if _has_container_toolkit(machine):
        found = (
            "Docker can give GPUs to containers (--gpus all), but has no runtime nvidia, "
            "which GitLab Runner needs for --docker-runtime nvidia"
        )
        return Check(name=name, status="note", found=found, advice=CONFIGURE_DOCKER)
    found = "Docker cannot give the GPU to containers: NVIDIA Container Toolkit is not installed"
    return Check(
        name=name, status="note", found=found, advice=f"install nvidia-container-toolkit, then {CONFIGURE_DOCKER}"
    )


def _has_container_toolkit(machine: Machine) -> bool:
    """Whether Docker finds the toolkit's programs, or its description of the GPUs (CDI: Container Device Interface)."""
    folders = machine.environment.get("PATH", "").split(os.pathsep)
    path = os.pathsep.join(str(machine.root / folder.lstrip("/")) for folder in folders)
    if any(shutil.which(tool, path=path) for tool in ("nvidia-container-runtime-hook", "nvidia-ctk")):
        return True
    return any(any(machine.root.glob(f"{folder}/nvidia*")) for folder in ("etc/cdi", "var/run/cdi", "run/cdi"))
