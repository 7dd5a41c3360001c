"""gzip's way to ask for things (`llmzip -d FILE`, `-9`, `tar -I llmzip`), put into words that the subcommands know.

Knows options by their names alone: which there are, and which of them take a value, the caller says.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from os.path import lexists

from llmzip.errors import LlmzipError

Options = Mapping[str, bool]  # by their names, dashes included: whether a value follows

MODES = {
    "-d": "decompress", "--decompress": "decompress", "--uncompress": "decompress",
    "-t": "test", "--test": "test",
    "-l": "info", "--list": "info",
}  # fmt: skip
OTHER_NAMES = {"--to-stdout": "--stdout", "--silent": "--quiet"}
LEVELS = {f"-{level}": level for level in range(1, 10)} | {"--fast": 1, "--best": 9}
IGNORED = {
    "-n": "no name is stored",
    "--no-name": "no name is stored",
    "-N": "no name is stored",
    "--name": "no name is stored",
    "--rsyncable": "each block is coded by itself, but its bounds do not follow the content",
    "--synchronous": "a file is always flushed to disk before it gets its name",
}
REFUSED = {
    "-r": ("folders are not walked", "tar -I llmzip -cf FOLDER.tar.lmz FOLDER packs one"),
    "--recursive": ("folders are not walked", "tar -I llmzip -cf FOLDER.tar.lmz FOLDER packs one"),
    "-a": ("nothing is ever converted: what comes out is what went in", ""),
    "--ascii": ("nothing is ever converted: what comes out is what went in", ""),
    "-b": ("there are no codes of so many bits", "-1 ... -9 are fast ... small"),
    "--bits": ("there are no codes of so many bits", "-1 ... -9 are fast ... small"),
}


class Misused(LlmzipError):
    """Arguments that mean nothing, or nothing safe."""


def translate(words: Sequence[str], commands: Mapping[str, Options]) -> list[str]:
    """The words for the subcommand that is meant: the one that they begin with, or that of a mode, or compress."""
    if words and words[0] in commands:
        return _for_compress(words[1:], commands["compress"]) if words[0] == "compress" else list(words)
    if not words:
        return ["compress"]
    if words[0] in ("-h", "--help", "-V", "--version", "-L", "--license"):
        return [words[0]]
    options, files = _split(words, _all_options(commands), habits=True)
    mode = None
    for name, _ in options:
        mode = MODES.get(name, mode)
    if mode is None:
        _check_no_command(words, files, commands)
    return _for_mode(mode or "compress", options, files, commands)


def _all_options(commands: Mapping[str, Options]) -> dict[str, bool]:
    return {
        name: takes
        for command in ("info", "test", "decompress", "compress")
        for name, takes in commands[command].items()
    }


def _for_compress(words: Sequence[str], known: Options) -> list[str]:
    """Only -1 ... -9, alone or joined to others, need another word: options of the parser are no numbers."""
    options, files = _split(words, known, habits=False)
    return ["compress", *_spelled(options), "--", *files]


def _for_mode(
    mode: str, options: list[tuple[str, str | None]], files: list[str], commands: Mapping[str, Options]
) -> list[str]:
    """What is for another mode is left out, as gzip and xz do: `tar -I 'llmzip -9' -xf` gives both -9 and -d."""
    elsewhere = _all_options(commands)
    kept = []
    for name, value in options:
        if name in REFUSED:
            why, hint = REFUSED[name]
            raise Misused(f"{name}: {why}", hint=hint or "see llmzip --help")
        if name in MODES or name in IGNORED or (name in elsewhere and name not in commands[mode]):
            continue
        kept.append((name, value))
    return [mode, *_spelled(kept), "--", *files]


def _spelled(options: list[tuple[str, str | None]]) -> Iterator[str]:
    for name, value in options:
        yield name
        if value is not None:
            yield value


def _split(words: Sequence[str], known: Options, *, habits: bool) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Options with their values, in their order, and files. What is not known is left for the parser to refuse."""
    options: list[tuple[str, str | None]] = []
    files: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            files += rest
        elif word.startswith("--"):
            options.append(_long(word, known, rest, habits=habits))
        elif word.startswith("-") and len(word) > 1:
            options += _cluster(word, known, rest)
        else:
            files.append(word)
    return options, files


def _long(word: str, known: Options, rest: Iterator[str], *, habits: bool) -> tuple[str, str | None]:
    name, given, value = word.partition("=")
    if habits:
        name = OTHER_NAMES.get(name, name)
        if name in LEVELS:
            return "--level", str(LEVELS[name])
    if given:
        return (f"{name}={value}", None)
    return name, _value(name, rest) if known.get(name) else None


def _value(name: str, rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise Misused(f"{name} needs a value", hint="see llmzip --help")
    return value


def _cluster(word: str, known: Options, rest: Iterator[str]) -> Iterator[tuple[str, str | None]]:
    """-kf9 as -k -f --level 9; -S.x as -S .x."""
    for at in range(1, len(word)):
        name = f"-{word[at]}"
        if name in LEVELS:
            yield "--level", str(LEVELS[name])
        elif known.get(name):
            yield name, word[at + 1 :] or _value(name, rest)
            return
        else:
            yield name, None


def _check_no_command(words: Sequence[str], files: list[str], commands: Mapping[str, Options]) -> None:
    """A command that is misspelled or comes too late is no file to compress."""
    first = files[0] if files else ""
    if "--" in words or not first or "/" in first:
        return
    if first in commands:
        raise Misused(f"{first} comes after options", hint=f"the command comes first; a file of that name is ./{first}")
    if not lexists(first) and first.isalpha():
        close = get_close_matches(first, commands, 1)
        hint = f"llmzip {close[0]} --help" if close else "llmzip --help lists the commands"
        raise Misused(f"no such file or command: {first}", hint=hint)
