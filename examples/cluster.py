"""Compress a folder, or one huge file in parts, with the workers of Dask or Ray: from a disk, S3, whatever has a URL.

    python examples/cluster.py FOLDER TARGET --engine dask --workers 2
    python examples/cluster.py FILE TARGET --engine ray --parts 8
    python examples/cluster.py s3://corpus/text s3://corpus/packed --engine dask --scheduler tcp://HOST:8786

TARGET gets an .lmz file for each file of FOLDER, a record beside each, and manifest.json. Killed, the same command goes
on where it was.
With --parts, TARGET is the name of the file that the parts are joined to. Dask's dashboard shows how far it is.
"""

import argparse
import sys
from collections.abc import Iterator

from llmzip import distributed
from llmzip.distributed import Record, Settings, Task


def run(tasks: list[Task], settings: Settings, arguments: argparse.Namespace) -> Iterator[Record]:
    if arguments.engine == "dask":
        from dask.distributed import Client, LocalCluster

        address = arguments.scheduler or LocalCluster(n_workers=arguments.workers, threads_per_worker=1)
        with Client(address) as client:
            yield from distributed.on_dask(client, tasks, settings)
        if not arguments.scheduler:
            address.close()
    elif arguments.engine == "ray":
        import ray

        ray.init(arguments.scheduler, num_cpus=None if arguments.scheduler else arguments.workers)
        yield from distributed.on_ray(tasks, settings)
        ray.shutdown()
    else:
        yield from distributed.here(tasks, settings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--engine", choices=["here", "dask", "ray"], default="here")
    parser.add_argument("--scheduler", help="of a cluster that there is; else one is made on this machine")
    parser.add_argument("--workers", type=int, default=2, help="on this machine")
    parser.add_argument("--parts", type=int, help="the source is one file")
    parser.add_argument("--model", help="a name or a folder; the default model if not given")
    arguments = parser.parse_args()

    settings = Settings(model=arguments.model)
    if arguments.parts:
        tasks = distributed.plan_parts(arguments.source, arguments.target, arguments.parts, settings)
    else:
        tasks = distributed.plan(arguments.source, arguments.target, settings)
    records = []
    for record in run(tasks, settings, arguments):
        records.append(record)
        print(
            f"{record.target}  {record.n_bytes} -> {record.n_bytes_on_disk}  {record.sha256_on_disk[:16]}", flush=True
        )
    if arguments.parts:
        records = [distributed.join(records, arguments.target, settings)]
    manifest = distributed.write_manifest(
        records, f"{arguments.target.rstrip('/')}{'.' if arguments.parts else '/'}manifest.json", settings
    )
    print(
        f"{manifest['n_files']} files, {manifest['n_bytes']} -> {manifest['n_bytes_on_disk']} bytes, "
        f"{manifest['bits_per_byte']} bits/byte"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
