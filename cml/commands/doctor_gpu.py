"""What `cml doctor` says of a machine's GPUs, of the driver, and of what hands them on to containers.

It reads files below a root, the environment and NVML; it starts nothing, asks nobody, and changes nothing.
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

from cml.commands.doctor import Check
from cml.process.gpu import Driver, Gpu, NvmlError, read_driver

NVIDIA = "0x10de"  # the vendor on the PCI bus; class 03 is a display controller, with or without a screen
TOOLKIT = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
ASKING = {
    "github": "give the job's `container:` the `options: --gpus all` (a step that `uses:` an action cannot ask)",
    "gitlab": "set the variable NVIDIA_VISIBLE_DEVICES: all, on a runner registered with --docker-runtime nvidia",
    "local": "docker run --gpus all",
}
# The oldest driver for a CUDA, from the release notes of NVIDIA's CUDA Toolkit: from 11 on one for all of a major.
OLDEST_DRIVER = {
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
# By the major of a GPU's compute capability: the first CUDA that knows it. Within a major, programs run on.
FIRST_CUDA = {7: (9, 0), 8: (11, 0), 9: (11, 8), 10: (12, 8), 11: (13, 0), 12: (12, 8)}
# By CUDA's major: the oldest compute capability that it still knows.
OLDEST_GPU = {11: (3, 5), 12: (5, 0), 13: (7, 5)}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What files and the environment tell. `cards` are NVIDIA's GPUs on the PCI bus and `module` the version of the
    loaded driver: both are the host's, also in a container. `has_nodes`: GPUs may be opened here.
    """

    root: Path
    environment: Mapping[str, str]
    cards: int
    module: str | None
    has_nodes: bool
    is_container: bool

    @property
    def place(self) -> str:
        known = {"github": "GITHUB_ACTIONS", "gitlab": "GITLAB_CI"}
        return next((place for place, name in known.items() if self.environment.get(name) == "true"), "local")

    @property
    def asked(self) -> str:
        """NVIDIA_VISIBLE_DEVICES, empty where it asks for no GPU."""
        asked = self.environment.get("NVIDIA_VISIBLE_DEVICES", "").strip()
        return "" if asked in ("void", "none") else asked


def machine_checks(root: Path, environment: Mapping[str, str]) -> Iterator[Check]:
    """Yields what there is to say; nothing for a machine without a GPU and without Docker."""
    machine = _machine(root, environment)
    try:
        driver = read_driver()
    except NvmlError as error:
        yield from _without_nvml(machine, error)
    else:
        yield from _with(machine, driver) if driver.gpus else _without_gpus(machine, driver)
    if not machine.is_container:
        yield from _docker(machine)


