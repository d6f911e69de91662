"""`cnnkit` for several commands in one process, each after its own line: terminal_driver.py FILE.

FILE: a JSON list of commands, each a list of arguments. The exit code of each stands below what it printed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cnnkit.cli import main

for command in json.loads(Path(sys.argv[1]).read_text()):
    try:
        main(command)
    except SystemExit as stop:
        sys.stdout.flush()
        sys.stderr.write(f"\n<exit {stop.code}>\n")
        sys.stderr.flush()
