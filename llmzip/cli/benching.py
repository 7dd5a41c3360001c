"""`llmzip bench`: llmzip and its rivals on files, or the model against float32 transformers."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmzip.cli import fileio, jobs
from llmzip.cli.display import Display, printable
from llmzip.cli.fileio.opening import refuse_as_output
from llmzip.cli.outputs import result_file
from llmzip.errors import LlmzipError

if TYPE_CHECKING:
    from llmzip.bench.show import Bench


@dataclass(frozen=True)
class Benching:
    """`llmzip bench`: llmzip and its rivals."""

    display: Display
    ours: list[str]  # options of llmzip compress, each measured by itself
    rivals: list[str] | None  # names; None: all that there are
    model: str | None
    head: int | None  # bytes of each file
    rounds: int
    cpu: bool

    def run(self, names: list[str], *, as_json: bool, brief: bool, chart: str | None, force: bool) -> int:
        from llmzip.bench import show

        paths: list[Path] = []
        sources: list[fileio.Source] = []

        def look(name: str) -> None:
            with fileio.open_source(name, any_kind=False) as source:
                sources.append(source)
                paths.append(Path(name))

        with nullcontext() if chart is None else result_file(chart, self.display, force=force) as draw:
            code = jobs.each_file(names, self.display, look)
            refuse_as_output(sources, chart)
            bench = self._measure(paths)
            if draw is not None:
                draw(show.chart_of(show.record(bench)).encode())
        if as_json:
            self.display.result(json.dumps(show.record(bench), indent=2))
        else:
            self.display.results(map(printable, show.markdown(bench, brief=brief)))
        for each in bench.measured:
            if each.fault:
                self.display.error(printable(each.fault), name=f"{each.file}: {each.tool.title}")
        return jobs.ERROR if any(each.fault for each in bench.measured) else code

    def _measure(self, paths: list[Path]) -> "Bench":
        from llmzip.bench.files import How, measure_all
        from llmzip.bench.rivals import NAMES, choose, llmzip
        from llmzip.bench.show import Bench

        if unknown := set(self.rivals or ()) - set(NAMES):
            raise LlmzipError(f"no rival is called {', '.join(sorted(unknown))}", hint=f"there are {', '.join(NAMES)}")
        here, missing = choose(NAMES if self.rivals is None else self.rivals)
        tools = [*(llmzip(options, self.model) for options in self.ours), *here]
        how = How(self.head, self.rounds, self.cpu)
        versions = {tool: tool.find_version() for tool in tools}
        return Bench(how, versions, missing, list(measure_all(paths, tools, how, self.display.note)))


def against_float32(
    names: list[str], size: int, lanes: int | None, rounds: int, model: str | None, threads: int | None
) -> int:
    def measure(path: str) -> None:
        from llmzip.bench import speed

        speed.print_report(speed.run(model, Path(path), size=size, lanes=lanes, rounds=rounds, threads=threads))

    return jobs.each_file(names, Display(), measure)
