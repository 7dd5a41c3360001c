"""What was measured: as a record, as a table in Markdown, as a chart of ratio against speed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmzip import plot
from llmzip.bench.files import How, Measured, machine, paid_from
from llmzip.bench.rivals import Tool

COLUMNS = [
    "file",
    "bytes",
    "tool",
    "compressed",
    "bits/byte",
    "KB/s",
    "KB/s back",
    "MiB",
    "MiB back",
    "model",
    "model paid for from",
]
VERSION = 1


@dataclass(frozen=True)
class Bench:
    how: How
    tools: dict[Tool, str]  # and their versions
    missing: list[Tool]
    measured: list[Measured]

    def ours(self, file: str) -> Measured | None:
        """What the others' last column is compared with: the first of llmzip's that worked."""
        return next(
            (each for each in self.measured if each.file == file and each.tool.is_ours and not each.fault), None
        )


def record(bench: Bench) -> dict[str, Any]:
    return {
        "version": VERSION,
        "machine": machine(),
        "head": bench.how.head,
        "rounds": bench.how.rounds,
        "clock": "processor" if bench.how.cpu else "wall",
        "tools": [
            {"name": tool.name, "title": tool.title, "version": version} for tool, version in bench.tools.items()
        ],
        "missing": [{"title": tool.title, "hint": tool.hint} for tool in bench.missing],
        "measured": [_record(bench, each) for each in bench.measured],
        "total": [_total_record(*each) for each in totals(bench)],
    }


def _record(bench: Bench, each: Measured) -> dict[str, Any]:
    ours = bench.ours(each.file)
    return {
        "file": each.file,
        "sha256": each.sha256,
        "bytes": each.n_bytes,
        "tool": each.tool.title,
        "compressed_bytes": each.n_packed,
        "bits_per_byte": round(each.bits_per_byte, 5),
        "kb_per_s": round(each.kb_s[0], 3),
        "kb_per_s_back": round(each.kb_s[1], 3),
        "mib": round(each.mib[0], 1),
        "mib_back": round(each.mib[1], 1),
        "model_bytes": each.n_model,
        "model_paid_for_from": paid_from(ours, each) if ours and not each.tool.is_ours else None,
        "fault": each.fault or None,
    }


def _total_record(title: str, n_bytes: int, n_packed: int, there: float, back: float) -> dict[str, Any]:
    return {
        "tool": title,
        "bytes": n_bytes,
        "compressed_bytes": n_packed,
        "kb_per_s": round(there, 3),
        "kb_per_s_back": round(back, 3),
    }


def totals(bench: Bench) -> list[tuple[str, int, int, float, float]]:
    """Of each tool that has done all files: title, bytes, compressed bytes, and KB/s of all together, both ways."""
    found = []
    for tool in bench.tools:
        done = [each for each in bench.measured if each.tool == tool]
        if all(not each.fault for each in done) and (done := [each for each in done if each.n_bytes]):
            n_bytes = sum(each.n_bytes for each in done)
            there, back = (
                n_bytes / 1000 / sum(each.n_bytes / 1000 / each.kb_s[way] for each in done) for way in (0, 1)
            )
            found.append((tool.title, n_bytes, sum(each.n_packed for each in done), there, back))
    return found


def markdown(bench: Bench, *, brief: bool = False) -> Iterator[str]:
    """`brief`: of several files, the table of sizes and that of all together alone."""
    yield f"Machine: {machine()}."
    yield "Versions: " + ", ".join(f"{tool.name} {version}" for tool, version in bench.tools.items()) + "."
    if bench.missing:
        yield "Missing: " + ", ".join(f"{tool.title} ({tool.hint})" for tool in bench.missing) + "."
    clock = "second of the processor" if bench.how.cpu else "second"
    yield f"KB/s: 1000 bytes by {clock}, median of {bench.how.rounds}. MiB: the most that one process held."
    yield "Every file was decoded in a process of its own, without its source, and compared. No program is counted."
    yield "Model: what a decoder needs besides the file; paid for from the size at which both are less than that file."
    files = dict.fromkeys((each.file, each.n_bytes, each.sha256) for each in bench.measured)
    if len(files) > 1:
        yield ""
        yield from table(["file", "bytes", *(tool.title for tool in bench.tools)], list(_sizes(bench)))
        yield ""
        header = ["all files", "bytes", "compressed", "bits/byte", "ratio", "KB/s", "KB/s back", "MiB", "MiB back"]
        yield from table(header, [_total_cells(bench, *each) for each in totals(bench)])
    if len(files) == 1 or not brief:
        yield ""
        yield from table(COLUMNS, [_cells(bench, each) for each in bench.measured])
    yield ""
    yield from table(["file", "bytes", "SHA-256"], [[file, spaced(n), f"`{sha256}`"] for file, n, sha256 in files])


def table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield "| " + " | ".join(row) + " |"


def _sizes(bench: Bench) -> Iterator[list[str]]:
    """A row for each file, of what it takes by each tool; and their sums."""
    files: dict[tuple[str, str], list[Measured]] = {}
    for each in bench.measured:
        files.setdefault((each.file, each.sha256), []).append(each)
    for (file, _), done in files.items():
        cells = ("FAILED" if each.fault else spaced(each.n_packed) for each in done)
        yield [file, spaced(done[0].n_bytes), *cells]
    sums = [spaced(sum(each.n_packed for each in column)) for column in zip(*files.values(), strict=True)]
    faults = {each.tool for each in bench.measured if each.fault}
    cells = ("FAILED" if tool in faults else size for tool, size in zip(bench.tools, sums, strict=True))
    yield [f"all {len(files)}", spaced(sum(done[0].n_bytes for done in files.values())), *cells]


def _total_cells(bench: Bench, title: str, n_bytes: int, n_packed: int, there: float, back: float) -> list[str]:
    mib = [max(each.mib[way] for each in bench.measured if each.tool.title == title) for way in (0, 1)]
    sizes = [spaced(n_bytes), spaced(n_packed), f"{8 * n_packed / n_bytes:.3f}", f"{n_bytes / n_packed:.2f}"]
    return [title, *sizes, _speed(there), _speed(back), *(f"{most:.0f}" for most in mib)]


def _cells(bench: Bench, each: Measured) -> list[str]:
    start = [each.file, spaced(each.n_bytes), each.tool.title]
    if each.fault:
        return [*start, "FAILED", *[""] * 7]
    ours = bench.ours(each.file)
    paid = "" if each.tool.is_ours or ours is None else _paid_text(paid_from(ours, each))
    memory = [f"{each.mib[0]:.0f}", f"{each.mib[1]:.0f}", spaced(each.n_model)]
    return [
        *start,
        spaced(each.n_packed),
        f"{each.bits_per_byte:.3f}",
        _speed(each.kb_s[0]),
        _speed(each.kb_s[1]),
        *memory,
        paid,
    ]


def _paid_text(size: int | None) -> str:
    return "never" if size is None else f"{size / 1e6:.1f} MB" if size else "0"


def _speed(kb_s: float) -> str:
    return f"{kb_s:.1f}" if kb_s < 10 else f"{kb_s:.0f}"


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


# --- the chart


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (speed, ratio): those that nothing faster matches, the slowest first."""
    found: list[tuple[float, float]] = []
    for speed, ratio in sorted(points, reverse=True):
        if not found or ratio > found[-1][1]:
            found.append((speed, ratio))
    return found[::-1]


