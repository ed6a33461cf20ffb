"""Retired model versions: they take no part in new runs; their products stay.

They are listed in one JSON file of the deployment, replaced atomically: the repository may be shared or read-only.
"""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

from earthsignature_assets.errors import InvalidKeyError, ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.system.atomic import write_whole, writing


@dataclass(frozen=True)
class Retirement:
    """The retirement of a model version: version, time (UTC), person and reason."""

    model: ModelVersion
    retired_at: dt.datetime
    who: str
    why: str


class RetiredModels:
    """The retired versions of one deployment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> dict[ModelVersion, Retirement]:
        """Read the retirements in force.

        Raises:
            ModelError: the file cannot be read.
        """
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            found = [
                Retirement(
                    ModelVersion.parse(row["model"]),
                    dt.datetime.fromisoformat(row["retired_at"]),
                    row["who"],
                    row["why"],
                )
                for row in rows
            ]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, InvalidKeyError) as error:
            raise ModelError(
                f"{self.path} cannot be read ({error!r}): correct it, or remove it and retire the versions again"
            ) from error
        return {retirement.model: retirement for retirement in found}

    def retire(self, model: ModelVersion, who: str, why: str) -> None:
        """Retire a version; a version that is retired already keeps its first retirement."""
        standing = self.all()
        if model not in standing:
            now = dt.datetime.now(dt.UTC).replace(microsecond=0)
            self._write([*standing.values(), Retirement(model, now, who, why)])

    def reinstate(self, model: ModelVersion) -> None:
        """Reinstate a version."""
        standing = self.all()
        if standing.pop(model, None) is not None:
            self._write(list(standing.values()))

    def _write(self, retirements: list[Retirement]) -> None:
        rows = [
            {
                "model": str(retirement.model),
                "retired_at": retirement.retired_at.isoformat(),
                "who": retirement.who,
                "why": retirement.why,
            }
            for retirement in retirements
        ]
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, (json.dumps(rows, indent=2) + "\n").encode())
