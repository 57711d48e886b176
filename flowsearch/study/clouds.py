"""What a cloud tells its machine of being taken back: two minutes before on AWS, half a minute before on Google Cloud.

Each machine asks the metadata service that only it can reach, as the clouds document it.
"""

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
_METADATA = "http://169.254.169.254"
_TIMEOUT_SECONDS = 2.0


def taken_back() -> Callable[[], float | None] | None:
    """What asks whether this machine is about to be taken back; None where no cloud is known that would say so."""
    try:
        vendor = _VENDOR.read_text().strip()
    except OSError:
        return None
    return {"Amazon EC2": aws, "Google": gcp}.get(vendor)


def aws(metadata: str = _METADATA) -> float | None:
    """Seconds that a spot machine of AWS has left; None where nothing was said."""
    try:
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _ask(f"{metadata}/latest/api/token", ttl, "PUT")
        _ask(f"{metadata}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    except OSError:  # which "404: not found" is too, the answer while there is no notice
        return None
    return 110.0


def gcp(metadata: str = _METADATA) -> float | None:
    """Seconds that a spot machine of Google Cloud has left; None where nothing was said."""
    try:
        said = _ask(f"{metadata}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    except OSError:
        return None
    return 25.0 if said.strip() == "TRUE" else None


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    # Without proxies: the address is the machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
        return str(answer.read(1000).decode(errors="replace"))
