"""SSH remotes, against OpenSSH's sshd; passwords against asyncssh's server."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, project, refused, round_trip
from storage.ssh import PASSPHRASE, PASSWORD, USER, Host

ED25519, PEM = ("-t", "ed25519"), ("-t", "rsa", "-b", "2048", "-m", "PEM")


@pytest.mark.parametrize("options", [ED25519, PEM], ids=["openssh", "pem"])
@pytest.mark.parametrize("passphrase", ["", PASSPHRASE], ids=["plain", "passphrase"])
def test_a_private_key(ssh: Host, options: tuple[str, ...], passphrase: str, tmp_path: Path) -> None:
    key = ssh.key(*options, passphrase=passphrase)
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    env = {"DVC_SSH_PRIVATE_KEY": key, "DVC_SSH_PASSPHRASE": passphrase, "DVC_SSH_KNOWN_HOSTS": ssh.known_hosts}
    round_trip(world, {**env, "DVC_SSH_USER": ssh.user}, passphrase, key.splitlines()[4])


def test_a_password(ssh_with_password: Host, tmp_path: Path) -> None:
    host = ssh_with_password
    world = project(tmp_path, config(host.url))
    env = {"DVC_SSH_USER": USER, "DVC_SSH_PASSWORD": PASSWORD, "DVC_SSH_KNOWN_HOSTS": host.known_hosts}
    round_trip(world, env, PASSWORD)


def test_an_unknown_host_key(ssh: Host, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    said = refused(world, {"DVC_SSH_PRIVATE_KEY": ssh.key(*ED25519), "DVC_SSH_USER": ssh.user})
    assert f"set DVC_SSH_KNOWN_HOSTS to the output of `ssh-keyscan -p {ssh.port} 127.0.0.1`" in said


def test_a_changed_host_key(ssh: Host, ssh_with_password: Host, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    other = ssh_with_password.known_hosts.replace(str(ssh_with_password.port), str(ssh.port))
    env = {"DVC_SSH_PRIVATE_KEY": ssh.key(*ED25519), "DVC_SSH_USER": ssh.user, "DVC_SSH_KNOWN_HOSTS": other}
    said = refused(world, env)
    assert (
        f"DVC_SSH_KNOWN_HOSTS does not contain the current key of the host, which `ssh-keyscan -p {ssh.port} 127.0.0.1`"
        in said
    )


def test_a_key_that_is_not_authorized(ssh: Host, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    key = ssh.key(*ED25519)
    authorized = ssh.folder / "authorized_keys"
    authorized.write_text("".join(authorized.read_text().splitlines(keepends=True)[:-1]))
    env = {"DVC_SSH_PRIVATE_KEY": key, "DVC_SSH_USER": ssh.user, "DVC_SSH_KNOWN_HOSTS": ssh.known_hosts}
    assert "refuses DVC_SSH_PRIVATE_KEY" in refused(world, env, key.splitlines()[2])


@pytest.mark.parametrize("passphrase", ["", "open barley"])
def test_a_wrong_passphrase(ssh: Host, passphrase: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    env = {"DVC_SSH_PRIVATE_KEY": ssh.key(*ED25519, passphrase=PASSPHRASE), "DVC_SSH_USER": ssh.user}
    env |= {"DVC_SSH_KNOWN_HOSTS": ssh.known_hosts, "DVC_SSH_PASSPHRASE": passphrase}
    said = refused(world, env, passphrase)
    assert "DVC_SSH_PRIVATE_KEY" in said


def test_a_value_that_is_not_a_key(ssh: Host, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    env = {"DVC_SSH_PRIVATE_KEY": "/home/nobody/.ssh/id_rsa", "DVC_SSH_USER": ssh.user}
    said = refused(world, {**env, "DVC_SSH_KNOWN_HOSTS": ssh.known_hosts})
    assert "DVC_SSH_PRIVATE_KEY is neither the path of a file nor its content" in said


def test_a_wrong_password(ssh_with_password: Host, tmp_path: Path) -> None:
    host = ssh_with_password
    world = project(tmp_path, config(host.url))
    env = {"DVC_SSH_USER": USER, "DVC_SSH_PASSWORD": "incorrect horse", "DVC_SSH_KNOWN_HOSTS": host.known_hosts}
    assert "refuses DVC_SSH_PASSWORD" in refused(world, env, "incorrect horse")


def test_no_credentials(ssh: Host, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{ssh.url}/{tmp_path.name}"))
    said = refused(world, {"DVC_SSH_USER": ssh.user, "DVC_SSH_KNOWN_HOSTS": ssh.known_hosts})
    assert "set DVC_SSH_PRIVATE_KEY" in said
