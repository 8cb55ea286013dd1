#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Writes docs/unsafe.md: every use of "unsafe" in the library and the tools, by purpose.

    scripts/unsafe.py            writes it
    scripts/unsafe.py --check    fails if it is not what the sources say

Purposes belong to files: a file that has "unsafe" and is not in the table below has to get one. What each block relies on is
taken from its SAFETY comment. There are no line numbers, so that moving code changes nothing.
"""

import collections
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "unsafe.md"
SOURCES = ["src", "tools/src", "tools/tests"]

PURPOSES = [
    (
        "The C functions",
        "They turn the pointers of C callers into references, check what can be checked (NULL, lengths), and call the Rust API. "
        "What they rely on is *the pointer contract of `capi`*, which stands at the top of `src/capi/mod.rs` and repeats what "
        "`couch_db.h` asks of callers.",
        [
            "src/capi/ptr.rs", "src/capi/types.rs", "src/capi/guard.rs", "src/capi/open.rs", "src/capi/read.rs",
            "src/capi/save.rs", "src/capi/commit.rs", "src/capi/info.rs", "src/capi/headers.rs", "src/capi/scan.rs",
            "src/capi/local.rs", "src/capi/compact.rs", "src/capi/online.rs", "src/capi/keys.rs", "src/capi/diagnostics.rs",
            "src/capi/node_cache.rs", "src/capi/latency.rs", "src/capi/latency_info.rs", "src/capi/file_ops.rs",
        ],
    ),
    (
        "Memory handed to C",
        "Objects are one block of the host's allocator, with their strings inside; they are freed by the same allocator.",
        ["src/capi/alloc.rs"],
    ),
    (
        "Threads that share a handle",
        "A handle is used by one thread at a time, under a lock that is given up around callbacks. That makes it `Sync` although "
        "what is inside is not.",
        ["src/capi/handle.rs", "src/capi/call.rs", "src/capi/turn.rs"],
    ),
    (
        "The C++ layer",
        "Functions and tables of functions between `cxx/` and the library, with a contract of their own at the top of each file. "
        "Nothing of it is exported.",
        ["src/capi/shim.rs", "src/io/object.rs"],
    ),
    (
        "A caller's file operations",
        "The struct `couch_file_ops` of C.",
        ["src/io/foreign.rs"],
    ),
    (
        "System calls",
        "Those that the crate rustix does not have, or not as they are needed here.",
        ["src/io/posix.rs", "src/io/naming.rs", "src/io/environment.rs", "src/quiet_thread.rs"],
    ),
    (
        "A hot path",
        "Sorted entries of a compaction, and nodes in the shared cache, stand anywhere in memory; waiting for each took a tenth of the time.",
        ["src/prefetch.rs"],
    ),
    (
        "ThreadSanitizer",
        "Tells it of locks whose code it does not see. Without it nothing is called.",
        ["src/tsan.rs"],
    ),
    (
        "Tests of the tools",
        "",
        ["tools/tests/common/child.rs", "tools/tests/memory.rs"],
    ),
]

HEAD = """\
# Unsafe code

Made by `scripts/unsafe.py` from the sources; `scripts/unsafe.py --check`, a part of `make check`, fails when it is stale.

