"""The base of all patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Patch(ABC):
    """A change of DVC at run time, which can be undone. Also a context manager: installed inside, removed at the end.

    Patches that change the same function are removed in the reverse order of their installation.
    """

    @abstractmethod
    def install(self) -> None:
        """Changes DVC."""

    @abstractmethod
    def remove(self) -> None:
        """Restores what `install` replaced."""

    def __enter__(self) -> None:
        self.install()

    def __exit__(self, *_: object) -> None:
        self.remove()


class Replacement(Patch):
    """A patch that replaces attributes of modules or objects; `replacements` returns (owner, name, new value) of each.

    Only an attribute that is in the owner's own namespace is put back; one that it inherited is deleted again.
    """

    def __init__(self) -> None:
        self._originals: list[tuple[Any, str, Any]] = []

    @abstractmethod
    def replacements(self) -> list[tuple[Any, str, Any]]:
        """Returns what to replace, and the values from before, which `install` keeps, are still in place."""

    def install(self) -> None:
        for owner, name, value in self.replacements():
            self._originals.append((owner, name, vars(owner).get(name, _INHERITED)))
            setattr(owner, name, value)

    def remove(self) -> None:
        while self._originals:
            owner, name, original = self._originals.pop()
            if original is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


_INHERITED = object()
