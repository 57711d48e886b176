"""The search space: conditional names, and the check that every corner is a possible trial."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from flowsearch.checks import nearest
from flowsearch.study.parameter import Parameter, SpaceError, Values, meets, parse, same, show
from flowsearch.training.config import METHODS, PROXES, TrialConfig
from flowsearch.training.prox_names import SEARCHED

if TYPE_CHECKING:
    from optuna import Trial


class Space:
    """The names to search, in an order in which every condition is settled before what depends on it.

    A name that means nothing to a method (`folds` to total variation) or to a proximal map (`depth` to a U-Net) is not
    searched for it, with or without a `when`; nor is `prox.NAME`, a parameter of a map of one's own, for another map.
    Where there is a `baseline`, each name has its value there as its first choice.
    """

    def __init__(
        self, entries: Mapping[str, Any], fixed: Mapping[str, Any], baseline: Mapping[str, Any] | None = None
    ) -> None:
        if not entries:
            raise SpaceError("space has at least one name to search, such as prox: [glow, resnet, unet]")
        self.fixed = dict(fixed)
        parameters = {name: parse(name, entry) for name, entry in entries.items()}
        self._before: dict[str, list[str]] = {}
        if baseline is not None:
            parameters = {name: one.listed(baseline[name]) for name, one in parameters.items()}
        self.parameters = {name: parameters[name] for name in self._order(parameters)}
        self._check_conditions()

    def _order(self, parameters: dict[str, Parameter]) -> list[str]:
        of_every_map = set.intersection(*(TrialConfig.applicable(prox) for prox in PROXES))
        of_every_method = set.intersection(*(TrialConfig.applicable(None, method) for method in METHODS))
        before = self._before
        for name, parameter in parameters.items():
            before[name] = [other for other in parameter.when if other in parameters]
            if "prox" in parameters and name not in of_every_map:
                before[name].append("prox")
            if "method" in parameters and name not in of_every_method:
                before[name].append("method")
        try:
            TopologicalSorter(before).prepare()
        except CycleError as error:
            circle = list(dict.fromkeys(error.args[1]))
            listed = " and ".join(f"space.{name}" for name in circle)
            wait = "wait for each other" if len(circle) > 1 else "waits for itself"
            raise SpaceError(
                f"{listed} {wait}; take one of the conditions (when) away", *circle, below=("when",)
            ) from None
        # Where methods are searched, the kind is settled first, so that a balanced draw can balance within each kind.
        first = _above("method", before) | _above("prox", before) if "method" in parameters else set()
        return sorted(parameters, key=lambda name: (name not in first, _depth(name, before)))

    def _check_conditions(self) -> None:
        for name, parameter in self.parameters.items():
            for other, allowed in parameter.when.items():
                below = ("when", other)
                known = [*self.parameters, *self.fixed]
                if other not in known:
                    raise SpaceError(
                        f"space.{name} depends on {other}, which is neither in space nor in fixed"
                        + nearest(other, known),
                        name,
                        below=below,
                    )
                if other in self.parameters:
                    for value in allowed:
                        if not self.parameters[other].holds(value):
                            corners = self.parameters[other].corners
                            listed = (", " if self.parameters[other].choices else " to ").join(map(show, corners))
                            hint = nearest(str(value), map(str, corners))
                            raise SpaceError(
                                f"space.{name} waits for {other}: {show(value)}, which is never proposed "
                                f"({other} is {listed}){hint}",
                                name,
                                below=below,
                            )

    def active(self, parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
        """Whether `parameter` is searched, given the values chosen before it."""
        values = self.fixed | dict(chosen)
        method = values.get("method", "unrolled")
        if parameter.name.startswith(SEARCHED):
            if TrialConfig.prox_of(method, values.get("prox")) in (None, *PROXES):
                return False
        elif parameter.name not in TrialConfig.applicable(values.get("prox"), method):
            return False
        if "prox" in self.parameters or "prox" in self.fixed:
            values["prox"] = TrialConfig.prox_of(method, values.get("prox"))
        return all(
            other in values and any(meets(other, values[other], value) for value in allowed)
            for other, allowed in parameter.when.items()
        )

    def above(self, name: str) -> list[str]:
        """The names whose values say whether `name` is searched, theirs included; in order."""
        found = _above(name, self._before) - {name}
        return [other for other in self.parameters if other in found]

    def fill(self, choose: Callable[[Parameter], Any]) -> Values:
        """One point of the space: `choose` gives a value for each name that is searched there."""
        values: Values = {}
        for parameter in self.parameters.values():
            if self.active(parameter, values):
                values[parameter.name] = choose(parameter)
        return values

    def suggest(self, trial: "Trial") -> Values:
        """One point of the space from Optuna."""
        return self.fill(lambda parameter: parameter.suggest(trial))

    @property
    def conditional(self) -> bool:
        """Whether some name is searched for some points only."""
        names = {frozenset(corner) for _, corner in self.corners()}
        return len(names) > 1

    def corners(self) -> Iterator[tuple[str, Values]]:
        """Points with one name at a corner, for each kind, and that name; other names stand at their first."""
        for kind in self.kinds():
            for pick in (0, -1):
                yield "prox", self._point(kind, pick)
            for name, parameter in self.parameters.items():
                needed = self._conditions(name) | kind
                for corner in parameter.corners:
                    point = self._point(needed | {name: corner})
                    if name in point and same(point[name], corner):
                        yield name, point

    def kinds(self) -> list[Values]:
        """Each method with each proximal map that is searched for it, as far as the space has these names."""
        methods = self.parameters["method"].choices if "method" in self.parameters else (None,)
        kinds: list[Values] = []
        for method in methods:
            kind = {} if method is None else {"method": method}
            searched = self._proxes_for((self.fixed | kind).get("method", "unrolled"))
            kinds += [kind | {"prox": prox} for prox in searched] or [kind]
        return kinds

    def _proxes_for(self, method: str) -> tuple[Any, ...]:
        """The proximal maps that are searched for a method; none where there is nothing to choose."""
        prox = self.parameters.get("prox")
        if prox is None or "prox" not in TrialConfig.applicable(None, method):
            return ()
        return prox.choices if method in prox.when.get("method", (method,)) else ()

    def _point(self, forced: Values, pick: int = 0) -> Values:
        """The point with the `forced` values, and for the other names their corner number `pick`."""

        def choose(parameter: Parameter) -> Any:
            return forced.get(parameter.name, parameter.corners[pick])

        return self.fill(choose)

    def _conditions(self, name: str) -> Values:
        """Values under which `name` is searched, as far as its conditions and theirs say."""
        needed: Values = {}
        for other, allowed in self.parameters[name].when.items():
            if other in self.parameters:
                needed[other] = allowed[0]
                needed = self._conditions(other) | needed
        return needed

    def check(
        self, configure: Callable[[Values], TrialConfig], points: Iterable[tuple[str, Values]] | None = None
    ) -> None:
        """Refuse a space one of whose `points` (each with the name it is about; default: the corners) is no trial.

        Raises SpaceError naming the rule and the point.
        """
        reached = set()
        for name, point in self.corners() if points is None else points:
            reached |= set(point)
            try:
                configure(point)
            except ValueError as error:
                message = str(error)
                names = _mentioned(message, self.fixed | point, name)
                at = ", ".join(
                    f"{key}: {show(point[key])}" for key in dict.fromkeys((name, "method", "prox")) if key in point
                )
                raise SpaceError(message + (f" (at {at})" if at else ""), *names) from None
        if never := [name for name in self.parameters if name not in reached]:
            named = ", ".join(f"space.{name}" for name in never)
            out = " ".join(f"--set space.{name}=null" for name in never)
            verb, them = ("is", "it") if len(never) == 1 else ("are", "them")
            raise SpaceError(
                f"{named} {verb} never searched: condition (when), method and proximal map exclude {them}; take {them} "
                f"out ({out})",
                *never,
            )


def _above(name: str, before: Mapping[str, list[str]]) -> set[str]:
    """The name, if it is there, and all that it waits for."""
    if name not in before:
        return set()
    return {name}.union(*(_above(other, before) for other in before[name]))


def _depth(name: str, before: Mapping[str, list[str]]) -> int:
    return 1 + max((_depth(other, before) for other in before[name]), default=-1)


def _mentioned(message: str, values: Values, varied: str) -> list[str]:
    """Names that the message is about: its first word, then any it contains, then the one at its corner."""
    words = re.findall(r"[a-z_]+", message)
    fields = [word for word in words if word in values or word in ("size", "task")]
    by_value = [name for name, value in values.items() if isinstance(value, str) and value in message]
    first = [words[0]] if words and words[0] in values else []
    return [*first, *by_value, *fields, varied]
