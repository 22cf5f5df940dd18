"""Lets a test in another process read a stand-in's state and call its methods.

GET /_standin/state returns the state, POST /_standin/METHOD calls a method with the keyword arguments in its JSON body.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standins.web import CONTROL_PREFIX, Request, Response, json_response


def is_control_request(request: Request) -> bool:
    return request.path.startswith(CONTROL_PREFIX)


def answer_control_request(forge: object, request: Request, dump: Callable[[], Any]) -> Response:
    """Answers a control request; `dump` returns the state."""
    name = request.path.rpartition("/")[2]
    if request.method == "GET":
        return json_response(to_json(dump()))
    arguments = json.loads(request.body.read_all() or b"{}")
    return json_response(to_json(getattr(forge, name)(**arguments) if name[0] != "_" else None))


def to_json(value: Any) -> Any:
    """Returns a value in types that JSON has; bytes become their number."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(name): to_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if isinstance(value, bytes):
        return len(value)
    return str(value) if isinstance(value, Path) else value
