"""A witness over HTTP: the status codes of c2sp.org/tlog-witness, races, a killed process, evidence of forks."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ledger_kit import TickClock, identity, open_log

import ledger
from ledger import MemoryStore, SQLiteStore, Witness, slot_name
from ledger.__main__ import main
from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.errors import BadKey, BadSignature, WitnessError, WitnessRefused
from ledger.evidence import check_evidence
from ledger.note import Note, SignatureLine
from ledger.policy import Policy
from ledger.witness_client import WitnessClient, cosign_newest
from ledger.witness_http import MAX_BODY_BYTES, WitnessServer
from ledger.witness_key import create_witness_key, read_witness_key
from ledger.witness_service import TLOG_SIZE, AddCheckpoint, WitnessService

BANK, REGULATOR = identity("bank"), identity("regulator")
# c2sp.org/tlog-witness, the example request of add-checkpoint (its keys are not published).
REQUEST = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501
# The example answer: lines by three keys of two witnesses.
ANSWER = """— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
"""  # noqa: E501


def grow(log, number):
    for _ in range(number):
        n = len(log)
        slot = slot_name("train", n, "note", "bank", "bank")
        log.append(phase="train", round=n, step="note", slot=slot, dir="local", params={"n": n})
    return log.checkpoint()


def service_on(store, folder):
    return WitnessService(Witness(REGULATOR, store, TickClock()), [BANK.identity.verifying], store, folder / "evidence")


def request(old, proof, note):
    return str(AddCheckpoint(old, tuple(proof), Note.parse(note))).encode()


def head(size, root, signer=BANK, origin="bank/run-7"):
    return str(sign_checkpoint(Checkpoint(origin, size, root), signer.identity))


@contextmanager
def serving(service, prefix=""):
    server = WitnessServer(("127.0.0.1", 0), service, lambda reply: None, prefix)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_published_request_and_answer():
    parsed = AddCheckpoint.parse(REQUEST.encode())
    assert (parsed.old, len(parsed.proof), len(parsed.note.signatures)) == (20852014, 4, 2)
    assert str(parsed) == REQUEST
    assert "".join(str(SignatureLine.parse(line)) for line in ANSWER.splitlines(keepends=True)) == ANSWER


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("old 2", "old 02"),
        lambda t: t.replace("old 2", "old +2"),
        lambda t: t.replace("old ", "size "),
        lambda t: t.replace("kaw=\n", "kaw=\r\n"),
        lambda t: t.replace("kaw=", "kax="),
        lambda t: t.replace("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", "AAAA"),
        lambda t: t.replace("=\n\nexample", "=\nexample"),
        lambda t: t.replace("old 20852014\n", "old 20852014\n" + 60 * "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"),
    ],
)
def test_malformed_requests_are_400(change, tmp_path):
    assert change(REQUEST) != REQUEST
    assert service_on(MemoryStore(), tmp_path).add_checkpoint(change(REQUEST).encode()).status == 400


def test_status_codes(tmp_path):
    log, store = open_log("bank", MemoryStore()), MemoryStore()
    service = service_on(store, tmp_path)
    first = grow(log, 2)
    third = grow(log, 5)
    ask = service.add_checkpoint
    assert ask(REQUEST.encode()).status == 404
    assert ask(request(0, [], head(1, bytes(32), identity("eve"), "bank/run-7"))).status == 403
    broken = first.replace("— bank rmNz", "— bank rmNzAAAA")
    assert ask(request(0, [], broken)).status == 403
    assert ask(request(4, [], first)).status == 400
    assert ask(request(1, [], first)).status == 409
    assert ask(request(0, [bytes(32)], first)).status == 422
    assert ask(request(0, [], head(0, bytes(32)))).status == 422
    good = ask(request(0, [], first))
    assert (good.status, good.size) == (200, 3)
    assert good.body.startswith("— regulator/witness ")
    stale = ask(request(0, [], third))
    assert (stale.status, stale.body, stale.content_type) == (409, "3\n", TLOG_SIZE)
    assert ask(request(3, [bytes(32)], third)).status == 422
    assert ask(request(3, log.consistency_proof(3, 8), third)).status == 200
    assert ask(request(3, log.consistency_proof(3, 8), third)).body == "8\n"
    assert ask(request(8, [], third)).status == 200
    assert not service.evidence.exists()
    assert ask(request(8, [], head(8, bytes(32)))).status == 422
    assert store.peer_head("bank/run-7").size == 8


def test_a_fork_is_kept_as_evidence_even_when_the_proof_starts_elsewhere(tmp_path):
    log = open_log("bank", MemoryStore())
    service = service_on(MemoryStore(), tmp_path)
    service.add_checkpoint(request(0, [], grow(log, 3)))
    forged = head(4, bytes(32)) + str(SignatureLine("stranger", b"1234", b"x" * 64))
    assert service.add_checkpoint(request(2, [], forged)).status == 409
    (path,) = service.evidence.rglob("*.json")
    assert path == service.evidence / "bank/run-7/fork-4.json"
    assert b"stranger" not in path.read_bytes()
    proven = check_evidence(path.read_bytes(), Policy.of([BANK, REGULATOR]))
    assert (proven.party, proven.run) == ("bank", "run-7")


def test_a_failed_proof_accuses_nobody(tmp_path):
    log = open_log("bank", MemoryStore())
    service = service_on(MemoryStore(), tmp_path)
    service.add_checkpoint(request(0, [], grow(log, 3)))
    assert service.add_checkpoint(request(4, [bytes(32)], grow(log, 3))).status == 422
    assert not service.evidence.exists()


def test_client_and_log(tmp_path):
    log = open_log("bank", MemoryStore())
    with serving(service_on(MemoryStore(), tmp_path), "witness/v1") as server:
        client = WitnessClient(server.url, REGULATOR.witness.verifying)
        for number in (3, 1, 20):
            grow(log, number)
            assert cosign_newest(log, client) == len(log)
        again = WitnessClient(server.url, REGULATOR.witness.verifying)
        assert cosign_newest(log, again) == len(log)
        with pytest.raises(WitnessRefused, match="has cosigned 25 entries") as error:
            again.cosign(log.checkpoints()[0].note, log)
        assert error.value.size == len(log)
        with pytest.raises(BadSignature):
            WitnessClient(server.url, BANK.witness.verifying).cosign(log.checkpoints()[-1].note, log)
    notes = [Note.parse(saved.note) for saved in log.checkpoints()]
    assert [note.signatures[-1].name for note in notes] == 3 * ["regulator/witness"]
    with pytest.raises(WitnessError, match="cannot be asked"):
        cosign_newest(log, again)


def raw(server, data):
    with socket.create_connection(server.server_address[:2], timeout=5) as connection:
        connection.sendall(data)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.partition(b"\r\n")[0].decode()


def test_hostile_requests(tmp_path):
    with serving(service_on(MemoryStore(), tmp_path)) as server:
        post = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n"
        assert " 413 " in raw(server, post + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        assert " 411 " in raw(server, post + b"\r\n")
        assert " 411 " in raw(server, post + b"Transfer-Encoding: chunked\r\n\r\n")
        assert " 411 " in raw(server, post + b"Content-Length: -1\r\n\r\n")
        assert " 404 " in raw(server, b"POST /elsewhere HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert " 405 " in raw(server, b"GET /add-checkpoint HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("shared", [True, False])
def test_parallel_requests_never_cosign_contradicting_heads(shared, tmp_path):
    """Two histories that part after entry 4 are sent at once, in many sizes, to one or two services on one store."""
    logs = [open_log("bank", MemoryStore()), open_log("bank", MemoryStore())]
    requests = []
    for which, log in enumerate(logs):
        grow(log, 3)
        start = str(log.checkpoints()[-1].note)
        log.append(phase="x", round=0, step="x", slot="x", dir="local", params={"which": which})
        for _ in range(6):
            note = grow(log, 1)
            requests.append(request(4, log.consistency_proof(4, len(log)), note))
    stores = [SQLiteStore(tmp_path / "w.db") for _ in range(1 if shared else 2)]
    services = [service_on(store, tmp_path) for store in stores]
    assert services[0].add_checkpoint(request(0, [], start)).status in (200,)
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda n: services[n % len(services)].add_checkpoint(requests[n]), range(12)))
    for store in stores:
        store.close()
    statuses = sorted(int(reply.status) for reply in replies)
    assert statuses == [200] + 11 * [409]


SERVER = ["-m", "ledger", "witness", "--listen", "127.0.0.1:0", "--json"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(ledger.__file__).parent.parent)}


@contextmanager
def process(*arguments):
    command = [sys.executable, *SERVER, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True
    ) as one:
        try:
            yield one, json.loads(one.stdout.readline())
        finally:
            one.kill()


def test_nothing_cosigned_is_forgotten_when_the_process_is_killed(tmp_path, capsys):
    assert main(["witness", "new", "regulator", "--out", str(tmp_path / "w.key")]) == 0
    word, name, vkey = capsys.readouterr().out.split()
    key = read_witness_key(tmp_path / "w.key").witness.verifying
    assert (word, name, vkey) == ("witness", "regulator", key.vkey)
    arguments = ["--key", tmp_path / "w.key", "--store", tmp_path / "w.db", "--log", BANK.identity.verifying.vkey]
    log, cosigned = open_log("bank", MemoryStore()), 0
    for _ in range(2):
        with process(*arguments) as (server, said):
            client = WitnessClient(said["url"], key)
            for _ in range(3):
                grow(log, 1)
                cosigned = cosign_newest(log, client)
            server.send_signal(signal.SIGKILL)
            assert server.wait() == -signal.SIGKILL
        store = SQLiteStore(tmp_path / "w.db")
        assert store.peer_head("bank/run-7").size == cosigned
        store.close()
    with process(*arguments) as (server, said):
        with pytest.raises(WitnessRefused) as error:
            WitnessClient(said["url"], key).cosign(head(2, bytes(32)), log)
        assert error.value.size == cosigned
        server.terminate()
        assert server.wait(10) == 0


def test_submit_a_bundle_and_a_note(world, tmp_path, capsys):
    path = world.write(tmp_path / "run.bundle")
    store = MemoryStore()
    keys = [who.identity.verifying for who in world.people.values()]
    service = WitnessService(Witness(REGULATOR, store, TickClock()), keys, store, tmp_path)
    with serving(service) as server:
        answer = ["--witness", REGULATOR.witness.verifying.vkey]
        assert main(["witness", "submit", str(path), server.url, "--json", *answer]) == 0
        notes = json.loads(capsys.readouterr().out)["notes"]
        assert [open_checkpoint(n, world.logs[p].key).head.origin for p, n in zip(world.logs, notes, strict=True)]
        assert all("— regulator/witness" in note for note in notes)
        (tmp_path / "head").write_text(world.logs["bank"].checkpoints()[0].note)
        assert main(["witness", "submit", str(tmp_path / "head"), server.url, *answer]) == 1
        assert "set back" in capsys.readouterr().err


def test_key_files(tmp_path):
    key = create_witness_key(tmp_path / "k", "regulator")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert read_witness_key(tmp_path / "k").witness.verifying == key.witness.verifying
    with pytest.raises(BadKey, match="exists"):
        create_witness_key(tmp_path / "k", "regulator")
    text = (tmp_path / "k").read_text()
    for wrong in (text[:-5] + "\n", text.replace("regulator", "other"), "x", text + "x"):
        (tmp_path / "k").write_text(wrong)
        with pytest.raises(BadKey):
            read_witness_key(tmp_path / "k")
    (tmp_path / "k").write_text(text)
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(BadKey, match="others may read"):
        read_witness_key(tmp_path / "k")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needs --key"),
        (["--listen", "0.0.0.0:1"], "--public"),
        (["--listen", "witness.example:1"], "--public"),
        (["--listen", "nowhere"], "no HOST:PORT"),
    ],
)
def test_refusals_of_the_command(arguments, says, tmp_path, capsys):
    more = ["--key", "k", "--store", "s", "--log", "v"] if arguments else []
    assert main(["witness", *more, *arguments]) == 1
    assert says in capsys.readouterr().err
