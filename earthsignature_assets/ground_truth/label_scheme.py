"""Label schemes: the CORINE meaning of each label of a ground truth, the level it confirms, and what it leaves open.

A scheme is a small CSV file with a comment on its source, shipped in `label_schemes/` or written by the user, with the
columns

    label   the value in the source: 41, Forest, A11
    code    CORINE level-3 code; empty where the label names no CORINE class: such pixels are void
    level   1, 2 or 3: how much of the code the label confirms (2 for "forest", which is 31x)
    also    a second code that the label may mean as well, or empty
    note    the reason, for people
"""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from earthsignature_assets.errors import GroundTruthError, UnknownClassError
from earthsignature_assets.nomenclature import CODES, class_of

LEVELS = (1, 2, 3)


@dataclass(frozen=True, order=True)
class Statement:
    """Meaning of a label: a CORINE code, true up to `level`; or, equally likely, `also`, up to the same level.

    `also` is 0 where there is no second meaning.
    """

    code: int
    level: int = 3
    also: int = 0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise GroundTruthError(f"{self.code}: level {self.level} is not 1, 2 or 3")
        try:
            for code in (self.code, *([self.also] if self.also else [])):
                class_of(code)
        except UnknownClassError as error:
            raise GroundTruthError(str(error)) from error

    def agrees(self, code: int) -> bool:
        """Tell whether a predicted code is right to the level of the label."""
        return any(code // self._step == meant // self._step for meant in (self.code, self.also) if meant)

    def refines(self, other: "Statement") -> bool:
        """Tell whether this statement equals another one or is a finer case of it."""
        return not self.also and self.level >= other.level and other.agrees(self.code)

    @property
    def name(self) -> str:
        """Short text: `231`, `31x`, `5xx`, `12x or 11x`."""
        return " or ".join(dict.fromkeys(code_name(code, self.level) for code in (self.code, self.also) if code))

    @property
    def _step(self) -> int:
        return (100, 10, 1)[self.level - 1]


def code_name(code: int, level: int) -> str:
    """Return a code cut to a level: 313 is `313`, `31x`, `3xx`."""
    return str(code)[:level] + "x" * (3 - level)


@dataclass(frozen=True)
class LabelScheme:
    """The statement of every label of a source; None where the label names no CORINE class.

    `notes` are for people, by label.
    """

    name: str
    statements: Mapping[str, Statement | None]
    notes: Mapping[str, str]

    def knows(self, label: str) -> bool:
        """Tell whether the scheme has the label, even as void."""
        return label in self.statements

    def statement(self, label: str) -> Statement | None:
        """Return the statement of a label; None where it names no CORINE class or the scheme lacks it."""
        return self.statements.get(label)

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """All codes of the scheme, ascending."""
        return tuple(sorted({statement.code for statement in self.statements.values() if statement}))


def label_text(value: object) -> str:
    """Normalise the text of a label: 41, 41.0 and " 41 " all become `41`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def shipped_schemes() -> tuple[str, ...]:
    """Return the names of the schemes in the package."""
    folder = resources.files("earthsignature_assets.ground_truth") / "label_schemes"
    return (
        "corine",
        *sorted(path.name.removesuffix(".csv") for path in folder.iterdir() if path.name.endswith(".csv")),
    )


def label_scheme(name: str, folder: Path = Path()) -> LabelScheme:
    """Return a scheme: one of `shipped_schemes`, or a CSV or JSON file.

    A JSON file holds an object that maps a label to a code, or to an object of code, level, also and note.

    Args:
        name: the scheme's name, or the file.
        folder: the folder that relative paths start from.

    Raises:
        GroundTruthError: there is no such scheme, or a row does not fit.
    """
    if name == "corine":
        return LabelScheme("corine", {str(code): Statement(code) for code in CODES}, {})
    if name in shipped_schemes():
        shipped = resources.files("earthsignature_assets.ground_truth") / "label_schemes" / f"{name}.csv"
        return _read_csv(name, shipped.read_text(encoding="utf-8"))
    path = folder / name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GroundTruthError(
            f"there is no label scheme {name!r}: give a CSV or JSON file, or one of {', '.join(shipped_schemes())} "
            f"({error})"
        ) from error
    return _read_json(path.stem, text) if path.suffix == ".json" else _read_csv(path.stem, text)


def _read_csv(name: str, text: str) -> LabelScheme:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = csv.DictReader(io.StringIO("\n".join(lines)))
    if not {"label", "code"} <= set(rows.fieldnames or ()):
        raise GroundTruthError(
            f"label scheme {name}: the columns label and code are needed; level, also and note are optional"
        )
    return _scheme(name, [(label_text(row["label"]), row) for row in rows])


def _read_json(name: str, text: str) -> LabelScheme:
    try:
        content = json.loads(text)
        rows = [(label_text(label), row if isinstance(row, dict) else {"code": row}) for label, row in content.items()]
    except (ValueError, AttributeError) as error:
        raise GroundTruthError(f"label scheme {name} is not a JSON object of labels ({error})") from error
    return _scheme(name, rows)


def _scheme(name: str, rows: list[tuple[str, dict[str, object]]]) -> LabelScheme:
    statements: dict[str, Statement | None] = {}
    notes: dict[str, str] = {}
    for label, row in rows:
        if label in statements:
            raise GroundTruthError(f"label scheme {name}: label {label!r} occurs twice")
        try:
            code = int(str(row["code"])) if row.get("code") not in (None, "", 0) else 0
            level, also = int(str(row.get("level") or 3)), int(str(row.get("also") or 0))
            statements[label] = Statement(code, level, also) if code else None
        except (ValueError, GroundTruthError) as error:
            raise GroundTruthError(f"label scheme {name}, label {label!r}: {error}") from error
        notes[label] = str(row.get("note") or "")
    if not any(statements.values()):
        raise GroundTruthError(f"label scheme {name} names no CORINE class")
    return LabelScheme(name, statements, notes)
