"""What a party writes down when a peer's misbehaviour ends the run: evidence where there is proof, else an accusation.

DIR.partial/<party>/evidence/<kind>-<n>.json

    fork                   two heads of the peer's log that contradict each other
    malformed-ciphertext   what it sent as encrypted is no ciphertext
    bins-do-not-sum        its histogram is none of the rows that it was asked about     under `paillier`
    accusation             what it said and what is wrong with that: no proof for others

Evidence is checked before it is written, and readable by its owner only: to show that bins do not sum, the key holder
opens its rows, and with them labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.canonical import Json
from ledger.errors import LedgerError, NotConsistent
from ledger.evidence import check_evidence, closure, closure_evidence, fork_evidence, malformed_evidence, shown_message
from ledger.evidence.proven import write
from ledger.openings import prove_openings
from ledger.policy import Policy
from vfl.agreement import Agreement
from vfl.crypto.paillier_keys import PrivateKey
from vfl.desk import Desk
from vfl.errors import ProtocolError, VflError
from vfl.files import write_private
from vfl.notary import LedgerNotary
from vfl.protocols.boost import FeatureBins, NodeHistograms, NodeQuery, TrainingRows, TreeBlock
from vfl.transcripts import pick_received
from vfl.wire import M, Message, pack, unpack

FOLDER, ACCUSATION = "evidence", "accusation"
KEPT = frozenset({TrainingRows.__name__})
KEPT_TO_OPEN = frozenset(kind.__name__ for kind in (TrainingRows, TreeBlock, NodeQuery))
"""Own messages of a key holder that evidence shows the peer to have heard: in any case, and to open what they hold."""
_HEARD = frozenset(kind.__name__ for kind in (TrainingRows, TreeBlock, FeatureBins, NodeHistograms))


@dataclass(frozen=True)
class Case:
    """What one party knows when a peer's misbehaviour ends the run.

    folder: the party's own.   policy: the run's keys.   key: gives the private key of its histograms, if it has one.
    """

    folder: Path
    agreement: Agreement
    policy: Policy
    notary: LedgerNotary
    desk: Desk
    key: Callable[[], PrivateKey] | None


def accuse(case: Case, error: ProtocolError) -> None:
    """Write down what `error` shows against its peer; `error.remedy` then names file and what to do with it."""
    if error.peer in ("", case.desk.me):
        return
    kind, data = _strongest(case, error)
    folder = case.folder / FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / f"{kind}-{sum(1 for _ in folder.iterdir()) + 1}.json"
    write_private(file, data.decode())
    policy = case.folder.parent / "policy.txt"
    policy.write_text(str(case.policy), encoding="utf-8")
    where = f"{error.peer} is accused at {error.step}" if error.step else f"{error.peer} is accused"
    if kind == ACCUSATION:
        todo = "this is no proof for others; have the run audited: tallystick audit --help"
    else:
        todo = f"check it: python -m ledger verify-evidence {file} --policy {policy}"
    if kind == closure.KIND:
        todo += "\n         it opens gradients of customers, and with them labels: give it to an arbiter only"
    error.remedy = f"{where}: {file}\n         {todo}"


def _strongest(case: Case, error: ProtocolError) -> tuple[str, bytes]:
    """The first file that convicts the peer, with its kind; else the accusation."""
    for build in (_fork, _malformed_rows, _malformed_answer, _closure):
        try:
            data = build(case, error)
            found = check_evidence(data, case.policy)
        except (LedgerError, VflError, LookupError, StopIteration):
            continue  # the error is about something else, or the peer has not put its name to what it would take
        if found.party == error.peer:
            return found.kind, data
    return ACCUSATION, _accusation(case, error)


def _fork(case: Case, error: ProtocolError) -> bytes:
    if not isinstance(error.__cause__, NotConsistent):
        raise LookupError("no two heads")
    return fork_evidence(error.__cause__)


def _malformed_rows(case: Case, error: ProtocolError) -> bytes:
    """A block of rows, sent by the key holder."""
    heard = _heard(case, error.peer)
    key = next(_of(TrainingRows, heard))
    for slot in reversed(list(_of(TreeBlock, heard))):
        data = malformed_evidence(_shown(case, error.peer, slot, heard), _shown(case, error.peer, key, heard))
        try:
            check_evidence(data, case.policy)
        except LedgerError:
            continue
        return data
    raise LookupError("no block of rows is malformed")


def _malformed_answer(case: Case, error: ProtocolError) -> bytes:
    """An answer, sent to the key holder."""
    heard = _heard(case, error.peer)
    message, bins = _answer(error, heard), next(_of(FeatureBins, heard))
    slot, key = next(_own(case, error.peer, TrainingRows))
    scheme = _shown(case, error.peer, bins, heard) if key.scheme != "paillier" else None
    return malformed_evidence(_shown(case, error.peer, message, heard), _shown_own(case, error.peer, slot, key), scheme)


def _closure(case: Case, error: ProtocolError) -> bytes:
    if case.key is None:
        raise LookupError("no key of Paillier's scheme")
    peer, heard = error.peer, _heard(case, error.peer)
    slot, bins = _answer(error, heard), next(_of(FeatureBins, heard))
    answer = unpack(NodeHistograms, heard[slot])
    rows = list(_own(case, peer, TreeBlock))
    named, key = next(_own(case, peer, TrainingRows))
    asked, query = next(one for one in _own(case, peer, NodeQuery) if one[1].node == answer.node)
    private = case.key()
    width, n = private.public.cipher_bytes, private.public.n
    data = b"".join([*(block.rows for _, block in rows), *answer.sums])
    ciphertexts = [int.from_bytes(data[start : start + width], "big") for start in range(0, len(data), width)]
    plaintexts = [int(private.decrypt(c)) for c in ciphertexts]
    roots = prove_openings(n, private.root, ciphertexts, plaintexts)
    shown: dict[str, Json] = {
        "answer": _shown(case, peer, slot, heard),
        "bins": _shown(case, peer, bins, heard),
        "key": _shown_own(case, peer, named, key),
        "query": _shown_own(case, peer, asked, query),
    }
    blocks = [_shown_own(case, peer, at, block) for at, block in rows]
    return closure_evidence(case.agreement.encode().decode(), shown, blocks, plaintexts, roots)


def _accusation(case: Case, error: ProtocolError) -> bytes:
    """What there is: the reason, and the peer's word for its message if it gave one."""
    told: dict[str, Json] = {"party": error.peer, "slot": error.step, "reason": str(error.args[0])}
    try:
        told["statement"] = case.notary.word(error.peer, error.step)
    except (LedgerError, VflError):
        told["statement"] = None
    return write(ACCUSATION, told)


