"""What to look for in a RayCluster for Kubernetes."""

import json
import re
from typing import Any

from flowsearch.cluster import images
from flowsearch.cluster.located import Document, Keys
from flowsearch.cluster.names import RAY_CLUSTER, check_names

_HEAD: Keys = ("spec", "headGroupSpec")
_WORKERS: Keys = ("spec", "workerGroupSpecs")
LONGEST_IDLE_SECONDS = 1800


def look(document: Document, ray_version: str) -> None:
    """Take up all findings about a RayCluster."""
    check_names(document, (), document.values, RAY_CLUSTER)
    groups = [(*_WORKERS, str(place)) for place, _ in enumerate(document.get(*_WORKERS, default=[]))]
    _head(document)
    _token(document, [_HEAD, *groups])
    _scaling(document, groups)
    found = [pair for group in [_HEAD, *groups] for pair in _containers(document, group)]
    images.check_images(document, found, ray_version)
    said = document.get("spec", "rayVersion")
    if said is not None and str(said) != ray_version:
        document.find(("spec", "rayVersion"), f"is {said}, and Ray {ray_version} is here", f'write "{ray_version}"')
    if groups and not any(_gpu(document, group) for group in groups):
        document.find(_WORKERS, "no group of workers has a GPU", 'ask for one: limits: {nvidia.com/gpu: "1"}')
    _texts(document, [_HEAD, *groups])
    _refused(document, groups)
    for group in groups:
        if _gpu(document, group):
            for way, image in _containers(document, group):
                images.check_gpu(document, way, image)


def _head(document: Document) -> None:
    parameters = document.mapping(*_HEAD, "rayStartParams")
    cpus = document.get(*_HEAD, "resources", "CPU", default=parameters.get("num-cpus"))
    if str(cpus) != "0":
        way = (*_HEAD, "rayStartParams", "num-cpus")
        document.find(way, "the head takes trials, which then end with it or slow the driver", 'write num-cpus: "0"')
    if parameters.get("dashboard-host") not in ("127.0.0.1", "localhost"):
        document.find(
            (*_HEAD, "rayStartParams", "dashboard-host"),
            "the dashboard listens to every pod, and runs what it is sent",
            "write dashboard-host: 127.0.0.1, and use `kubectl port-forward` to look at it",
        )
    service = document.get(*_HEAD, "serviceType", default="ClusterIP")
    if service != "ClusterIP":
        document.find((*_HEAD, "serviceType"), f"{service} opens the head to outside the cluster", "write ClusterIP")


def _token(document: Document, groups: list[Keys]) -> None:
    """The operator's token; or the mode and the token in each container's environment."""
    mode = document.get("spec", "authOptions", "mode", default="token" if document.get("spec", "authOptions") else "")
    if mode == "token":
        return
    for group in groups:
        for place, container in enumerate(document.get(*group, "template", "spec", "containers", default=[])):
            names = {
                str(one.get("name")): one.get("value") for one in container.get("env") or [] if isinstance(one, dict)
            }
            if names.get("RAY_AUTH_MODE") != "token" or not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(names):
                document.find(
                    ("spec", "authOptions") if mode else (*group, "template", "spec", "containers", str(place)),
                    "Ray asks no token of anybody", "write authOptions: {mode: token} in spec",
                )  # fmt: skip
                return


def _texts(document: Document, groups: list[Keys]) -> None:
    """What Kubernetes takes as text only, and YAML reads as a number or a truth value where it has no quotes."""
    for group in groups:
        pod, about = (*group, "template", "spec"), (*group, "template", "metadata")
        ways: list[Keys] = [(*group, name) for name in ("rayStartParams", "resources", "labels")]
        ways += [(*pod, "nodeSelector"), (*about, "labels"), (*about, "annotations")]
        found = [((*way, str(name)), value) for way in ways for name, value in document.mapping(*way).items()]
        for place, _ in enumerate(document.get(*pod, "containers", default=[])):
            variables = (*pod, "containers", str(place), "env")
            for number, _ in enumerate(document.get(*variables, default=[])):
                found.append(((*variables, str(number), "value"), document.get(*variables, str(number), "value")))
        for way, value in found:
            if value is not None and not isinstance(value, str):
                said = json.dumps(value, default=str)
                document.find(way, f"is {said}, and text is taken", f'write "{said}"')


