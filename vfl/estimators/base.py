"""What all estimators share: parameters from the options they stand for, parties, and the two ways to give data.

    fit({"bank": bank, "telecom": telecom}, label="default", id="customer_id")     each party its table
    fit(X, y, parties={"bank": [...], "telecom": [...]})                           one table, its columns shared out

In the second way rows are matched by their number, and minimum populations are 1: one table has nobody to protect.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from vfl import in_process
from vfl.agreement import Agreement, Member, Scalar
from vfl.config import PrivacyConfig, PsiConfig
from vfl.crypto.schemes import LEVELS
from vfl.errors import AgreementError, UsageError
from vfl.estimators.tables import RULE, PartyTable, ids_of
from vfl.holding import Holding
from vfl.in_process import Trained
from vfl.learn.objective import checked_weights
from vfl.learn.options import Options
from vfl.table import closest, shown

Reals = npt.NDArray[np.float64]
Self = TypeVar("Self", bound="Vertical")
PURPOSE = "joint model in a notebook"
HALVES = ("first", "second")
"""Names of the parties among which the columns of one table are shared out where nothing else is said."""
_OWN = {"scheme": PrivacyConfig().scheme, "min_bin_population": PrivacyConfig().min_bin_population}
_OWN |= {"min_intersection": PrivacyConfig().min_intersection, "random_state": None}


class BadInput(UsageError, ValueError):
    """A UsageError for those who expect scikit-learn's ValueError."""


def with_options(*kinds: type[Options], omit: Sequence[str] = ()) -> Callable[[type[Self]], type[Self]]:
    """Give a class an `__init__` with the parameters of these options, in their order, and the estimators' own.

    scikit-learn reads parameters off the signature; each default stays where it is written.
    """
    defaults = {each.name: each.default for kind in kinds for each in fields(kind) if each.name not in omit} | _OWN

    def decorate(cls: type[Self]) -> type[Self]:
        def init(self: Any, **given: Any) -> None:
            for name, default in defaults.items():
                setattr(self, name, given.pop(name, default))
            if given:
                name = next(iter(given))
                raise TypeError(f"{cls.__name__} has no parameter {name!r}. {closest(name, defaults)}")

        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        own += [inspect.Parameter(name, keyword, default=default) for name, default in defaults.items()]
        init.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        cls.__init__ = init  # type: ignore[method-assign]
        cls._options = tuple(name for name in defaults if name not in _OWN)
        return cls

    return decorate


