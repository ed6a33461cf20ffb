"""Size and import time of each extra, installed from the built wheel into a fresh environment.

    python -m benchmarks.extras

Prints the table of docs/how-to/install.md. Versions are those of requirements/dev.txt.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The module that the main command of each extra imports first. `train` also needs PyTorch, which no lock names.
ENTRIES = {
    "": "earthsignature_grpc.client",
    "service": "earthsignature_grpc.server.server",
    "platform": "earthsignature_assets.definitions",
    "quantise": "earthsignature_assets.training.quantisation",
    "cloud": "ukis_csmask.mask",
    "celery": "earthsignature_assets.automation.celery_worker",
    "kubernetes": "dagster_k8s",
}


@dataclass(frozen=True)
class Environment:
    """A Python environment with the wheel and one extra."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        """The `earthsignature` command."""
        return self.folder / "bin" / "earthsignature"

    @property
    def megabytes(self) -> float:
        """Size of the installed files without bytecode, in MB."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files if path.suffix != ".pyc") / 1e6

    def distributions(self) -> set[str]:
        """Return the names of the installed distributions, in lower case."""
        code = "from importlib.metadata import distributions as d; print(*{x.name.lower() for x in d()})"
        return set(self.run(code).split())

    def run(self, code: str) -> str:
        """Run Python code outside the checkout and return its output.

        Raises:
            subprocess.CalledProcessError: the code fails.
        """
        done = subprocess.run([self.python, "-c", code], cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def import_seconds(self, module: str, times: int = 5) -> float:
        """Measure a fresh process that imports a module: the least wall time, in seconds."""
        self.run(f"import {module}")  # writes the bytecode
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            self.run(f"import {module}")
            seconds.append(time.perf_counter() - started)
        return min(seconds)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, extra: str, folder: Path) -> Environment:
    """Install the wheel with an extra ("" for none) into a new environment."""
    environment = Environment(folder)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    constraints = ["--constraint", str(ROOT / "requirements" / "dev.txt")]
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", str(environment.python), *constraints, requirement],
        check=True,
        # The environment that runs this one must not be taken for the target.
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
    )
    return environment


def main() -> None:
    """Measure each extra and print the table."""
    print("| Extra | MB | Distributions | Import (s) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch) / "wheel")
        for extra, module in ENTRIES.items():
            environment = install(wheel, extra, Path(scratch) / (extra or "core"))
            name = f"`{extra}`" if extra else "none"
            print(
                f"| {name} | {environment.megabytes:.0f} | {len(environment.distributions())} "
                f"| {environment.import_seconds(module):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
