"""What was compiled: ABI and bytecode of a contract, read from the JSON that is shipped with it.

{"abi":[..],"bytecode":"0x..","compiler":"0.4.3+commit.bff19ea2","contract":"consortium","evm":"london",
 "optimize":"codesize","runtime_bytes":23159,"sources":{"consortium.vy":"8c2f..",..}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONTRACTS = ("ledger_signatures", "consortium")  # in the order in which they are deployed


@dataclass(frozen=True, slots=True)
class Artefact:
    """`bytecode` deploys (hex with 0x, constructor arguments follow); `sources` are SHA-256 digests by file name."""

    contract: str
    compiler: str
    evm: str
    optimize: str
    runtime_bytes: int
    sources: Mapping[str, str]
    abi: list[dict[str, Any]]
    bytecode: str

    def to_json(self) -> str:
        """The text of the shipped file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def load(contract: str) -> Artefact:
    """The shipped artefact of one of `CONTRACTS`."""
    return Artefact(**json.loads(path(contract).read_text(encoding="utf-8")))


def path(contract: str) -> Path:
    """Where the artefact lies."""
    return HERE / f"{contract}.json"
