"""Rows of the benchmark. Modules that define rows import the measured code inside their functions.

The process of a contender then holds only what the contender needs, and its peak memory is comparable.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self


class BenchmarkError(Exception):
    """A row that does not exist, a contender that failed, or results that cannot be read."""


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        size: side of the simulated scene in pixels of 10 m, even, at most 10980.
        products: products in the catalogue.
        folder: the folder of scenes, catalogues and results; expensive parts are kept for the next run.
    """

    size: int = 4096
    products: int = 400_000
    folder: Path = Path("build/bench")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        return cls(content["size"], content["products"], Path(content["folder"]))


# Sets up untimed, then yields a function that does the work once and returns its cost or rate in the row's unit.
Contender = Callable[[Options], AbstractContextManager[Callable[[], float]]]


@dataclass(frozen=True)
class Target:
    """The target of a row: text, test of the value against those of the peers, and limit of the peak memory in MiB."""

    text: str
    met: Callable[[float, Mapping[str, float]], bool]
    most_mb: float = math.inf


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: the name for `--only`.
        title: the measured work in one sentence; `{size}` and `{products}` stand for the options, here and in `unit`.
        unit: unit of all values.
        own: EarthSignature's contender, a function at the top level of its module.
        peers: the contenders to compare with, by name.
        target: the target, or None.
        prepare: creates the common input of all contenders, once, in a separate process.
        repetitions: measured runs of each contender.
        warm_up: whether an uncounted run comes first.
        needs: for `own` or a peer's name, a function that gives the reason why it cannot run here, or None.
        higher_is_better: true for rates.
    """

    name: str
    title: str
    unit: str
    own: Contender
    peers: Mapping[str, Contender] = field(default_factory=dict)
    target: Target | None = None
    prepare: Callable[[Options], None] | None = None
    repetitions: int = 5
    higher_is_better: bool = False
    warm_up: bool = True
    needs: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Name of the module whose `ROWS` hold this row, for the worker."""
        return self.own.__module__

    def absent(self, contender: str = "own") -> str | None:
        """Return the reason why a contender cannot run here, or None."""
        return self.needs[contender]() if contender in self.needs else None

    def filled(self, options: Options) -> Self:
        """Return this row with the options filled into its title and unit."""
        values = options.to_json()
        return replace(self, title=self.title.format(**values), unit=self.unit.format(**values))

    def ratio(self, value: float, peer: float) -> float:
        """Return how many times better than a peer the value is; above 1, EarthSignature is ahead."""
        return value / peer if self.higher_is_better else peer / value
