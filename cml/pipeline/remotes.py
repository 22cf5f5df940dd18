"""The project's DVC remotes as they answer: one small read, and one write where asked."""

from __future__ import annotations

import contextlib
import secrets

from cml.pipeline.messages import one_line
from cml.pipeline.project import Pipeline


def probe(pipeline: Pipeline, name: str, *, with_write: bool) -> str | None:
    """Returns why a remote cannot be read (or written), as one line, or None where it can."""
    try:
        remote = pipeline.repo.cloud.get_remote(name)
        odb = remote.odb
        if with_write:
            oid = f"00{secrets.token_hex(15)}"
            odb.add_bytes(oid, b"cml doctor was here")
            odb.delete(oid)
        else:
            odb.fs.exists(odb.path)
            if odb.fs.protocol in ("http", "https"):
                # Over HTTP `exists` takes whatever goes wrong for a no.
                with contextlib.suppress(FileNotFoundError):
                    odb.fs.cat_file(odb.oid_to_path("0" * 32))
    except Exception as error:  # each storage's library raises its own
        return one_line(error)
    return None
