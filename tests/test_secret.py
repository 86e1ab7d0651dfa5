"""A secret refuses every ordinary way out; `expose` is the only one."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from vfl.secret import Secret

VALUE = "4929-the-value"
REFUSALS: dict[str, Callable[[Secret[str]], Any]] = {
    "format": format,
    "format with a spec": lambda secret: f"{secret:>20}",
    "equal": lambda secret: secret == secret,
    "not equal": lambda secret: secret != VALUE,
    "hash": hash,
    "as a key": lambda secret: {secret: 1},
    "pickle": pickle.dumps,
    "old pickle": lambda secret: pickle.dumps(secret, protocol=0),
    "copy": copy.copy,
    "deepcopy": lambda secret: copy.deepcopy([secret]),
    "json": json.dumps,
    "msgspec": msgspec.msgpack.encode,
    "vars": vars,
    "truth": bool,
    "attributes of its own": lambda secret: setattr(secret, "note", 1),
}


@pytest.mark.parametrize("way", REFUSALS)
def test_a_secret_refuses(way: str) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        REFUSALS[way](Secret(VALUE))
    assert VALUE not in str(caught.value)


def test_a_secret_shows_a_fixed_text() -> None:
    """An error instead would leave every traceback through it unreadable."""
    secret = Secret(VALUE)
    assert repr(secret) == str(secret) == f"{secret!r}" == "Secret(<hidden>)"
    assert repr([secret]) == "[Secret(<hidden>)]"


def test_logs_and_tracebacks_stay_readable() -> None:
    stream = io.StringIO()
    log = logging.Logger("test")
    log.addHandler(logging.StreamHandler(stream))
    log.error("key: %s %r", Secret(VALUE), Secret(VALUE))
    try:
        raise ValueError(Secret(VALUE))
    except ValueError:
        stream.write(traceback.format_exc())
    assert stream.getvalue().count("Secret(<hidden>)") == 3
    assert VALUE not in stream.getvalue()


def test_expose_is_the_way_out() -> None:
    value = [1, 2]
    assert Secret(value).expose() is value
