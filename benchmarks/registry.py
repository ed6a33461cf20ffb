"""The rows, in the order of the chain."""

from benchmarks import catalogue, imagery, inference, int8, orchestration, products, service
from benchmarks.row import BenchmarkError, Row

ROWS: tuple[Row, ...] = (
    *imagery.ROWS,
    *inference.ROWS,
    *int8.ROWS,
    *products.ROWS,
    *catalogue.ROWS,
    *service.ROWS,
    *orchestration.ROWS,
)


def row_named(name: str) -> Row:
    """Return the row of a name.

    Raises:
        BenchmarkError: there is no such row.
    """
    for row in ROWS:
        if row.name == name:
            return row
    raise BenchmarkError(f"there is no row {name!r}; the rows are {', '.join(row.name for row in ROWS)}")
