"""The scenario file: who takes part with which table, and what they compute under which rules.

    [scenario]
    name = "my-bank"
    [party.bank]                 # exactly one active party, any number of passive ones
    role = "active"
    table = "bank.csv"           # relative to this file
    id = "customer_id"           # or a list of columns
    categorical = ["branch"]     # of trees: features whose values are categories, numbered from 0
    label = "default"            # 0/1, active party only
    weight = "exposure"          # what each row counts in training, active party only; default: all the same
    features = ["income"]        # default: every other column
    ledger = "postgresql://bank_writer@db/ledger"   # default: a file in the run's directory
    [party.bank.engine]          # where its work over many rows is done; see `vfl.engines`
    kind = "ray"
    [party.bank.reasons]         # what a customer reads where a feature speaks against them
    income = "Income is low for the amount"
    [party.bank.monotone]        # of trees: 1 the prediction may not fall along the feature, -1 it may not rise
    income = -1
    [party.bank.special]         # of a scorecard: values that are codes and get bins of their own
    income = [-1, 999999]
    [party.bank.trends]          # of a scorecard: direction of the bad rate, where the model's `trend` is not meant
    income = "descending"
    [party.telecom]
    role = "passive"
    table = "telecom.parquet"
    id = "phone"
    [model]                      # kind = "gbdt" with LightGBM's parameter names, or kind = "scorecard"
    [privacy]
    [psi]
    [holdout]
    [settlement]                 # how partners' data is valued and paid; see `vfl.settlement`
    [tune]                       # what `tallystick tune` looks through; see `vfl.tuning_space`

Every default is written once, in the dataclasses below. What the file may hold is what they name: an unknown table or
key, a wrong type or a value out of range is refused with a `UsageError` naming file, table, key and value.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from vfl.crypto.paillier_keys import KEY_BITS
from vfl.crypto.schemes import LEVELS as SCHEMES
from vfl.decoys import MOST
from vfl.engines import EngineConfig, read_engine
from vfl.errors import UsageError
from vfl.ids import DUPLICATE_POLICIES, rule_names
from vfl.learn.feature_parameters import TRENDS
from vfl.learn.parameters import GBDTParameters
from vfl.learn.scorecard_parameters import ScorecardModel
from vfl.settlement import Settlement
from vfl.settlement_table import read_clause
from vfl.table import shown
from vfl.toml_table import TomlTable
from vfl.tuning_space import Space, read_space

ROLES = ("active", "passive")
MODELS = ("gbdt", "scorecard")
PROTOCOLS = ("x25519", "kkrt", "auto")
RECEIPTS = ("round", "message")
LEAST_INTERSECTION = 20
MAX_SET_SIZE = 2**28
MAX_PARTIES = 32
MOST_NOISE = 1000.0  # largest gradients of one customer
RESERVED = ("intersection", "train", "validation", "holdout", "decoys", "total")  # keys beside party names in a summary

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class PartyConfig:
    """One party: its table, identifier column(s), words for customers by feature; of the active party also the label,
    and if rows count differently the column that says so.

    special, trends: of a scorecard's bins, by feature: values that are codes, and the direction of the bad rate.
    monotone: of trees, by feature: 1 where predictions may not fall along it, -1 where they may not rise.
    categorical: of trees: features whose values are categories, numbered from 0.
    ledger: address of the PostgreSQL database that keeps the ledger; None: a file in the run's directory.
    engine: where its work over many rows is done.
    """

    name: str
    role: str
    table: Path
    id: tuple[str, ...]
    label: str | None = None
    features: tuple[str, ...] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    weight: str | None = None
    special: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    trends: Mapping[str, str] = field(default_factory=dict)
    monotone: Mapping[str, int] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    ledger: str | None = None
    engine: EngineConfig = field(default_factory=EngineConfig)


_PARTY_KEYS = tuple(each.name for each in fields(PartyConfig) if each.name != "name")
_TABLE_KEYS = tuple(key for key in _PARTY_KEYS if key != "role")


@dataclass(frozen=True)
class PrivacyConfig:
    """How values are sealed, the populations below which nothing is computed, and whether shares may be merged.

    masked_scores: whether a service may learn of an applicant no more than the sum of all parts of a scorecard.
    receipts: whether parties sign what they say once a round, or with every message.
    keep_until: the last day, as 2031-12-31, on which nothing of the run may be purged; empty for none.
    """

    scheme: str = "lattice"
    level: str = "hidden"
    key_bits: int = 2048
    min_bin_population: int = 20
    min_intersection: int = 200
    cell_noise: float = 0.0
    merge_models: bool = False
    masked_scores: bool = False
    receipts: str = RECEIPTS[0]
    keep_until: str = ""


@dataclass(frozen=True)
class PsiConfig:
    """How the common customers are found."""

    protocol: str = "x25519"
    id_rule: str = "text@1"
    duplicates: str = "error"
    max_invalid_share: float = 0.05
    max_set_size: int = 10_000_000
    decoys: float = 0.0


@dataclass(frozen=True)
class HoldoutConfig:
    """The rows kept aside for the final figures: a seeded share, or those that a 0/1 column marks with 1."""

    fraction: float = 0.3
    column: str | None = None
    seed: int = 5


@dataclass(frozen=True)
class Scenario:
    """A checked scenario; `parties` in the order of the file."""

    name: str
    parties: tuple[PartyConfig, ...]
    model: GBDTParameters | ScorecardModel
    privacy: PrivacyConfig
    psi: PsiConfig
    holdout: HoldoutConfig
    source: Path
    tune: Space = field(default_factory=dict)
    settlement: Settlement | None = None

    @property
    def kind(self) -> str:
        """Of the model, one of MODELS."""
        return MODELS[1] if isinstance(self.model, ScorecardModel) else MODELS[0]

    @property
    def active(self) -> PartyConfig:
        """The party with the label."""
        return next(party for party in self.parties if party.role == "active")

    @property
    def passive(self) -> tuple[PartyConfig, ...]:
        """The parties with features only."""
        return tuple(party for party in self.parties if party.role == "passive")

    def party(self, name: str) -> PartyConfig:
        """The party of that name; raises UsageError listing the known ones."""
        for party in self.parties:
            if party.name == name:
                return party
        raise UsageError(f"no party {shown(name)} in scenario {shown(self.name)}", remedy=_known_parties(self.parties))

    def restrict(self, parties: Sequence[str]) -> Scenario:
        """The same scenario with these parties only, in the order of the file; the active one must stay."""
        kept = {self.party(name).name for name in parties}
        if self.active.name not in kept:
            raise UsageError(
                f"party {shown(self.active.name)} holds the label and cannot be left out",
                remedy=f"Name it as well: {','.join([self.active.name, *sorted(kept)])}.",
            )
        if len(kept) < 2:
            raise UsageError(
                f"party {shown(self.active.name)} alone is no federation",
                remedy=f"Name at least one of {', '.join(party.name for party in self.passive)} as well.",
            )
        return replace(self, parties=tuple(party for party in self.parties if party.name in kept))


def load_scenario(path: str | Path) -> Scenario:
    """The scenario in a TOML file; raises UsageError for anything it must not hold."""
    path = Path(path)
    return scenario_from_mapping(read_toml(path, "scenario"), path)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The parsed TOML in `path`, which is to be a `what` file; raises UsageError."""
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise UsageError(f"no {what} file {shown(path.name)}", remedy="Check the path.") from None
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}", remedy="Name a .toml file.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} is not UTF-8 text", remedy="Save the file as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{path.name} is not valid TOML: {str(error)[:120]}", remedy="Quote texts; write one key = value a line."
        ) from None
    except (RecursionError, ValueError):  # nesting, or digits, beyond what Python reads
        raise UsageError(f"{path.name} is not a {what} file", remedy="See the example in the guide.") from None


