"""The ledger stands on the standard library and `cryptography` only."""

import ast
import subprocess
import sys
from pathlib import Path

import ledger

HOUSE = Path(ledger.__file__).parent
EXTRAS = {"authority.py": {"rfc3161_client"}, "postgres.py": {"psycopg"}}  # not imported unless it is used


def test_import_pulls_in_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import ledger, ledger.__main__; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=HOUSE.parent, capture_output=True, text=True, check=True)
    foreign = {name for name in run.stdout.split() if name not in sys.stdlib_module_names}
    assert foreign - {"_cffi_backend", "_openssl"} <= {"ledger", "cryptography"}


def test_sources_import_nothing_else():
    for path in HOUSE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tops = {name.partition(".")[0] for name in names}
            extra = EXTRAS.get(path.name, set())
            assert tops <= set(sys.stdlib_module_names) | {"ledger", "cryptography"} | extra, path.name


def test_sizes():
    for path in HOUSE.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 400, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path.name} {node.name}"


def test_public_names_have_docstrings():
    for name in ledger.__all__:
        thing = getattr(ledger, name)
        assert name == "Direction" or thing.__doc__, name
