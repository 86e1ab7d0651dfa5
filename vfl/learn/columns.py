"""One party's features over the aligned rows: real values, their bins, and the split records that come of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vfl.learn.binning import BinMapper, Codes
from vfl.learn.categories import CategoryMapper
from vfl.learn.histogram import FeatureLayout, Mapper
from vfl.learn.parameters import GBDTParameters
from vfl.learn.split import Split
from vfl.learn.tree import SplitRecord, go_left, go_left_codes

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Columns:
    """Binned features of one party.

    names: of the features, in the order of the agreement.   values: float64[n, n_features], NaN = missing.
    mappers: the bins of each feature, fitted on training rows only.   codes: uint8 or uint16 [n, n_features], Fortran.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    mappers: tuple[Mapper, ...]
    codes: Codes

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        values: npt.NDArray[np.float64],
        train: Flags,
        parameters: GBDTParameters,
        min_bin_population: int,
        categorical: Collection[str] = (),
    ) -> Columns:
        """Bin `values` by the training rows `train`, bool[n]; bins below `min_bin_population` rows are joined.

        categorical: names of the features whose values are categories.
        """
        mappers: list[Mapper] = []
        for name, column in zip(names, values.T, strict=True):
            if name in categorical:
                sizes = parameters.max_bin, parameters.min_data_in_bin, min_bin_population
                mappers.append(CategoryMapper.fit(column[train], *sizes))
            else:
                fine = BinMapper.fit(column[train], parameters.max_bin, parameters.min_data_in_bin)
                mappers.append(fine.merge_small(fine.transform(column[train]), min_bin_population))
        wide = any(mapper.n_bins > 256 for mapper in mappers)
        codes: Codes = np.empty(values.shape, dtype=np.uint16 if wide else np.uint8, order="F")
        for feature, mapper in enumerate(mappers):
            codes[:, feature] = mapper.transform(values[:, feature])
        return cls(tuple(names), values, tuple(mappers), codes)

    @cached_property
    def layout(self) -> FeatureLayout:
        """Where each feature's cells lie in a histogram."""
        return FeatureLayout.of(self.mappers)

    def record(self, split: Split) -> SplitRecord:
        """What the owner of `split` keeps of it."""
        return SplitRecord.of(split, self.mappers[split.feature])

    def left_codes(self, record: SplitRecord) -> Flags:
        """Which rows go left by their codes, bool[n]."""
        missing_bin = self.mappers[record.feature].missing_bin
        return go_left_codes(self.codes[:, record.feature], record, missing_bin)

    def left_values(self, records: Sequence[SplitRecord]) -> Flags:
        """Which rows go left by their real values at each of `records`: bool[n_records, n]."""
        return left_values(self.values, records)


def left_values(values: npt.NDArray[np.float64], records: Sequence[SplitRecord]) -> Flags:
    """Which rows of `values`, float64[n, n_features], go left at each of `records`: bool[n_records, n]."""
    decided = np.empty((len(records), len(values)), dtype=np.bool_)
    for row, record in zip(decided, records, strict=True):
        row[:] = go_left(values[:, record.feature], record)
    return decided
