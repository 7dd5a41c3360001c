"""The commands that tell what there is: files, models, this machine. And those that change which models there are."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmzip.api import Info, get_info
from llmzip.cli import fileio
from llmzip.cli.display import Display, info_lines, info_record, models_lines
from llmzip.cli.jobs import ERROR, each_file, one_file
from llmzip.errors import LlmzipError


def show_info(names: list[str], display: Display, *, as_json: bool) -> int:
    found: list[tuple[str, Info]] = []

    def read(name: str) -> None:
        fileio.refuse_terminal_input(name)
        with fileio.open_source(name) as source:
            found.append((fileio.shown(name, "-"), get_info(source.random_access())))

    code = each_file(names, display, read)
    if as_json:
        display.result(json.dumps([info_record(name, info) for name, info in found], indent=2))
    elif found:
        display.results(info_lines(found, verbose=bool(display.verbose)))
    return code


def show_models(display: Display, *, as_json: bool) -> int:
    from llmzip.models import known, registry

    rows = list(registry.list_models())
    if as_json:
        display.result(json.dumps([asdict(row) for row in rows], indent=2, default=str))
        return 0
    display.results(models_lines(rows))
    display.note(f"cache: {known.cache_dir()}")
    return 0


def pull_model(name: str, display: Display) -> int:
    from llmzip.models import fetch

    def work(name: str) -> None:
        fetch.pull(name, echo=display.note)

    return one_file(name, display, work)


def remove_model(name: str, display: Display) -> int:
    from llmzip.models import registry

    def work(name: str) -> None:
        registry.remove(name)
        display.note(f"{name} is removed; files that were compressed with it need it to be decoded")

    return one_file(name, display, work)


def show_doctor(display: Display, model: str | None, device: str | None, threads: int | None) -> int:
    from llmzip.cli.doctor import report

    try:
        for key, value in report(model, device, threads):
            display.result(f"{key:<20} {value}")
            sys.stdout.flush()  # the checks take a while
    except LlmzipError as error:
        display.failed(error)
        return ERROR
    return 0


def train_model(corpora: list[str], out: Path, options: dict[str, Any], display: Display) -> int:
    from llmzip.train import run
    from llmzip.train.corpus import Source

    line = display.progress(str(out), None, decoding=False)
    told = [0.0]

    def progress(text: str) -> None:
        if line.shown:
            line.status(text)
        elif time.monotonic() - told[0] > 60:  # into a log
            told[0] = time.monotonic()
            display.note(text)

    def say(text: str) -> None:
        line.end()
        display.note(text)

    def work(name: str) -> None:
        sources = [Source.parse(corpus) for corpus in corpora]
        run.train(sources, Path(name), say=say, progress=progress, **options)
        line.end()
        display.note(f"{name} is trained: llmzip compress -m {name} FILE")

    return one_file(str(out), display, work)
