"""The table of counted answers from which every figure of an evaluation follows.

A row is a combination of ground truth, predicted code and confidence, with the number of such pixels in one sample. It
is small enough to keep: anyone can compute another figure from it.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt
import pandas as pd

from earthsignature_assets.evaluation.block_counts import BlockCounts
from earthsignature_assets.ground_truth.label_scheme import Statement, code_name
from earthsignature_assets.ground_truth.truth_raster import TruthRaster

COLUMNS = ("code", "level", "also", "predicted", "confidence", "pixels")
"""Columns of the table: the statement, the predicted code, the confidence in percent, the number of pixels."""


class Scheme(Enum):
    """The level at which answers are compared with labels.

    `AS_LABELLED` compares every pixel at the level of its label: 311 is correct where the label is 31x. The others
    compare at one CORINE level, and count only pixels whose label reaches it.
    """

    AS_LABELLED = 0
    LEVEL_1 = 1
    LEVEL_2 = 2
    LEVEL_3 = 3


def tally(
    truth: TruthRaster, predicted: npt.NDArray[np.uint16], confidence: npt.NDArray[np.uint8]
) -> tuple[pd.DataFrame, int]:
    """Count one sample.

    Args:
        truth: its ground truth.
        predicted: CORINE codes, (height, width) uint16, 0 where there is no data.
        confidence: in percent, (height, width) uint8.

    Returns:
        The rows, `COLUMNS`, and the number of labelled pixels without a predicted class.
    """
    labelled = truth.codes > 0
    counted = labelled & (predicted > 0)
    parts = (truth.codes, truth.levels, truth.also, predicted, confidence)
    rows = np.stack([part[counted].astype(np.int64) for part in parts], axis=1)
    # One number a row sorts much faster than rows: 10, 2, 10, 10 and 7 bits.
    keys = (((rows[:, 0] * 4 + rows[:, 1]) * 1024 + rows[:, 2]) * 1024 + rows[:, 3]) * 128 + rows[:, 4]
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    table = pd.DataFrame(np.column_stack([rows[first], counts]), columns=list(COLUMNS))
    return table, int(np.count_nonzero(labelled) - np.count_nonzero(counted))


def block_counts(table: pd.DataFrame, scheme: Scheme, block: str = "sample") -> BlockCounts:
    """Compute the confusion matrices of a scheme, one for each value of the column `block`.

    Args:
        table: rows of samples, with `COLUMNS` and the column `block`.
        scheme: the level of the comparison.
        block: the column that names the blocks.
    """
    names_of, names = _names(table, scheme)
    keys = list(zip(table["code"], table["level"], table["also"], table["predicted"], strict=True))
    judged = np.array([key in names_of for key in keys], bool)
    blocks = sorted(table[block].unique())
    at = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(blocks), len(names), len(names)), np.int64)
    pairs = [names_of[key] for key, kept in zip(keys, judged, strict=True) if kept]
    where = (
        np.searchsorted(blocks, table[block][judged]),
        np.array([at[truth] for truth, _ in pairs], int),
        np.array([at[answer] for _, answer in pairs], int),
    )
    np.add.at(counts, where, table["pixels"][judged].to_numpy())
    # A block without a pixel of this scheme does not count.
    holding = counts.sum(axis=(1, 2)) > 0
    kept_blocks = tuple(str(name) for name, kept in zip(blocks, holding, strict=True) if kept)
    return BlockCounts(tuple(names), kept_blocks, counts[holding])


_Key = tuple[int, int, int, int]


def _names(table: pd.DataFrame, scheme: Scheme) -> tuple[dict[_Key, tuple[str, str]], list[str]]:
    """Name truth and answer of each combination that a scheme counts, in the order of the codes.

    Returns:
        The names of each combination, and all names, those of the truth first.
    """
    combinations = [
        tuple(int(value) for value in row)
        for row in table[["code", "level", "also", "predicted"]].drop_duplicates().itertuples(index=False)
    ]
    statements = sorted({Statement(code, level, also) for code, level, also, _ in combinations})
    names_of: dict[_Key, tuple[str, str]] = {}
    for code, level, also, predicted in combinations:
        statement = Statement(code, level, also)
        if scheme is Scheme.AS_LABELLED:
            names_of[code, level, also, predicted] = statement.name, _answer(statement, predicted, statements)
        elif _reaches(statement, scheme.value):
            names_of[code, level, also, predicted] = (
                code_name(code, scheme.value),
                code_name(predicted, scheme.value),
            )
    truths = sorted({truth for truth, _ in names_of.values()})
    return names_of, truths + sorted({answer for _, answer in names_of.values()} - set(truths))


def _reaches(statement: Statement, level: int) -> bool:
    """Tell whether a statement names one class of a level."""
    same = not statement.also or code_name(statement.code, level) == code_name(statement.also, level)
    return statement.level >= level and same


def _answer(statement: Statement, predicted: int, statements: Sequence[Statement]) -> str:
    """Name a predicted code next to a statement: by the statement's name where they agree."""
    if statement.agrees(predicted):
        return statement.name
    others = [other for other in statements if other.agrees(predicted)]
    if not others:
        return str(predicted)
    return max(others, key=lambda other: (other.level, not other.also, -other.code)).name


def agreeing(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell of each row whether the answer is correct at the level of its label: (rows,) bool."""
    right: Mapping[_Key, bool] = {
        tuple(row): Statement(*row[:3]).agrees(row[3])
        for row in table[["code", "level", "also", "predicted"]].drop_duplicates().to_numpy().tolist()
    }
    rows = table[["code", "level", "also", "predicted"]].to_numpy().tolist()
    return np.array([right[tuple(row)] for row in rows], bool)
