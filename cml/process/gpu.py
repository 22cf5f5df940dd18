"""NVIDIA's GPUs: which are here, and how much of them a stage uses. The only module that uses NVML.

NVML is the library of NVIDIA's driver for monitoring. Its Python binding (pynvml) is imported only when that library
can be loaded: on a machine without a GPU, a stage pays for one failed dlopen.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

LIBRARY = "libnvidia-ml.so.1"
INTERVAL_SECONDS = 0.25
START_TIMEOUT_SECONDS = 5.0
# Bytes. The windows of a desktop allocate and free less than this; a program that uses CUDA allocates more.
NOISE = 32 * 2**20
ErrorKind = Literal["no library", "no driver", "mismatch", "no permission", "other"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU or a MIG slice of one: memory in bytes, compute capability as (major, minor). None if NVML cannot tell."""

    name: str
    memory: int | None
    capability: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Driver:
    """NVIDIA's driver: its version, the newest CUDA that it supports as (major, minor), the GPUs that can be used."""

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, kw_only=True)
class GpuMeasurement:
    """What was used of the GPUs: their number, the peak memory in bytes of one, the mean utilization (0 to 1)."""

    devices: int
    peak_memory: int
    utilization: float | None


class NvmlError(Exception):
    """NVML does not work. The text is NVML's own."""

    def __init__(self, kind: ErrorKind, message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def has_library() -> bool:
    """Whether the driver's library can be loaded. NVIDIA's container runtime mounts it into containers."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def read_driver() -> Driver:
    """Returns the driver and the GPUs of this machine or container. Raises NvmlError."""
    with _open_nvml() as nvml:
        cuda = nvml.nvmlSystemGetCudaDriverVersion()
        return Driver(
            version=nvml.nvmlSystemGetDriverVersion(),
            # NVML's number of CUDA 12.4 is 12040.
            cuda=(cuda // 1000, cuda % 1000 // 10),
            gpus=tuple(_read_gpu(nvml, device) for device in _devices(nvml)),
        )


@contextmanager
def _open_nvml() -> Iterator[Any]:
    if not has_library():
        raise NvmlError("no library")
    import pynvml  # only on machines with a GPU

    kinds: dict[int, ErrorKind] = {
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
        raise NvmlError(kinds.get(error.value, "other"), str(error)) from error


def _devices(nvml: Any) -> Iterator[Any]:
    for index in range(nvml.nvmlDeviceGetCount()):
        with suppress(nvml.NVMLError):  # a GPU that fell off the bus, or that this user may not open
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            yield from _mig_slices(nvml, device) or (device,)


def _mig_slices(nvml: Any, device: Any) -> list[Any]:
    """The slices of a GPU that is divided by MIG (Multi-Instance GPU); an empty list for a whole GPU."""
    mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, device)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return []
    slices = []
    for index in range(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, device) or 0):
        with suppress(nvml.NVMLError):  # there is no slice with this index
            slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, index))
    return slices


def _read_gpu(nvml: Any, device: Any) -> Gpu:
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
    return Gpu(
        name=_ask(nvml, nvml.nvmlDeviceGetName, device) or "a GPU without a name",
        memory=memory.total if memory else None,
        capability=_ask(nvml, nvml.nvmlDeviceGetCudaComputeCapability, device),
    )


def _ask(nvml: Any, question: Callable[[Any], T], device: Any) -> T | None:
    """The answer to one question; None when this kind of GPU does not support it, or the GPU is lost."""
    try:
        return question(device)
    except nvml.NVMLError:
        return None


class GpuMonitor:
    """Samples the use of the GPUs in a thread, from `start` to `stop`. Never raises.

    It samples the memory of the devices, not of our processes: inside a container, NVML does not know the process IDs.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._has_started = threading.Event()
        self._must_stop = threading.Event()
        self._samples: list[_GpuSamples] = []

    def start(self) -> None:
        """Starts, if it has not started yet. Memory that is in use now belongs to other programs.

        Returns immediately where there is no GPU.
        """
        if self._thread or not has_library():
            return
        thread = threading.Thread(target=self._run, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # this machine allows no more threads
            return
        self._thread = thread
        # The first sample must be before the stage: it tells what other programs use.
        if not self._has_started.wait(START_TIMEOUT_SECONDS):  # a driver that hangs must not delay the stage
            self._must_stop.set()

    def stop(self) -> GpuMeasurement | None:
        """Stops and returns the measurement; None if no GPU was used for longer than an interval."""
        if self._thread is None:
            return None
        self._must_stop.set()
        self._thread.join(timeout=1.0)
        return _summarize([samples for samples in self._samples if samples.count_in_use])

    def _run(self) -> None:
        try:
            with _open_nvml() as nvml:
                samples = [_GpuSamples(nvml, device) for device in _devices(nvml)]
                if not self._must_stop.is_set():
                    self._samples = samples
                self._has_started.set()
                while not self._must_stop.wait(INTERVAL_SECONDS):
                    for each in samples:
                        each.add()
        except Exception:  # a broken driver must not fail a training; the samples so far are reported
            return
        finally:
            self._has_started.set()


class _GpuSamples:
    """The samples of one GPU.

    `count_in_use` and `utilization_in_use` (a sum) include the samples up to the last one with memory in use: after
    that, DVC works on the outputs of the stage.
    """

    def __init__(self, nvml: Any, device: Any) -> None:
        self.peak_memory = self.count_in_use = 0
        self.utilization_in_use: float | None = 0.0
        self._nvml = nvml
        self._device = device
        self._count = 0
        self._utilization: float | None = 0.0
        memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
        self._memory_of_others: int | None = memory.used if memory else None

    def add(self) -> None:
        """Takes one sample."""
        rates = _ask(self._nvml, self._nvml.nvmlDeviceGetUtilizationRates, self._device)
        memory = _ask(self._nvml, self._nvml.nvmlDeviceGetMemoryInfo, self._device)
        if memory is None or self._memory_of_others is None:
            return
        # Another program may end meanwhile: the smallest value is the best estimate of what others use.
        self._memory_of_others = min(self._memory_of_others, memory.used)
        self._count += 1
        if rates is None or self._utilization is None:  # a MIG slice has no utilization, for example
            self._utilization = None
        else:
            self._utilization += rates.gpu / 100
        used = memory.used - self._memory_of_others
        if used >= NOISE:
            self.peak_memory = max(self.peak_memory, used)
            self.count_in_use, self.utilization_in_use = self._count, self._utilization


def _summarize(used: list[_GpuSamples]) -> GpuMeasurement | None:
    if not used:
        return None
    # Without the utilization of one GPU, the mean of the others would be taken for that of all.
    sums = [samples.utilization_in_use for samples in used if samples.utilization_in_use is not None]
    count = sum(samples.count_in_use for samples in used)
    return GpuMeasurement(
        devices=len(used),
        peak_memory=max(samples.peak_memory for samples in used),
        utilization=sum(sums) / count if len(sums) == len(used) else None,
    )
