"""What AWS would refuse in a machine's `node_config`, by Amazon's own description of the call that starts machines."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from flowsearch.checks import nearest
from flowsearch.cluster.located import Keys

_KINDS: dict[str, tuple[type, ...]] = {
    "structure": (dict,), "list": (list,), "map": (dict,), "string": (str,), "boolean": (bool,),
    "integer": (int,), "long": (int,), "double": (float, int), "float": (float, int),
}  # fmt: skip
_SAID = {"structure": "a mapping", "list": "a list", "map": "a mapping", "string": "text", "boolean": "true or false"}
_OF_RAY = (("SubnetIds",), ("LaunchTemplate", "Version"))
"""What Ray itself takes out of a `node_config`, or makes text."""


def refused(config: dict[str, Any]) -> Iterator[tuple[Keys, str, str]]:
    """Values of another kind than EC2's RunInstances takes: where, what, and the mend. Nothing without boto3."""
    try:
        call = _call()
    except ImportError:
        return
    yield from _refused(config, call, ())


@cache
def _call() -> Any:
    """What RunInstances takes. Raises ImportError without boto3."""
    from botocore.session import get_session

    return get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def _refused(value: Any, shape: Any, way: Keys) -> Iterator[tuple[Keys, str, str]]:
    kinds = _KINDS.get(shape.type_name, (object,))
    of_kind = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if value is None or way in _OF_RAY:
        return
    if not of_kind:
        names = f" of {', '.join(shape.members)}" if shape.type_name == "structure" else ""
        yield way, f"is {value!r}", f"AWS takes {_SAID.get(shape.type_name, 'a number')}{names}"
    elif shape.type_name == "structure":
        for name, below in value.items():
            if name in shape.members:
                yield from _refused(below, shape.members[name], (*way, str(name)))
    elif shape.type_name == "list":
        for place, below in enumerate(value):
            yield from _refused(below, shape.member, (*way, str(place)))
    # Instance types are more than any list of them knows.
    elif shape.type_name == "string" and shape.enum and value not in shape.enum and shape.name != "InstanceType":
        hint = nearest(value.lower(), shape.enum).removeprefix("; ")
        yield way, f"is {value!r}, which AWS does not know", hint or f"known are {', '.join(shape.enum)}"