All other modules have `#![forbid(unsafe_code)]` or no unsafe code: reading and writing of file bytes, trees, saving,
scanning, compaction and cryptography are safe Rust, whatever a file holds. In this project each block has a SAFETY comment
(clippy's `undocumented_unsafe_blocks` is an error), unsafe functions say what they ask for, and inside an unsafe function
each unsafe step is a block again (`unsafe_op_in_unsafe_fn`).

**How it is checked.** Miri runs the unit tests that make no calls of the system which it does not know (`make miri`, with a
nightly toolchain; `make check` does without). Most tests call C or are called from C, so besides

* the C and C++ tests run under valgrind (`make check`: tests `valgrind.*`), with leaks as errors,
* they run with all code instrumented, Rust's too, by AddressSanitizer and UndefinedBehaviorSanitizer (`make asan`), those
  with threads by ThreadSanitizer (`make tsan`),
* the fuzz targets run with AddressSanitizer (`make fuzz`),
* tests let each call of file operations fail, and allocations ([reliability](reliability.md)).
"""


def code_only(text):
    """The text with comments and strings blanked, so that positions stay."""
    pattern = r'//[^\n]*|/\*.*?\*/|b?r#".*?"#|[bc]?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\''
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match.group()), text, flags=re.S)


TOKEN = re.compile(
    r"\b(?:fn\s+(?P<fn>\w+)|mod\s+(?P<mod>\w+)\s*\{)|^ *(?:unsafe )?impl\b(?P<impl>[^;{]*)\{|(?P<unsafe>\bunsafe\b)|(?P<brace>[{}])",
    re.M,
)


def has_body(code, at):
    """Whether a function has one, whose signature begins here."""
    depth = 0
    for sign in re.finditer(r"[(\[)\]{;]", code[at:]):
        if sign.group() in "([":
            depth += 1
        elif sign.group() in ")]":
            depth -= 1
        elif depth == 0:
            return sign.group() == "{"
    return False


def type_name(impl):
    """The type of "impl Trait for Type", without parameters."""
    impl = re.sub(r"\bwhere\b.*", "", impl, flags=re.S)
    words = re.findall(r"\w+", re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", impl.split(" for ")[-1])))
    return words[-1] if words else "?"


def uses(text):
    """All uses in a file: (kind, where, what it relies on)."""
    code = code_only(text)
    safety = [(match.start(), reason(text, match.start())) for match in re.finditer(r"//+ ?SAFETY:", text)]
    stack, pending, depth = [], None, 0
    for match in TOKEN.finditer(code):
        if match["fn"]:
            pending = match["fn"] if has_body(code, match.end()) else pending
        elif match["mod"] or match["impl"] is not None:
            depth += 1
            stack.append((depth, match["mod"] or type_name(match["impl"])))
            if match.group().lstrip().startswith("unsafe"):
                trait = re.sub(r"^<[^<>]*>", "", match["impl"].split(" for ")[0].strip()).strip()
                yield "impl", f"{trait} for {stack[-1][1]}", last(safety, match.start())
        elif match["brace"] == "{":
            depth += 1
            if pending:
                stack.append((depth, pending))
                pending = None
        elif match["brace"] == "}":
            while stack and stack[-1][0] >= depth:
                stack.pop()
            depth -= 1
        elif match["unsafe"]:
            rest = code[match.end():]
            where = "::".join(name for _, name in stack[-2:])
            if re.match(r"\s*\{", rest):
                yield "block", where, last(safety, match.start())
            elif found := re.match(r"\s*(?:extern\s+)?fn\s+(\w+)", rest):
                yield "fn", found[1], ""
            elif re.match(r"\s*extern\s*\{", rest):
                yield "extern", where, ""
            # What is left are attributes (#[unsafe(no_mangle)]) and types of functions.


def last(safety, position):
    """What the last SAFETY comment before a position says."""
    return next((found for at, found in reversed(safety) if at < position), "")


def reason(text, at):
    """The first sentence of a SAFETY comment."""
    lines = []
    for line in text[at:].splitlines():
        line = line.strip()
        if not line.startswith("//"):
            break
        lines.append(line.lstrip("/ "))
    sentence = " ".join(lines).removeprefix("SAFETY:").strip()
    return re.split(r";|:\s|:$|\.\s|\.$", sentence)[0].strip()


def names(where):
    """Names with how often each comes, in the order of their first use."""
    counted = collections.Counter(where)
    return ", ".join(f"`{name}`" + (f" {count}x" if count > 1 else "") for name, count in counted.items())


def wrapped(text, indent=""):
    return textwrap.fill(
        text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def section(path, found):
    """What is said of a file."""
    kinds = collections.Counter(kind for kind, _, _ in found)
    words = {"block": "blocks", "fn": "unsafe functions", "impl": "unsafe impls", "extern": "blocks of foreign functions"}
    counts = [f"{kinds[kind]} {word}" if kinds[kind] != 1 else f"1 {word.replace('s ', ' ', 1).removesuffix('s')}"
              for kind, word in words.items() if kinds[kind]]
    lines = [f"**`{path}`** ({', '.join(counts)})", ""]
    if kinds["fn"]:
        lines.append(wrapped("* unsafe functions: " + names(name for kind, name, _ in found if kind == "fn"), "  "))
    by_reason = collections.defaultdict(list)
    for kind, where, why in found:
        if kind in ("block", "impl"):
            by_reason[why].append(where)
    for why, where in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        lines.append(wrapped(f"* {why}: {names(where)}", "  "))
    return "\n".join(lines)


def document():
    files = {}
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.rs")):
            found = list(uses(path.read_text()))
            if found:
                files[str(path.relative_to(ROOT))] = found
    known = [path for _, _, paths in PURPOSES for path in paths]
    if lost := [path for path in files if path not in known]:
        sys.exit(f"scripts/unsafe.py has no purpose for: {', '.join(lost)}")
    total = collections.Counter(kind for found in files.values() for kind, _, _ in found)
    rows, parts = [], []
    for title, text, paths in PURPOSES:
        paths = [path for path in paths if path in files]
        counts = collections.Counter(kind for path in paths for kind, _, _ in files[path])
        rows.append(f"| {title} | {len(paths)} | {counts['block']} | {counts['fn']} | {counts['impl']} |")
        parts += [f"## {title}", wrapped(text)] if text else [f"## {title}"]
        parts += [section(path, files[path]) for path in paths]
    table = "\n".join(
        ["| purpose | files | blocks | functions | impls |", "|---|---|---|---|---|", *rows]
        + [f"| all | {len(files)} | {total['block']} | {total['fn']} | {total['impl']} |"]
    )
    return "\n\n".join([HEAD.strip(), table, *parts]) + "\n"


def main():
    made = document()
    if sys.argv[1:] == ["--check"]:
        if not OUT.exists() or OUT.read_text() != made:
            sys.exit("docs/unsafe.md is not what the sources say: run scripts/unsafe.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        OUT.write_text(made)


if __name__ == "__main__":
    main()
