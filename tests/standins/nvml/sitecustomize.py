"""NVIDIA's libnvidia-ml.so.1 on a machine that has none, below NVIDIA's own binding: a folder for PYTHONPATH.

The JSON file that CML_TEST_NVML names says what it answers, and is read at every question, so that a stage can "take"
a GPU's memory: {"init": 0, "seconds": 0, "driver": "535.54.03", "cuda": 12020, "gpus": [{"name", "total", "used",
"busy", "capability": [8, 6], "slices": [...]}]}. What a GPU lacks is Not Supported. {} is a machine without the library.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
NOT_SUPPORTED, NOT_FOUND, INVALID_ARGUMENT = 3, 6, 2
HUNDRED = 100  # slices are numbered behind their GPU


def machine() -> Any:
    return json.loads(Path(os.environ["CML_TEST_NVML"]).read_text())


def gpu(handle: Any) -> Any:
    number = ctypes.cast(handle, ctypes.c_void_p).value or 0
    place, piece = divmod(number, HUNDRED)
    whole = machine()["gpus"][place - 1]
    return whole["slices"][piece - 1] if piece else whole


def point(out: Any, number: int) -> int:
    ctypes.memmove(out, ctypes.byref(ctypes.c_void_p(number)), ctypes.sizeof(ctypes.c_void_p))
    return 0


def fill(out: Any, value: Any) -> int:
    if value is None:
        return NOT_SUPPORTED
    out._obj.value = value
    return 0


def init(_: int) -> int:
    time.sleep(machine().get("seconds", 0))
    return int(machine().get("init", 0))


def by_index(index: Any, out: Any) -> int:
    return NOT_FOUND if machine()["gpus"][index.value].get("is_lost") else point(out, (index.value + 1) * HUNDRED)


def name(handle: Any, out: Any, _: Any) -> int:
    out.value = gpu(handle)["name"].encode()
    return 0


def version(out: Any, _: Any) -> int:
    out.value = machine()["driver"].encode()
    return 0


def memory(handle: Any, out: Any) -> int:
    found = gpu(handle)
    if "total" not in found:
        return NOT_SUPPORTED
    out._obj.total, out._obj.used = found["total"], found["used"]
    out._obj.free = found["total"] - found["used"]
    return 0


def rates(handle: Any, out: Any) -> int:
    found = gpu(handle).get("busy")
    if found is None:
        return NOT_SUPPORTED
    out._obj.gpu = found
    return 0


def capability(handle: Any, major: Any, minor: Any) -> int:
    first, second = gpu(handle).get("capability") or (None, None)
    return fill(major, first) or fill(minor, second)


def mig_mode(handle: Any, current: Any, pending: Any) -> int:
    is_on = int("slices" in gpu(handle))
    return fill(current, is_on) or fill(pending, is_on)


def slice_of(handle: Any, index: Any, out: Any) -> int:
    number = ctypes.cast(handle, ctypes.c_void_p).value or 0
    if index.value >= len(gpu(handle)["slices"]):
        return NOT_FOUND
    return point(out, number + index.value + 1)


FUNCTIONS = {
    "nvmlInitWithFlags": init,
    "nvmlShutdown": lambda: 0,
    "nvmlSystemGetDriverVersion": version,
    "nvmlSystemGetCudaDriverVersion": lambda out: fill(out, machine()["cuda"]),
    "nvmlDeviceGetCount_v2": lambda out: fill(out, len(machine()["gpus"])),
    "nvmlDeviceGetHandleByIndex_v2": by_index,
    "nvmlDeviceGetName": name,
    "nvmlDeviceGetMemoryInfo": memory,
    "nvmlDeviceGetUtilizationRates": rates,
    "nvmlDeviceGetCudaComputeCapability": capability,
    "nvmlDeviceGetMigMode": mig_mode,
    "nvmlDeviceGetMaxMigDeviceCount": lambda _, out: fill(out, 7),
    "nvmlDeviceGetMigDeviceHandleByIndex": slice_of,
}


class Loader(ctypes.CDLL):
    """ctypes.CDLL, except for this one library."""

    def __new__(cls, name: Any, *_: Any, **__: Any) -> Any:
        if name != LIBRARY:
            return super().__new__(cls)
        if not machine():
            raise OSError(f"{LIBRARY}: cannot open shared object file: No such file or directory")
        return SimpleNamespace(**FUNCTIONS)


ctypes.CDLL = Loader  # type: ignore[misc]
