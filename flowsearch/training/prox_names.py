"""What a proximal map is called and what it says. Needs no torch.

A map is a name of `PROXES`, or a researcher's own, `module:name`, with parameters as a mapping
(`{mylab.nets:DnCNN: {layers: 5}}`) or as text (`mylab.nets:DnCNN(layers=5)`), as an operator of one's own is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowsearch import text
from flowsearch.checks import nearest
from flowsearch.parts import is_part

PROXES = ("glow", "score", "resnet", "unet")

FLOWS = ("glow", "score")
"""Those by a Glow's density, which may be pre-trained."""

SEARCHED = "prox."
"""What a name of a space begins with that is a parameter of a map of one's own: `prox.layers`."""


@dataclass(frozen=True)
class ProxName:
    """A proximal map's kind (a name of `PROXES`, or `module:name`) and the parameters of one's own."""

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether the map is a researcher's own, `module:name`."""
        return self.kind not in PROXES

    @property
    def listed(self) -> str | None:
        """The parameters as text, `layers=5,width=32`, sorted by name; None for none."""
        return text.join("", dict(sorted(self.parameters.items())))[1:-1] or None

    def __str__(self) -> str:
        """The canonical text."""
        return text.join(self.kind, dict(sorted(self.parameters.items())))

    def given(self, parameters: Mapping[str, Any]) -> "ProxName":
        """The map with further parameters; ValueError for one that it has already."""
        text.check_parameters(f"prox {self.kind}", parameters)
        for name in parameters:
            if name in self.parameters:
                raise ValueError(f"prox {self}: {name} is given with the map, and as {SEARCHED}{name} too; keep one")
        return replace(self, parameters={**self.parameters, **parameters}) if parameters else self


def parse_prox(prox: object) -> ProxName:
    """The meaning of a proximal map, given as text or as a mapping of one `module:name` to its parameters.

    Raises ValueError for a name that is none, or parameters that the text cannot hold.
    """
    if isinstance(prox, str):
        parts = None if prox in PROXES else text.split(prox, "prox")
        kind, number, values = (prox, None, None) if parts is None else parts
        if number is not None:
            kind = prox
    elif isinstance(prox, Mapping) and len(prox) == 1:
        kind, values = next(iter(prox.items()))
    else:
        raise ValueError(
            f"prox is one of {', '.join(PROXES)}, or a map of your own, module:name, or a mapping of that name to its "
            f"parameters, such as {{mylab.nets:DnCNN: {{layers: 5}}}}, not {prox!r}"
        )
    if kind in PROXES and values is not None:
        raise ValueError(f"prox {kind} takes no parameters of its own; what it has (depth, features, ...) are names")
    if not isinstance(kind, str) or not (kind in PROXES or is_part(kind)):
        known = ", ".join(PROXES)
        hint = nearest(str(kind), PROXES)
        raise ValueError(f"prox is one of {known}, or a map of your own, module:name; not {kind!r}{hint}")
    if values is not None and not isinstance(values, Mapping):
        raise ValueError(f"prox {kind} takes a mapping of its parameters, such as {{layers: 5}}, not {values!r}")
    return ProxName(kind).given(values or {})


def read_parameters(kind: str, listed: str | None) -> dict[str, Any]:
    """The parameters that `ProxName.listed` wrote."""
    return {} if listed is None else dict(parse_prox(f"{kind}({listed})").parameters)


def is_map(value: object, name: object) -> bool:
    """Whether the map `value` is of the kind `name`, whatever its parameters: what `when: {prox: module:name}` asks."""
    return isinstance(value, str) and isinstance(name, str) and is_part(name) and value.partition("(")[0] == name
