"""Runs across networks: gRPC streams of plain frames over TLS 1.3 with pinned certificates. Knows no message.

    tls      certificates, pins, what gRPC is given of them
    client   the dialling side: offers, and a stream that ends in a socket
    server   the listening side: who calls, and a stream that ends in a socket
    pump     moves frames between a stream and a socket

A role is driven over sockets as on one machine (`vfl.transport`); the other end of each socket is a stream here.
"""

from __future__ import annotations

import os

# Before gRPC is loaded. Its interface has no lowest TLS version, so TLS 1.2 is left only ciphers that need an RSA key,
# which no party has: a handshake below 1.3 finds no cipher. `tls.require_1_3` checks that it is so.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on stderr would break the structured log
