"""Gives the inputs of a stage the hashes that are known without their data."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from dvc_data.hashfile.hash_info import HashInfo

from cml.process.patch import Patch

if TYPE_CHECKING:
    from dvc.dependency import Dependency
    from dvc.stage import Stage

    from cml.dvc.staleness import OutputIndex


class KnownHashes(Patch):
    """Sets `hash_name`, `hash_info` and `meta` of the dependencies of a stage, and replaces their `get_hash`.

    The key of the run cache is computed from them, and DVC would look at files that are not in the work tree. At the
    end each dependency is as it was: DVC compares what dvc.lock names with what is in the work tree. `install` raises
    DvcException where an input is missing.
    """

    def __init__(self, stage: Stage, outputs: OutputIndex) -> None:
        self._stage = stage
        self._outputs = outputs
        self._states: list[tuple[Dependency, dict[str, Any]]] = []

    def install(self) -> None:
        self._states = [(dep, dict(vars(dep))) for dep in self._stage.deps]
        try:
            for dep in self._stage.deps:
                if (value := self._outputs.hash_of(dep)) is None:
                    dep.save()
                    continue
                dep.hash_name, dep.hash_info = "md5", HashInfo("md5", value)
                # The hash that dvc.lock has for the input; DVC would write it over the other one.
                dep.meta = copy(dep.meta)
                dep.meta.md5 = None
                vars(dep)["get_hash"] = partial(getattr, dep, "hash_info")
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        for dep, state in self._states:
            vars(dep).clear()
            vars(dep).update(state)
