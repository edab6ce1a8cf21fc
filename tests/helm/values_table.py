#!/usr/bin/env python3
"""Prints the chart's table of values, from values.yaml and its comments: what README.md has between its marks.

    values_table.py helm/emptyserver/values.yaml

A value is a leaf, or a map that has a comment of its own. One without a comment is an error.
"""
import json
import re
import sys

import yaml

DEFAULT_CHARACTERS_MAX = 60


def rows(text: str) -> list[tuple[str, str, str]]:
    """(path, default as JSON, meaning) of each value, in the file's order."""
    values = yaml.safe_load(text)
    comments = described_paths(text)
    found, missing = [], []

    def walk(path: str, value: object) -> None:
        if path in comments:
            found.append((path, json.dumps(value, ensure_ascii=False), comments[path]))
        elif isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{path}.{key}".lstrip("."), inner)
        else:
            missing.append(path)

    walk("", values)
    if missing:
        sys.exit(f"values without a comment: {', '.join(missing)}")
    if strangers := comments.keys() - {path for path, _, _ in found}:
        sys.exit(f"comments without a value: {', '.join(sorted(strangers))}")
    return found


def described_paths(text: str) -> dict[str, str]:
    """The `# -- …` above each key, by the key's path."""
    comments, parents, comment = {}, [], None
    for line in text.splitlines():
        if match := re.match(r" *# -- (.*)", line):
            comment = match[1]
        elif comment is not None and (match := re.match(r" *# (.*)", line)):
            comment += " " + match[1]
        elif match := re.match(r"( *)([A-Za-z]\w*):", line):
            depth = len(match[1]) // 2
            parents = [*parents[:depth], match[2]]
            if comment is not None:
                comments[".".join(parents)] = comment
            comment = None
    return comments


def table(text: str) -> str:
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, meaning in rows(text):
        shown = default if len(default) <= DEFAULT_CHARACTERS_MAX else "see values.yaml"
        code = f"`{shown}`" if shown is default else shown
        lines.append(f"| `{path}` | {code} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table(open(sys.argv[1], encoding="utf-8").read()))