class Vertical(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators.

    After `fit`: `parties_` (names, the active one first), `shares_` (each party's share of the model, as the party
    keeps it), `traffic_` (bytes of messages by phase), `n_features_in_`, and of one table `feature_names_in_`.
    """

    _options: tuple[str, ...] = ()
    _numeric = False  # whether labels are numbers
    # The last fit was in one of two ways: of tables, each party's id column and the label's name ...
    _tables: Mapping[str, str] | None = None
    _label: str | None = None
    # ... or of one table, the columns that each party has.
    _shared: Mapping[str, Sequence[str]] | None = None
    n_features_in_: int

    def _model(self) -> dict[str, Any]:
        """The agreement's clauses about the model, every default written out."""
        raise NotImplementedError

    def _encode(self, y: Any) -> Any:
        """Labels as the objective takes them."""
        raise NotImplementedError

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._options}

    # ---- training ----------------------------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, label: str | None, id: Any, weight: str | None, categorical: Any,
        parties: Any,
    ) -> None:  # fmt: skip
        """In the way that X is given; nothing stays of an earlier fit in the other way."""
        if by_party(X):
            self._fit_tables(X, y, label, id, weight, categorical)
        else:
            self._fit_one_table(X, y, sample_weight, parties)

    def _fit_tables(
        self, X: Mapping[str, Any], y: Any, label: str | None, id: Any, weight: str | None, categorical: Any
    ) -> None:
        if y is not None:
            raise BadInput("y is given beside a table a party", remedy="Name the label column instead: label=...")
        tables = self._federated(X, label, id, weight, categorical)
        assert label is not None
        encoded = self._encode(np.asarray(tables[0].values_of(label)))
        self._train(tables, encoded, tables[0].read_weights(), (self.min_bin_population, self.min_intersection))
        self.n_features_in_ = sum(len(one.features) for one in self._trained.terms.agreement.members)
        self.__dict__.pop("feature_names_in_", None)
        self._tables, self._label, self._shared = {one.name: one.id for one in tables}, label, None

    def _fit_one_table(self, X: Any, y: Any, sample_weight: Any, parties: Any) -> None:
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", y_numeric=self._numeric)
        if len(X) < 2:
            raise BadInput("one sample (n_samples = 1) is not enough to train on")
        weights = None if sample_weight is None else _weights(sample_weight, len(X))
        tables = self._one_table(X, parties)
        self._train(tables, self._encode(y), weights, (1, 1))
        names = self._column_names(self.n_features_in_)
        shared = {one.name: [names[int(column[1:])] for column in one.table.columns[1:]] for one in tables}
        self._tables, self._label, self._shared = None, None, shared

    def _train(
        self, tables: Sequence[PartyTable], labels: Any, weights: Reals | None, minima: tuple[int, int]
    ) -> Trained:
        try:
            holdings = {tables[0].name: tables[0].holding(labels, weights)[0]}
            holdings |= {one.name: one.holding()[0] for one in tables[1:]}
            trained = in_process.train(holdings, self._agreement(holdings, minima), _seed(self.random_state))
        except (UsageError, AgreementError) as error:
            raise BadInput(str(error), remedy=error.remedy) from None
        self.parties_ = list(holdings)
        self.shares_ = dict(trained.shares)
        self.traffic_ = dict(trained.traffic)
        self._trained = trained
        return trained

    def _agreement(self, holdings: Mapping[str, Holding], minima: tuple[int, int]) -> Agreement:
        if self.scheme not in LEVELS:
            raise UsageError(f"scheme is {shown(self.scheme)}", remedy=f"This version has {', '.join(LEVELS)}.")
        names = list(holdings)
        members = tuple(
            Member(name, "passive" if number else "active", holdings[name].names) for number, name in enumerate(names)
        )
        privacy: dict[str, Scalar] = {"scheme": self.scheme, "level": LEVELS[self.scheme]}
        privacy |= {"key_bits": PrivacyConfig().key_bits}
        privacy |= {"min_bin_population": minima[0], "min_intersection": minima[1]}
        psi: dict[str, Scalar] = {
            "protocol": PsiConfig().protocol,
            "id_rule": RULE,
            "max_set_size": PsiConfig().max_set_size,
        }
        return Agreement("notebook", PURPOSE, members, self._model(), privacy, psi, {"fraction": 0.0})

    def _one_table(self, X: Any, parties: Mapping[str, Sequence[Any]] | None) -> list[PartyTable]:
        """The columns of one table, shared out. Rows are matched by their number."""
        values = np.asarray(X, dtype=np.float64)
        names = self._column_names(values.shape[1])
        shared = _shared_out(names, parties)
        if len(shared) < 2:
            raise BadInput(f"{len(names)} feature(s), n_features = {len(names)}: two parties need one each")
        ids = [f"row {number}" for number in range(len(values))]
        return [
            PartyTable(party, pd.DataFrame({"id": ids, **{f"c{at}": values[:, at] for at in own}}), "id")
            for party, own in shared.items()
        ]

    def _column_names(self, count: int) -> list[str]:
        """Of one table, by their numbers where they have no names."""
        return [str(one) for one in getattr(self, "feature_names_in_", range(count))]

    def _labels_of(self, X: Mapping[str, Any]) -> list[Any]:
        """The label column of the active party's table."""
        assert self._label is not None
        return PartyTable(self.parties_[0], X[self.parties_[0]], "").values_of(self._label)

    # ---- prediction --------------------------------------------------------------------------------------------------

    def _scores(self, X: Any) -> tuple[Reals, npt.NDArray[np.float64]]:
        """Predictions and points of every row of the active party's table, NaN where a party does not know it."""
        check_is_fitted(self, "shares_")
        if by_party(X):
            tables = self._tables_to_score(X)
        else:
            if self._shared is None:
                raise BadInput("this model was fitted on a table a party; predict from such tables, by party name")
            checked = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
            tables = self._one_table(checked, self._shared)
        found = {one.name: one.holding() for one in tables}
        holdings = {name: holding for name, (holding, _) in found.items()}
        rows, scores, total = in_process.joint_scores(holdings, self._trained, _seed(self.random_state))
        of_table = found[self.parties_[0]][1][rows]
        count = len(tables[0].values_of(tables[0].id))
        every = np.full((count, *scores.shape[1:]), np.nan)
        every[of_table] = scores
        points = np.full(count, np.nan)
        points[of_table] = total
        return every, points

    def _tables_to_score(self, X: Mapping[str, Any]) -> list[PartyTable]:
        if self._tables is None:
            raise BadInput("this model was fitted on one table; predict from one")
        missing = [name for name in self.parties_ if name not in X]
        if missing:
            raise BadInput(f"no table of party {shown(missing[0])}", remedy=f"Parties: {', '.join(self.parties_)}.")
        members = {member.name: member for member in self._trained.terms.agreement.members}
        return [PartyTable(name, X[name], id, features=members[name].features) for name, id in self._tables.items()]

    def _federated(
        self, X: Mapping[str, Any], label: str | None, id: str | Mapping[str, str] | None, weight: str | None,
        categorical: Mapping[str, Sequence[str]] | None,
    ) -> list[PartyTable]:  # fmt: skip
        """Each party's table, the active one's first: that with the label."""
        if label is None or id is None:
            raise BadInput("a table a party needs the names of the columns: label=..., id=...")
        if len(X) < 2:
            raise BadInput(f"{len(X)} party is no federation", remedy="Give two tables or more, by party name.")
        ids, named = ids_of(id, list(X)), categorical or {}
        holders = [name for name, table in X.items() if PartyTable(name, table, "").has(label)]
        if len(holders) != 1:
            found = f"{len(holders)} parties have" if holders else "no party has"
            raise BadInput(f"{found} a column {shown(label)}", remedy="Exactly one party holds the label.")
        tables = [
            PartyTable(name, table, ids[name], label, weight, categorical=tuple(named.get(name, ())))
            if name == holders[0]
            else PartyTable(name, table, ids[name], categorical=tuple(named.get(name, ())))
            for name, table in X.items()
        ]
        return sorted(tables, key=lambda one: one.name != holders[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def by_party(X: Any) -> bool:
    """Whether this is a table a party. Some sparse matrices are mappings too."""
    return isinstance(X, Mapping) and not issparse(X)


def _shared_out(names: Sequence[str], parties: Mapping[str, Sequence[Any]] | None) -> dict[str, list[int]]:
    """Column numbers by party: as said, or one half each."""
    if parties is None:
        half = (len(names) + 1) // 2
        halves = list(range(half)), list(range(half, len(names)))
        return {name: own for name, own in zip(HALVES, halves, strict=True) if own}
    places = {name: at for at, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    for party, columns in parties.items():
        for column in columns:
            if str(column) not in places:
                raise BadInput(
                    f"no column {shown(column)} for party {shown(party)}", remedy=closest(str(column), names)
                )
        found[party] = [places[str(column)] for column in columns]
    return found


def _weights(given: Any, rows: int) -> Reals:
    try:
        values = np.asarray(given, dtype=np.float64)
        return checked_weights(np.full(rows, float(values)) if values.ndim == 0 else values, rows)
    except UsageError as error:
        raise BadInput(f"sample_weight: {error}", remedy=error.remedy) from None


def _seed(random_state: Any) -> int | None:
    """What all randomness of the parties follows from."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return None if random_state is None else int(random_state)
    return int(random_state.randint(2**31 - 1))
