"""A time-stamping authority of our own: certificates made here, answers by `openssl ts`, over HTTP on loopback."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
CONFIG = """\
[tsa]
default_tsa = it
[it]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def certificate(subject, key, issuer, issuer_key, valid, purpose=None):
    name = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    made = x509.CertificateBuilder(name[1], name[0], key.public_key(), x509.random_serial_number(), *valid)
    made = made.add_extension(x509.BasicConstraints(purpose is None, None), critical=True)
    if purpose is not None:
        made = made.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    return made.sign(issuer_key, hashes.SHA256())


class LocalAuthority:
    """`root` and `leaf` are PEM; `days`: from when to when the signing certificate is valid, counted from now."""

    def __init__(self, folder: Path, name="stamps", days=(-1, 30)):
        folder.mkdir()
        self.folder = folder
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        now = datetime.now(UTC)
        always, valid = ([now + timedelta(days=day) for day in pair] for pair in ((-900, 900), days))
        self.root = certificate(f"{name} root", root_key, f"{name} root", root_key, always).public_bytes(PEM)
        self.leaf = certificate(
            name, key, f"{name} root", root_key, valid, ExtendedKeyUsageOID.TIME_STAMPING
        ).public_bytes(PEM)
        secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files = {"leaf.pem": self.leaf, "root.pem": self.root, "key.pem": secret}
        for file, data in (files | {"tsa.cnf": CONFIG.encode(), "serial": b"01\n"}).items():
            (folder / file).write_bytes(data)

    def answer(self, query: bytes, *more: str) -> bytes:
        (self.folder / "query").write_bytes(query)
        words = ["openssl", "ts", "-reply", "-queryfile", "query", "-out", "answer", "-config", "tsa.cnf"]
        words += ["-inkey", "key.pem", "-signer", "leaf.pem", *more]
        subprocess.run(words, cwd=self.folder, capture_output=True, check=True)
        return (self.folder / "answer").read_bytes()


@contextmanager
def answering(answer, status=200, kind="application/timestamp-reply"):
    """An HTTP server that answers every POST with `answer(body)`; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.headers["Content-Type"] == "application/timestamp-query"
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tsr"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
