"""Checks a cluster file: by Ray's own validation, and for what that misses and money, nights or strangers find."""

import contextlib
import copy
import io
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flowsearch.checks import nearest
from flowsearch.cluster import kuberay, launcher
from flowsearch.cluster.located import Document, Finding, read


def check(path: Path) -> list[Finding]:
    """What is wrong with a file for `ray up`, or a RayCluster for Kubernetes, in the order of its lines.

    Raises ValueError where it is neither, or not YAML.
    """
    document = read(path)
    if "apiVersion" in document.values:
        if document.get("kind") != "RayCluster" or not str(document.get("apiVersion")).startswith("ray.io/"):
            raise ValueError(f"{path} is no RayCluster of KubeRay (apiVersion: ray.io/v1, kind: RayCluster)")
        kuberay.look(document, version("ray"))
    elif "provider" in document.values or "cluster_name" in document.values:
        _ask_ray(document)
        launcher.look(document, version("ray"))
    else:
        raise ValueError(
            f"{path} is no cluster file: one for `ray up` has a cluster_name and a provider, one for Kubernetes "
            "apiVersion: ray.io/v1 and kind: RayCluster"
        )
    return sorted(document.findings, key=lambda one: (one.line, one.where))


def _ask_ray(document: Document) -> None:
    """Take up what Ray's own validation says, with the line where its schema tells the place."""
    try:
        prepared, said = _prepared(document.values)
    except ImportError as error:
        document.find(("provider",), f"Ray cannot validate it here ({error})", "install what its provider needs")
        return
    if prepared is None:
        document.find(("provider",), f"Ray refuses it: {said}", "mend it as Ray says")
        return
    schema_errors = False
    for way, problem, mend in _schema_errors(prepared):
        schema_errors = True
        document.find(way, problem, mend)
    if schema_errors:
        return
    from ray.autoscaler._private.util import validate_config

    try:
        validate_config(prepared)
    except (ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        named = [name for name in re.findall(r"`(\w+)`", said) if name in document.values]
        document.find(tuple(named[:1]), f"Ray refuses it: {said.rstrip('.')}", "mend it as Ray says")


def _prepared(values: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The file with Ray's defaults filled in; None and what Ray said where it cannot be."""
    from ray.autoscaler._private.util import prepare_config

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return prepare_config(copy.deepcopy(values)), ""
    except ImportError:
        raise
    except (Exception, SystemExit) as error:  # Ray aborts with exceptions of its command line, after printing why
        words = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()) or f"{type(error).__name__}: {error}"
        return None, " ".join(words.split())


def _schema_errors(prepared: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """All of Ray's complaints by its schema: which name, what, and the mend."""
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    for error in jsonschema.Draft7Validator(schema).iter_errors(prepared):
        way = tuple(str(part) for part in error.absolute_path)
        if error.validator == "additionalProperties":
            known = list(error.schema.get("properties", {}))
            for name in set(error.instance) - set(known):
                hint = nearest(str(name), known).removeprefix("; ")
                yield (*way, str(name)), "there is no such name here", hint or f"known are {', '.join(known)}"
        elif error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            yield way, f"has no {' and no '.join(missing)}", "give it"
        else:
            yield way, " ".join(error.message.split()), "see Ray's cluster YAML reference"