def chart_of(found: dict[str, Any]) -> str:
    """Of what `record` gives, and --json writes."""
    keys = ("tool", "bytes", "compressed_bytes", "kb_per_s", "kb_per_s_back")
    files = {each["file"]: each["bytes"] for each in found["measured"]}
    what = next(iter(files)) if len(files) == 1 else f"{len(files)} files"
    return chart(
        [tuple(each[key] for key in keys) for each in found["total"]],
        f"{what}, {spaced(sum(files.values()))} bytes; {found['machine']}",
    )


def chart(totals: list[tuple[str, int, int, float, float]], about: str) -> str:
    left, right, top, bottom = 62, 720, 92, 430
    ratios = [n / packed for _, n, packed, _, _ in totals]
    speed = plot.Axis([each for *_, there, back in totals for each in (there, back)], left, right, log=True)
    ratio = plot.Axis(ratios, bottom, top)
    parts = [
        plot.text(16, 28, "How small, how fast", kind="title"),
        plot.text(
            16, 46, "filled: compressing; ring: decompressing; dashed: nothing is both smaller and faster", kind="soft"
        ),
        plot.text(right, bottom + 38, "KB/s, by powers of ten", "end", "soft"),
        plot.text(16, top - 8, "times smaller", kind="soft"),
        plot.text(16, bottom + 62, about, kind="soft"),
    ]
    for tick in speed.ticks():
        parts += [
            plot.line(speed.at(tick), top, speed.at(tick), bottom, "grid"),
            plot.text(speed.at(tick), bottom + 18, plot.number(tick), "middle", "soft"),
        ]
    for tick in ratio.ticks():
        parts += [
            plot.line(left, ratio.at(tick), right, ratio.at(tick), "grid"),
            plot.text(left - 8, ratio.at(tick) + 4, plot.number(tick), "end", "soft"),
        ]
    front = frontier([(there, size) for (*_, there, _), size in zip(totals, ratios, strict=True)])
    parts.append(
        '<polyline class="front" points="' + " ".join(f"{speed.at(x):.1f},{ratio.at(y):.1f}" for x, y in front) + '"/>'
    )
    labels: list[tuple[float, float]] = []
    for i, ((title, _, _, there, back), size) in enumerate(zip(totals, ratios, strict=True)):
        x, y, color = speed.at(there), ratio.at(size), plot.COLORS[i % len(plot.COLORS)]
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{speed.at(back):.1f}" y2="{y:.1f}" stroke="{color}" opacity=".45"/>'
        )
        parts.append(
            f'<circle cx="{speed.at(back):.1f}" cy="{y:.1f}" r="4" fill="none" stroke="{color}" stroke-width="2"/>'
        )
        parts.append(plot.mark(x, y, i, large=title.startswith("llmzip")))
        parts.append(_label(x, y, title if title.startswith("llmzip") else title.split()[0], labels))
    return plot.svg(740, bottom + 78, "Compression ratio against speed of llmzip and other programs", parts)


def _label(x: float, y: float, title: str, taken: list[tuple[float, float]]) -> str:
    """Above the mark, or where none is yet."""
    for dy in (-10, 20, -24, 34, -38):
        if all(abs(y + dy - other_y) > 13 or abs(x - other_x) > 120 for other_x, other_y in taken):
            break
    taken.append((x, y + dy))
    anchor = "end" if x > 600 else "start" if x < 110 else "middle"
    return plot.text(x, y + dy, title, anchor)
