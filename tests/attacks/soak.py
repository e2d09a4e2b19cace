"""``make soak``: every attack, many times; prints the table of docs/reliability.md. Exits 1 if anything is ``else``.

``--share 0.1`` makes a tenth of the tries; ``--first N`` takes other ones; ``--only NAME`` makes one attack. With
``--results FILE`` what came of each try is kept there, and a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(ATTACKS))
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    kept = read(options.results) if options.results else {}
    print("| attack | tries | fine | one clear line | else |\n|---|--:|--:|--:|--:|")
    bad = []
    for name, (_, _, many) in ATTACKS.items():
        if options.only and name not in options.only:
            continue
        tries = range(options.first, options.first + max(1, round(options.share * many)))
        known = {seed: verdict for (attack, seed), verdict in kept.items() if attack == name}
        for (_, seed), verdict in run([(name, seed) for seed in tries if seed not in known]):
            known[seed] = verdict
            if options.results:
                with options.results.open("a") as file:
                    file.write(json.dumps([name, seed, verdict]) + "\n")
        found = [known[seed] for seed in tries]
        other = [f"{name} {seed}: {known[seed]}" for seed in tries if known[seed] not in ("fine", "line")]
        print(
            f"| {name} | {len(found):,} | {found.count('fine'):,} | {found.count('line'):,} | {len(other)} |",
            flush=True,
        )
        bad += other
    print("\n".join(bad), file=sys.stderr)
    sys.exit(bool(bad))


def read(path: Path) -> dict[tuple[str, int], str]:
    """What came of the tries so far; a later line about the same try counts."""
    return {(attack, seed): verdict for attack, seed, verdict in _lines(path)}


def _lines(path: Path) -> Iterator[tuple[str, int, str]]:
    for line in path.read_text().splitlines() if path.exists() else ():
        attack, seed, verdict = json.loads(line)
        yield attack, seed, verdict


if __name__ == "__main__":
    main()
