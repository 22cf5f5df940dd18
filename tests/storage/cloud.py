"""The host names of the clouds, served on this machine: a CONNECT proxy, and TLS with a certificate of a test authority.

Libraries whose host names cannot be configured (Google's, Azure's) therefore run exactly as in production.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import selectors
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(kw_only=True)
class Cloud:
    """The proxy. `hosts` says which port here serves a host name: in plain HTTP, or by itself in TLS (`speaks_tls`) with
    the `certificate` (a PEM with its key). `refused` are names that were asked for and are not served.
    """

    url: str
    authority: Path
    certificate: Path
    hosts: dict[str, int] = field(default_factory=dict)
    speaks_tls: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The variables with which aiohttp, OpenSSL, requests and httplib2 find the proxy and trust it."""
        trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPLIB2_CA_CERTS"), str(self.authority))
        return {"HTTPS_PROXY": self.url, "https_proxy": self.url, "NO_PROXY": "127.0.0.1", **trusted}


@contextlib.contextmanager
def started(folder: Path, names: tuple[str, ...]) -> Iterator[Cloud]:
    """Runs the proxy in the block. The certificate is for `names`, which may begin with `*.`."""
    authority, certificate = _authority(folder, names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with _Proxy(context) as proxy:
        url = f"http://127.0.0.1:{proxy.server_address[1]}"
        cloud = Cloud(url=url, authority=authority, certificate=certificate)
        proxy.cloud = cloud
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield cloud
        finally:
            proxy.shutdown()


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    cloud: Cloud

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(("127.0.0.1", 0), _Tunnel)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that close the connection."""


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        asked = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            pass
        host = asked[1].partition(":")[0] if asked[:1] == ["CONNECT"] else " ".join(asked)
        port = self.server.cloud.hosts.get(host)
        if port is None:
            self.server.cloud.refused.append(host)
            self.wfile.write(b"HTTP/1.1 502 Not served here\r\nContent-Length: 0\r\n\r\n")
            return None
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            if host in self.server.cloud.speaks_tls:
                return _relay(self.connection, upstream)
            with self.server.context.wrap_socket(self.connection, server_side=True) as client:
                return _relay(client, upstream)


def _relay(client: socket.socket, upstream: socket.socket) -> None:
    """Copies bytes in both directions until one side closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, upstream)
        selector.register(upstream, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                while True:
                    data = source.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)
                    if not isinstance(source, ssl.SSLSocket) or not source.pending():
                        break


def _authority(folder: Path, names: tuple[str, ...]) -> tuple[Path, Path]:
    """Makes an authority and a certificate for the names; returns the files of the authority and of certificate and key."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' own authority")])
    root = _certificate(root_name, root_name, root_key.public_key(), is_authority=True)
    root_file, file = folder / "authority.pem", folder / "server.pem"
    signed = root.sign(root_key, hashes.SHA256())
    root_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    plain = _certificate(name, root_name, key.public_key(), is_authority=False)
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    alternative = x509.SubjectAlternativeName([*(x509.DNSName(each) for each in names), here])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = plain.add_extension(alternative, critical=False).add_extension(issuer, critical=False)
    file.write_bytes(
        leaf.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return root_file, file


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
