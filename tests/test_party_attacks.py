"""Services under attack: forged, replayed and reordered calls, bombs, and thousands of sockets that say nothing."""

from __future__ import annotations

import random
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import msgspec
import pytest
from company_kit import Companies, companies
from services_kit import Parties, apart, assert_same, await_phase, between

from vfl.clock import SystemClock
from vfl.desk import MAX_FRAME
from vfl.errors import VflError
from vfl.net.client import Dialled
from vfl.net.server import Address, PartyServer
from vfl.net.tls import channel_credentials
from vfl.party.config import read_party_file
from vfl.party.opening import standing_of
from vfl.party.service import Service
from vfl.party.standing import Offer, Standing

# ---- calls -----------------------------------------------------------------------------------------------------------


def standing(made: Companies, name: str) -> Standing:
    return standing_of(read_party_file(made.party(name)), made.keys[name], SystemClock())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    return companies(tmp_path_factory.mktemp("companies"), port=17446)


@pytest.fixture(scope="module")
def service(made: Companies) -> Iterator[Service]:
    """The telecom's, with agreements, cards and keys as companies have them."""
    who = standing(made, "telecom")
    service = Service(who, SystemClock(), lambda event, **words: None)
    server = PartyServer(Address("127.0.0.2", 17446), who.tls, service)
    server.start()
    yield service
    service.stop()
    server.stop(0)


def here(folder: Path) -> dict[str, bytes]:
    """Everything that a party keeps of its runs."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def forgeries(made: Companies, chance: random.Random) -> Iterator[tuple[str, str, Callable[[Dialled], object]]]:
    """How a call was forged, who makes it, and the call: of peers with the right TLS keys and wrong words."""
    good = made.signed.read_bytes()
    files = [made.sign(made.agreement, *some).read_bytes() for some in ((), ("bank",), ("bank", "payroll"))]
    number = iter(range(10**9))

    def altered() -> bytes:
        at = chance.randrange(len(good))
        way = chance.randrange(4)
        if way == 0:
            return good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :]
        if way == 1:
            return good[:at]
        other = chance.randrange(len(good))
        start, end = sorted((at, other))
        return good[:start] + good[end:] if way == 2 else good[start:end] + good[:start] + good[end:]

    def new() -> str:
        return f"forged-{next(number)}"

    def named(call: Callable[[Dialled, str], object]) -> Callable[[Dialled], object]:
        run = new()
        return lambda there: call(there, run)

    def stream(run: str, attempt: int) -> Callable[[Dialled], object]:
        return lambda there: streamed(there, run, attempt)

    while True:
        for peer in ("bank", "payroll"):
            data, run = altered(), new()
            yield "altered", peer, lambda there, d=data, r=run: there.offer(Offer(r, d).encode())  # type: ignore[misc]
            data, run = chance.choice(files), new()
            yield "unsigned", peer, lambda there, d=data, r=run: there.offer(Offer(r, d).encode())  # type: ignore[misc]
            noise = chance.randbytes(chance.randrange(300))
            yield "noise", peer, lambda there, d=noise: there.offer(d)  # type: ignore[misc]
            whole = Offer(new(), good).encode()
            cut = whole[: chance.randrange(len(whole))]
            yield "cut", peer, lambda there, d=cut: there.offer(d)  # type: ignore[misc]
            yield "no such run", peer, stream(new(), chance.randrange(10**6))
            yield "ahead", peer, named(lambda there, r: there.log(r))
            yield "ended before it began", peer, named(lambda there, r: there.withdraw(r, "no"))
            yield "bundle of nothing", peer, named(lambda there, r: there.keep(r, b"PK"))
            yield "list of nothing", peer, named(lambda there, r: there.attest(r, b"0" * 64))
            # The run that waits at the telecom for its first attempt is the bank's, and has not come to its end.
            yield "too early", "bank", lambda there: there.log("waits")
            yield "too early", "bank", lambda there: there.attest("waits", b"")
            yield "too early", "bank", lambda there: there.keep("waits", b"")
            yield "replayed", "bank", stream("waits", 0)
            for call in (
                stream("waits", 1),
                lambda there: there.withdraw("waits", "no"),
                lambda there: there.offer(Offer("waits", good).encode()),
                named(lambda there, r: there.offer(Offer(r, good).encode())),
            ):
                yield "another's", "payroll", call


def streamed(there: Dialled, run: str, attempt: int) -> None:
    """Open a stream; raises what the peer answers."""
    ours, theirs = socket.socketpair()
    with ours:
        error = there.stream(run, attempt, theirs).ended(10.0)
    if error is not None:
        raise error


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_forged_call_is_heard(made: Companies, service: Service, count: int) -> None:
    """Whatever a peer with the right TLS key says out of turn, or in another's name, leaves nothing behind."""
    who = standing(made, "telecom")
    callers = {name: standing(made, name) for name in ("bank", "payroll")}
    calls = forgeries(made, random.Random(count))
    accepted = []
    with (
        Dialled("bank", callers["bank"].tls(), callers["bank"].trusted()["telecom"]) as bank,
        Dialled("payroll", callers["payroll"].tls(), callers["payroll"].trusted()["telecom"]) as payroll,
    ):
        bank.offer(Offer("waits", made.signed.read_bytes()).encode())
        before, ways = here(who.runs), set()
        assert before
        for _ in range(count):
            way, peer, call = next(calls)
            ways.add(way)
            with suppress(VflError):
                call(bank if peer == "bank" else payroll)
                accepted.append(way)
        assert len(ways) == 12
    assert accepted == []
    assert here(who.runs) == before
    assert service.begun == 0


