"""The rules of the house that no other tool keeps: sizes, forbidden calls, where randomness and time come from."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("vfl", "ledger", "scenarios") for path in (ROOT / package).rglob("*.py"))
MAX_FILE, MAX_FUNCTION, MAX_MEDIAN = 600, 60, 12  # lines
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "random"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
# Who may ask the operating system for randomness or the time: the seams, and what merely measures.
MAY_DRAW = {"vfl/randomness.py", "vfl/simulation.py", "ledger/witness_key.py"}
MAY_READ_TIME = {
    "vfl/clock.py", "vfl/commands.py", "vfl/notary.py", "vfl/processes.py", "vfl/progress.py", "vfl/stopwatch.py",
    "vfl/transport.py", "ledger/clock.py", "vfl/party/cancelling.py", "vfl/party/driving.py", "vfl/party/watching.py",
    "vfl/party/worker.py",
}  # fmt: skip
MAY_EXPOSE = ("vfl/crypto/", "vfl/protocols/", "vfl/secret.py")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    return tuple((name(path), ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_files_and_functions_are_small():
    lengths = []
    for path, tree in trees():
        assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= MAX_FILE, path
        for function in functions(tree):
            length = (function.end_lineno or 0) - function.lineno + 1
            lengths.append(length)
            assert length <= MAX_FUNCTION, f"{path}: {function.name} has {length} lines"
    assert statistics.median(lengths) <= MAX_MEDIAN


def imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_that_runs_code_from_data():
    for path, tree in trees():
        assert not imported(tree) & FORBIDDEN_MODULES, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
        assert "allow_pickle=True" not in (ROOT / path).read_text(encoding="utf-8"), path


def test_randomness_and_time_come_through_the_seams():
    for path, tree in trees():
        modules = imported(tree)
        if path not in MAY_DRAW:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert "secrets" not in modules, path
            assert not re.search(r"os\.urandom|uuid4|np\.random|numpy\.random|default_rng", text), path
        if path not in MAY_READ_TIME:
            assert "time" not in modules, path


def test_roles_await_nothing_but_channels():
    for path, tree in trees():
        if path.startswith("vfl/protocols/"):
            assert not imported(tree) & {"asyncio", "threading", "socket", "time", "os", "subprocess"}, path


def test_secrets_are_exposed_in_few_places():
    for path, _ in trees():
        if not path.startswith(MAY_EXPOSE):
            assert ".expose(" not in (ROOT / path).read_text(encoding="utf-8"), path


def test_everything_is_annotated_and_public_names_are_documented():
    for path, tree in trees():
        assert ast.get_docstring(tree) or path.endswith("__init__.py"), f"{path} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
                "_"
            ):
                assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


def test_every_type_ignore_gives_its_code():
    for path, _ in trees():
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
            assert not re.search(r"#\s*type:\s*ignore(?!\[)", line), f"{path}:{number}"


def test_each_default_is_written_once():
    """A parameter's default stands in its dataclass and nowhere else: no other signature or key repeats it."""
    from dataclasses import fields

    from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
    from vfl.learn.parameters import GBDTParameters

    kinds = (GBDTParameters, BinningParameters, SelectionParameters)
    distinct = {option.name for kind in kinds for option in fields(kind)} - {"objective", "seed", "scale"}
    for path, tree in trees():
        if path in ("vfl/learn/parameters.py", "vfl/learn/feature_parameters.py"):
            continue
        for function in functions(tree):
            spec = function.args
            defaulted = spec.args[len(spec.args) - len(spec.defaults) :] if spec.defaults else []
            keyword = [
                arg for arg, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if default is not None
            ]
            for argument in [*defaulted, *keyword]:
                repeated = argument.arg in distinct and argument.arg != "boost_from_average"
                assert not repeated, f"{path}: {function.name} repeats {argument.arg}"


@pytest.mark.parametrize("package", ["ledger"])
def test_the_ledger_needs_only_the_standard_library_and_cryptography(package):
    code = (
        f"import {package}, {package}.__main__, sys;"
        "allowed = set(sys.stdlib_module_names) | {'ledger', 'cryptography', '_cffi_backend', 'sitecustomize'};"
        "print(sorted(m for m in {n.partition('.')[0] for n in sys.modules} - allowed if not m.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import site; site.main(); {code}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    strangers = [
        m for m in ast.literal_eval(done.stdout) if not m.startswith("__editable__") and m != "distutils-precedence"
    ]
    assert strangers == []


def test_what_coverage_leaves_out_is_there():
    listed = (ROOT / "tests" / "untraced.txt").read_text(encoding="utf-8").splitlines()
    places = [line for line in listed if not line.startswith("#")]
    assert places == sorted(set(places))
    for place in places:
        file, _, test = place.partition("::")
        assert not test or f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), place
