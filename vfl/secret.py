"""`Secret`: a value that may not be shown. One exit, `.expose()`, which a reviewer can grep for."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
_REFUSAL = "a secret cannot be {}: call .expose() where the value is really needed"


class Secret(Generic[T]):
    """Holds one value; `repr`, `str`, `format`, `==`, `hash`, copying, pickling and `vars` are refused.

    `repr` gives a fixed text rather than an error, so that tracebacks and debuggers stay usable.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def expose(self) -> T:
        """The value. Allowed in `crypto/`, `protocols/` and where a key file is written."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(<hidden>)"

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError(_REFUSAL.format("formatted"))

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(_REFUSAL.format("compared"))

    def __hash__(self) -> NoReturn:
        raise TypeError(_REFUSAL.format("hashed"))

    def __reduce__(self) -> NoReturn:
        raise TypeError(_REFUSAL.format("pickled"))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(_REFUSAL.format("pickled"))

    def __copy__(self) -> NoReturn:
        raise TypeError(_REFUSAL.format("copied"))

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError(_REFUSAL.format("copied"))

    def __bool__(self) -> NoReturn:
        raise TypeError(_REFUSAL.format("tested"))
