"""``make soak``: every attack, many times; prints the table of docs/reliability.md. Exits 1 if anything is ``else``.

``--share 0.1`` makes a tenth of the tries; ``--first N`` takes other ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the tries of make test")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    print("| attack | tries | fine | one clear line | else |\n|---|--:|--:|--:|--:|")
    bad = []
    for name, (_, small, many) in ATTACKS.items():
        tries = small if options.small else max(1, round(options.share * many))
        found = run(name, tries, options.first)
        other = [verdict for verdict in found.elements() if verdict not in ("fine", "line")]
        print(f"| {name} | {tries:,} | {found['fine']:,} | {found['line']:,} | {len(other)} |", flush=True)
        bad += [f"{name}: {verdict}" for verdict in other]
    print("\n".join(bad), file=sys.stderr)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
