"""Compile the contracts again: `python -m vfl.settle.contract.build` writes the artefacts, `--check` compares them.

Needs the extra `chain`. The compiler's version, the target and the digests of the sources stand in each artefact; the
same sources give the same bytes in every folder.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from importlib import import_module  # the compiler is an extra
from pathlib import Path

from vfl.errors import UsageError
from vfl.settle.contract.artefact import CONTRACTS, HERE, Artefact, load, path

EVM = "london"  # what every consortium chain runs: no PUSH0, no transient storage
# The consortium must fit into 24,576 bytes (EIP-170); verifying a signature should be cheap.
OPTIMIZE = {"ledger_signatures": "gas", "consortium": "codesize"}


def build(contract: str, folder: Path = HERE) -> Artefact:
    """Compile `folder`/`contract`.vy; raises UsageError without the compiler."""
    try:
        vyper, compiler = import_module("vyper"), import_module("vyper.compiler")
        bundles, settings = import_module("vyper.compiler.input_bundle"), import_module("vyper.compiler.settings")
    except ImportError:
        raise UsageError("the Vyper compiler is missing", remedy="pip install 'tallystick[chain]'") from None
    bundle = bundles.FilesystemInputBundle([folder])
    level = settings.OptimizationLevel.from_string(OPTIMIZE[contract])
    made = compiler.compile_from_file_input(
        bundle.load_file(f"{contract}.vy"),
        input_bundle=bundle,
        output_formats=["abi", "bytecode", "bytecode_runtime"],
        settings=settings.Settings(evm_version=EVM, optimize=level),
    )
    sources = {source.name: sha256(source.read_bytes()).hexdigest() for source in sorted(folder.glob("*.vy"))}
    return Artefact(
        contract=contract,
        compiler=vyper.__long_version__,
        evm=EVM,
        optimize=OPTIMIZE[contract],
        runtime_bytes=len(made["bytecode_runtime"]) // 2 - 1,
        sources=sources,
        abi=made["abi"],
        bytecode=made["bytecode"],
    )


def main(arguments: list[str]) -> int:
    """Write the artefacts, or with `--check` say which differ; returns the exit code."""
    status = 0
    for contract in CONTRACTS:
        made = build(contract)
        if "--check" not in arguments:
            path(contract).write_text(made.to_json(), encoding="utf-8")
        same = load(contract) == made
        print(f"{contract:18} {made.runtime_bytes:6} bytes  {'as shipped' if same else 'DIFFERS from what is shipped'}")
        status |= not same
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
