"""NVIDIA's GPUs, as NVML tells of them: what is here, and what a stage takes of it. The only place that speaks NVML.

The binding is imported only where the driver's library can be loaded: elsewhere a stage pays for one failed dlopen.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from cml.model.report import GpuUsage

LIBRARY = "libnvidia-ml.so.1"
INTERVAL_SECONDS = 0.25
PATIENCE_SECONDS = 5.0
NOISE = 32 * 2**20  # bytes; a desktop's windows come and go below this, and CUDA alone takes more
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU, or a slice of one (MIG). `memory` in bytes, `capability` as (major, minor), None where NVML tells none."""

    name: str
    memory: int | None
    capability: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Driver:
    """NVIDIA's driver: its version, the newest CUDA that it runs as (major, minor), the GPUs that can be used here."""

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


class NvmlFailed(Exception):
    """NVML does not answer. Its text is NVML's own."""

    def __init__(
        self, kind: Literal["no library", "no driver", "mismatch", "no permission", "other"], said: str = ""
    ) -> None:
        super().__init__(said)
        self.kind = kind


def has_library() -> bool:
    """Whether the driver's library can be loaded. A container has it where the container runtime hands GPUs on."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def read_driver() -> Driver:
    """Returns what NVML says of this machine, or of this container. Raises NvmlFailed."""
    with _nvml() as nvml:
        cuda = nvml.nvmlSystemGetCudaDriverVersion()
        return Driver(
            version=nvml.nvmlSystemGetDriverVersion(),
            cuda=(cuda // 1000, cuda % 1000 // 10),
            gpus=tuple(_gpu(nvml, device) for device in _devices(nvml)),
        )


@contextmanager
def _nvml() -> Iterator[Any]:
    if not has_library():
        raise NvmlFailed("no library")
    import pynvml

    kinds: dict[int, Literal["no library", "no driver", "mismatch", "no permission"]] = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no library",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "no driver",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "mismatch",
        pynvml.NVML_ERROR_NO_PERMISSION: "no permission",
    }
    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NvmlFailed(kinds.get(error.value, "other"), str(error)) from error


def _devices(nvml: Any) -> Iterator[Any]:
    for place in range(nvml.nvmlDeviceGetCount()):
        with suppress(nvml.NVMLError):  # one that fell off the bus, or that this user may not open
            device = nvml.nvmlDeviceGetHandleByIndex(place)
            yield from _slices(nvml, device) or (device,)


def _slices(nvml: Any, device: Any) -> list[Any]:
    """The slices of a GPU that is shared by MIG; none for a whole one."""
    mode = _told(nvml, nvml.nvmlDeviceGetMigMode, device)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return []
    found = []
    for place in range(_told(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, device) or 0):
        with suppress(nvml.NVMLError):  # a place that no slice has taken
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, place))
    return found


def _gpu(nvml: Any, device: Any) -> Gpu:
    memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
    return Gpu(
        name=_told(nvml, nvml.nvmlDeviceGetName, device) or "a GPU without a name",
        memory=memory.total if memory else None,
        capability=_told(nvml, nvml.nvmlDeviceGetCudaComputeCapability, device),
    )


def _told(nvml: Any, ask: Callable[[Any], T], device: Any) -> T | None:
    """The answer to one question; None where NVML has none for this kind of GPU, or the GPU has gone."""
    try:
        return ask(device)
    except nvml.NVMLError:
        return None


class Watch:
    """Looks now and then at what is taken of the GPUs, from `start` to `stop`, in a thread of its own. Never raises.

    It is the device's memory that is looked at, not that of our processes: a container's are unknown to NVML.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._is_begun = threading.Event()
        self._is_over = threading.Event()
        self._tallies: list[_Tally] = []

    def start(self) -> None:
        """Begins, once: what is taken by then is others'. Returns at once where there is no GPU."""
        if self._thread or not has_library():
            return
        thread = threading.Thread(target=self._look, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # this machine gives out no more threads
            return
        self._thread = thread
        if not self._is_begun.wait(PATIENCE_SECONDS):  # a driver that hangs: the stage is not to wait for it
            self._is_over.set()

    def stop(self) -> GpuUsage | None:
        """Ends. Returns what was taken, None where no GPU was used for longer than an interval."""
        if self._thread is None:
            return None
        self._is_over.set()
        self._thread.join(timeout=1.0)
        return _usage([tally for tally in self._tallies if tally.held])

    def _look(self) -> None:
        try:
            with _nvml() as nvml:
                tallies = [_Tally(nvml, device) for device in _devices(nvml)]
                if not self._is_over.is_set():
                    self._tallies = tallies
                self._is_begun.set()
                while not self._is_over.wait(INTERVAL_SECONDS):
                    for tally in tallies:
                        tally.add()
        except Exception:  # whatever becomes of a driver, it must not cost a training; what was seen so far is told
            return
        finally:
            self._is_begun.set()


class _Tally:
    """What was seen of one GPU. `held` and `busy` end with the last sample that found its memory taken: what follows
    is DVC's work on the stage's outputs.
    """

    def __init__(self, nvml: Any, device: Any) -> None:
        self.peak = self.held = 0
        self.busy: float | None = 0.0
        self._nvml = nvml
        self._device = device
        self._samples = 0
        self._sum: float | None = 0.0
        memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
        self._others: int | None = memory.used if memory else None

    def add(self) -> None:
        rates = _told(self._nvml, self._nvml.nvmlDeviceGetUtilizationRates, self._device)
        memory = _told(self._nvml, self._nvml.nvmlDeviceGetMemoryInfo, self._device)
        if memory is None or self._others is None:
            return
        self._others = min(self._others, memory.used)
        self._samples += 1
        # A slice, for one, has a memory and no utilization.
        self._sum = None if rates is None or self._sum is None else self._sum + rates.gpu / 100
        taken = memory.used - self._others
        if taken >= NOISE:
            self.peak = max(self.peak, taken)
            self.held, self.busy = self._samples, self._sum


def _usage(used: list[_Tally]) -> GpuUsage | None:
    if not used:
        return None
    sums = [tally.busy for tally in used if tally.busy is not None]
    return GpuUsage(
        devices=len(used),
        peak_memory=max(tally.peak for tally in used),
        utilization=sum(sums) / sum(tally.held for tally in used) if len(sums) == len(used) else None,
    )
