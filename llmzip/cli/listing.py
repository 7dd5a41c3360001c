"""`info --members`: what is in a tar that was compressed."""

import json
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, cast

from llmzip.cli import fileio
from llmzip.cli.display import Display, printable, table
from llmzip.cli.jobs import each_file
from llmzip.file import LmzFile

if TYPE_CHECKING:
    from llmzip.tars import TarMember


def show_members(names: list[str], display: Display, *, as_json: bool) -> int:
    from llmzip.tars import members

    records: list[dict[str, Any]] = []

    def work(name: str) -> None:
        fileio.refuse_terminal_input(name)
        with fileio.open_source(name) as source, LmzFile(source.random_access()) as file:
            found = list(members(cast(IO[bytes], file)))
        if as_json:
            records.append({"file": fileio.shown(name, "-"), "members": [asdict(member) for member in found]})
        else:
            display.results(
                table(["name", "kind", "bytes", "offset"], [_cells(member) for member in found], text_columns=(0, 1))
            )

    code = each_file(names, display, work)
    if as_json:
        display.result(json.dumps(records, indent=2))
    return code


def _cells(member: "TarMember") -> list[str]:
    return [printable(member.name), member.kind, str(member.n_bytes), str(member.offset)]
