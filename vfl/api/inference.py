"""The Open Inference Protocol, version 2, over JSON: for clients that speak to model servers.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md. An applicant is a row: the tensor `id`
(BYTES) names them, and a numeric tensor of each of the bank's features holds fresh values, null where one is missing.

    inputs   id BYTES [n] or [n, 1]      FEATURE FP64 [n] or [n, 1], all of them or none
    outputs  pd FP64    points INT64    band BYTES    decision BYTES    degraded BOOL    decision_id BYTES      [n]

A request of this protocol succeeds as a whole or fails as a whole: there is no place in a tensor for a row that was
refused. Which rows those were stands in the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from vfl import __version__
from vfl.api.calls import Answer, Call
from vfl.api.health import Health
from vfl.api.operation import MOST_OF_MANY, Operation
from vfl.api.problems import Problem, RefusedRow
from vfl.api.scoring import DECIDING, EITHER, SCORE, Scoring
from vfl.scoring.answers import MOST_OF_A_BATCH, Applicant, Decision, Model, Refused, Scorer

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Flat = tuple[str | float | None, ...]
OUTPUTS: Mapping[str, tuple[Datatype, Callable[[Decision], Any]]] = {
    "pd": ("FP64", lambda made: made.pd),
    "points": ("INT64", lambda made: made.points),
    "band": ("BYTES", lambda made: made.band),
    "decision": ("BYTES", lambda made: made.decision),
    "degraded": ("BOOL", lambda made: made.degraded),
    "decision_id": ("BYTES", lambda made: made.decision_id),
}


class RequestInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor that comes in: `data` in row-major order, flat or one list a row."""

    name: Name
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1, max_length=2)]
    datatype: Datatype
    data: Annotated[
        tuple[str | float | Annotated[Flat, msgspec.Meta(max_length=1)] | None, ...],
        msgspec.Meta(max_length=MOST_OF_A_BATCH),
    ]
    parameters: dict[str, Any] | None = None


class RequestOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor that is asked for."""

    name: Name
    parameters: dict[str, Any] | None = None


class InferenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rows to be scored. `outputs`: those that are wanted, by default all; `parameters` change nothing here."""

    inputs: Annotated[tuple[RequestInput, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    outputs: tuple[RequestOutput, ...] = ()
    parameters: dict[str, Any] | None = None


class ResponseOutput(msgspec.Struct, frozen=True):
    """A tensor that goes out."""

    name: str
    shape: tuple[int, ...]
    datatype: Datatype
    data: tuple[Any, ...]


class InferenceResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decisions, column by column. `id`: that of the request."""

    model_name: str
    model_version: str
    outputs: tuple[ResponseOutput, ...]
    id: str | None = None


class TensorMetadata(msgspec.Struct, frozen=True):
    """A tensor of a model; -1: any number of rows."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """The champion, as a model of this protocol. versions: its own first, then those of its challengers."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ServerMetadata(msgspec.Struct, frozen=True):
    """What serves."""

    name: str
    version: str
    extensions: tuple[str, ...]


class Live(msgspec.Struct, frozen=True):
    """That the server answers."""

    live: bool


class ServerReady(msgspec.Struct, frozen=True):
    """Whether it answers with decisions: 503 where not. `live`: what the specification calls the same."""

    live: bool
    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    """Whether a model does."""

    name: str
    ready: bool


class Inference:
    """What the routes do."""

    def __init__(self, scorer: Scorer, scoring: Scoring, health: Health) -> None:
        self._scorer, self._scoring, self._health = scorer, scoring, health

    async def server(self, call: Call, _: None) -> ServerMetadata:
        """What serves."""
        return ServerMetadata("tallystick", __version__, ())

    async def live(self, call: Call, _: None) -> Live:
        """It answers."""
        return Live(True)

    async def ready(self, call: Call, _: None) -> Answer:
        """It answers with decisions, or not."""
        ready = self._health.ready()
        return Answer(msgspec.json.encode(ServerReady(True, ready)), 200 if ready else 503)

    async def model_ready(self, call: Call, _: None) -> Answer:
        """A model does, or not."""
        name, ready = self._champion(call).name, self._health.ready()
        return Answer(msgspec.json.encode(ModelReady(name, ready)), 200 if ready else 503)

    async def metadata(self, call: Call, _: None) -> ModelMetadata:
        """The tensors of the champion."""
        champion = self._champion(call)
        inputs = (("id", "BYTES"), *((name, "FP64") for name in self._scorer.own_features))
        return ModelMetadata(
            champion.name,
            tuple(each.version for each in self._scorer.models() if each.role != "retired"),
            f"tallystick_{champion.kind}",
            tuple(TensorMetadata(name, kind, (-1,)) for name, kind in inputs),  # type: ignore[arg-type]
            tuple(TensorMetadata(name, kind, (-1,)) for name, (kind, _) in OUTPUTS.items()),
        )

    async def infer(self, call: Call, asked: InferenceRequest) -> InferenceResponse:
        """Decide about the rows."""
        champion = self._champion(call)
        wanted = [each.name for each in asked.outputs] or list(OUTPUTS)
        if unknown := [place for place, name in enumerate(wanted) if name not in OUTPUTS]:
            raise Problem("invalid-request", f"the outputs are {', '.join(OUTPUTS)}", at=f"$.outputs[{unknown[0]}]")
        made = await self._decided(call, self._applicants(asked))
        outputs = (
            ResponseOutput(name, (len(made),), OUTPUTS[name][0], tuple(map(OUTPUTS[name][1], made))) for name in wanted
        )
        by = made[0].model if made else champion
        return InferenceResponse(by.name, by.version, tuple(outputs), asked.id)

    async def _decided(self, call: Call, applicants: Sequence[Applicant]) -> Sequence[Decision]:
        if len(applicants) == 1:
            return [await self._scoring.one(call, applicants[0])]
        found = await self._scoring.many(call, applicants)
        refused = tuple(RefusedRow(row, each.code) for row, each in enumerate(found) if isinstance(each, Refused))
        if refused:
            code = "unknown-applicant" if all(each.code == "unknown-applicant" for each in refused) else "refused-input"
            raise Problem(code, f"{len(refused)} of {len(found)} rows were refused", rows=refused)
        return [each for each in found if isinstance(each, Decision)]

    def _applicants(self, asked: InferenceRequest) -> Sequence[Applicant]:
        columns = {}
        for place, each in enumerate(asked.inputs):
            if each.name in columns or (each.name != "id" and each.name not in self._scorer.own_features):
                raise Problem("invalid-request", "is no input of the model, or is there twice", at=f"$.inputs[{place}]")
            columns[each.name] = _column(each, f"$.inputs[{place}]")
        ids = columns.pop("id", None)
        if ids is None:
            raise Problem("invalid-request", "there is no tensor id", at="$.inputs")
        if not 1 <= len(ids) <= MOST_OF_A_BATCH or any(len(column) != len(ids) for column in columns.values()):
            raise Problem("invalid-request", f"the tensors are not of 1 to {MOST_OF_A_BATCH} rows each", at="$.inputs")
        rows = zip(*columns.values(), strict=True) if columns else (None for _ in ids)
        names = tuple(columns)
        return [
            Applicant(each, None if row is None else dict(zip(names, row, strict=True)))
            for each, row in zip(ids, rows, strict=True)
        ]

    def _champion(self, call: Call) -> Model:
        """The champion, which alone decides. Raises Problem if another model is asked for."""
        champion = next((model for model in self._scorer.models() if model.role == "champion"), None)
        asked = call.path
        if (
            champion is None
            or asked["name"] != champion.name
            or asked.get("version", champion.version) != champion.version
        ):
            raise Problem("unknown-model", "the champion alone decides: see /v1/models")
        return champion

    def operations(self, example: Applicant) -> tuple[Operation, ...]:
        """The routes."""
        inputs = [RequestInput("id", (1,), "BYTES", (example.id,))]
        inputs += [RequestInput(name, (1,), "FP64", (value,)) for name, value in (example.features or {}).items()]
        shown = {"one row": InferenceRequest(tuple(inputs), "42")}
        found = [
            Operation("GET", "/v2", "serverMetadata", "What serves.", self.server, EITHER, answer=ServerMetadata),
            Operation("GET", "/v2/health/live", "serverLive", "It answers.", self.live, answer=Live),
            Operation(
                "GET",
                "/v2/health/ready",
                "serverReady",
                "200 while it answers with decisions, else 503.",
                self.ready,
                answer=ServerReady,
                status=(200, 503),
            ),
        ]
        for path, word in (("/v2/models/{name}", ""), ("/v2/models/{name}/versions/{version}", "Version")):
            found += [
                Operation(
                    method="GET",
                    path=path,
                    name=f"model{word}Metadata",
                    about="The tensors of the champion.",
                    act=self.metadata,
                    scopes=EITHER,
                    answer=ModelMetadata,
                    problems=("unknown-model",),
                ),
                Operation(
                    method="GET",
                    path=path + "/ready",
                    name=f"model{word}Ready",
                    about="200 while the model decides, else 503.",
                    act=self.model_ready,
                    answer=ModelReady,
                    status=(200, 503),
                    problems=("unknown-model",),
                ),
                Operation(
                    method="POST",
                    path=path + "/infer",
                    name=f"model{word}Infer",
                    about="Decide about the rows of tensors, all of them or none.",
                    act=self.infer,
                    scopes=SCORE,
                    body=InferenceRequest,
                    most=MOST_OF_MANY,
                    answer=InferenceResponse,
                    idempotent=True,
                    problems=("unknown-model", *DECIDING),
                    examples=shown,
                ),
            ]
        return tuple(found)


def _column(tensor: RequestInput, at: str) -> tuple[Any, ...]:
    """One value a row. Raises Problem if shape, datatype and data are not of each other."""
    rows = tensor.shape[0]
    if tensor.shape not in ((rows,), (rows, 1)) or len(tensor.data) != rows:
        raise Problem("invalid-request", "shape is not [n] or [n, 1], or data has another number of rows", at=at)
    flat = tuple(each[0] if isinstance(each, tuple) and each else each for each in tensor.data)
    if tensor.name == "id":
        if tensor.datatype != "BYTES" or not all(isinstance(each, str) and 0 < len(each) <= 256 for each in flat):
            raise Problem("invalid-request", "is BYTES: a text of 1 to 256 characters a row", at=at)
    elif tensor.datatype in ("BYTES", "BOOL") or not all(each is None or isinstance(each, float) for each in flat):
        raise Problem("invalid-request", "is FP64: a number a row, or null", at=at)
    return flat
