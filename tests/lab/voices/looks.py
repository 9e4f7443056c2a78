"""How often the third part was looked at, and what was seen: a line for each look, in a file of the tree.

Who chooses by the third part has none any more. So a bench that judges by it writes that down, and one sees.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

TABLE: Final = Path(__file__).with_name("looks.tsv")
COLUMNS: Final = ("date", "commit", "bench", "figures")


def note(bench: str, commit: str, figures: Mapping[str, object], table: Path = TABLE) -> str:
    """Append a look; gives the line."""
    told = ", ".join(f"{name} {value}" for name, value in figures.items())
    line = "\t".join((f"{datetime.now(UTC):%Y-%m-%d %H:%M}", commit, bench, told))
    with table.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    return line
