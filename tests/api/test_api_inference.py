"""The Open Inference Protocol: what a client of model servers expects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_kit import FEATURES, VERSION, Served, serving

from vfl import __version__

INFER = "/v2/models/pos-loan/infer"


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with serving() as served:
        yield served


def tensor(name: str, data: list[Any], datatype: str = "FP64", shape: list[int] | None = None, **more: Any) -> Any:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data, **more}


def ids(*names: str) -> Any:
    return tensor("id", list(names), "BYTES")


def columns(api: Served, body: object) -> dict[str, Any]:
    answer = api.ask("POST", INFER, body)
    assert answer.status == 200, answer.body
    return {each["name"]: each["data"] for each in answer.json["outputs"]}


def test_the_server_and_the_model_tell_what_they_are(api: Served) -> None:
    assert api.ask("GET", "/v2/health/live").json == {"live": True}
    assert api.ask("GET", "/v2/health/ready").json == {"live": True, "ready": True}
    assert api.ask("GET", "/v2").json == {"name": "tallystick", "version": __version__, "extensions": []}
    for path in ("/v2/models/pos-loan", f"/v2/models/pos-loan/versions/{VERSION}"):
        body = api.ask("GET", path).json
        assert (body["name"], body["platform"]) == ("pos-loan", "tallystick_gbdt")
        assert body["versions"] == [VERSION, "1" * 64], "the champion, then its challengers"
        assert [(each["name"], each["datatype"], each["shape"]) for each in body["inputs"]] == [
            ("id", "BYTES", [-1]), *((name, "FP64", [-1]) for name in FEATURES),
        ]  # fmt: skip
        assert api.ask("GET", path + "/ready").json == {"name": "pos-loan", "ready": True}


def test_outputs_are_those_that_the_metadata_names(api: Served) -> None:
    told = api.ask("GET", "/v2/models/pos-loan").json["outputs"]
    body = api.ask("POST", INFER, {"id": "42", "inputs": [ids("A-1", "A-2", "A-3")]}).json
    assert (body["model_name"], body["model_version"], body["id"]) == ("pos-loan", VERSION, "42")
    assert [(each["name"], each["datatype"]) for each in body["outputs"]] == [
        (each["name"], each["datatype"]) for each in told
    ]
    kinds = {"FP64": float, "INT64": int, "BYTES": str, "BOOL": bool}
    for each in body["outputs"]:
        assert each["shape"] == [3]
        assert {type(value) for value in each["data"]} == {kinds[each["datatype"]]}


def test_it_decides_as_the_other_routes_do(api: Served) -> None:
    alone = api.ask("POST", "/v1/score", {"id": "A-9"}).json
    found = columns(api, {"inputs": [ids("A-9")]})
    assert found["pd"] == [alone["pd"]]
    assert found["points"] == [alone["points"]]
    many = columns(api, {"inputs": [ids("A-1", "A-9")]})
    assert many["pd"][1] == alone["pd"]
    assert api.ask("GET", f"/v1/decisions/{many['decision_id'][1]}").json["decision"]["pd"] == alone["pd"]


@pytest.mark.parametrize("values", [[1.5, None], [[1.5], [None]]], ids=["flat", "one list a row"])
@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64", "UINT8"])
def test_features_by_tensor(api: Served, values: list[Any], datatype: str) -> None:
    shape = [2] if not isinstance(values[0], list) else [2, 1]
    inputs = [ids("new-1", "new-2"), *(tensor(name, values, datatype, shape) for name in FEATURES)]
    assert len(columns(api, {"inputs": inputs})["pd"]) == 2


def test_outputs_that_are_asked_for(api: Served) -> None:
    body = {
        "inputs": [ids("A-1")],
        "outputs": [{"name": "points"}, {"name": "pd", "parameters": {"binary_data": True}}],
    }
    answer = api.ask("POST", INFER, {**body, "parameters": {"binary_data_output": True}}).json
    assert [each["name"] for each in answer["outputs"]] == ["points", "pd"]
    assert "id" not in answer


def test_the_same_key_gives_the_same_answer(api: Served) -> None:
    key = {"Idempotency-Key": "oip-1"}
    body = {"inputs": [ids("A-1", "A-2")]}
    assert api.ask("POST", INFER, body, key).body == api.ask("POST", INFER, body, key).body


WRONG: dict[str, Any] = {
    "no inputs": {"inputs": []},
    "no ids": {"inputs": [tensor("income", [1])]},
    "ids twice": {"inputs": [ids("A-1"), ids("A-2")]},
    "an unknown tensor": {"inputs": [ids("A-1"), tensor("phone", [1])]},
    "no rows": {"inputs": [tensor("id", [], "BYTES", [0])]},
    "ids of numbers": {"inputs": [tensor("id", [1], "BYTES")]},
    "ids as FP64": {"inputs": [tensor("id", ["A-1"], "FP64")]},
    "an empty id": {"inputs": [ids("")]},
    "a long id": {"inputs": [ids("A" * 257)]},
    "a shape of another length": {"inputs": [tensor("id", ["A-1"], "BYTES", [2])]},
    "a wide shape": {"inputs": [tensor("id", ["A-1", "A-2"], "BYTES", [1, 2])]},
    "a deep shape": {"inputs": [tensor("id", ["A-1"], "BYTES", [1, 1, 1])]},
    "a negative shape": {"inputs": [tensor("id", ["A-1"], "BYTES", [-1])]},
    "rows of two": {"inputs": [tensor("id", [["A-1", "A-2"]], "BYTES", [1, 1])]},
    "an empty row": {"inputs": [tensor("id", [[]], "BYTES", [1, 1])]},
    "columns of other lengths": {"inputs": [ids("A-1"), *(tensor(name, [1, 2]) for name in FEATURES)]},
    "a text among numbers": {"inputs": [ids("A-1"), *(tensor(name, ["secret-7"]) for name in FEATURES)]},
    "a truth among numbers": {"inputs": [ids("A-1"), *(tensor(name, [True]) for name in FEATURES)]},
    "numbers as BOOL": {"inputs": [ids("A-1"), *(tensor(name, [1], "BOOL") for name in FEATURES)]},
    "an unknown datatype": {"inputs": [tensor("id", ["A-1"], "secret-7")]},
    "an unknown output": {"inputs": [ids("A-1")], "outputs": [{"name": "secret-7"}]},
    "an unknown field": {"inputs": [ids("A-1")], "secret-7": 1},
    "some of the features": {"inputs": [ids("A-1"), tensor("income", [1])]},
    "too many rows": {"inputs": [ids(*["A-1"] * 10_001)]},
}


@pytest.mark.parametrize("case", WRONG)
def test_requests_that_are_refused(api: Served, case: str) -> None:
    answer = api.ask("POST", INFER, WRONG[case])
    assert answer.status == 422, answer.body
    assert answer.code in ("invalid-request", "refused-input")
    assert answer.json["error"].startswith(answer.code)
    assert b"secret-7" not in answer.body


def test_errors_have_the_field_of_the_protocol(api: Served) -> None:
    for path, body in (("/v2/models/none/infer", WRONG["no ids"]), (INFER, b"{"), ("/v2/nothing", b"")):
        assert isinstance(api.ask("POST", path, body).json["error"], str)
    assert "error" not in api.ask("POST", "/v1/score", b"{").json


def test_other_models_do_not_decide(api: Served) -> None:
    good = {"inputs": [ids("A-1")]}
    for path in ("/v2/models/none", f"/v2/models/pos-loan/versions/{'1' * 64}", "/v2/models/pos-loan/versions/1"):
        assert api.ask("GET", path).code == "unknown-model"
        assert api.ask("GET", path + "/ready").code == "unknown-model"
        assert api.ask("POST", path + "/infer", good).code == "unknown-model"


def test_a_request_fails_as_a_whole(api: Served) -> None:
    answer = api.ask("POST", INFER, {"inputs": [ids("A-1", "stranger", "A-3", "nobody")]})
    assert answer.code == "unknown-applicant"
    rows = [{"row": 1, "code": "unknown-applicant"}, {"row": 3, "code": "unknown-applicant"}]
    assert answer.json["rows"] == rows
    assert api.ask("POST", INFER, {"inputs": [ids("stranger")]}).code == "unknown-applicant"


def test_deep_parameters_are_no_failure(api: Served) -> None:
    deep = (
        b'{"inputs":[{"name":"id","shape":[1],"datatype":"BYTES","data":["A-1"]}],"parameters":{"a":'
        + b"[" * 50_000
        + b"]" * 50_000
        + b"}}"
    )
    assert api.ask("POST", INFER, deep).code == "malformed-json"
