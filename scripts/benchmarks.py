#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Measures what docs/benchmarks.md tells, and makes its tables and pictures.

    scripts/benchmarks.py measure [--dir FOLDER] [--large] [--quick] NAME...
    scripts/benchmarks.py show [PLACE...]         prints the tables, in Markdown
    scripts/benchmarks.py draw                    draws docs/plots
    scripts/benchmarks.py write                   puts the tables into docs/benchmarks.md, and draws

What was measured is kept in target/figures, one file for each NAME:

    host       work shaped as hosts do it, on files in memory, with floors             1 minute
    cached     the same with the node cache that all handles share                     1 minute
    handle     work with one handle, on files in memory, with floors                   1 minute
    disk       flushes and commits on a disk, with real syncs                          1 minute
    beside     commits beside compactions on a disk, ten times                         2 minutes
    scale      from 10 000 to 1 000 000 documents, for the pictures                    6 minutes; --large: to 10 000 000, half
                                                                                       an hour more and 30 GB of disk
    compare    redb and LMDB beside couchstore, on a disk                              5 minutes

--dir FOLDER is where files on a disk are made (default: target); those in memory are in /dev/shm where there is one.
--quick measures with few documents, to try the script.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FIGURES = TARGET / "figures"
CARGO = os.environ.get("CARGO", "cargo")

HOST = "open vbstate fetch-1 fetch-200 keys changes backfill compact-hook flush-1 flush-100 flush-1000".split()
HANDLE = ("load load-ordered update commit get multiget scan-seq scan-id scan-seq-bodies scan-id-bodies "
          "compact-128 compact-256 compact-1k compact-16k load-encrypted scan-encrypted").split()
DISK = "flush-1 flush-100 flush-1000 commit".split()
BESIDE = ["saves-compacting", "saves-replaying"]
SCALE = [*HOST[2:], "load", "load-ordered", "update", "commit", "get", "multiget", "scan-seq", "scan-id", "compact-256"]
# What is still measured with ten million documents.
LARGE = "load-ordered get scan-seq scan-id compact-256 fetch-1 keys changes backfill compact-hook flush-1000".split()
RUNS_BESIDE = 10
NODE_CACHE = "64M"

ON_DISK = ["disk", "beside", "compare"]


class Bench:
    """Runs couch_bench."""

    def __init__(self, options):
        self.options = options
        subprocess.run([CARGO, "build", "--quiet", "--release", "--locked", "-p", "couchstore-tools"], cwd=ROOT, check=True)
        memory = pathlib.Path("/dev/shm")
        self.memory = memory if memory.is_dir() else options.dir

    def rows(self, rows, docs, *more, on_disk=False):
        """The lines that a run prints."""
        folder = self.options.dir if on_disk else self.memory
        docs = "500,2k" if self.options.quick and "," in docs else "2k" if self.options.quick else docs
        command = [TARGET / "release" / "couch", "bench", "--json", "--dir", folder, "--docs", docs, "--rows", ",".join(rows)]
        result = subprocess.run([*command, *more], stdout=subprocess.PIPE, text=True, check=True)
        return result.stdout

    def measure(self, name):
        measurements = {
            "host": lambda: self.rows(HOST, "100k", "--floors", "--repeat", "5"),
            "cached": lambda: self.rows(HOST, "100k", "--floors", "--repeat", "5", "--node-cache", NODE_CACHE),
            "handle": lambda: self.rows(HANDLE, "100k", "--floors", "--repeat", "5"),
            "disk": lambda: self.rows(DISK, "100k", "--floors", "--repeat", "3", on_disk=True),
            "beside": lambda: "".join(self.rows(BESIDE, "100k", on_disk=True) for _ in range(RUNS_BESIDE)),
            "scale": self.scale,
            "compare": self.compare,
        }
        return measurements[name]()

    def scale(self):
        without = ["--sync", "none"]
        found = self.rows(SCALE, "10k,100k,1M", *without)
        if self.options.large:
            found += self.rows(LARGE, "10M", *without, on_disk=True)
        return found

    def compare(self):
        command = [CARGO, "run", "--quiet", "--release", "--locked", "--manifest-path", ROOT / "bench-compare" / "Cargo.toml", "--"]
        few = ["--docs", "2000", "--repeat", "1"] if self.options.quick else []
        return subprocess.run([*command, "--dir", self.options.dir, *few], stdout=subprocess.PIPE, text=True, check=True).stdout


