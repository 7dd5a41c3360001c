"""`llmzip score`: models on texts, in bits per byte."""

import json
import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmzip.cli import fileio, jobs
from llmzip.cli.display import Display, printable, table
from llmzip.cli.fileio.opening import refuse_as_output
from llmzip.cli.outputs import result_file
from llmzip.errors import LlmzipError

if TYPE_CHECKING:
    from llmzip.models import Model
    from llmzip.score.measure import Score

TRANSFORMERS = "transformers:"  # before the folder of a model that the exact engine does not take


@dataclass(frozen=True)
class Scoring:
    display: Display
    models: list[str]
    size: int | None  # of the first bytes of each text
    harness: bool
    device: str | None
    threads: int | None
    chart: str | None  # the file of a picture, which is none of the texts

    def score(self, names: list[str]) -> tuple[list["Score"], int]:
        """Of each text by each model. Texts that cannot be read are told and left out."""
        texts: list[tuple[str, bytes]] = []
        sources: list[fileio.Source] = []

        def read(name: str) -> None:
            with fileio.open_source(name) as source:
                sources.append(source)
                data = b"".join(source.chunks())[: self.size]
            if not data:
                raise LlmzipError("has no bytes to score")
            shown = os.path.basename(fileio.shown(name, "-"))
            texts.append((shown if shown not in dict(texts) else name, data))

        code = jobs.each_file(names, self.display, read)
        refuse_as_output(sources, self.chart)
        scores = []
        for model in map(self._load, self.models):
            scores += [self._scored(model, name, data) for name, data in texts]
        return sorted(scores, key=lambda each: [name for name, _ in texts].index(each.text)), code

    def _load(self, name: str) -> "Model":
        if name.startswith(TRANSFORMERS):
            from llmzip.models.causal import CausalModel

            model: Model = CausalModel(name.removeprefix(TRANSFORMERS), device=self.device, threads=self.threads)
            model.name = f"{model.name} (transformers)"
            return model
        from llmzip.models import registry

        return registry.load(name, device=self.device, threads=self.threads)

    def _scored(self, model: "Model", name: str, data: bytes) -> "Score":
        from llmzip.score.measure import score

        with self.display.progress(f"{printable(model.name)}: {name}", len(data), decoding=False) as line:
            return score(
                model, name, data, harness=self.harness, progress=(lambda done: line(done, 0)) if line.shown else None
            )


def score_files(names: list[str], work: Scoring, *, as_json: bool, force: bool) -> int:
    with nullcontext() if work.chart is None else result_file(work.chart, work.display, force=force) as draw:
        scores, code = work.score(names)
        if not scores:
            return code
        from llmzip.score import show

        if draw is not None:
            draw(show.chart(scores).encode())
    if as_json:
        work.display.result(json.dumps(show.record(scores), indent=2))
    else:
        lines = [[printable(cell) for cell in row] for row in show.rows(scores)]
        work.display.results(table(show.HEADER, lines, text_columns=(0, 1)))
        work.display.results(map(printable, show.sentences(scores)))
    return code
