#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Counts instructions and system calls of work shaped as hosts do it, and compares them with the figures kept.

    scripts/counts.py [--build FOLDER] [--keep]

FOLDER (default: build) has the library, built as "make build" does. One program (capi-tests/counts/hostwork.cc) does one
kind of work at a time; each row is two runs of it on copies of one file, with different numbers of rounds: the difference
is what a round takes, without the program's start. The instructions are those in user space, counted by cachegrind.

The figures kept are in scripts/counts.txt, with the versions of the programs that decide them. With these versions, a row
that is more than 5 % above its figure is an error; with others nothing is. --keep writes the figures anew.

Environment: COUNTS_PROGRAM, another source with the same arguments to compile instead: then nothing is compared with
what is kept. COUNTS_FILE: the name of the file that it makes (default: host.couch).
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "scripts" / "counts.txt"
OWN_PROGRAM = ROOT / "capi-tests" / "counts" / "hostwork.cc"

DOCUMENTS = 100_000
BODY = 256
# A row may be this much above the figure that is kept.
MARGIN = 1.05

# Row, size, the two numbers of rounds, what a round is divided by, and the goal.
ROWS = [
    ("open", 1, 200, 1200, 1, 4000),
    ("vbstate", 1, 200, 1200, 1, 8000),
    ("fetch", 1, 200, 700, 1, 38_000),
    ("fetch", 200, 3, 9, 200, 16_000),
    ("keys", 1, 1, 3, DOCUMENTS, 650),
    ("changes", 1, 1, 3, DOCUMENTS, 700),
    ("backfill", 1, 1, 2, DOCUMENTS, 2400),
    ("compact", 1, 1, 2, DOCUMENTS, 3600),
    ("flush", 1, 20, 80, 1, 300_000),
    ("flush", 100, 5, 15, 100, 100_000),
    ("flush", 1000, 2, 5, 1000, 62_000),
]

# The C library chooses among several forms of memcpy and others by the processor: here always the one that all have.
# Valgrind would count each byte that "rep movsb" moves as an instruction.
TUNABLES = "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-BMI2,-ERMS,-FSRM"


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def versions():
    """The programs whose versions decide the figures."""
    return {
        "rustc": output("rustc", "--version").split()[1],
        "gcc": output("gcc", "-dumpfullversion").strip(),
        "valgrind": output("valgrind", "--version").strip().removeprefix("valgrind-"),
    }


def read_kept():
    """Versions, and figures by row and size."""
    kept_versions, figures = {}, {}
    for line in KEPT.read_text().splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2:
            kept_versions[words[0]] = words[1]
        elif len(words) == 3:
            figures[words[0], int(words[1])] = int(words[2])
    return kept_versions, figures


def write_kept(found_versions, figures):
    lines = ["# Written by scripts/counts.py --keep: versions, and instructions for each row (row, size, figure)."]
    lines += [f"{name} {version}" for name, version in found_versions.items()]
    lines += [f"{row} {size} {figure}" for (row, size), figure in figures.items()]
    KEPT.write_text("\n".join(lines) + "\n")


class Program:
    """The compiled program, and the file that it works on."""

    def __init__(self, build, folder):
        self.folder = folder
        self.path = folder / "program"
        self.file = os.environ.get("COUNTS_FILE", "host.couch")
        source = os.environ.get("COUNTS_PROGRAM", OWN_PROGRAM)
        includes = [f"-I{ROOT / 'include'}", f"-I{build / 'include'}"]
        subprocess.run(
            ["g++", "-std=c++17", "-O2", *includes, source, "-o", self.path, build / "libcouchstore.so",
             f"-Wl,-rpath,{build}"],
            check=True,
        )
        self.made = folder / "made"
        self.made.mkdir()
        subprocess.run([*self.command(self.made, "make")], check=True)

    def command(self, folder, *arguments):
        return [self.path, folder, str(DOCUMENTS), str(BODY), *map(str, arguments)]

    def run(self, tool, row, rounds, size):
        """Runs one row under a tool, on a fresh copy of the file, and returns what the tool says."""
        work = self.folder / "work"
        work.mkdir()
        shutil.copy(self.made / self.file, work / self.file)
        environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES}
        command = [*tool, *self.command(work, row, rounds, size)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        shutil.rmtree(work)
        if done.returncode:
            sys.exit(f"counts: {row} ended with {done.returncode}\n{done.stderr}")
        return done.stderr

    def instructions(self, row, rounds, size):
        tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        return int(re.search(r"I +refs: +([\d,]+)", self.run(tool, row, rounds, size))[1].replace(",", ""))

    def calls(self, row, rounds, size):
        """Numbers of system calls: all, and those that read."""
        table = self.run(["strace", "-f", "-c", "-U", "calls,name"], row, rounds, size)
        counts = {name: int(calls) for calls, name in re.findall(r"^ +(\d+) +(\w+)$", table, re.MULTILINE)}
        return counts.pop("total"), counts.get("pread64", 0)

    def per_operation(self, count, row, size, fewer, more, divisor):
        """The difference of two runs, for one operation."""
        return (count(row, more, size) - count(row, fewer, size)) / (more - fewer) / divisor


def measure(program):
    """Prints the table without its last column; returns the figures."""
    has_strace = shutil.which("strace") is not None
    figures = {}
    for row, size, fewer, more, divisor, _ in ROWS:
        figures[row, size] = round(program.per_operation(program.instructions, row, size, fewer, more, divisor))
        calls = ("-", "-")
        if has_strace:
            both = [program.calls(row, rounds, size) for rounds in (fewer, more)]
            calls = [f"{(b - a) / (more - fewer) / divisor:.2f}" for a, b in zip(*both)]
        yield row, size, figures[row, size], calls


def main():
    parser = argparse.ArgumentParser(description="Counts instructions of work shaped as hosts do it.")
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path, help="where the library is")
    parser.add_argument("--keep", action="store_true", help="keep the figures found")
    options = parser.parse_args()
    build = options.build.resolve()
    kept_versions, kept = read_kept() if KEPT.exists() else ({}, {})
    found_versions = versions()
    is_own = "COUNTS_PROGRAM" not in os.environ
    goals = {(row, size): goal for row, size, *_, goal in ROWS}
    figures, above = {}, []
    print(f"{'row':<14}{'goal':>10}{'kept':>10}{'now':>10}{'calls':>10}{'reads':>9}   instructions, each operation")
    with tempfile.TemporaryDirectory(prefix="counts-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        program = Program(build, pathlib.Path(folder))
        for row, size, figure, (calls, reads) in measure(program):
            figures[row, size] = figure
            before = kept.get((row, size)) if is_own else None
            too_many = before is not None and figure > before * MARGIN
            above += [f"{row} {size}"] if too_many else []
            name = f"{row} {size}" if row in ("fetch", "flush") else row
            mark = "  above what is kept" if too_many else ""
            print(f"{name:<14}{goals[row, size]:>10}{before or '-':>10}{figure:>10}{calls:>10}{reads:>9}{mark}", flush=True)
    if options.keep and is_own:
        write_kept(found_versions, figures)
    elif above and kept_versions == found_versions:
        sys.exit(f"counts: more than 5 % above the figures kept: {', '.join(above)}. What is meant to be so is kept "
                 "with scripts/counts.py --keep.")
    elif kept_versions != found_versions:
        print(f"The figures kept are of {kept_versions}, this is {found_versions}: nothing is compared.")


if __name__ == "__main__":
    main()