# ---- Tables ----

def short(value):
    """Three digits, with a unit."""
    for unit, size in ((" M", 1e6), (" k", 1e3), ("", 1)):
        if value >= size or size == 1:
            return f"{float(f'{value / size:.3g}'):g}{unit}"


def time(microseconds):
    if microseconds >= 1000:
        return f"{short(microseconds / 1000)} ms"
    return f"{short(microseconds)} µs" if microseconds >= 1 else f"{short(microseconds * 1000)} ns"


def size(number):
    return "-" if number is None else f"{short(number / 1e6)} MB"


def share(row):
    return f"{row['floor']['percent']:.0f} %" if "floor" in row else "-"


def table(heading, rows):
    yield "| " + " | ".join(heading) + " |"
    yield "|---" + "|---:" * (len(heading) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def name_of(row):
    return f"`{row['row']}`"


def each(row, count, digits=2):
    """A count for one operation."""
    return f"{row[count] / row['ops']:.{digits}f}".rstrip("0").rstrip(".")


def speeds(rows, cached):
    """Times as hosts work, with and without the shared cache."""
    warm = {row["row"]: row for row in cached}
    heading = ["row", "time", "per second", "reads", "of the floor"]
    if warm:
        heading += ["with the cache: time", "per second", "reads", "times as fast"]
    lines = []
    for row in rows:
        line = [name_of(row), time(row["microseconds_per_op"]), short(row["ops_per_second"]), each(row, "reads"), share(row)]
        if other := warm.get(row["row"]):
            gain = row["microseconds_per_op"] / other["microseconds_per_op"]
            line += [time(other["microseconds_per_op"]), short(other["ops_per_second"]), each(other, "reads"), f"{gain:.2f}"]
        lines.append(line)
    return table(heading, lines)


def details(rows):
    """Everything else that a row tells."""
    heading = ["row", "time", "per second", "MB/s", "written", "by bytes given", "file", "peak memory", "reads", "writes",
               "syncs", "of the floor"]
    lines = []
    for row in rows:
        amplification = row["write_amplification"]
        lines.append([
            name_of(row), time(row["microseconds_per_op"]), short(row["ops_per_second"]),
            f"{row['mb_per_second']:.0f}" if row["user_bytes"] else "-",
            size(row["bytes_written"]) if row["bytes_written"] else "-",
            "-" if amplification is None else f"{amplification:.2f}",
            size(row["file_size"]), size(row["peak_memory"]), each(row, "reads", 3), each(row, "writes", 3),
            each(row, "syncs", 3), share(row),
        ])
    return table(heading, lines)


STEPS = "open read checksum inflate copy sort deflate write sync".split()


def floors(rows):
    """The steps of each floor."""
    lines = []
    for row in rows:
        if floor := row.get("floor"):
            steps = [time(floor[step]) if floor[step] > 0 else "-" for step in STEPS]
            lines.append([name_of(row), time(floor["microseconds_per_op"]), *steps])
    return table(["row", "floor", *STEPS], lines)


def latencies(rows):
    lines = []
    for row in rows:
        found = row["latency_us"]
        lines.append([name_of(row), short(row["ops_per_second"]), time(found["p50"]), time(found["p99"]), time(found["max"])])
    return table(["row", "documents per second", "p50 of a flush", "p99", "longest"], lines)


def beside(rows):
    """For each way to compact: the run whose ratio is in the middle, and what the others were."""
    lines = []
    for name in dict.fromkeys(row["row"] for row in rows):
        runs = [row for row in rows if row["row"] == name and row["latency_us"].get("p99_alone")]
        if not runs:
            continue
        ratio = {id(run): run["latency_us"]["p99"] / run["latency_us"]["p99_alone"] for run in runs}
        runs.sort(key=lambda run: ratio[id(run)])
        ratios = [ratio[id(run)] for run in runs]
        middle = runs[len(runs) // 2]["latency_us"]
        lines.append([f"`{name}`", str(len(runs)), time(middle["p50"]), time(middle["p99"]), time(middle["p99_alone"]),
                      f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"])
    heading = ["row", "runs", "p50 beside", "p99 beside", "p99 alone", "p99, beside : alone (median)", "in all runs"]
    return table(heading, lines)


def machine():
    """What this is measured on."""
    processor = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    yield (f"{os.cpu_count()} processors ({processor[1] if processor else platform.machine()}), {memory:.0f} GiB of memory, "
           f"{platform.system()} {platform.release().split('-')[0]}, rustc {rustc}.")


def counts():
    """Instructions for one operation, as scripts/counts.py keeps them."""
    lines = [line.split("#")[0].split() for line in (ROOT / "scripts" / "counts.txt").read_text().splitlines()]
    rows = [(f"`{name}-{size}`" if name in ("fetch", "flush") else f"`{name}`", f"{int(count):,}".replace(",", " "))
            for name, size, count in (line for line in lines if len(line) == 3)]
    yield from table(["row", "instructions"], rows)
    yield f"\n{', '.join(' '.join(line) for line in lines if len(line) == 2)}."


def kept(name):
    path = FIGURES / f"{name}.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def compared():
    path = FIGURES / "compare.json"
    return path.read_text().strip().splitlines() if path.exists() else []


# The places in the document, by name, and what stands there.
PLACES = {
    "machine": machine,
    "host": lambda: speeds(kept("host"), kept("cached")),
    "host details": lambda: details(kept("host")),
    "host floors": lambda: floors(kept("host")),
    "handle": lambda: details(kept("handle")),
    "disk": lambda: latencies(kept("disk")),
    "beside": lambda: beside(kept("beside")),
    "compare": compared,
    "counts": counts,
}
SOURCES = {"host details": "host", "host floors": "host", "machine": None, "counts": None}


def is_measured(place):
    source = SOURCES.get(place, place)
    return source is None or (FIGURES / f"{source}.json").exists()


def write():
    """Replaces what stands between the marks of each place that was measured."""
    text = DOCUMENT.read_text()
    for place, lines in PLACES.items():
        if not is_measured(place):
            print(f"{place}: not measured, left as it is")
            continue
        marked = re.compile(rf"(<!-- figures: {place} -->\n).*?(<!-- end -->\n)", re.DOTALL)
        body = "\n".join(lines()) + "\n"
        text, found = marked.subn(lambda match: match[1] + "\n" + body + "\n" + match[2], text)
        if found != 1:
            sys.exit(f"benchmarks: {DOCUMENT} has {found} places for {place}")
    DOCUMENT.write_text(text)
    draw()


def draw():
    """Draws what was measured for it."""
    pictures = [path for path in (FIGURES / f"{name}.json" for name in ("scale", "beside")) if path.exists()]
    if pictures:
        subprocess.run([ROOT / "scripts" / "plots.py", *pictures], check=True)


def main():
    parser = argparse.ArgumentParser(description="Measures what docs/benchmarks.md tells, and makes its tables.")
    commands = parser.add_subparsers(dest="command", required=True)
    names = ["host", "cached", "handle", "disk", "beside", "scale", "compare"]
    measure = commands.add_parser("measure", help="measure, and keep the figures in target/figures")
    measure.add_argument("--dir", type=pathlib.Path, default=TARGET, help="where files on a disk are made")
    measure.add_argument("--large", action="store_true", help="with ten million documents as well")
    measure.add_argument("--quick", action="store_true", help="with few documents")
    measure.add_argument("names", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    show = commands.add_parser("show", help="print the tables")
    show.add_argument("names", nargs="*", metavar="PLACE", help=", ".join(PLACES))
    commands.add_parser("draw", help="draw docs/plots")
    commands.add_parser("write", help="put the tables into docs/benchmarks.md and draw the pictures")
    options = parser.parse_args()
    if options.command == "measure":
        FIGURES.mkdir(parents=True, exist_ok=True)
        bench = Bench(options)
        for name in options.names:
            print(f"measuring: {name}", file=sys.stderr)
            (FIGURES / f"{name}.json").write_text(bench.measure(name))
    elif options.command == "write":
        write()
    elif options.command == "draw":
        draw()
    elif unknown := [place for place in options.names if place not in PLACES]:
        parser.error(f"there is no table {unknown[0]}")
    else:
        for place in options.names or [place for place in PLACES if is_measured(place)]:
            print(f"**{place}**\n", *PLACES[place](), "", sep="\n")


if __name__ == "__main__":
    main()