def _answer(error: ProtocolError, heard: dict[str, bytes]) -> str:
    """The slot of the answer that the error is about."""
    return next(slot for slot in _of(NodeHistograms, heard) if slot == error.step)


def _heard(case: Case, peer: str) -> dict[str, bytes]:
    """What evidence needs of the messages of `peer`, by slot, in order."""
    records = pick_received(case.folder / "transcript.bin", _HEARD)
    return {one.slot: one.body for one in records if one.peer == peer}


def _of(kind: type[Message], heard: dict[str, bytes]) -> Iterator[str]:
    """The slots of that kind."""
    return (slot for slot in heard if slot.split("/")[2] == kind.__name__)


def _own(case: Case, peer: str, kind: type[M]) -> Iterator[tuple[str, M]]:
    """Our messages of that kind to `peer`, by slot, in order."""
    at = f"/{kind.__name__}/{case.desk.me}>{peer}/"
    return ((slot, said) for slot, said in case.desk.kept.items() if at in slot and isinstance(said, kind))


def _shown(case: Case, peer: str, slot: str, heard: dict[str, bytes]) -> Json:
    return shown_message(case.notary.word(peer, slot), heard[slot])


def _shown_own(case: Case, peer: str, slot: str, message: Message) -> Json:
    return shown_message(case.notary.word(peer, slot), pack(message, case.desk.blind(slot)))
