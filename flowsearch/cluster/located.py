"""A cluster file as Ray reads it (YAML 1.1, by PyYAML), and the line of each name in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Keys = tuple[str, ...]
"""A name's way down the file, e.g. `("provider", "region")`; the place in a list is a number, as text."""


@dataclass(frozen=True)
class Finding:
    """What is wrong, or will be regretted: where, what, and the mend."""

    line: int
    where: str
    """The name, with dots."""
    problem: str
    mend: str

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"line {self.line}: {where}{self.problem}; {self.mend}"


@dataclass
class Document:
    """The values of a file with their lines, and what has been found in it."""

    values: dict[str, Any]
    lines: dict[Keys, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def get(self, *way: str, default: Any = None) -> Any:
        """The value at the end of a way of mappings and lists; `default` where there is none, or it is null."""
        value: Any = self.values
        for part in way:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return default
        return default if value is None else value

    def mapping(self, *way: str) -> dict[str, Any]:
        """The mapping there; an empty one where there is something else."""
        value = self.get(*way)
        return value if isinstance(value, dict) else {}

    def texts(self, *way: str) -> list[str]:
        """The list there as text; an empty one where there is something else."""
        value = self.get(*way)
        return [str(one) for one in value] if isinstance(value, list) else []

    def line(self, way: Sequence[str]) -> int:
        """The line of a name, or of the nearest one above it that the file has; 1 for what it has nothing of."""
        return next(
            (self.lines[tuple(way[:end])] for end in range(len(way), 0, -1) if tuple(way[:end]) in self.lines), 1
        )

    def find(self, way: Sequence[str], problem: str, mend: str) -> None:
        """Take up a finding about the name at the end of `way`; the same one twice counts once."""
        found = Finding(self.line(way), ".".join(way), problem, mend)
        if found not in self.findings:
            self.findings.append(found)


def read(path: Path) -> Document:
    """The RayCluster of a cluster file, or its first document. Raises ValueError where it is not a mapping in YAML."""
    try:
        text = path.read_text(encoding="utf-8")
        documents = [*zip(yaml.compose_all(text, Loader=yaml.SafeLoader), yaml.safe_load_all(text), strict=True)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ValueError(f"{path}{line}: not valid YAML: {error.problem or error.context}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    clusters = [one for one in documents if isinstance(one[1], dict) and one[1].get("kind") == "RayCluster"]
    node, values = next(iter(clusters or documents), (None, None))
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path}: a cluster file is a mapping of names to values, such as `cluster_name: mine`")
    document = Document(values)
    for way, number, twice in _walk(node, ()):
        if twice:
            document.lines[way] = number
            document.find(way, "stands twice, and the last one counts", "remove one of the two")
        document.lines.setdefault(way, number)
    return document


def _walk(node: yaml.Node, way: Keys) -> Iterator[tuple[Keys, int, bool]]:
    """Each name below a node with its line, and whether it stood in the same mapping before."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
                continue
            name = str(key.value)
            yield (*way, name), key.start_mark.line + 1, name in seen
            seen.add(name)
            yield from _walk(value, (*way, name))
        for other in merged:
            yield from _walk(other, way)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield (*way, str(place)), value.start_mark.line + 1, False
            yield from _walk(value, (*way, str(place)))