def scenario_from_mapping(raw: Mapping[str, Any], source: Path) -> Scenario:
    """The scenario in a parsed TOML document; `source` is the file it came from, to which paths are relative."""
    top = TomlTable(raw, source.name)
    top.only("scenario", "party", "model", "privacy", "psi", "holdout", "tune", "settlement")
    head = top.table("scenario", required=True)
    head.only("name")
    name = head.text("name", required=True, pattern=_TITLE)
    parties = _parties(top.table("party", required=True), source.parent)
    privacy, psi, holdout = _privacy(top.table("privacy")), _psi(top.table("psi")), _holdout(top.table("holdout"))
    model = _model(top.table("model"))
    tune = read_space(top.table("tune"), model)
    settlement = _settlement(top, [party.name for party in parties])
    scenario = Scenario(name, parties, model, privacy, psi, holdout, source, tune, settlement)
    _check_together(scenario)
    return scenario


def _ledger(table: TomlTable) -> str | None:
    """The address of a database, which must not hold a password: the file is shown to others."""
    address: str | None = table.text("ledger")
    if address is None:
        return None
    if not re.match(r"postgres(ql)?://", address):
        raise UsageError(
            f"{table.place('ledger')} is no address of a PostgreSQL database",
            remedy='Write ledger = "postgresql://ROLE@HOST/DATABASE", or leave it out.',
        )
    if re.match(r"[a-z]+://[^/@]*:[^/@]*@", address) or "password" in address:
        raise UsageError(
            f"{table.place('ledger')} holds a password",
            remedy="Leave it out of the address and set PGPASSFILE or PGPASSWORD.",
        )
    return address


