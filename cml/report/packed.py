"""The metrics of experiments in little memory: a report holds those of several, and each may have thousands."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

from cml.model.report import Name, Value

Places = dict[tuple[str, ...], dict[str, int]]


class Packed(Mapping[Name, Value]):
    """Metrics by (path, name), in their order; floats take eight bytes each. `places` says for the names of a file
    where each is among them: most files have the same names in every experiment, and keep them once.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Value]], *, places: Places) -> None:
        self._files: dict[str, tuple[int, dict[str, int]]] = {}
        self._floats = array("d")
        self._others: dict[int, Value] = {}
        for path, values in metrics.items():
            names, start = tuple(values), len(self._floats)
            if names not in places:
                places[names] = {name: place for place, name in enumerate(names)}
            self._files[path] = start, places[names]
            for place, value in enumerate(values.values(), start):
                if type(value) is float:
                    self._floats.append(value)
                else:
                    self._floats.append(0.0)
                    self._others[place] = value

    def __getitem__(self, name: Name) -> Value:
        start, places = self._files[name[0]]
        place = start + places[name[1]]
        return self._others[place] if place in self._others else self._floats[place]

    def __iter__(self) -> Iterator[Name]:
        return ((path, name) for path, (_, places) in self._files.items() for name in places)

    def __len__(self) -> int:
        return len(self._floats)
