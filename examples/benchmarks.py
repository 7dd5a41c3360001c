"""Makes the tables of docs/benchmarks.md anew, and the pictures that its commands draw.

    python examples/benchmarks.py docs/benchmarks.md BENCH=FOLDER [NAME=FOLDER ...] [--only WORD]

Between `<!-- COMMAND -->` and `<!-- end -->` the file gets the command and what it prints. In a command, $NAME is the
folder of that name; commands that name others, or do not hold WORD, are left as they are, with what they printed.
The file is written after each command, so that a run may be interrupted.
"""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

MADE = re.compile(r"<!-- (?P<command>\S.*?) -->\n.*?<!-- end -->", re.DOTALL)


def make(command: str, folders: dict[str, str]) -> str:
    """The command and what it prints, as Markdown."""
    paths = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        shell=True,
        env=os.environ | folders | {"PATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return f"<!-- {command} -->\n`{command}`\n\n{done.stdout.strip()}\n\n<!-- end -->"


def put(document: Path, command: str, made: str) -> None:
    """In the place of what it printed before, in the document as it is by now."""
    text = document.read_text("utf-8")
    changed = MADE.sub(lambda match: made if match["command"] == command else match[0], text)
    document.write_text(changed, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    parser.add_argument("folders", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--only", default="", metavar="WORD", help="commands that hold it")
    arguments = parser.parse_args()
    document: Path = arguments.document
    folders = dict(each.split("=", 1) for each in arguments.folders)
    commands = [match["command"] for match in MADE.finditer(document.read_text("utf-8"))]
    for command in commands:
        if arguments.only not in command or not set(re.findall(r"\$(\w+)", command)) <= folders.keys():
            print(f"left as it is: {command}", file=sys.stderr)
            continue
        print(command, file=sys.stderr)
        put(document, command, make(command, folders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
