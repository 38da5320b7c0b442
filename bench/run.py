"""Measures minikube-lite against its peers on this machine: sudo .venv/bin/python bench/run.py [--only …] [--write]

Every peer is run in the same minutes as minikube-lite, taking turns. `--write` puts the tables into
docs/performance.md, and leaves the tables of sections that were not run as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOUSE))

from bench import container, images, pods  # noqa: E402
from bench.measure import Table, machine  # noqa: E402

DOCUMENT = HOUSE / "docs/performance.md"
HEAD = """# Performance

Made by `sudo .venv/bin/python bench/run.py --write`; nothing here is typed by hand. Everything in a table was
measured in one run, the rows taking turns, so that a busy moment hits all of them alike. Read the ratios, not the
milliseconds: those are this machine's.

Machine: """


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="containers of each kind (default 40)")
    parser.add_argument("--pods", type=int, default=100, help="pods dropped at once (default 100)")
    parser.add_argument("--only", help=f"sections, separated by commas: {', '.join(SECTIONS)}")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this starts containers and needs root: sudo .venv/bin/python bench/run.py")
    chosen = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        sys.exit(f"no such section: {', '.join(sorted(unknown))} (there are: {', '.join(SECTIONS)})")
    tables = []
    for name in chosen:
        work = Path(tempfile.mkdtemp(prefix="mkl-bench-"))
        try:
            table = SECTIONS[name](work, options)
        finally:
            shutil.rmtree(work)
        print(table.markdown(), flush=True)
        tables.append(table)
    if options.write:
        write(tables)


SECTIONS: dict[str, Callable[[Path, argparse.Namespace], Table]] = {
    "container": lambda work, options: container.measure(work, options.rounds, pause=0.05),
    "back-to-back": lambda work, options: container.measure(work, options.rounds, pause=0),
    "pod": lambda work, options: pods.one_pod(work, max(5, options.rounds // 4)),
    "edit": lambda work, options: pods.edit(work, options.rounds),
    "many": lambda work, options: pods.many(work, options.pods),
    "cli": lambda work, options: pods.cli(work, options.rounds),
    "images": lambda work, options: images.measure(work, max(3, options.rounds // 8)),
}


def write(tables: list[Table]) -> None:
    """Replace the sections that were measured, keep the others."""
    sections = {}
    if DOCUMENT.exists():
        for part in DOCUMENT.read_text().split("\n## ")[1:]:
            sections[part.partition("\n")[0]] = f"## {part.rstrip()}\n"
    for table in tables:
        sections[table.title] = table.markdown().rstrip() + "\n"
    DOCUMENT.write_text(HEAD + machine() + "\n\n" + "\n".join(sections.values()))


if __name__ == "__main__":
    main()
