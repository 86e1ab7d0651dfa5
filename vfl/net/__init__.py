"""Runs across networks: gRPC streams of plain frames over TLS 1.3 with pinned certificates. Knows no message.

    pins     by what a certificate is known
    tls      certificates that count, and what gRPC is given of them
    client   the dialling side: offers, and a stream that ends in a socket
    server   the listening side: who calls, and a stream that ends in a socket
    pump     moves frames between a stream and a socket

A role is driven over sockets as on one machine (`vfl.transport`); the other end of each socket is a stream here.
"""

from __future__ import annotations

import os
import sys

_ONLY = {
    # gRPC has no lowest TLS version to be told, so TLS 1.2 is left only a cipher that needs an RSA key, which no party
    # has: a handshake below 1.3 finds none.
    "GRPC_SSL_CIPHER_SUITES": "ECDHE-RSA-AES256-GCM-SHA384",
    "GRPC_VERBOSITY": "NONE",  # its own lines on stderr would break the structured log
}
if "grpc" in sys.modules and any(os.environ.get(key) != value for key, value in _ONLY.items()):
    # It read its environment when it was loaded, and would speak TLS 1.2.
    raise ImportError("vfl.net has to be imported before grpc")
os.environ.update(_ONLY)
