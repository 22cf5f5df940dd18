"""Base classes of patches: changes of other packages at run time, which can be undone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

_INHERITED = object()


class Patch(ABC):
    """A change of another package. Also a context manager: installed inside, removed at the end.

    Patches that change the same attribute must be removed in the reverse order of their installation.
    """

    @abstractmethod
    def install(self) -> None:
        """Makes the change."""

    @abstractmethod
    def remove(self) -> None:
        """Undoes what `install` did."""

    def __enter__(self) -> None:
        self.install()

    def __exit__(self, *_: object) -> None:
        self.remove()


class Replacement(Patch):
    """A patch that replaces attributes of modules, classes or objects."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, str, Any]] = []

    @abstractmethod
    def replacements(self) -> list[tuple[Any, str, Any]]:
        """Returns (owner, name of the attribute, new value) of each. The attributes still have their old values."""

    def install(self) -> None:
        # vars() and not getattr(): getattr also finds what a base class has, and unwraps static and class methods.
        for owner, name, value in self.replacements():
            self._originals.append((owner, name, vars(owner).get(name, _INHERITED)))
            setattr(owner, name, value)

    def remove(self) -> None:
        while self._originals:
            owner, name, original = self._originals.pop()
            if original is _INHERITED:  # the owner had no attribute of its own
                delattr(owner, name)
            else:
                setattr(owner, name, original)
