#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Which lines of the library the tests run: Rust tests, and C and C++ tests through the shared library.

    scripts/coverage.py [--build FOLDER] [--only REGEX] [--errors FILE] [--report]

Builds everything with counters (rustc's -C instrument-coverage, gcc's --coverage for cxx/), runs each test program by
itself, and writes below FOLDER (default: build-coverage):

    lcov.info      lines of src/ and cxx/, all programs together
    html/          the same to look at, if genhtml (Debian: lcov) is there
    errors.md      every place that makes an error, and a test program that reaches it; also to --errors FILE

The last line is the figure. Tests inside src/ (#[cfg(test)]) are run, but are no lines of the library.

Needed: llvm-profdata and llvm-cov for what this rustc writes ("rustup component add llvm-tools", or Debian's llvm-19), and
gcov. --only runs the programs whose names match, without building C if none can; --report only reads what a run has left.
"""

import argparse
import collections
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FEATURES = "header,sim,cxx"
# C tests that have an allocator of their own, which counts what counters ask for, too.
LEFT_OUT = {"c.memory"}

Lines = dict[int, int]
Files = dict[str, Lines]
# By file; first line and column, last ones.
Regions = dict[str, dict[tuple[int, int, int, int], int]]


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def llvm(name: str) -> str:
    """The program of this name that reads what rustc writes."""
    found = os.environ.get(name.upper().replace("-", "_"))
    if found:
        return found
    host = re.search(r"^host: (.*)$", output("rustc", "-vV"), re.M)[1]
    own = pathlib.Path(output("rustc", "--print", "sysroot").strip(), "lib", "rustlib", host, "bin", name)
    if own.exists():
        return str(own)
    for version in range(30, 18, -1):
        if path := shutil.which(f"{name}-{version}"):
            return path
    sys.exit(f"{name} is missing: rustup component add llvm-tools, or install llvm-19 or newer")


class Coverage:
    """A build with counters, and what its test programs have counted."""

    def __init__(self, build: pathlib.Path, only: str | None):
        self.build = build
        self.only = re.compile(only) if only else None
        self.profiles = build / "profiles"
        self.cmake = build / "cmake"
        self.profdata, self.cov = llvm("llvm-profdata"), llvm("llvm-cov")
        self.environment = dict(
            os.environ,
            RUSTFLAGS="-Cinstrument-coverage",
            # Fast enough for the long tests, slow enough that lines stay what they are.
            CARGO_PROFILE_DEV_OPT_LEVEL="1",
            CARGO_PROFILE_DEV_DEBUG="line-tables-only",
            CARGO_TARGET_DIR=str(build / "cargo"),
            # What build scripts and compilers' plug-ins count is of no interest.
            LLVM_PROFILE_FILE="/dev/null",
        )

    def wanted(self, name: str) -> bool:
        return not self.only or bool(self.only.search(name))

    # ---- Running ----

    def run(self, name: str, command: list[str], folder: pathlib.Path, **environment: str) -> None:
        """Runs one test program, its counters go to profiles/NAME."""
        counters = self.profiles / name
        shutil.rmtree(counters, ignore_errors=True)
        counters.mkdir(parents=True)
        # %m: processes of one program add to one file.
        counted = dict(self.environment, LLVM_PROFILE_FILE=str(counters / "%4m.profraw"), **environment)
        log = counters / "log"
        with log.open("w") as out:
            code = subprocess.run(command, cwd=folder, env=counted, stdout=out, stderr=out).returncode
        print(f"  {name}{'' if code == 0 else f': ended with {code}, see {log}'}", flush=True)

    def rust(self) -> dict[str, pathlib.Path]:
        """Builds and runs the Rust tests. Returns the executables by name."""
        print("Rust tests", flush=True)
        messages = output(
            "cargo", "test", "--workspace", "--locked", "--features", FEATURES, "--lib", "--bins", "--tests", "--no-run",
            "--message-format=json-render-diagnostics", cwd=ROOT, env=self.environment)
        programs = {}
        for message in map(json.loads, messages.splitlines()):
            if message.get("profile", {}).get("test") and message.get("executable"):
                folder = pathlib.Path(message["manifest_path"]).parent
                name = message["target"]["name"]
                if message["target"]["kind"] != ["test"]:
                    name = f"{folder.name if folder != ROOT else 'couchstore'}-{'-'.join(message['target']['kind'])}"
                programs[f"rust.{name}"] = (pathlib.Path(message["executable"]), folder)
        for name, (program, folder) in programs.items():
            if self.wanted(name):
                self.run(name, [str(program), "--quiet"], folder, CARGO_MANIFEST_DIR=str(folder))
        return {name: program for name, (program, _) in programs.items()}

    def c(self) -> dict[str, pathlib.Path]:
        """Builds and runs the C and C++ tests. Their object is the shared library."""
        print("C and C++ tests", flush=True)
        host = re.search(r"^host: (.*)$", output("rustc", "-vV"), re.M)[1]
        environment = {key: value for key, value in self.environment.items() if key != "CARGO_TARGET_DIR"}
        quiet = {"stdout": subprocess.DEVNULL, "check": True, "env": environment}
        subprocess.run(
            ["cmake", "-S", str(ROOT), "-B", str(self.cmake), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
             "-DCOUCHSTORE_BUILD_TESTS=ON", "-DCOUCHSTORE_BUILD_TOOLS=OFF", "-DCOUCHSTORE_VALGRIND=OFF",
             f"-DCOUCHSTORE_CARGO_TARGET={host}", "-DCMAKE_CXX_FLAGS=--coverage"], **quiet)
        subprocess.run(["cmake", "--build", str(self.cmake)], **quiet)
        for counters in self.cmake.rglob("*.gcda"):
            counters.unlink()
        tests = json.loads(output("ctest", "--test-dir", str(self.cmake), "--show-only=json-v1"))["tests"]
        library = self.cmake / "libcouchstore.so"
        programs = {}
        for name in (test["name"] for test in tests):
            if re.match(r"(c|cxx|golden)\.", name) and name not in LEFT_OUT:
                programs[name] = library
                if self.wanted(name):
                    self.run(name, ["ctest", "--test-dir", str(self.cmake), "--output-on-failure", "-R",
                                    f"^{re.escape(name)}$"], self.cmake)
        return programs

    # ---- Reading ----

    def lines_of_program(self, name: str, program: pathlib.Path) -> Files:
        """What a test program has run of src/."""
        counters = self.profiles / name
        raw = [str(path) for path in counters.glob("*.profraw") if path.stat().st_size]
        if not raw:
            return {}
        merged = counters / "merged.profdata"
        # A process that was killed while it wrote leaves half a file.
        subprocess.run([self.profdata, "merge", "--sparse", "--failure-mode=all", "-o", str(merged), *raw],
                       check=False, stderr=subprocess.DEVNULL)
        if not merged.exists():
            return {}
        text = self.export(name, program, "--format=lcov", "--skip-functions", "--skip-branches")
        return parse_lcov(text)

    def regions_of_program(self, name: str, program: pathlib.Path) -> Regions:
        """The pieces of src/ between two branches, and how often the test program has run each."""
        if not (self.profiles / name / "merged.profdata").exists():
            return {}
        regions: Regions = collections.defaultdict(collections.Counter)
        for function in json.loads(self.export(name, program, "--format=text"))["data"][0]["functions"]:
            for *extent, count, file, _, kind in function["regions"]:
                path = pathlib.Path(function["filenames"][file])
                # Of generic functions there are several.
                if kind == 0 and path.is_relative_to(ROOT):
                    regions[str(path.relative_to(ROOT))][tuple(extent)] += count
        return regions

    def export(self, name: str, program: pathlib.Path, *options: str) -> str:
        merged = self.profiles / name / "merged.profdata"
        return output(self.cov, "export", *options, f"--instr-profile={merged}", str(program), "--sources",
                      str(ROOT / "src"), stderr=subprocess.DEVNULL)

    def lines_of_cxx(self) -> Files:
        """What all C and C++ tests together have run of cxx/."""
        files: Files = collections.defaultdict(dict)
        objects = self.cmake / "CMakeFiles" / "couchstore_objects.dir"
        for counters in objects.rglob("*.gcda"):
            text = subprocess.run(["gcov", "--json-format", "--stdout", str(counters)], check=True,
                                  capture_output=True, cwd=counters.parent).stdout
            data = json.loads(gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text)
            for file in data["files"]:
                path = (pathlib.Path(data["current_working_directory"]) / file["file"]).resolve()
                if path.is_relative_to(ROOT / "cxx"):
                    lines = files[str(path.relative_to(ROOT))]
                    for line in file["lines"]:
                        number = line["line_number"]
                        lines[number] = lines.get(number, 0) + line["count"]
        return files


def parse_lcov(text: str) -> Files:
    files: Files = {}
    lines: Lines = {}
    for row in text.splitlines():
        if row.startswith("SF:"):
            path = pathlib.Path(row[3:]).resolve()
            lines = files.setdefault(str(path.relative_to(ROOT)), {}) if path.is_relative_to(ROOT) else {}
        elif row.startswith("DA:"):
            number, count = row[3:].split(",")[:2]
            lines[int(number)] = lines.get(int(number), 0) + int(count)
    return files


def tests_begin(path: str) -> int:
    """The line where a file's own tests begin: they stand last."""
    rows = (ROOT / path).read_text().splitlines()
    for number, row in enumerate(rows, 1):
        if row == "#[cfg(test)]" and rows[number].startswith("mod ") and rows[number].endswith("{"):
            return number
    return len(rows) + 1


def is_test_file(path: str) -> bool:
    return path.endswith("/tests.rs")


def add(total: Files, files: Files) -> None:
    for path, lines in files.items():
        if is_test_file(path):
            continue
        end = tests_begin(path) if path.startswith("src/") else sys.maxsize
        kept = total.setdefault(path, {})
        for number, count in lines.items():
            if number < end:
                kept[number] = kept.get(number, 0) + count


def share(files: Files, chosen=lambda path: True) -> str:
    counts = [count for path, lines in files.items() if chosen(path) for count in lines.values()]
    covered = sum(count > 0 for count in counts)
    return f"{100 * covered / max(len(counts), 1):.1f} % of {len(counts)} lines"


def write_lcov(files: Files, target: pathlib.Path) -> None:
    with target.open("w") as out:
        for path, lines in sorted(files.items()):
            out.write(f"TN:\nSF:{ROOT / path}\n")
            out.writelines(f"DA:{number},{count}\n" for number, count in sorted(lines.items()))
            out.write("end_of_record\n")


# ---- Errors ----

# Where an error is made, not looked at: no pattern, and not in the files that say what errors are.
MAKES = re.compile(r"\b(?:Error|Failed|Unusable)::([A-Z]\w*)\b(?!\s*(?:\{[^}]*\.\.\s*\}|\([^)]*\)\s*(?:=>|\|)|\{[^}]*\}\s*=>))")
PATTERN = re.compile(r"=>|matches!|if let|while let|^\s*\|")


# These get an error that is made in any case; what tells is the "?" behind.
EAGER = re.compile(r"\b(?:ok_or|map_err)\($")
CLOSURE = re.compile(r"\|[^|]*\|\s*$")

Position = tuple[int, int]


def end_of_brackets(text: list[str], number: int, at: int, depth: int) -> Position:
    """Where as many brackets more are closed than opened, from a place on: number of the line, and index in it."""
    for line in range(number, min(number + 12, len(text)) + 1):
        for index in range(at, len(text[line - 1])):
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text[line - 1][index], 0)
            if depth == 0:
                return line, index + 1
        at = 0
    return number + 1, 0


class Place:
    """Where an error is made: what is run only then."""

    def __init__(self, text: list[str], number: int, made: re.Match):
        row = text[number - 1]
        before = row[: made.start()]
        self.begin = self.tail = (number, made.start() + 1)
        self.return_behind = None
        closure = CLOSURE.search(before)
        is_eager = EAGER.search(before if before.strip() else text[number - 2].rstrip())
        if fields := re.match(r" ?[({]", row[made.end(1):]):
            line, index = end_of_brackets(text, number, made.end(1) + fields.end() - 1, 0)
            self.tail = (line, index + 1)
        if is_eager or closure:
            line, index = end_of_brackets(text, number, made.start(), 1)
            if text[line - 1][index: index + 1] == "?":
                self.return_behind = (line, index + 1)
        # What is around a closure says nothing of it.
        self.least = (number, closure.start() + 1) if closure else (0, 0)
        inside = "".join(text[number - 1: self.tail[0]])[made.end():]
        # A closure that calls nothing is no region.
        is_silent = is_eager or closure and not re.search(r"\w\(", inside)
        self.can_be_told = not is_silent or self.return_behind is not None

    def runs(self, regions: dict[tuple[int, int, int, int], int]) -> int:
        """How often it was run."""
        inside = [count for (*begin, _, _), count in regions.items() if self.begin <= tuple(begin) < self.tail]
        if self.return_behind:
            inside = [count for (*begin, _, _), count in regions.items() if tuple(begin) == self.return_behind]
        if inside:
            return max(inside)
        around = [(end[0] - begin[0], end[1] - begin[1], count)
                  for (*first, line, column), count in regions.items()
                  if self.least <= (begin := tuple(first)) <= self.begin < (end := (line, column))]
        return min(around, default=(0, 0, 0))[2]


def errors(by_program: dict[str, Files], regions: dict[str, Regions]) -> str:
    """A table of all places that make an error."""
    rows, reached, unknown = [], 0, 0
    for path in sorted((ROOT / "src").rglob("*.rs")):
        name = str(path.relative_to(ROOT))
        if name.startswith("src/error") or name.startswith("src/io/sim/") or is_test_file(name):
            continue
        text, end, function = path.read_text().splitlines(), tests_begin(name), ""
        for number, row in enumerate(text[: end - 1], 1):
            if match := re.match(r"\s*(?:pub(?:\([a-z]+\))? )?(?:unsafe )?(?:extern \"C\" )?fn (\w+)", row):
                function = match[1]
            if row.lstrip().startswith("//"):
                continue
            made = MAKES.search(row)
            if not made or (PATTERN.search(row) and not re.search(r"=>.*\b(?:Error|Failed|Unusable)::", row)):
                continue
            place = Place(text, number, made)
            programs = [program for program in by_program
                        if place.can_be_told and place.runs(regions[program].get(name, {}))]
            said = re.search(r'"([^"]+)"', row + (text[number] if number < len(text) else ""))
            reached += bool(programs)
            unknown += not place.can_be_told
            if programs:
                first = min(programs, key=lambda program: (len(by_program[program]), program))
                by = f"{first} ({len(programs)})"
            else:
                by = "**none**" if place.can_be_told else "cannot be told"
            rows.append((name, function, made[1], said[1].replace("|", "/") if said else "", by))
    return "\n".join([
        "# Where errors are made, and the tests that reach them",
        "",
        "Made by `make coverage`, which runs every test program by itself and looks which pieces of code it has run. Where an",
        "error is made in any case, and thrown away if all is well, what counts is the return with it.",
        "",
        f"{reached} of {len(rows)} places are reached" + (f"; of {unknown} it cannot be told." if unknown else "."),
        "",
        "| File | Function | Error | Text | Reached by (of how many programs) |",
        "|---|---|---|---|---|",
        *(f"| {name} | `{function}` | `{kind}` | {said} | {by} |" for name, function, kind, said, by in rows),
    ]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-coverage")
    parser.add_argument("--only", metavar="REGEX")
    parser.add_argument("--errors", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    coverage = Coverage(arguments.build.resolve(), arguments.only)
    coverage.build.mkdir(parents=True, exist_ok=True)
    kept = coverage.build / "programs.json"
    if not arguments.report:
        programs = {**coverage.rust(), **coverage.c()}
        kept.write_text(json.dumps({name: str(program) for name, program in programs.items()}))
    programs = {name: pathlib.Path(program) for name, program in json.loads(kept.read_text()).items()}
    by_program = {name: coverage.lines_of_program(name, program) for name, program in programs.items()}
    total: Files = {}
    for files in by_program.values():
        add(total, {path: lines for path, lines in files.items() if path.startswith("src/")})
    add(total, coverage.lines_of_cxx())
    write_lcov(total, coverage.build / "lcov.info")
    regions = {name: coverage.regions_of_program(name, program) for name, program in programs.items()}
    table = errors(by_program, regions)
    for target in filter(None, [coverage.build / "errors.md", arguments.errors]):
        target.write_text(table)
    if shutil.which("genhtml"):
        subprocess.run(["genhtml", "--quiet", "--prefix", str(ROOT), "-o", str(coverage.build / "html"),
                        str(coverage.build / "lcov.info")], check=True)
    for folder in sorted({path.split("/")[1] for path in total if path.count("/") > 1}):
        print(f"  src/{folder}: {share(total, lambda path, folder=folder: path.startswith(f'src/{folder}/'))}")
    for path in sorted(total, key=lambda path: sum(count == 0 for count in total[path].values()), reverse=True)[:12]:
        print(f"  {path}: {sum(count == 0 for count in total[path].values())} lines not run")
    print(f"coverage: src without capi {share(total, lambda p: p.startswith('src/') and not p.startswith('src/capi/'))}, "
          f"capi {share(total, lambda p: p.startswith('src/capi/'))}, "
          f"cxx {share(total, lambda p: p.startswith('cxx/'))}")


if __name__ == "__main__":
    main()
