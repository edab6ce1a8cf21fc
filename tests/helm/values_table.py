#!/usr/bin/env python3
"""Prints the table of values: each path of values.yaml with its default and the comment above it (`# -- …`).

    values_table.py helm/emptyserver/values.yaml
"""
import json
import sys

import yaml


def rows(node, comments, path=()):
    """(path, default, meaning) of each value that has a comment; what has one is not taken apart."""
    for key, value in node.items():
        here = (*path, key)
        meaning = comments.get(here)
        if meaning is not None:
            yield ".".join(here), json.dumps(value), meaning
        elif isinstance(value, dict):
            yield from rows(value, comments, here)
        else:
            raise SystemExit(f"values.yaml says nothing about {'.'.join(here)}")


def comments_of(text):
    """The comment above each key, by its path."""
    found, pending, path = {}, None, []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            pending = stripped[5:]
        elif stripped and not stripped.startswith(("#", "-")) and ":" in stripped:
            depth = (len(line) - len(line.lstrip())) // 2
            path = [*path[:depth], stripped.split(":")[0]]
            if pending is not None:
                found[tuple(path)] = pending
            pending = None
    return found


def main():
    with open(sys.argv[1]) as file:
        text = file.read()
    print("| value | default | meaning |\n|---|---|---|")
    for path, default, meaning in rows(yaml.safe_load(text), comments_of(text)):
        print(f"| `{path}` | `{default}` | {meaning.replace('|', chr(92) + '|')} |")


main()
