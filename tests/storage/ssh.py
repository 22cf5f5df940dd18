"""SSH servers: OpenSSH's sshd with its own keys, for the user who runs the tests; asyncssh's server, for passwords."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.servers import free_port, program, served

PASSPHRASE, USER, PASSWORD = "open sesame, please", "ada", "correct horse battery staple"
PACKAGE = "apt-get install openssh-server openssh-client"
SETTINGS = """\
ListenAddress 127.0.0.1
AuthorizedKeysFile {folder}/authorized_keys
HostKey {folder}/host_key
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host: its port, its line of known_hosts, and its files in `folder`."""

    port: int
    folder: Path
    known_hosts: str
    user: str

    @property
    def url(self) -> str:
        return f"ssh://127.0.0.1:{self.port}{self.folder}/data"

    def key(self, *options: str, passphrase: str = "") -> str:
        """Makes a key that may log in, with `ssh-keygen OPTIONS`; returns the private key."""
        file = self.folder / f"key-{len(list(self.folder.glob('key-*.pub')))}"
        _keygen(file, *options, passphrase=passphrase)
        with (self.folder / "authorized_keys").open("a") as authorized:
            authorized.write(file.with_suffix(".pub").read_text())
        return file.read_text()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Host]:
    sshd, port = program("sshd", PACKAGE), free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's service also makes it before it starts sshd
    _keygen(folder / "host_key", "-t", "ed25519")
    (folder / "authorized_keys").touch()
    (folder / "sshd_config").write_text(SETTINGS.format(folder=folder))
    command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config"), "-p", str(port)]
    with served(command, port, log=folder / "sshd.log"):
        yield Host(port=port, folder=folder, known_hosts=_scan(port), user=getpass.getuser())


@contextlib.contextmanager
def started_with_password(folder: Path) -> Iterator[Host]:
    """A host that accepts USER only with PASSWORD."""
    asyncssh: Any = importlib.import_module("asyncssh")

    class Door(asyncssh.SSHServer):  # type: ignore[misc]
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

    async def listen() -> Any:
        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.listen("127.0.0.1", 0, server_factory=Door, server_host_keys=[key], sftp_factory=True)

    async def close() -> None:
        server.close()
        await server.wait_closed()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(timeout=10)
    try:
        port = server.get_port()
        yield Host(port=port, folder=folder, known_hosts=_scan(port), user=USER)
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _keygen(file: Path, *options: str, passphrase: str = "") -> None:
    command = [program("ssh-keygen", PACKAGE), "-q", *options, "-N", passphrase, "-f", str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _scan(port: int) -> str:
    command = [program("ssh-keyscan", PACKAGE), "-p", str(port), "127.0.0.1"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
