"""What a row is. Modules that define rows import what they measure inside their functions.

A contender is then a process that holds only what it needs: its peak memory is its own.
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
    """What a run may choose.

    Attributes:
        size: side of the simulated scene in pixels of 10 m, even, at most 10980.
        products: products in the catalogue.
        folder: where scenes, catalogues and results are; the parts that are dear to make stay for the next run.
    """

    size: int = 4096
    products: int = 400_000
    folder: Path = Path("build/bench")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        return cls(content["size"], content["products"], Path(content["folder"]))


# Sets up untimed, then yields what does the work once and returns its cost (or its rate) in the row's unit.
Contender = Callable[[Options], AbstractContextManager[Callable[[], float]]]


@dataclass(frozen=True)
class Target:
    """What is promised: a sentence, whether a value beside its peers' keeps it, and the most peak memory in MiB."""

    text: str
    met: Callable[[float, Mapping[str, float]], bool]
    most_mb: float = math.inf


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what `--only` takes.
        title: what is measured, one sentence; `{size}` and `{products}` stand for the options, here and in `unit`.
        unit: of the value and of the peers' values.
        own: EarthSignature's contender, a function at the top of its module.
        peers: what it is compared with, by name.
        target: None where nothing is promised.
        prepare: makes what all contenders read, once, in a process of its own.
        repetitions: measured runs of each contender.
        warm_up: whether one run comes first that is not counted.
        needs: for `own` or a peer's name, what says why it cannot be measured here; None where it can.
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
        """The module that holds this row in its `ROWS`: the worker finds it there."""
        return self.own.__module__

    def absent(self, contender: str = "own") -> str | None:
        """Why a contender cannot be measured here; None where it can."""
        return self.needs[contender]() if contender in self.needs else None

    def filled(self, options: Options) -> Self:
        """This row with the options named in its title and unit."""
        values = options.to_json()
        return replace(self, title=self.title.format(**values), unit=self.unit.format(**values))

    def ratio(self, value: float, peer: float) -> float:
        """How many times better than a peer: above 1, EarthSignature is ahead."""
        return value / peer if self.higher_is_better else peer / value
