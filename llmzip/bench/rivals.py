"""Programs that compress: how each is called at its best, and whether it is here."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass

PYTHON, READ = shlex.quote(sys.executable), "sys.stdin.buffer.read()"


@dataclass(frozen=True)
class Tool:
    """Commands of a shell in a folder of their own: from `source` to `packed`, and from `packed` to `back`."""

    name: str
    title: str
    compress: str
    decompress: str
    version: str  # prints it
    hint: str  # how to install it
    program: str = ""  # that must be there; `name` if empty
    module: str = ""  # of Python, that must be there instead

    @property
    def is_ours(self) -> bool:
        return self.name == "llmzip"

    def is_installed(self) -> bool:
        if self.module:
            return importlib.util.find_spec(self.module) is not None
        return shutil.which(self.program or self.name) is not None

    def find_version(self) -> str:
        """Empty where it says nothing of the kind."""
        done = subprocess.run(
            self.version, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        found = re.search(r"\d+\.\d+(\.\d+)*|(?<=version )\d+|(?<=\bv)\d+", done.stdout + done.stderr)
        return found[0] if found else ""


def llmzip(options: str = "", model: str | None = None) -> Tool:
    same = f"{PYTHON} -m llmzip -q" + (f" -m {shlex.quote(model)}" if model else "")
    return Tool(
        "llmzip", f"llmzip {options}".strip(), f"{same} -c {options} source > packed", f"{same} -dc < packed > back",
        f"{PYTHON} -m llmzip --version", "pip install llmzip", module="llmzip",
    )  # fmt: skip


def _of_python(name: str, title: str, compress: str, decompress: str) -> Tool:
    """A module as a program: its memory holds Python, the source and the result, too."""
    start = f"{PYTHON} -c 'import {name}, sys; sys.stdout.buffer.write({name}."
    return Tool(
        name, title, f"{start}{compress})' < source > packed", f"{start}{decompress})' < packed > back",
        f"{PYTHON} -m pip show {name}", f"pip install {name}", module=name,
    )  # fmt: skip


def _zpaq() -> Tool:
    return Tool(
        "zpaq", "zpaq -m5", "zpaq add packed.zpaq source -m5 && mv packed.zpaq packed",
        "ln -f packed packed.zpaq && zpaq extract packed.zpaq source -to back", "zpaq", "apt install zpaq",
    )  # fmt: skip


def _7zz() -> Tool:
    return Tool(
        "7zz",
        "7zz ppmd",
        "7zz a -bd -m0=PPMd:o=16:mem=1g packed.7z source && mv packed.7z packed",
        "7zz x -so packed > back",
        "7zz",
        "apt install 7zip",
    )


# Of the same name the first that is there is taken. The kanzi of the package index is a port to Rust.
RIVALS = [
    Tool("xz", "xz -9e", "xz -9e -c source > packed", "xz -dc packed > back", "xz --version", "apt install xz-utils"),
    Tool(
        "zstd",
        "zstd --ultra -22 --long=27",
        "zstd --ultra -22 --long=27 -q -c source > packed",
        "zstd -dc --long=27 -q packed > back",
        "zstd --version",
        "apt install zstd",
    ),
    Tool(
        "brotli",
        "brotli -q 11",
        "brotli -q 11 --lgwin=24 -c source > packed",
        "brotli -dc packed > back",
        "brotli --version",
        "apt install brotli",
    ),
    _of_python("brotli", "brotli -q 11", f"compress({READ}, quality=11, lgwin=24)", f"decompress({READ})"),
    Tool(
        "bzip3",
        "bzip3 -b 128",
        "bzip3 -e -b 128 -c source > packed",
        "bzip3 -d -c packed > back",
        "bzip3 --version",
        "apt install bzip3",
    ),
    _of_python("kanzi", "kanzi -l 9 -b 128m", f"compress({READ}, 9, 1 << 27)", f"decompress({READ})"),
    _zpaq(),
    _7zz(),
    Tool("paq8px", "paq8px -8", "paq8px -8 source packed", "paq8px -d packed back", "paq8px", "github.com/hxim/paq8px"),
    Tool("cmix", "cmix -c", "cmix -c source packed", "cmix -d packed back", "cmix", "byronknoll.com/cmix.html"),
]
NAMES = list(dict.fromkeys(tool.name for tool in RIVALS))


def choose(names: list[str]) -> tuple[list[Tool], list[Tool]]:
    """The rivals of these names that are here, and those that are missing."""
    here: list[Tool] = []
    missing: list[Tool] = []
    for name in names:
        alternatives = [tool for tool in RIVALS if tool.name == name]
        found = next((tool for tool in alternatives if tool.is_installed()), None)
        (here if found else missing).append(found or alternatives[0])
    return here, missing
