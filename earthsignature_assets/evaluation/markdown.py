"""Tables in Markdown, for the pages and cards of model versions."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Write a table in Markdown.

    Args:
        columns: the head of every column.
        rows: the cells of every row, as many as there are columns.
    """
    lines = [_row(columns), f"|{'---|' * len(columns)}", *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
