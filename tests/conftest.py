"""One thread a process, before numpy is imported: the suite's processes share the cores among themselves.

The products of a test are small: threads of OpenBLAS and of LightGBM that wait for the next one take the cores from the
other processes of the suite. The command line and the benchmarks set the same.
"""

import gc
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import vfl.net  # noqa: F401  # before any test loads grpc

gc.set_threshold(200_000, 50, 100)  # what tests leave behind is much and harmless: a twelfth of their time went there

for profile in ("quick", "thorough"):  # see tests/effort.py
    settings.register_profile(profile, deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage leaves out what untraced.txt names."""
    untraced = set(Path(__file__).with_name("untraced.txt").read_text("utf-8").splitlines())
    for item in items:
        test = item.nodeid.partition("[")[0].removeprefix("tests/")
        if not untraced.isdisjoint((test, test.partition("::")[0])):
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., object]:
    """Runs on the usual tables: a `run_kit.Runs`. Each scenario with each further words is run once."""
    from run_kit import Finished, here, scenario

    @cache
    def run(toml: str, *words: str) -> Finished:
        folder = tmp_path_factory.mktemp("finished")
        own = scenario(folder / "own", toml)
        said = here("run", own, "--out", folder / "run", *words)
        assert said.returncode == 0, said.stderr
        return Finished(own, folder / "run", said)

    return run
