#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Draws the pictures of docs/design.md, as SVG in docs/pictures.

    scripts/pictures.py            draws them
    scripts/pictures.py --check    fails if one is not what this script draws

Each shows how a call flows through the rooms (folders of src): a column for each room, time goes down. A picture is a list
of steps, see FLOWS. Only the standard library is needed. The pictures are for light and dark pages.
"""

import html
import pathlib
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "pictures"

COLUMN, LEFT, TOP = 168, 12, 40
LINE, GAP = 16, 12
# A letter of 13 px takes so much at most, on the average of a line.
LETTER = 7.2

STYLE = """
  text { font: 13px sans-serif; fill: #222 }
  .title { font-weight: bold; font-size: 15px }
  .room { font-weight: bold }
  .head { fill: #e3ecf5; stroke: #5b7fa3 }
  .life { stroke: #b9c2cc; stroke-dasharray: 3 4 }
  .work { fill: #f6f8fa; stroke: #9aa7b4 }
  .band { fill: #fff2d6; stroke: #d9a441 }
  .arrow { stroke: #0072b2; stroke-width: 1.5; fill: none }
  .tip { fill: #0072b2 }
  .under { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e6e6 }
    .head { fill: #22384d; stroke: #7fa3c7 }
    .life { stroke: #4a545e }
    .work { fill: #1c2530; stroke: #6b7885 }
    .band { fill: #4a3a17; stroke: #b98a34 }
    .arrow { stroke: #56b4e9 }
    .tip { fill: #56b4e9 }
    .under { fill: #0d1117 }
  }
"""


class Picture:
    """One flow. Rooms are named by short keys."""

    def __init__(self, title, rooms):
        self.title, self.rooms = title, rooms
        self.keys = [key for key, _ in rooms]
        self.width = 2 * LEFT + COLUMN * len(rooms)
        self.y = TOP + 56
        self.parts = []

    def middle(self, key):
        return LEFT + COLUMN * self.keys.index(key) + COLUMN // 2

    def lines(self, text, width):
        return textwrap.wrap(text, max(8, int(width / LETTER)), break_long_words=False)

    def text(self, lines, x, y, name=""):
        for number, line in enumerate(lines):
            kind = f' class="{name}"' if name else ""
            self.parts.append(
                f'<text{kind} x="{x}" y="{y + number * LINE}" text-anchor="middle">{html.escape(line, quote=False)}</text>'
            )

    def box(self, kind, x, width, lines):
        height = len(lines) * LINE + 10
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{self.y}" width="{width}" height="{height}" rx="4"/>')
        self.text(lines, x + width // 2, self.y + LINE)
        self.y += height + GAP

    def work(self, key, text):
        """What a room does by itself."""
        width = COLUMN - 14
        self.box("work", self.middle(key) - width // 2, width, self.lines(text, width - 10))

    def call(self, start, end, text):
        """From one room to another."""
        a, b = self.middle(start), self.middle(end)
        lines = self.lines(text, abs(a - b) - 26)
        height = len(lines) * LINE
        width = max(len(line) for line in lines) * LETTER + 8
        # Lines of rooms in between are not to run through the words.
        self.parts.append(
            f'<rect class="under" x="{round((a + b - width) / 2)}" y="{self.y - 2}" width="{round(width)}" height="{height}"/>'
        )
        self.text(lines, (a + b) // 2, self.y + LINE - 5)
        self.y += height + 3
        tip = b - 7 if b > a else b + 7
        self.parts.append(f'<path class="arrow" d="M{a} {self.y}H{tip}"/>')
        self.parts.append(f'<path class="tip" d="M{b} {self.y}L{tip} {self.y - 4}V{self.y + 4}z"/>')
        self.y += GAP + 2

    def band(self, text):
        """A word on all that follows."""
        self.box("band", LEFT, self.width - 2 * LEFT, self.lines(text, self.width - 60))

    def svg(self):
        heads = []
        for key, (name, role) in self.rooms:
            x, width = self.middle(key), COLUMN - 14
            heads.append(f'<path class="life" d="M{x} {TOP + 44}V{self.y}"/>')
            heads.append(f'<rect class="head" x="{x - width // 2}" y="{TOP}" width="{width}" height="44" rx="4"/>')
            heads.append(f'<text class="room" x="{x}" y="{TOP + 18}" text-anchor="middle">{name}</text>')
            heads.append(f'<text x="{x}" y="{TOP + 36}" text-anchor="middle">{role}</text>')
        height = self.y + 4
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" width="{self.width}" role="img">\n'
            f"<style>{STYLE}</style>\n<title>{self.title}</title>\n"
            f'<rect class="under" width="{self.width}" height="{height}" rx="6"/>\n'
            f'<text class="title" x="{LEFT}" y="24">{self.title}</text>\n' + "\n".join([*heads, *self.parts]) + "\n</svg>\n"
        )


CAPI = ("capi", ("capi", "the C functions"))
DB = ("db", ("db", "a handle"))
TREE = ("tree", ("tree", "B+trees, kept nodes"))
FORMAT = ("format", ("format", "bytes and values"))
IO = ("io", ("io", "buffers, chunks"))
DISK = ("disk", ("the file", ""))

FLOWS = {
    "open": ("Opening a file", [CAPI, DB, FORMAT, ("crypto", ("crypto", "keys")), IO, DISK], [
        ("call", "capi", "db", "name and options"),
        ("work", "db", "a new file? made without a name, synced, linked"),
        ("call", "db", "io", "open, size"),
        ("call", "io", "disk", "open, fstat"),
        ("call", "db", "io", "the newest header, backwards"),
        ("call", "io", "disk", "one read of a block"),
        ("call", "io", "format", "type byte, length, checksum, body"),
        ("call", "format", "db", "header: version, three roots"),
        ("band", "only if the header says that there is metadata"),
        ("call", "db", "crypto", "metadata of block 0, caller's key"),
        ("call", "crypto", "io", "cipher of the chunks"),
        ("band", "only with a cache of nodes for the process"),
        ("work", "db", "is it the file that nodes are known of?"),
        ("call", "db", "capi", "handle"),
    ]),
    "save": ("Saving documents", [CAPI, DB, TREE, FORMAT, IO, DISK], [
        ("call", "capi", "db", "documents"),
        ("work", "db", "may it be written? lengths; next sequence numbers; ids in order"),
        ("call", "db", "io", "append each body"),
        ("work", "io", "Snappy, checksum, cipher; into the write buffer"),
        ("call", "db", "tree", "edits by id"),
        ("call", "tree", "io", "nodes on the way down, unless they are kept"),
        ("call", "tree", "format", "entries of the nodes; new ones are encoded"),
        ("call", "tree", "io", "append changed nodes, leaves first"),
        ("call", "tree", "db", "new root; entries that were replaced"),
        ("call", "db", "tree", "edits by sequence: old ones go"),
        ("call", "tree", "io", "append changed nodes"),
        ("work", "db", "roots and update_seq change last: what failed changes nothing"),
        ("call", "io", "disk", "only when the buffer is full"),
        ("call", "db", "capi", "sequence numbers"),
    ]),
    "commit": ("Committing", [CAPI, DB, FORMAT, IO, DISK], [
        ("call", "capi", "db", "timestamp"),
        ("call", "db", "format", "roots, sequence number, header before"),
        ("call", "format", "io", "header, as data"),
        ("work", "io", "is the file as it was left? (fstat)"),
        ("call", "io", "disk", "bodies, nodes, header: type byte 0"),
        ("call", "io", "disk", "sync"),
        ("band", "a power cut up to here leaves the state before"),
        ("call", "io", "disk", "the one byte: 1"),
        ("call", "io", "disk", "sync"),
        ("band", "from here on the new state is durable"),
        ("work", "db", "the handle stands on the new header; after a failed sync it writes no more"),
        ("call", "db", "io", "give buffers back"),
        ("call", "db", "capi", "success"),
    ]),
    "get": ("Getting a document", [CAPI, DB, TREE, FORMAT, IO, DISK], [
        ("call", "capi", "db", "id"),
        ("call", "db", "tree", "look up, from the root of the tree by id"),
        ("work", "tree", "is the node kept in memory?"),
        ("call", "tree", "io", "if not: chunk at its position"),
        ("call", "io", "disk", "one read of what is expected"),
        ("call", "io", "tree", "checksum, cipher, Snappy are right"),
        ("call", "tree", "format", "first key not below the id"),
        ("work", "tree", "a child lies before its parent: go on down to the leaf"),
        ("call", "tree", "db", "entry: where the body is"),
        ("call", "db", "io", "body"),
        ("call", "io", "disk", "one read"),
        ("call", "io", "db", "inflated, if asked for"),
        ("call", "db", "capi", "one block of memory"),
    ]),
    "scan": ("Scanning", [CAPI, DB, TREE, FORMAT, IO, DISK], [
        ("call", "capi", "db", "where to begin, callback"),
        ("call", "db", "tree", "cursor from the root"),
        ("work", "tree", "plan: which leaves come next; small at first, then larger"),
        ("call", "tree", "io", "leaves of the plan"),
        ("call", "io", "disk", "near ones in one read"),
        ("band", "for each leaf"),
        ("call", "tree", "format", "entries, one after the other, in place"),
        ("call", "format", "db", "entry, its strings still in the node"),
        ("work", "db", "deleted ones or others wanted only?"),
        ("call", "db", "capi", "callback; no lock is held"),
        ("call", "capi", "db", "the body, if it wants it"),
        ("work", "db", "four in a row: bodies of a leaf are read at once"),
        ("band", "damage is an error; a tolerant scan steps over it and tells at the end"),
    ]),
    "online": ("Compacting beside a writer", [
        ("host", ("the host", "writer, lock")), ("compact", ("compact", "online, copying")), ("tree", ("tree", "builders, reader")),
        ("io", ("io", "names, chunks")), ("old", ("the old file", "")), ("new", ("the new file", "no name yet")),
    ], [
        ("call", "host", "compact", "names, options, hooks"),
        ("call", "compact", "io", "file without a name; lock against a second one"),
        ("call", "compact", "old", "newest header, which is pinned"),
        ("band", "without any lock: the writer goes on"),
        ("work", "compact", "is there room for the bodies?"),
        ("call", "old", "tree", "documents by sequence"),
        ("call", "tree", "new", "bodies, and the tree by sequence as it grows"),
        ("work", "compact", "entries by id: sorted in memory or in runs on disk"),
        ("call", "tree", "new", "tree by id, local documents, one header"),
        ("band", "rounds: as long as much was committed meanwhile"),
        ("call", "compact", "old", "newest header; did the history branch? then anew"),
        ("call", "compact", "new", "what changed since, a commit"),
        ("band", "under the host's lock"),
        ("call", "compact", "host", "lock"),
        ("call", "compact", "new", "the last changes, a commit"),
        ("call", "compact", "io", "the name, durably: exchange or link, sync of folder"),
        ("call", "compact", "host", "publish: opens the new file, closes the old one"),
        ("call", "compact", "host", "unlock"),
    ]),
    "cache": ("Nodes that handles share", [
        ("one", ("handle 1", "db, tree")), ("cache", ("tree/cache", "of the process")), ("two", ("handle 2", "db, tree")),
        ("io", ("io", "stamps, chunks")), ("disk", ("the file", "")),
    ], [
        ("call", "one", "io", "stamp of the name, before it is opened"),
        ("call", "one", "disk", "open, header"),
        ("call", "one", "cache", "file, size, times, newest header: a new generation"),
        ("call", "one", "disk", "node, read and checked"),
        ("call", "one", "cache", "node of this generation"),
        ("band", "handle 1 saves and commits"),
        ("work", "one", "new nodes are its own until they are committed"),
        ("call", "one", "cache", "new header; its nodes"),
        ("band", "another open"),
        ("call", "two", "io", "stamp; the same again after the header was read?"),
        ("call", "two", "cache", "same header, or only grown behind it?"),
        ("call", "cache", "two", "same generation: nodes without any read"),
        ("work", "cache", "anything else: a new generation, old nodes are found no more"),
    ]),
}


def draw(title, rooms, steps):
    picture = Picture(title, rooms)
    for kind, *rest in steps:
        getattr(picture, kind)(*rest)
    return picture.svg()


def main():
    drawn = {OUT / f"{name}.svg": draw(*flow) for name, flow in FLOWS.items()}
    if sys.argv[1:] == ["--check"]:
        there = set(OUT.glob("*.svg"))
        stale = [path for path, svg in drawn.items() if path not in there or path.read_text() != svg]
        if stale or there - set(drawn):
            sys.exit("docs/pictures is not what scripts/pictures.py draws: run it")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        OUT.mkdir(exist_ok=True)
        for path, svg in drawn.items():
            path.write_text(svg)


if __name__ == "__main__":
    main()