def _machine(root: Path, environment: Mapping[str, str]) -> Machine:
    devices = root.glob("sys/bus/pci/devices/*")
    version = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", _text(root / "proc/driver/nvidia/version"))
    marks = (root / ".dockerenv", root / "run/.containerenv")
    return Machine(
        root=root,
        environment=environment,
        cards=sum(_text(each / "vendor") == NVIDIA and _text(each / "class")[:4] == "0x03" for each in devices),
        module=version[0] if version else None,
        has_nodes=any(root.glob("dev/nvidia[0-9]*")) or _is_there(root / "dev/dxg"),  # dxg: Windows' GPU, in WSL
        is_container=any(map(_is_there, marks)) or bool({"KUBERNETES_SERVICE_HOST", "container"} & environment.keys()),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that this user may not enter
        return False


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _said(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


# With a GPU


def _with(machine: Machine, driver: Driver) -> Iterator[Check]:
    counts = Counter(map(_named, driver.gpus))
    names = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())
    found = f"{names}; driver {driver.version}, which runs CUDA up to {_said(driver.cuda)}"
    yield Check(name="gpu", status="ok", found=found)
    if machine.is_container:
        yield Check(name="gpu runtime", status="ok", found="the container runtime hands GPUs on to this container")
        if len(cuda := _version(machine.environment.get("CUDA_VERSION", ""))) > 1:
            yield _cuda(cuda, driver)


def _named(gpu: Gpu) -> str:
    return gpu.name if gpu.memory is None else f"{gpu.name} ({gpu.memory / 2**30:.1f} GiB)"


def _cuda(cuda: tuple[int, ...], driver: Driver) -> Check:
    """Whether the driver and each GPU go with the image's CUDA, which its variable CUDA_VERSION names."""
    image = f"the image's CUDA {_said(cuda)} (CUDA_VERSION)"
    oldest = OLDEST_DRIVER.get(cuda[:2]) or OLDEST_DRIVER.get(cuda[:1])
    is_old = _version(driver.version) < _version(oldest) if oldest else driver.cuda[0] < cuda[0]
    if is_old and driver.cuda < cuda[:2]:  # an image may bring a newer libcuda, and NVML then tells of that
        needed = f"driver {oldest} or newer on the machine" if oldest else "a newer driver on the machine"
        return Check(
            name="gpu cuda",
            status="problem",
            found=f"driver {driver.version} is too old for {image}",
            advice=f"{needed}, or an image with CUDA {_said(driver.cuda)} or older",
        )
    for gpu in driver.gpus:
        if gpu.capability is None:
            continue
        known = f"{gpu.name} has compute capability {_said(gpu.capability)}"
        first, last = FIRST_CUDA.get(gpu.capability[0], (0, 0)), OLDEST_GPU.get(cuda[0], (0, 0))
        if cuda[:2] < first:
            advice = f"an image with CUDA {_said(first)} or newer"
            return Check(name="gpu cuda", status="problem", found=f"{known}, newer than {image} knows", advice=advice)
        if gpu.capability < last:
            advice = f"an image with CUDA {cuda[0] - 1} or older"
            return Check(name="gpu cuda", status="problem", found=f"{known}, older than {image} knows", advice=advice)
    return Check(name="gpu cuda", status="ok", found=f"driver and GPU go with {image}")


# Without one


def _without_gpus(machine: Machine, driver: Driver) -> Iterator[Check]:
    advice = ASKING[machine.place] if machine.is_container else "see what nvidia-smi says"
    found = f"NVIDIA's driver {driver.version} shows no GPU here"
    yield Check(name="gpu", status="problem" if machine.asked else "note", found=found, advice=advice)


def _without_nvml(machine: Machine, error: NvmlError) -> Iterator[Check]:
    restart = "restart the machine that runs this container" if machine.is_container else "restart the machine"
    match error.kind:
        case "mismatch":
            found = "NVIDIA's library and its loaded driver are of different versions: the driver was updated meanwhile"
            yield Check(name="gpu", status="problem", found=found, advice=restart)
        case "no permission":
            advice = "let it open /dev/nvidia*, often by the group video or render"
            yield Check(name="gpu", status="problem", found="this user may not use the GPUs", advice=advice)
        case "other":
            advice = f"see what nvidia-smi says; if a GPU is lost, {restart}"
            yield Check(name="gpu", status="problem", found=f"NVIDIA's driver says: {error}", advice=advice)
        case "no driver" if machine.cards and not machine.is_container:
            advice = "restart the machine; with Secure Boot on, its modules must be signed (sudo mokutil --sb-state)"
            found = "NVIDIA's driver is installed and not loaded"
            yield Check(name="gpu", status="problem", found=found, advice=advice)
        case _ if machine.is_container:
            yield from _not_handed_on(machine)
        case _:
            yield from _no_driver(machine)


def _no_driver(machine: Machine) -> Iterator[Check]:
    if machine.module:
        found = f"NVIDIA's driver {machine.module} is loaded, and its library libnvidia-ml.so.1 is not found"
        advice = f"install the libraries of the same version (Ubuntu: libnvidia-compute-{machine.module.split('.')[0]})"
        yield Check(name="gpu", status="problem", found=found, advice=advice)
    elif machine.cards:
        count = "a GPU" if machine.cards == 1 else f"{machine.cards} GPUs"
        found = f"{count} of NVIDIA on the PCI bus, without NVIDIA's driver"
        advice = "to train on it install the driver (Ubuntu: sudo ubuntu-drivers install), then restart"
        yield Check(name="gpu", status="note", found=found, advice=advice)


def _not_handed_on(machine: Machine) -> Iterator[Check]:
    """What to say in a container where none arrived: whether one was asked for, and whether there is one to be had."""
    if machine.has_nodes:
        found = "GPUs are here, and the driver's library libnvidia-ml.so.1 is not"
        advice = "NVIDIA_DRIVER_CAPABILITIES: compute,utility"
        yield Check(name="gpu runtime", status="note", found=found, advice=advice)
    elif not machine.cards and machine.module is None:
        if machine.asked:
            found = f"NVIDIA_VISIBLE_DEVICES is {machine.asked}, as in an image for GPUs, and the machine has none"
            advice = "a machine with a GPU; without one the image without CUDA is the smaller"
            yield Check(name="gpu", status="note", found=found, advice=advice)
    elif machine.asked:
        found = f"NVIDIA_VISIBLE_DEVICES is {machine.asked}, and no GPU arrived: the container runtime is not NVIDIA's"
        advice = f"on the machine: {TOOLKIT}; then {ASKING[machine.place]}"
        yield Check(name="gpu runtime", status="problem", found=found, advice=advice)
    else:
        value = machine.environment.get("NVIDIA_VISIBLE_DEVICES")
        why = "is not set" if value is None else f"is {value!r}"
        found = f"the machine has a GPU, and this container has not: NVIDIA_VISIBLE_DEVICES {why}"
        yield Check(name="gpu runtime", status="note", found=found, advice=ASKING[machine.place])


# Docker, where jobs in containers come from


def _docker(machine: Machine) -> Iterator[Check]:
    sockets = (machine.root / "var/run/docker.sock", machine.root / "run/docker.sock")
    socket = next(filter(_is_there, sockets), None)
    if socket is None:
        return
    if "DOCKER_HOST" not in machine.environment and not os.access(socket, os.W_OK, effective_ids=True):
        yield Check(
            name="docker",
            status="note",
            found="this user may not write to /var/run/docker.sock: a runner of this user can start no container",
            advice="sudo usermod -aG docker $USER, then log in again (the group is as mighty as root)",
        )
    if machine.cards or machine.module:
        yield _docker_runtime(machine)


def _docker_runtime(machine: Machine) -> Check:
    name, file = "docker runtime", machine.root / "etc/docker/daemon.json"
    try:
        settings = json.loads(_text(file) or "{}")
        runtimes = settings.get("runtimes") if isinstance(settings, dict) else None
    except ValueError as error:
        found = f"/etc/docker/daemon.json is no JSON ({error}), so Docker will not start again"
        return Check(name=name, status="note", found=found, advice="mend it, then sudo systemctl restart docker")
    if isinstance(runtimes, dict) and "nvidia" in runtimes:
        return Check(name=name, status="ok", found="Docker has the runtime nvidia")
    folders = [str(machine.root / each.lstrip("/")) for each in machine.environment.get("PATH", "").split(os.pathsep)]
    path = os.pathsep.join(folders)
    tools = [tool for tool in ("nvidia-container-runtime-hook", "nvidia-ctk") if shutil.which(tool, path=path)]
    has_cdi = any(True for each in ("etc/cdi", "var/run/cdi", "run/cdi") for _ in machine.root.glob(f"{each}/nvidia*"))
    if tools or has_cdi:
        found = "Docker can hand GPUs on by --gpus, and has no runtime nvidia, which GitLab's --docker-runtime names"
        return Check(name=name, status="note", found=found, advice=TOOLKIT)
    found = "Docker cannot hand the GPU on to containers: NVIDIA's container toolkit is not installed"
    return Check(name=name, status="note", found=found, advice=f"install nvidia-container-toolkit, then {TOOLKIT}")
