"""What is shipped is what the sources say, and runs without a compiler."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from vfl.settle.contract.artefact import CONTRACTS, HERE, Artefact, load
from vfl.settle.contract.build import EVM, build, main

CODE_LIMIT = 24_576  # EIP-170


@pytest.mark.parametrize("contract", ["ledger_signatures", pytest.param("consortium", marks=pytest.mark.slow)])
def test_the_sources_give_the_shipped_bytes_in_any_folder(contract, tmp_path):
    pytest.importorskip("vyper", reason="needs tallystick[chain]")
    for source in HERE.glob("*.vy"):
        shutil.copy(source, tmp_path)
    assert build(contract, tmp_path) == load(contract)


@pytest.mark.parametrize(("bytecode", "status", "words"), [(None, 0, "as shipped"), ("0x00", 1, "DIFFERS")])
def test_the_command_says_what_differs(monkeypatch, capsys, bytecode, status, words):
    def made(name: str) -> Artefact:
        return replace(load(name), bytecode=bytecode or load(name).bytecode)

    monkeypatch.setattr("vfl.settle.contract.build.build", made)
    assert main(["--check"]) == status
    assert capsys.readouterr().out.count(words) == len(CONTRACTS)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_artefacts_fit_the_chain_and_name_their_sources(contract):
    artefact = load(contract)
    assert artefact.evm == EVM == "london"
    assert artefact.runtime_bytes <= CODE_LIMIT
    assert artefact.sources == {p.name: sha256(p.read_bytes()).hexdigest() for p in HERE.glob("*.vy")}


def test_loading_needs_neither_compiler_nor_chain():
    code = (
        "import sys; import vfl.settle.contract.artefact as a, vfl.settle.contract.typed;"
        "a.load('consortium'); print(sorted({'vyper', 'pyrevm', 'eth_account', 'web3', 'eth_abi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    from vfl.errors import UsageError

    monkeypatch.setitem(sys.modules, "vyper", None)
    with pytest.raises(UsageError) as error:
        build("consortium")
    assert "tallystick[chain]" in error.value.remedy
