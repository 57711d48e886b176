"""The names that cluster files may use below what Ray's own schema looks at.

A tree holds a mapping's names; `None` below a name takes anything, and a list's items share one tree.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from flowsearch.checks import nearest
from flowsearch.cluster.located import Document, Keys

Tree: TypeAlias = Mapping[str, "Tree | None"]


def _any(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


_EVERY_PROVIDER = _any(
    "type", "use_internal_ips", "disable_node_updaters", "disable_launch_config_check", "foreground_node_launch",
    "use_external_head_ip", "worker_liveness_check",
)  # fmt: skip

PROVIDERS: dict[str, Tree] = {
    "aws": _EVERY_PROVIDER
    | _any("region", "availability_zone", "cache_stopped_nodes", "aws_credentials", "cloudwatch")
    | {"security_group": _any("GroupName", "IpPermissions"), "key_pair": _any("key_name")},
    "gcp": _EVERY_PROVIDER
    | _any("region", "availability_zone", "project_id", "cache_stopped_nodes")
    | {"gcp_credentials": _any("type", "credentials")},
    "local": _EVERY_PROVIDER | _any("head_ip", "worker_ips", "external_head_ip", "coordinator_address"),
}
"""By provider, what its section may hold: what Ray's node providers read."""

_EBS = _any(
    "DeleteOnTermination", "Encrypted", "Iops", "KmsKeyId", "OutpostArn", "SnapshotId", "Throughput", "VolumeSize",
    "VolumeType", "VolumeInitializationRate", "AvailabilityZone",
)  # fmt: skip
_SPOT = _any("MaxPrice", "SpotInstanceType", "ValidUntil", "InstanceInterruptionBehavior", "BlockDurationMinutes")
_GCP_DISK = _any(
    "architecture", "autoDelete", "boot", "deviceName", "diskEncryptionKey", "diskSizeGb", "forceAttach", "index",
    "interface", "mode", "source", "type",
) | {
    "initializeParams": _any(
        "architecture", "description", "diskName", "diskSizeGb", "diskType", "labels", "licenses",
        "provisionedIops", "provisionedThroughput", "resourceManagerTags", "resourcePolicies", "sourceImage",
        "sourceSnapshot", "storagePool",
    )
}  # fmt: skip

NODES: dict[str, Tree] = {
    "aws": _any(
        "AdditionalInfo", "CapacityReservationSpecification", "ClientToken", "CpuOptions", "CreditSpecification",
        "DisableApiStop", "DisableApiTermination", "DryRun", "EbsOptimized", "EnablePrimaryIpv6", "EnclaveOptions",
        "HibernationOptions", "ImageId", "InstanceInitiatedShutdownBehavior", "InstanceType", "Ipv6AddressCount",
        "Ipv6Addresses", "KernelId", "KeyName", "LaunchTemplate", "LicenseSpecifications", "MaintenanceOptions",
        "MetadataOptions", "Monitoring", "NetworkInterfaces", "NetworkPerformanceOptions", "Placement",
        "PrivateDnsNameOptions", "PrivateIpAddress", "RamdiskId", "SecurityGroupIds", "SecurityGroups", "SubnetId",
        "SubnetIds", "TagSpecifications", "UserData",
    ) | {
        "BlockDeviceMappings": _any("DeviceName", "NoDevice", "VirtualName") | {"Ebs": _EBS},
        "IamInstanceProfile": _any("Arn", "Name"),
        "InstanceMarketOptions": _any("MarketType") | {"SpotOptions": _SPOT},
    },
    "gcp": _any(
        "acceleratorConfig", "acceleratorType", "advancedMachineFeatures", "canIpForward",
        "confidentialInstanceConfig", "deletionProtection", "description", "displayDevice", "hostname",
        "keyRevocationActionType", "labels", "machineType", "minCpuPlatform", "name", "networkInterfaces",
        "networkConfig", "networkPerformanceConfig", "params", "reservationAffinity", "resourcePolicies",
        "runtimeVersion", "schedulingConfig", "shieldedInstanceConfig", "sourceInstanceTemplate",
        "sourceMachineImage", "tags", "zone",
    ) | {
        "disks": _GCP_DISK,
        "guestAccelerators": _any("acceleratorCount", "acceleratorType"),
        "metadata": {"items": _any("key", "value"), "fingerprint": None},
        "scheduling": _any(
            "automaticRestart", "availabilityDomain", "hostErrorTimeoutSeconds", "instanceTerminationAction",
            "localSsdRecoveryTimeout", "locationHint", "maxRunDuration", "minNodeCpus", "nodeAffinities",
            "onHostMaintenance", "onInstanceStopAction", "preemptible", "provisioningModel", "terminationTime",
        ),
        "serviceAccounts": _any("email", "scopes"),
    },
}  # fmt: skip
"""By provider, what a node's `node_config` may hold: the parameters of its call that starts a machine."""

_RESOURCES = _any("claims", "limits", "requests")
_CONTAINER = _any(
    "args", "command", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
    "readinessProbe", "resizePolicy", "restartPolicy", "securityContext", "startupProbe", "stdin", "stdinOnce",
    "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts", "workingDir",
) | {"env": _any("name", "value", "valueFrom"), "resources": _RESOURCES}  # fmt: skip
_POD = _any(
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers",
    "hostname", "imagePullSecrets", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy", "priority",
    "priorityClassName", "readinessGates", "resourceClaims", "resources", "restartPolicy", "runtimeClassName",
    "schedulerName", "schedulingGates", "securityContext", "serviceAccount", "serviceAccountName",
    "setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "tolerations",
    "topologySpreadConstraints", "volumes",
) | {"containers": _CONTAINER, "initContainers": _CONTAINER}  # fmt: skip
_TEMPLATE: Tree = {"metadata": None, "spec": _POD}
_GROUP = _any("labels", "rayStartParams", "resources") | {"template": _TEMPLATE}

RAY_CLUSTER: Tree = {
    "apiVersion": None,
    "kind": None,
    "metadata": _any("annotations", "finalizers", "generateName", "labels", "name", "namespace", "ownerReferences"),
    "spec": {
        "authOptions": _any("enableK8sTokenAuth", "mode", "secretName"),
        "autoscalerOptions": _any(
            "args", "command", "env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "securityContext",
            "upscalingMode", "version", "volumeMounts",
        ) | {"resources": _RESOURCES},
        "headGroupSpec": _GROUP | _any("enableIngress", "headService", "ingressOptions", "serviceType"),
        "workerGroupSpecs": _GROUP | _any(
            "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts", "priority", "replicas",
            "scaleStrategy", "suspend",
        ),
        **_any(
            "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headServiceAnnotations", "historyServerOptions",
            "managedBy", "networkPolicy", "rayVersion", "suspend", "tlsOptions", "upgradeStrategy",
        ),
    },
}  # fmt: skip
"""A `RayCluster` of KubeRay 1.7, and of its pods what is commonly set."""


def check_names(document: Document, way: Keys, value: Any, tree: Tree | None) -> None:
    """Find the names below `way` that the tree does not have, with the nearest one that it has."""
    if tree is None:
        return
    if isinstance(value, list):
        for place, item in enumerate(value):
            check_names(document, (*way, str(place)), item, tree)
    elif isinstance(value, dict):
        for name, below in value.items():
            if name not in tree:
                hint = nearest(str(name), tree).removeprefix("; ")
                document.find((*way, str(name)), "there is no such name here", hint or f"known are {', '.join(tree)}")
            else:
                check_names(document, (*way, str(name)), below, tree[name])