def check_name(name: str, place: str) -> str:
    """`name`, which may name a party; raises UsageError."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            f"{place}: party name {shown(name)} is not allowed",
            remedy=f"Use a small letter, then 30 more letters, digits or hyphens; not {', '.join(RESERVED)}.",
        )
    return name


def _known_parties(parties: Collection[PartyConfig]) -> str:
    return f"Known parties: {', '.join(party.name for party in parties)}."


# ---- the tables of the file ------------------------------------------------------------------------------------------


def _parties(table: TomlTable, folder: Path) -> tuple[PartyConfig, ...]:
    """The [party.NAME] tables: exactly one active, at least one passive."""
    parties = []
    for name in table.raw:
        check_name(name, table.file)
        own = table.table(name)
        own.only(*_PARTY_KEYS)
        parties.append(_party(name, own, folder, own.choice("role", ROLES, required=True)))
    active = [party.name for party in parties if party.role == "active"]
    if len(active) != 1:
        found = f"{len(active)} active parties ({', '.join(active)})" if active else "no active party"
        remedy = 'Give exactly one party role = "active": the one that holds the label.'
        raise UsageError(f"{table.file}: {found}", remedy=remedy)
    if not 2 <= len(parties) <= MAX_PARTIES:
        found = "no passive party" if len(parties) < 2 else f"{len(parties)} parties, more than {MAX_PARTIES}"
        raise UsageError(f"{table.file}: {found}", remedy='Add a [party.NAME] table with role = "passive".')
    return tuple(parties)


def read_own_table(name: str, table: TomlTable, folder: Path) -> PartyConfig:
    """The table that a company describes for itself: whoever holds a label is the active party of its agreements."""
    table.only(*_TABLE_KEYS)
    return _party(name, table, folder, ROLES[0] if "label" in table.raw else ROLES[1])


def _party(name: str, table: TomlTable, folder: Path, role: str) -> PartyConfig:
    party = PartyConfig(
        name=name,
        role=role,
        table=folder / _path(table),
        id=table.names("id", required=True),
        label=table.text("label"),
        features=table.names("features"),
        reasons=table.words("reasons"),
        weight=table.text("weight"),
        ledger=_ledger(table),
        special=table.numbers_by_name("special"),
        trends=table.choices_by_name("trends", TRENDS),
        monotone=table.integers_by_name("monotone", (1, -1, 0)),
        categorical=table.names("categorical") or (),
        engine=read_engine(table.table("engine")),
    )
    _check_role(party, table)
    used = [*party.id, *(party.features or ()), *(one for one in (party.label, party.weight) if one is not None)]
    if repeated := sorted({one for one in used if used.count(one) > 1}):
        raise UsageError(
            f"{table.place()}: column {shown(repeated[0])} is listed more than once",
            remedy="A column is id, label, weight or feature.",
        )
    if unordered := sorted(one for one in party.categorical if party.monotone.get(one)):
        raise UsageError(
            f"{table.place()}: {shown(unordered[0])} is categorical and monotone",
            remedy="Categories have no order: keep one of them.",
        )
    return party


def _path(table: TomlTable) -> str:
    path: str = table.text("table", required=True)
    if "\0" in path:
        raise UsageError(f"{table.place('table')} is {shown(path)}", remedy="Name a .csv, .csv.gz or .parquet file.")
    return path


def _check_role(party: PartyConfig, table: TomlTable) -> None:
    """The label is where the role says; so are the weights."""
    if party.role == "active":
        if party.label is None:
            raise UsageError(
                f"{table.place()}: the active party has no label", remedy='Name its 0/1 column: label = "default".'
            )
        return
    if party.label is not None:
        raise UsageError(
            f"{table.place()}: label {shown(party.label)} at a passive party",
            remedy='Only the active party holds a label: remove the key, or set role = "active".',
        )
    if party.weight is not None:
        raise UsageError(
            f"{table.place()}: weight {shown(party.weight)} at a passive party",
            remedy="Only the active party says what a customer counts: remove the key.",
        )


def _model(table: TomlTable) -> GBDTParameters | ScorecardModel:
    kind = table.choice("kind", MODELS, default=MODELS[0])
    values = {key: value for key, value in table.raw.items() if key != "kind"}
    for key, value in values.items():
        if isinstance(value, int) and value not in _INT64:
            raise UsageError(f"{table.place(key)} is {shown(value)}", remedy="Whole numbers have 64 bits at most.")
    try:
        if kind == MODELS[1]:
            return ScorecardModel.from_mapping(values)
        parameters = GBDTParameters.from_mapping(values)
    except UsageError as error:
        raise UsageError(f"{table.place()}: {error}", remedy=error.remedy) from None
    if parameters.early_stopping_round and not parameters.validation_fraction:
        raise UsageError(
            f"{table.place('early_stopping_round')} is {parameters.early_stopping_round}, but no rows validate",
            remedy="Set validation_fraction as well, for instance 0.2.",
        )
    return parameters


def _privacy(table: TomlTable) -> PrivacyConfig:
    default = PrivacyConfig()
    table.only(*vars(default))
    level = table.choice("level", SCHEMES.values(), default=default.level)
    # A level names its scheme and a scheme its level, so that giving one of them is enough.
    implied = next(scheme for scheme, found in SCHEMES.items() if found == level)
    scheme = table.choice("scheme", SCHEMES, default=implied)
    if "level" not in table.raw:
        level = SCHEMES[scheme]
    if SCHEMES[scheme] != level:
        raise UsageError(
            f"{table.place('level')} is {shown(level)}, but scheme {shown(scheme)} is {shown(SCHEMES[scheme])}",
            remedy=f'Leave one of them out, or write scheme = "{implied}".',
        )
    return PrivacyConfig(
        scheme=scheme,
        level=level,
        key_bits=table.integer("key_bits", default.key_bits, KEY_BITS),
        min_bin_population=table.integer("min_bin_population", default.min_bin_population, range(1, 1_000_001)),
        min_intersection=table.integer(
            "min_intersection", default.min_intersection, range(LEAST_INTERSECTION, MAX_SET_SIZE + 1)
        ),
        cell_noise=table.number("cell_noise", default.cell_noise, 0.0, MOST_NOISE),
        merge_models=table.flag("merge_models", default.merge_models),
        masked_scores=table.flag("masked_scores", default.masked_scores),
        receipts=table.choice("receipts", RECEIPTS, default=default.receipts),
        keep_until=table.day("keep_until", default.keep_until),
    )


def _psi(table: TomlTable) -> PsiConfig:
    default = PsiConfig()
    table.only(*vars(default))
    return PsiConfig(
        protocol=table.choice("protocol", PROTOCOLS, default=default.protocol),
        id_rule=table.choice("id_rule", rule_names(), default=default.id_rule),
        duplicates=table.choice("duplicates", DUPLICATE_POLICIES, default=default.duplicates),
        max_invalid_share=table.number("max_invalid_share", default.max_invalid_share, 0.0, 1.0),
        max_set_size=table.integer("max_set_size", default.max_set_size, range(LEAST_INTERSECTION, MAX_SET_SIZE + 1)),
        decoys=table.number("decoys", default.decoys, 0.0, MOST),
    )


def _settlement(top: TomlTable, parties: Sequence[str]) -> Settlement | None:
    return read_clause(top.table("settlement"), parties) if "settlement" in top.raw else None


def _holdout(table: TomlTable) -> HoldoutConfig:
    default = HoldoutConfig()
    table.only(*vars(default))
    read = HoldoutConfig(
        fraction=table.number("fraction", default.fraction, 0.01, 0.9),
        column=table.text("column"),
        seed=table.integer("seed", default.seed, range(2**63)),
    )
    if read.column is not None and table.raw.keys() & {"fraction", "seed"}:
        raise UsageError(f"{table.place('column')} is given beside fraction or seed", remedy="Keep one way to choose.")
    return read


def _check_together(scenario: Scenario) -> None:
    """What only the whole file shows: keys that exclude each other."""
    _check_privacy(scenario)
    if isinstance(scenario.model, ScorecardModel):
        _check_scorecard(scenario)
    else:
        _check_trees(scenario, scenario.model)
    _check_columns(scenario)


def _check_privacy(scenario: Scenario) -> None:
    privacy, decoys = scenario.privacy, scenario.psi.decoys
    if decoys and privacy.level != "hidden":
        raise UsageError(
            f"{scenario.source.name}: [psi] decoys is {decoys:g}, but scheme {shown(privacy.scheme)} is "
            f"{shown(privacy.level)}: who is in a tree node is no decoy",
            remedy='Write scheme = "lattice", or leave decoys out.',
        )
    if privacy.cell_noise and privacy.level != "hidden":
        raise UsageError(
            f"{scenario.source.name}: [privacy] cell_noise is {privacy.cell_noise:g}, but scheme "
            f"{shown(privacy.scheme)} has no noise on sums",
            remedy='Write scheme = "lattice", or leave cell_noise out.',
        )


def _check_scorecard(scenario: Scenario) -> None:
    """What is for trees alone."""
    privacy, bank = scenario.privacy, scenario.active
    for party in scenario.parties:
        if party.categorical:
            raise UsageError(
                f"{scenario.source.name}: [party.{party.name}] categorical is for trees",
                remedy="Leave it out: a scorecard bins numbers in their order.",
            )
        if party.monotone:
            raise UsageError(
                f"{scenario.source.name}: [party.{party.name}.monotone] is for trees",
                remedy='Write the direction of the bad rate under trends, and signs = "positive" under [model].',
            )
    noise, table = f"{privacy.cell_noise:g}", f"party.{bank.name}"
    for given, place, key, value, why in (
        (privacy.cell_noise, "privacy", "cell_noise", noise, "a scorecard counts exactly"),
        (privacy.merge_models, "privacy", "merge_models", "true", "the parts of a scorecard are not merged"),
        (bank.weight, table, "weight", shown(bank.weight), "a scorecard counts every customer once"),
    ):
        if given:
            raise UsageError(
                f"{scenario.source.name}: [{place}] {key} is {value}, but {why}", remedy=f"Leave {key} out."
            )
    if privacy.masked_scores and len(scenario.parties) < 3:
        raise UsageError(
            f"{scenario.source.name}: [privacy] masked_scores is true, but there is one partner, whose part is the sum",
            remedy="Leave masked_scores out, or name a second partner.",
        )


def _check_trees(scenario: Scenario, model: GBDTParameters) -> None:
    """What is for scorecards alone, and what noise forbids."""
    if scenario.privacy.cell_noise and not model.min_sum_hessian_in_leaf:
        raise UsageError(
            f"{scenario.source.name}: [model] min_sum_hessian_in_leaf is 0, but noisy sums may be below 0",
            remedy="Leave it at its default, or leave [privacy] cell_noise out.",
        )
    if scenario.privacy.masked_scores:
        raise UsageError(
            f"{scenario.source.name}: [privacy] masked_scores is true, but trees are walked by the active party: "
            "there is no sum to mask",
            remedy='Leave it out, or write kind = "scorecard" under [model].',
        )
    for party in scenario.parties:
        for key, given in (("special", party.special), ("trends", party.trends)):
            if given:
                raise UsageError(
                    f"{scenario.source.name}: [party.{party.name}.{key}] is for the bins of a scorecard",
                    remedy='Leave it out, or write kind = "scorecard" under [model].',
                )


def _check_columns(scenario: Scenario) -> None:
    """Id columns that cannot meet, and a hold-out column that is something else too."""
    active, rule, file = scenario.active, scenario.psi.id_rule, scenario.source.name
    for party in scenario.passive:
        if len(party.id) != len(active.id):
            raise UsageError(
                f"{file}: [party.{party.name}] id has {len(party.id)} columns, [party.{active.name}] {len(active.id)}",
                remedy="Identifiers can only meet when they are made of the same columns in the same order.",
            )
    if len(active.id) > 1 and rule.startswith("phone"):
        raise UsageError(
            f"{file}: [psi] id_rule {shown(rule)} is for one column, [party.{active.name}] id has {len(active.id)}",
            remedy='Use id_rule = "text@1" for an id made of several columns.',
        )
    column = scenario.holdout.column
    if column is not None and column in (*active.id, active.label, active.weight, *(active.features or ())):
        raise UsageError(
            f"{file}: [holdout] column {shown(column)} is also id, label, weight or feature of [party.{active.name}]",
            remedy="Mark the hold-out rows in a column of its own.",
        )
