"""What is left of a short message: bytes by llmzip and by other compressors, those of them that are installed.

    python examples/short_messages.py [--train-on FILE] [MESSAGE ...]

zstd gets a dictionary made of the lines of FILE, which it has as llmzip has its model. Every message is decompressed
and compared.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import llmzip
from llmzip.models import registry

MESSAGES = (
    "Running ten minutes late, start without me.",
    "Can you pick up some milk and bread on your way home? Thanks!",
    "Your verification code is 493027. It expires in 10 minutes. Do not share it with anyone.",
    "The meeting has been moved to Thursday at 3 pm in the large conference room on the second floor. "
    "Please bring the budget figures.",
    "Dear Ms. Keller, thank you for your order. The parcel was handed over to the carrier this morning and should "
    "reach you within three working days.",
    '{"id": 48213, "status": "ok", "temperature": 21.5, "humidity": 48, "battery": 87, '
    '"timestamp": "2026-11-24T09:30:00Z"}',
    "2026-11-24 09:30:12 ERROR [worker-3] connection to database lost, retrying in 5 seconds (attempt 2 of 10)",
    "Bonjour, je serai en retard de vingt minutes à cause de la neige. Commencez sans moi, s'il vous plaît.",
)  # fmt: skip


def filtered(command: list[str], data: bytes) -> int:
    return len(subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout)


def dictionary(lines: Path, folder: Path) -> Path:
    """A zstd dictionary from the lines of a file."""
    samples = [line for line in lines.read_bytes().splitlines(keepends=True) if len(line) > 20][:20_000]
    for number, sample in enumerate(samples):
        (folder / f"{number}.txt").write_bytes(sample)
    made = folder / "dictionary"
    files = [str(path) for path in sorted(folder.glob("*.txt"))]
    subprocess.run(["zstd", "-q", "--train", *files, "--maxdict=16384", "-o", str(made)], check=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("messages", nargs="*", default=MESSAGES)
    parser.add_argument("--train-on", type=Path, metavar="FILE", help="text whose lines make the dictionary of zstd")
    arguments = parser.parse_args()

    models = [
        registry.load(info.name)
        for info in registry.list_models()
        if info.installed and info.name in ("pocket", "smollm2-135m")
    ]
    with tempfile.TemporaryDirectory() as folder:
        rivals: dict[str, list[str]] = {}
        if shutil.which("brotli"):
            rivals["brotli -11"] = ["brotli", "-q", "11", "-c"]
        if shutil.which("zstd"):
            rivals["zstd -22"] = ["zstd", "--ultra", "-22", "-q", "-c", "--no-check"]
            if arguments.train_on:
                rivals["zstd, dict."] = [*rivals["zstd -22"], "-D", str(dictionary(arguments.train_on, Path(folder)))]
        print(" ".join(f"{name:>12}" for name in ("bytes", *(model.name for model in models), *rivals)), " message")
        for message in arguments.messages:
            data = message.encode()
            sizes = [len(data)]
            for model in models:
                packed = llmzip.compress(data, model)
                assert llmzip.decompress(packed, model) == data
                sizes.append(len(packed))
            sizes += [filtered(command, data) for command in rivals.values()]
            print(" ".join(f"{size:>12}" for size in sizes), "", message[:60])


if __name__ == "__main__":
    main()
