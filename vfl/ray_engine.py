"""A party's work on Ray (extra `ray`): cores of this machine, or a cluster that the party runs for itself.

Ray holds parts of rows in its object store, and on disk what does not fit; work goes to its processes and comes back.
What work is given can be secret (a mask, bins of customers), so a cluster is inside the party or is not used at all:
whoever is let in can run programs as the party. A Ray started here lets in who has its token alone, which is drawn for
it and stands in no file, keeps its files in a folder that nobody else can enter, and sends no statistics to anybody.
Its processes end with ours; its folder, if ours was killed, goes when the next one of this user starts.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from vfl.errors import TransportError, UsageError
from vfl.files import alone
from vfl.randomness import fresh_seed
from vfl.transport import LOOPBACK

R = TypeVar("R")
T = TypeVar("T")
STORE_BYTES = 256 << 20
"""The object store of a Ray started here; the rest is on disk."""
REACH_SECONDS = 5.0
"""Ray itself would try for minutes."""
_QUIET = {"log_to_driver": False, "configure_logging": False}
_MODE = "RAY_AUTH_MODE"
_PREFIX, _LOCK = "tally-", "lock"  # of our folders; the lock is held as long as the process lives
_joined: list[str | None] = []
"""The address of the Ray that this process is on, if it is on one: there can be no other."""


class RayEngine:
    """The engine `ray` (`engine.Engine`). Nothing starts before the first piece of work."""

    def __init__(self, partition_rows: int, address: str | None = None, workers: int | None = None) -> None:
        """`address`: HOST:PORT of a cluster; None: a Ray of our own with so many `workers`, by default all cores.

        Raises UsageError where Ray is not installed, or would let everybody in.
        """
        self.partition_rows = partition_rows
        self._address, self._workers = address, workers or os.cpu_count() or 1
        self._folder = ExitStack()
        self._began = False
        self._call: Any = None
        self._ray: Any = None
        if importlib.util.find_spec("ray") is None:
            raise UsageError(
                "the engine ray is not installed", remedy="pip install 'tallystick[ray]', or write kind = \"local\""
            )
        if address is not None and os.environ.get(_MODE) != "token":
            raise UsageError(
                f"{_MODE} is not set to token: a cluster without tokens, as at {address}, lets everybody in",
                remedy=f"start the cluster under {_MODE}=token, and set that and its RAY_AUTH_TOKEN_PATH here",
            )

    @property
    def ahead(self) -> int:
        """Two for each worker: one in work, one there already."""
        return 2 * self._workers

    def keep(self, value: T) -> T:
        self._begin()
        return cast(T, self._guarded(self._ray.put, value))  # a reference, which Ray replaces where work is done

    def start(self, work: Callable[..., R], *words: Any) -> Callable[[], R]:
        self._begin()
        reference = self._guarded(self._call.remote, work, *words)
        return lambda: cast(R, self._guarded(self._ray.get, reference))

    def close(self) -> None:
        """Leaves the cluster, or ends the Ray started here and removes its folder."""
        atexit.unregister(self.close)
        if self._call is None:
            return
        self._call = None
        if self._began:
            self._ray.shutdown()
            _joined.clear()
            self._began = False
        self._folder.close()

    def _begin(self) -> None:
        if self._call is not None:
            return
        if self._address is None and "ray" not in sys.modules:
            # Ray reads these when it is imported, and its processes have them from this one.
            os.environ |= {_MODE: "token", "RAY_AUTH_TOKEN": fresh_seed().hex(), "RAY_USAGE_STATS_ENABLED": "0"}
        self._ray = importlib.import_module("ray")
        if not self._ray.is_initialized():
            try:
                self._guarded(self._join if self._address else self._start_here)
            except BaseException:
                self._folder.close()
                raise
            self._began = True
            _joined[:] = [self._address]
            atexit.register(self.close)
        elif _joined != [self._address]:  # equal: another party of a simulation has begun, in this process
            raise UsageError(
                "this process is on another Ray already",
                remedy="start every party in a process of its own: --processes",
            )
        self._call = self._ray.remote(_call)

    def _start_here(self) -> None:
        _sweep()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # a short name: Ray puts sockets below it
        self._folder.callback(shutil.rmtree, folder, ignore_errors=True)
        self._folder.enter_context(alone(folder / _LOCK, f"{folder} is used by another process"))
        self._ray.init(
            address="local",
            num_cpus=self._workers,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            _node_ip_address=LOOPBACK,
            _temp_dir=str(folder / "ray"),  # Ray opens its own folder to all; ours around it stays closed
            **_QUIET,
        )

    def _join(self) -> None:
        assert self._address is not None
        host, _, port = self._address.rpartition(":")
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
        self._ray.init(address=self._address, **_QUIET)
        self._workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _guarded(self, step: Callable[..., Any], *words: Any) -> Any:
        """What `step` gives. An error of the work is raised as it is; one of Ray is nobody's fault."""
        try:
            return step(*words)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (self._ray.exceptions.RayError, OSError, RuntimeError) as error:
            said = str(error).strip().splitlines()
            raise TransportError(
                f"the engine ray at {self._address or 'this machine'}: {said[0] if said else type(error).__name__}",
                remedy='see to it and go on with --resume; kind = "local" does without',
            ) from None


def _sweep() -> None:
    """Removes what killed processes of this user left: parts of rows that had no room in memory may be in it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, UsageError):  # it just went, is still used, or is somebody else's
            if folder.lstat().st_uid == os.getuid() and (folder / _LOCK).exists():
                with alone(folder / _LOCK, "in use"):
                    shutil.rmtree(folder)


def _call(work: Callable[..., R], *words: Any) -> R:
    return work(*words)
