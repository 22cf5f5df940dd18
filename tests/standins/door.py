"""A door for tests in another process than the forge they talk to: its state as plain data, and its methods.

GET /_standin/state gives the state, POST /_standin/METHOD calls a method with the keyword arguments of its JSON body.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standins.web import Request, Response, json_response

PREFIX = "/_standin/"


def is_at_the_door(request: Request) -> bool:
    return request.path.startswith(PREFIX)


def open_door(forge: object, request: Request, dump: Callable[[], Any]) -> Response:
    """Answers a request at the door; `dump` makes the state."""
    name = request.path.rpartition("/")[2]
    if request.method == "GET":
        return json_response(plain(dump()))
    arguments = json.loads(request.body.read_all() or b"{}")
    return json_response(plain(getattr(forge, name)(**arguments) if name[0] != "_" else None))


def plain(thing: Any) -> Any:
    """Returns a thing as JSON can say it; bytes by their number."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return plain(dataclasses.asdict(thing))
    if isinstance(thing, dict):
        return {str(name): plain(one) for name, one in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(one) for one in thing]
    if isinstance(thing, bytes):
        return len(thing)
    return str(thing) if isinstance(thing, Path) else thing
