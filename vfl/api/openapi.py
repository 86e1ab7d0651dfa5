"""The OpenAPI 3.1 document: made from the table of operations and from the types that decode and encode.

Every example can be sent as it stands: those of features are made from the model that decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from vfl import __version__
from vfl.api.keys import SCOPES
from vfl.api.operation import Operation
from vfl.api.problems import KINDS, MEDIA, Problem, ProblemBody
from vfl.api.scoring import Results
from vfl.scoring.answers import Decision, Refused

_REF = "#/components/schemas/{name}"
_ABOUT = """Joint credit decisions, with reasons, on the record.

All JSON is decoded strictly: `true` and `"1"` are no numbers, unknown fields and numbers that are not finite are
refused. Errors are problem JSON (RFC 9457) with a stable `code`, and repeat nothing of the request. A request with an
`Idempotency-Key` can be sent again: the same key gives the same decision and one entry on the ledger."""
_EVERY = ("malformed-request", "malformed-header", "internal", "head-too-large")
_ADMITTED = ("unauthorized", "not-permitted", "too-many-requests")
_BODIES = ("malformed-json", "body-too-large", "unsupported-media-type", "invalid-request", "not-finite")
_WORDS = {200: "Done.", 202: "Begun, and not done yet.", 400: "Refused.", 401: "Refused.", 503: "Not ready."}
_FORM = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"const": "client_credentials"},
        "scope": {"type": "string", "description": "Some of the key's scopes, with a space between."},
        "client_id": {"type": "string", "description": "The id of a key, unless HTTP Basic names it."},
        "client_secret": {"type": "string", "description": "The whole key."},
    },
}


def document(operations: Sequence[Operation], authenticates: bool) -> dict[str, Any]:
    """The whole document."""
    schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, authenticates)
    body: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Tallystick scoring", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if authenticates:
        body["components"]["securitySchemes"] = _security()
    return body


def _security() -> dict[str, Any]:
    flow = {"tokenUrl": "/oauth2/token", "scopes": dict(SCOPES)}
    return {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, or a token."},
        "oauth2": {"type": "oauth2", "flows": {"clientCredentials": flow}},
        "certificate": {"type": "mutualTLS"},
    }


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    kinds = [
        kind for each in operations for kind in (each.body, each.answer, *each.others.values()) if kind is not None
    ]
    # A type once: the order in which they are met, so that the document is the same every time.
    found = msgspec.json.schema_components(
        [*dict.fromkeys([*kinds, ProblemBody, Decision, Refused])], ref_template=_REF
    )[1]
    schemas: dict[str, Any] = found
    if Results in kinds:
        either = {"oneOf": [_ref(Decision), _ref(Refused)]}
        schemas[Results.__name__]["properties"]["results"]["items"] = either
    return schemas


def _ref(kind: Any) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _operation(each: Operation, authenticates: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": each.name,
        "summary": each.about,
        "parameters": [*_of_path(each), *_of_query(each), *_of_header(each)],
        "responses": _responses(each, authenticates),
    }
    if each.body is not None:
        content: dict[str, Any] = {"schema": _ref(each.body)}
        if each.examples:
            content["examples"] = {name: {"value": msgspec.to_builtins(value)} for name, value in each.examples.items()}
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    elif each.name == "token":
        found["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _FORM}}}
    if each.scopes and authenticates:
        found["security"] = [{"key": []}, *({"oauth2": [scope]} for scope in sorted(each.scopes)), {"certificate": []}]
        found["description"] = f"Needs the scope {' or '.join(sorted(each.scopes))}."
    return found


def _of_path(each: Operation) -> list[dict[str, Any]]:
    names = [part.partition("}")[0] for part in each.path.split("{")[1:]]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _of_query(each: Operation) -> list[dict[str, Any]]:
    if each.query is None:
        return []
    schema = msgspec.json.schema(each.query)["$defs"][each.query.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": one} for name, one in schema["properties"].items()
    ]


def _of_header(each: Operation) -> list[dict[str, Any]]:
    if not each.idempotent:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    about = "The caller's own name for this very request: sent again with it, it gives the same answer."
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema, "description": about}]


def _responses(each: Operation, authenticates: bool) -> dict[str, Any]:
    """What may come back, by status; where an answer and a problem share one, by media type."""
    schema = {"type": "string"} if each.answer is None else _ref(each.answer)
    of_status = dict.fromkeys(each.status, schema) | {status: _ref(kind) for status, kind in each.others.items()}
    found = {
        str(status): {"description": _WORDS[status], "content": {each.media: {"schema": one}}}
        for status, one in of_status.items()
    }
    for status, problem in _problems(_codes(each, authenticates)).items():
        if status in found:
            found[status]["content"] |= problem["content"]
        else:
            found[status] = problem
    return found


def _codes(each: Operation, authenticates: bool) -> Iterable[str]:
    codes = {*_EVERY, *each.problems, *(() if authenticates else ("wrong-host",))}
    if each.scopes and authenticates:
        codes.update(_ADMITTED)
    if each.body is not None:
        codes.update(_BODIES)
    if each.method != "GET":
        codes.add("cross-origin")
    if each.query is not None:
        codes.add("invalid-request")
    return [code for code in KINDS if code in codes]


def _problems(codes: Iterable[str]) -> Mapping[str, Any]:
    """The answers with errors: one a status, with an example of each code."""
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(KINDS[code].status), []).append(code)
    return {status: _problem(of_status) for status, of_status in by_status.items()}


def _problem(codes: Sequence[str]) -> dict[str, Any]:
    examples = {code: {"value": msgspec.json.decode(Problem(code).body(""))} for code in codes}
    about = " ".join(f"{KINDS[code].title}." for code in codes)
    return {"description": about, "content": {MEDIA.decode(): {"schema": _ref(ProblemBody), "examples": examples}}}
