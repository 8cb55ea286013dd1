#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Compiles the example of README.md in one language without warnings, and runs it in the folder it is started in.

    readme.py README LANGUAGE EXPECTED COMPILER [ARGUMENT...] FOLDER

LANGUAGE is that of the fenced block ("c", "cpp"), of which there must be one. EXPECTED is what the program prints.
"""

import pathlib
import re
import subprocess
import sys


def main() -> None:
    readme, language, expected, *compiler, _ = sys.argv[1:]
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", pathlib.Path(readme).read_text(), re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        sys.exit(f"{readme}: expected one block of {language}, found {len(blocks)}")
    source = pathlib.Path(f"example.{language}")
    source.write_text(blocks[0])
    # Libraries come after what needs them.
    subprocess.run([compiler[0], str(source), *compiler[1:], "-o", "example"], check=True)
    # The second run finds the file of the first.
    for _ in range(2):
        said = subprocess.run(["./example"], check=True, stdout=subprocess.PIPE, text=True).stdout
        if said != f"{expected}\n":
            sys.exit(f"expected {expected!r}, the program says {said!r}")


if __name__ == "__main__":
    main()
