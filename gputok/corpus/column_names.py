"""Chooses the column of a table or a file that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok.checks import several, short

if TYPE_CHECKING:
    from collections.abc import Sequence


def choose_column(names: Sequence[str], of_strings: Sequence[str], column: str | None, where: str) -> str:
    """Chooses the column to read.

    Args:
        names: the columns that exist.
        of_strings: the columns that hold strings.
        column: the column that the caller wants; None: "text", or the only column that holds strings.
        where: the name of the file or table, for errors.

    Returns:
        The name of the column.

    Raises:
        ValueError: if `column` does not exist, or if it is None and several columns could be meant, or none.

    >>> choose_column(["id", "text"], [], None, "a.csv")
    'text'
    """
    if column is None:
        column = "text" if "text" in names else of_strings[0] if len(of_strings) == 1 else None
        if column is None:
            raise ValueError(f"{where} has the columns {several(names)}: name the one to read by column=")
    elif column not in names:
        raise ValueError(f"{where} has no column {short(column)}; it has {several(names)}")
    return column