# ---- sockets, bombs and floods, while a good run goes on -------------------------------------------------------------


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """Three parties; the telecom's service is a process of its own."""
    parties = Parties(tmp_path_factory.mktemp("parties"))
    with parties.serving("payroll"):
        process = apart(parties.folder, "serve", "telecom")
        parties.process = process  # type: ignore[attr-defined]
        while not (parties.folder / "telecom.address").exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield parties
        process.kill()
        process.wait()


def megabytes(parties: Parties) -> float:
    """What the telecom's service has in memory now."""
    process: subprocess.Popen[bytes] = parties.process  # type: ignore[attr-defined]
    words = Path(f"/proc/{process.pid}/status").read_text().split()
    return int(words[words.index("VmRSS:") + 1]) / 1024


@contextmanager
def half_open(parties: Parties, count: int) -> Iterator[list[int]]:
    """So many connections whose handshake never goes on; each that the service ends is opened again."""
    at, ended, opened = parties.listen("telecom"), threading.Event(), [0]

    def fresh() -> socket.socket:
        connection = socket.create_connection((at.host, at.port), timeout=5)
        connection.sendall(b"\x16\x03\x01"[: opened[0] % 4])
        connection.setblocking(False)
        opened[0] += 1
        return connection

    def gone(connection: socket.socket) -> bool:
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    silent = [fresh() for _ in range(count)]

    def keep() -> None:
        while not ended.wait(0.2):
            for number, connection in enumerate(silent):
                if gone(connection):
                    connection.close()
                    silent[number] = fresh()

    keeping = threading.Thread(target=keep, daemon=True)
    keeping.start()
    try:
        yield opened
    finally:
        ended.set()
        keeping.join()
        for connection in silent:
            connection.close()


@pytest.mark.slow
def test_a_thousand_half_open_sockets_hold_no_run_up(parties: Parties, tmp_path: Path) -> None:
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 4096:
        pytest.skip(f"this machine lets a process open {most} files; the test needs 4,096")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), most))
    before = megabytes(parties)
    with half_open(parties, 1_000) as opened:
        for number in range(3):
            parties.driving(f"among-silence-{number}").run(lambda line: None)
            assert parties.folder_of("bank", f"among-silence-{number}").status().attempt == 1
        deadline = time.monotonic() + 20
        while opened[0] < 2_500:
            assert time.monotonic() < deadline, "the service ends them"
            time.sleep(0.1)
        grown = megabytes(parties) - before
        assert grown < 150, f"{grown:.0f} MB for 1,000 strangers"
    assert_same(parties, "among-silence-2", tmp_path / "same")


