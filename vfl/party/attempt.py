"""One attempt of one party at a run: its process, and an end of a socket for each peer."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from vfl.errors import TransportError, VflError
from vfl.net.pump import hang_up
from vfl.processes import told_error

GRACE = 10.0  # seconds in which a process ends by itself once its peers have gone


class Attempt:
    """A running process that plays the party's role; what it says to a peer comes out of `ends[peer]`."""

    def __init__(self, root: Path, party: str, identity_seed: bytes, peers: Sequence[str], timeout: float) -> None:
        """`root`: the run's folder. `timeout`: seconds without any word after which the process gives up."""
        pairs = {peer: socket.socketpair() for peer in peers}
        self.ends = {peer: ours for peer, (ours, _) in pairs.items()}
        theirs = {peer: their.fileno() for peer, (_, their) in pairs.items()}
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `end`
        self._cries = tempfile.TemporaryFile()  # noqa: SIM115
        # Our own interpreter and module, and no shell.
        self._reading = threading.Lock()  # its files are not closed while somebody reads them
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "vfl.party.worker", str(root), party, str(timeout)],
            stdin=subprocess.PIPE,
            stdout=self._out,
            stderr=self._cries,
            pass_fds=tuple(theirs.values()),
        )
        for _, their in pairs.values():
            their.close()
        given = json.dumps({"identity": identity_seed.hex(), "ends": theirs})
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died already: `outcome` says of what
            self._process.stdin.write(given.encode() + b"\n")
            self._process.stdin.flush()

    def ended(self, timeout: float) -> bool:
        """Wait for the end so many seconds; whether it came."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def outcome(self) -> VflError | None:
        """Why it ended; None if all is well. One that does not end by itself is ended."""
        if not self.ended(GRACE):
            self._process.kill()
        code = self._process.wait()
        if code == 0:
            return None
        with self._reading:
            return self._said(code)

    def _said(self, code: int) -> VflError:
        if self._out.closed:
            return TransportError("the attempt was ended")
        self._out.seek(0)
        with contextlib.suppress(ValueError, KeyError, IndexError):
            return told_error(json.loads(self._out.read().splitlines()[-1]))
        self._cries.seek(0)
        said = self._cries.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return TransportError(f"the process of this party {how}: {said[-1] if said else 'it said nothing'}")

    def kill(self) -> None:
        """Stop the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Stop it, and leave nothing of it behind."""
        self.kill()
        for end in self.ends.values():
            hang_up(end)
            end.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with self._reading:
            self._out.close()
            self._cries.close()
