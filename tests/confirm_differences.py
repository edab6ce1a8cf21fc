#!/usr/bin/env python3
"""confirm_differences.py REPORT COMMAND...: which of the differ's findings are more than a race with the clock?

REPORT is what the differ wrote with --json, COMMAND how it was called. Where keys with a few milliseconds to live take part,
the two servers may be asked on different sides of that moment. So a finding with such a key (an op `[sleep]`) has its
episode run again: it is a race if one of three runs finds nothing. Any other finding stands as it is.
Exit: 0 nothing is left, 1 differences.
"""
import json
import subprocess
import sys

REPEATS = 3


def is_clean(command, episode):
    run = subprocess.run(command + ["--start", str(episode), "--ops", "1", "--quiet", "--no-minimise"], capture_output=True)
    return run.returncode == 0


def main():
    report, command = sys.argv[1], sys.argv[2:]
    with open(report, encoding="utf-8") as file:
        found = json.load(file)["found"]
    left = 0
    for signature, finding in found.items():
        has_short_life = any("[sleep]" in op for op in finding["ops"])
        if has_short_life and any(is_clean(command, finding["episode"]) for _ in range(REPEATS)):
            print(f"race with the clock, did not repeat: {signature} (episode {finding['episode']})")
        else:
            print(f"DIFFERENCE: {signature} (episode {finding['episode']})")
            left += 1
    return 1 if left else 0


sys.exit(main())