@contextmanager
def unbounded(parties: Parties) -> Iterator[grpc.Channel]:
    """The bank's key, and none of our client's limits."""
    credentials, host = channel_credentials(parties.tls["bank"], parties.known["telecom"])
    options = [("grpc.ssl_target_name_override", host), ("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(str(parties.listen("telecom")), credentials, options) as channel:
        yield channel


def bombs() -> Iterator[tuple[str, bytes, grpc.Compression]]:
    """Calls that cost their maker little: method, bytes, and how they are packed."""
    plain, packed = grpc.Compression.NoCompression, grpc.Compression.Gzip
    deep = b"\x91" * 1_000_000
    yield "Offer", bytes(MAX_FRAME + 1), plain
    yield "Offer", bytes(3 << 20), plain
    yield "Offer", deep, plain
    yield "Offer", b"\xdd\xff\xff\xff\xff", plain  # an array of four billion
    yield "Offer", b"\xc6\xff\xff\xff\xff" + bytes(100), plain  # four gigabytes of bytes
    yield "Offer", msgspec.msgpack.encode({"type": "Offer", "run": "bomb", "agreement": b"[" * 1_000_000}), plain
    for method in ("Offer", "Keep", "Attest", "End", "Log"):
        yield method, bytes(80 << 20), packed
        yield method, bytes(MAX_FRAME - 100), plain


@pytest.mark.slow
def test_bombs_are_refused_and_memory_stays_flat(parties: Parties, tmp_path: Path) -> None:
    """Round after round, while a good run goes on beside it."""
    marks: list[float] = []
    metadata = (("tallystick-party", "bank"), ("tallystick-run", "bomb"))
    with unbounded(parties) as channel, ThreadPoolExecutor(1) as pool:
        running = pool.submit(parties.driving("bombed").run, lambda line: None)
        await_phase(parties.folder_of("bank", "bombed"), "bins")
        for _ in range(10):
            for method, data, packing in bombs():
                with pytest.raises(grpc.RpcError) as failed:
                    channel.unary_unary(f"/tallystick.Party/{method}")(
                        data, metadata=metadata, timeout=60, compression=packing
                    )
                code = failed.value.code().name
                if packing is grpc.Compression.Gzip:
                    assert code == "UNIMPLEMENTED", "it is not unpacked at all"
                else:
                    assert code in {"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "INVALID_ARGUMENT"}, failed
            marks.append(megabytes(parties))
        running.result(60)
    # The allocator keeps pieces for the next message, until it has enough of them. After that 25 messages of 64 MiB
    # come in: one of them that stayed would show.
    assert max(marks[7:]) - max(marks[2:5]) < MAX_FRAME / 2**20, marks
    assert parties.folder_of("bank", "bombed").status().attempt == 1
    assert_same(parties, "bombed", tmp_path / "same")


@pytest.mark.slow
def test_memory_is_flat_over_thousands_of_refused_calls(parties: Parties) -> None:
    own = parties.standing("bank")
    chance, marks = random.Random(1), []
    for _ in range(6):
        for _ in range(20):  # connections
            with Dialled("bank", own.tls(), own.trusted()["telecom"]) as there:
                for _ in range(50):
                    with suppress(VflError):
                        there.offer(chance.randbytes(50_000))
                        raise AssertionError("it was heard")
        marks.append(megabytes(parties))
    assert marks[-1] - marks[1] < 10, marks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["telecom", "bank"])
def test_keys_that_change_during_a_run_cost_it_nothing(tmp_path: Path, name: str) -> None:
    """Also where the pin that the run began with counts no more when the bundle is gathered."""
    parties = Parties(tmp_path)
    with (
        parties.serving("telecom"),
        parties.serving("payroll"),
        ThreadPoolExecutor(1) as pool,
        between(parties, "telecom", latency=0.03),
    ):
        running = pool.submit(parties.driving("rotated").run, lambda line: None)
        await_phase(parties.folder_of("bank", "rotated"), "psi")
        parties.change_keys(name, lambda: time.sleep(0.3))
        assert not running.done(), "it went on meanwhile"
        running.result(60)
    assert parties.folder_of("bank", "rotated").status().attempt == 1
    assert_same(parties, "rotated", tmp_path / "same")