def _refused(document: Document, groups: list[Keys]) -> None:
    """What Kubernetes takes, and KubeRay's operator then refuses: the file is applied, and no pod ever comes."""
    name = document.get("metadata", "name")
    if name is not None and not re.fullmatch(r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?", str(name)):
        document.find(
            ("metadata", "name"), f"the operator refuses {name!r}",
            "write at most 53 small letters, digits and hyphens, a letter first",
        )  # fmt: skip
    mode = document.get("spec", "authOptions", "mode", default="disabled")
    if mode == "token" and document.get("spec", "rayVersion") is None:
        document.find(("spec", "authOptions"), "the operator gives no token without rayVersion", "write rayVersion")
    variables = [*document.get(*_HEAD, "template", "spec", "containers", "0", "env", default=[])]
    newer = document.get("spec", "autoscalerOptions", "version") == "v2" or any(
        {"name": "RAY_enable_autoscaler_v2", "value": on} in variables for on in ("1", "true")
    )
    for group in [_HEAD, *groups]:
        parameters = document.mapping(*group, "rayStartParams")
        twice = sorted({"num-cpus", "num-gpus", "memory", "resources"} & set(parameters))
        if twice and document.get(*group, "resources"):
            said = f"the operator refuses it beside {twice[0]} in rayStartParams"
            document.find((*group, "resources"), said, "keep one of them")
        if "labels" in parameters:
            way = (*group, "rayStartParams", "labels")
            document.find(way, "the operator refuses it", "write them as labels, beside rayStartParams")
        policy = document.get(*group, "template", "spec", "restartPolicy", default="Never")
        if policy != "Never" and (newer or group != _HEAD):
            way = (*group, "template", "spec", "restartPolicy")
            document.find(way, f"is {policy}, and Ray's autoscaler asks for pods that do not restart", "write Never")
    for group in groups:
        fewest, most = (document.get(*group, name) for name in ("minReplicas", "maxReplicas"))
        if isinstance(fewest, int) and isinstance(most, int) and fewest > most:
            document.find((*group, "maxReplicas"), f"is {most}, and minReplicas {fewest}", "write no less than that")
        for name in ("priority", "idleTimeoutSeconds"):
            if not newer and document.get(*group, name):
                document.find(
                    (*group, name), "the operator refuses it without the newer autoscaler",
                    "write version: v2 in spec.autoscalerOptions",
                )  # fmt: skip


def _scaling(document: Document, groups: list[Keys]) -> None:
    if document.get("spec", "enableInTreeAutoscaling") is not True:
        document.find(
            ("spec", "enableInTreeAutoscaling"), "workers neither come when trials wait nor go when they are idle",
            "write enableInTreeAutoscaling: true",
        )  # fmt: skip
    idle = document.get("spec", "autoscalerOptions", "idleTimeoutSeconds", default=60)
    if isinstance(idle, int) and idle > LONGEST_IDLE_SECONDS:
        document.find(
            ("spec", "autoscalerOptions", "idleTimeoutSeconds"),
            f"pods that do nothing are kept for {idle} seconds", "write 300",
        )  # fmt: skip
    for group in groups:
        fewest = document.get(*group, "minReplicas", default=0)
        if isinstance(fewest, int) and fewest > 0:
            document.find((*group, "minReplicas"), f"{fewest} pods run, and cost, for ever", "write minReplicas: 0")


def _containers(document: Document, group: Keys) -> list[tuple[Keys, str]]:
    """The images of a group's containers, with their place."""
    place = (*group, "template", "spec", "containers")
    found: list[Any] = document.get(*place, default=[])
    images_of = [(place_of, one.get("image")) for place_of, one in enumerate(found) if isinstance(one, dict)]
    return [((*place, str(number), "image"), str(image)) for number, image in images_of if image is not None]


def _gpu(document: Document, group: Keys) -> bool:
    if str(document.get(*group, "rayStartParams", "num-gpus", default="0")) != "0":
        return True
    for place, _ in enumerate(document.get(*group, "template", "spec", "containers", default=[])):
        limits = document.mapping(*group, "template", "spec", "containers", str(place), "resources", "limits")
        if any("gpu" in str(name) and str(count) != "0" for name, count in limits.items()):
            return True
    return False
