"""How many trials run at once: what one machine takes, or a cluster whose machines come and go."""

import logging
import time
from collections.abc import Mapping

from flowsearch.study.packing import room_for
from flowsearch.study.sections import Study

_log = logging.getLogger(__name__)

MOST_SLOTS = 4096
"""Where an autoscaler knows no limit of its own."""

_LOOK_SECONDS = 5.0


def slots(study: Study, resources: Mapping[str, float]) -> int:
    """How many trials run at once on these resources. Raises ValueError where there is no room for one."""
    room = _room(study, resources)
    if room < 1:
        gpu, cpus, gpus = _gpu(study), resources.get("CPU", 0), resources.get("GPU", 0)
        asked = f"{study.resources.cpu} CPU{'s' * (study.resources.cpu > 1)}" + (f" and {gpu:g} GPU" if gpu else "")
        mend = "a profile for smaller machines, or --set resources.gpu=0" if gpu > gpus else "--set resources.cpu=1"
        raise ValueError(
            f"a trial uses {asked} (resources), but there are {cpus:g} CPUs and {gpus:g} GPUs here; try {mend}"
        )
    return min(room, study.resources.concurrent or room)


def _room(study: Study, resources: Mapping[str, float]) -> int:
    room, gpu = int(min(resources.get("CPU", 1) // study.resources.cpu, MOST_SLOTS)), _gpu(study)
    return min(room, room_for(gpu, resources.get("GPU", 0))) if gpu else room


def _gpu(study: Study) -> float:
    """The share of a GPU that every trial takes; 0 where each has its own."""
    return 0.0 if isinstance(study.resources.gpu, str) else study.resources.gpu


def within_reach(resources: Mapping[str, float]) -> dict[str, float]:
    """The joined cluster's resources once its autoscaler has started all that it may."""
    from ray._private.state import state

    most = state.get_max_resources_from_cluster_config() or {}
    return {name: max(resources.get(name, 0.0), float(most.get(name, 0))) for name in {*resources, *most}}


class Machines:
    """The machines of a joined cluster, looked at now and then: trials take up those that come."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._looked, self._slots, self._waiting = -_LOOK_SECONDS, 1, False

    def slots(self) -> int:
        """How many trials may be handed out; one, for an autoscaler to see, where there is room for none yet."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            import ray

            self._looked = time.monotonic()
            room = _room(self._study, within_reach(ray.cluster_resources()))
            if room < 1 and not self._waiting:
                _log.warning("no machine of the cluster has room for a trial yet; waiting for one to join")
            self._waiting = room < 1
            self._slots = max(1, min(room, self._study.resources.concurrent or room))
        return self._slots
