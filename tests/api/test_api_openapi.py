"""The OpenAPI document: valid, complete, and true: what it shows can be sent, what comes back is what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from api_kit import Served, bearer, new_key, serving
from fastapi.openapi.models import OpenAPI

from vfl.api import keys
from vfl.api.app import ApiSettings
from vfl.api.problems import KINDS

PARAMETERS = {"name": "pos-loan"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openapi")
    key = new_key(folder)
    (folder / "applicants.csv").write_text("id\nA-1\n")
    with serving(ApiSettings(keys=folder / keys.FILE, jobs=folder)) as served:
        served.log.append({"key": key})
        yield served


@pytest.fixture(scope="module")
def document(api: Served) -> Any:
    return api.ask("GET", "/openapi.json").json


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolved(schema: Any, document: Any) -> Any:
    """The schema with what it refers to."""
    return {**schema, "components": document["components"]}


def test_it_is_openapi(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]
    known = {name: each for name, each in schemes.items() if each != {"type": "mutualTLS"}}  # which FastAPI has not
    assert len(known) == len(schemes) - 1
    OpenAPI.model_validate({**document, "components": {**document["components"], "securitySchemes": known}})
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere(document: Any) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(found := node.get("$ref"), str):
                yield found
            for each in node.values():
                yield from references(each)
        elif isinstance(node, list):
            for each in node:
                yield from references(each)

    found = set(references(document))
    schemas = document["components"]["schemas"]
    assert found <= {f"#/components/schemas/{name}" for name in schemas}
    unused = {name for name in schemas if f"#/components/schemas/{name}" not in found}
    assert unused == set()


def test_every_route_is_in_it(api: Served, document: Any) -> None:
    routes = {
        (route.path, method.lower())
        for route in api.server._server.config.app.router.routes
        for method in route.methods - {"HEAD"}
    }
    assert routes == {(path, method) for path, method, _ in operations(document)}


def test_every_operation_is_told_whole(document: Any) -> None:
    for path, method, operation in operations(document):
        assert operation["summary"]
        responses = operation["responses"]
        assert {"400", "500"} <= responses.keys(), path
        assert {"200", "202"} & responses.keys(), path
        if method == "post" and "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert {"413", "415", "422"} <= responses.keys()
            assert operation["requestBody"]["content"]["application/json"]["examples"]
        if "security" in operation:
            assert {"401", "403", "429"} <= responses.keys()
        assert {each["name"] for each in operation["parameters"] if each["in"] == "path"} == {
            part.partition("}")[0] for part in path.split("{")[1:]
        }


def test_examples_can_be_sent_and_answers_are_as_told(api: Served, document: Any) -> None:
    headers = bearer(api.log[0]["key"])
    made = api.ask("POST", "/v1/score", {"id": "A-1"}, headers).json
    filled = {"{id}": made["decision_id"], "{name}": "pos-loan", "{version}": made["model"]["version"]}
    sent = 0
    for template, method, operation in operations(document):
        path = template
        for name, value in filled.items():
            path = path.replace(name, value)
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for body in [each["value"] for each in content.get("examples", {}).values()] or [None]:
            if template == "/oauth2/token":
                continue
            if body is not None:
                jsonschema.validate(body, resolved(content["schema"], document))
            answer = api.ask(method.upper(), path, body, headers)
            assert str(answer.status) == min(operation["responses"]), (template, answer.body)
            (media, told), *_ = operation["responses"][str(answer.status)]["content"].items()
            if answer.status == 202:
                filled["{id}"] = answer.json["id"]  # of a job, for the routes that follow
            assert answer.headers["content-type"] == media
            if media == "application/json" and template != "/openapi.json":
                jsonschema.validate(answer.json, resolved(told["schema"], document))
            sent += 1
    assert sent == len(list(operations(document))) - 1


def test_problems_are_as_told(api: Served, document: Any) -> None:
    headers = bearer(api.log[0]["key"])
    schema = resolved({"$ref": "#/components/schemas/ProblemBody"}, document)
    for path, body in (("/v1/score", b"{"), ("/v1/score", {}), ("/v2/models/x/infer", {"inputs": []}), ("/nope", b"")):
        answer = api.ask("POST", path, body, headers)
        assert answer.status >= 400
        jsonschema.validate(answer.json, schema)


def test_every_code_is_in_it_and_its_example_is_one(document: Any) -> None:
    schema = resolved({"$ref": "#/components/schemas/ProblemBody"}, document)
    shown = {}
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            for code, example in response["content"].get("application/problem+json", {}).get("examples", {}).items():
                jsonschema.validate(example["value"], schema)
                assert (example["value"]["code"], str(example["value"]["status"])) == (code, status)
                shown[code] = status
    # those of the router are no operation's; the others belong to services that are set up otherwise
    assert KINDS.keys() - shown.keys() == {"not-found", "method-not-allowed", "wrong-host", "not-agreed"}


def test_without_keys_it_asks_for_none() -> None:
    with serving() as open_api:
        told = open_api.ask("GET", "/openapi.json").json
        assert "securitySchemes" not in told["components"]
        assert "/oauth2/token" not in told["paths"]
        assert not any("security" in operation for _, _, operation in operations(told))
        assert "421" in told["paths"]["/v1/score"]["post"]["responses"]
        assert json.loads(json.dumps(open_api.server._server.config.app.openapi())) == told


def test_it_says_nothing_of_this_machine(document: Any) -> None:
    text = json.dumps(document)
    assert str(Path.home()) not in text
    assert "http://" not in text
