#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Draws what couch_bench --json has printed, as SVG.

    scripts/plots.py [--out FOLDER] FILE...

Each FILE has an object per line. In FOLDER (default: docs/plots):

    throughput-host.svg, throughput-handle.svg
                    documents per second against documents in the file, for the rows that were run with several numbers of
                    documents: those shaped as hosts work, and those of one handle
    latency.svg     percentiles of the commits beside a compaction and without one (rows of commits beside compactions)

Only the standard library is needed. The pictures are for light and dark pages.
"""

import argparse
import json
import math
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

HOST_ROWS = ["fetch-1", "fetch-200", "keys", "changes", "backfill", "compact-hook", "flush-1", "flush-100", "flush-1000"]
HANDLE_ROWS = ["load", "load-ordered", "update", "commit", "get", "multiget", "scan-seq", "scan-id", "compact-256"]
# As couch_bench has them ("shares").
SHARES = [1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9, 100]

# Colours that also people who see few of them can tell apart (Okabe and Ito), and marks besides.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7570b3", "#999999"]
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 170, 44, 52

STYLE = """
  text { font: 13px sans-serif; fill: #333 }
  .title { font-weight: bold; font-size: 15px }
  .grid { stroke: #ccc; stroke-width: 1 }
  .axis { stroke: #333; stroke-width: 1 }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .grid { stroke: #444 } .axis { stroke: #ddd } }
"""


def short(value):
    """A number as people say it: 20 k, 1.5 M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def decades(low, high):
    """The powers of ten around a range of numbers."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** power for power in range(first, max(last, first + 1) + 1)]


class Axis:
    """Where values are on a picture. "scale" makes a value a number that is drawn evenly."""

    def __init__(self, low, high, start, end, scale=math.log10):
        self.scale = scale
        self.low, self.start = scale(low), start
        self.factor = (end - start) / ((scale(high) - self.low) or 1)

    def at(self, value):
        return round(self.start + (self.scale(value) - self.low) * self.factor, 1)


class Picture:
    """An SVG picture of lines over two axes."""

    def __init__(self, title, x_title, y_title):
        self.parts = [f'<text class="title" x="{LEFT}" y="24">{title}</text>']
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.parts += [
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_title}</text>',
            f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{y_title}</text>',
        ]
        self.names = []

    def x_ticks(self, axis, values, show):
        for value in values:
            x = axis.at(value)
            self.parts.append(f'<path class="grid" d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>')
            self.parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{show(value)}</text>')

    def y_ticks(self, axis, values, show):
        for value in values:
            y = axis.at(value)
            self.parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
            self.parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{show(value)}</text>')

    def line(self, name, points, dashed=False):
        """A line with a mark at each point. Its name is written where it ends."""
        colour = COLOURS[len(self.names) % len(COLOURS)]
        path = "L".join(f"{x} {y}" for x, y in points)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        self.parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points]
        self.names.append((points[-1][1], name, colour))

    def labels(self):
        """The names, moved apart where lines end close to each other."""
        y = TOP - 16
        placed = []
        for wanted, name, colour in sorted(self.names):
            y = max(wanted, y + 16)
            placed.append((y, name, colour))
        # Those that have come below the picture go up again, and push the others before them.
        limit = HEIGHT - BOTTOM
        for index in reversed(range(len(placed))):
            y, name, colour = placed[index]
            placed[index] = (min(y, limit), name, colour)
            limit = placed[index][0] - 16
        for y, name, colour in placed:
            yield f'<text x="{WIDTH - RIGHT + 10}" y="{y + 4}" style="fill: {colour}">{name}</text>'

    def write(self, path):
        axes = f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
        body = "\n".join([*self.parts, axes, *self.labels()])
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
            f"<style>{STYLE}</style>\n{body}\n</svg>\n"
        )
        print(path)


def throughput(rows, names, title, path):
    """Documents per second against documents in the file."""
    lines = {name: {} for name in names}
    for row in rows:
        if row["row"] in lines:
            lines[row["row"]][row["documents"]] = row["ops_per_second"]
    lines = {name: sorted(points.items()) for name, points in lines.items() if len(points) > 1}
    if not lines:
        return
    every = [point for points in lines.values() for point in points]
    counts = decades(min(x for x, _ in every), max(x for x, _ in every))
    rates = decades(min(y for _, y in every), max(y for _, y in every))
    picture = Picture(title, "documents in the file", "documents per second")
    x_axis = Axis(counts[0], counts[-1], LEFT, WIDTH - RIGHT)
    y_axis = Axis(rates[0], rates[-1], HEIGHT - BOTTOM, TOP)
    picture.x_ticks(x_axis, counts, short)
    picture.y_ticks(y_axis, rates, short)
    for name, points in lines.items():
        picture.line(name, [(x_axis.at(x), y_axis.at(y)) for x, y in points])
    picture.write(path)


def nines(share):
    """So that each further nine of a percentile takes as much room; the slowest of all stands one step behind."""
    return -math.log10(1 - min(share, 99.95) / 100)


def in_the_middle(rows):
    """Of the runs of each row the one whose ratio of p99, beside to alone, is in the middle."""
    for name in dict.fromkeys(row["row"] for row in rows):
        runs = [row["latency_us"] for row in rows if row["row"] == name]
        runs.sort(key=lambda run: run["p99"] / run["p99_alone"])
        yield name, runs[len(runs) // 2]


def latency(rows, path):
    """Percentiles of commits beside a compaction, and without one."""
    rows = list(in_the_middle([row for row in rows if "shares_alone" in row.get("latency_us", {})]))
    if not rows:
        return
    times = [time for _, run in rows for kind in ("shares", "shares_alone") for time in run[kind]]
    marks = decades(min(times), max(times))
    picture = Picture("Commits beside a compaction", "share of commits that took no longer, %", "time of a commit")
    x_axis = Axis(1, 99.95, LEFT, WIDTH - RIGHT, nines)
    y_axis = Axis(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    picture.x_ticks(x_axis, [1, 50, 90, 99, 99.9], lambda share: f"{share:g}")
    picture.y_ticks(y_axis, marks, lambda time: f"{time / 1e3:g} ms" if time >= 1e3 else f"{time:g} us")
    for row, run in rows:
        for kind, name in (("shares", row), ("shares_alone", "without it")):
            points = [(x_axis.at(min(x, 99.95)), y_axis.at(y)) for x, y in zip(SHARES, run[kind])]
            picture.line(name, points, dashed=kind == "shares_alone")
    picture.write(path)


def read(paths):
    rows = []
    for path in paths:
        rows += [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return rows


def main():
    parser = argparse.ArgumentParser(description="Draws what couch_bench --json has printed.")
    parser.add_argument("--out", default=ROOT / "docs" / "plots", type=pathlib.Path, help="where pictures are written")
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE", help="lines that couch_bench printed")
    options = parser.parse_args()
    rows = read(options.files)
    if not rows:
        sys.exit("plots: there are no rows")
    options.out.mkdir(parents=True, exist_ok=True)
    plain = [row for row in rows if not row.get("node_cache")]
    throughput(plain, HOST_ROWS, "As hosts work: the file is opened anew each time", options.out / "throughput-host.svg")
    throughput(plain, HANDLE_ROWS, "With one handle", options.out / "throughput-handle.svg")
    latency(plain, options.out / "latency.svg")


if __name__ == "__main__":
    main()
