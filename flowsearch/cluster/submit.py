"""A study as a Ray job: it runs on the cluster, and goes on when the laptop's lid closes."""

import logging
import shlex
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowsearch.storage import inside
from flowsearch.study import own_parts
from flowsearch.study.file import load
from flowsearch.study.sections import Study

STUDY, RESULTS = "flowsearch_study", "flowsearch_results"
"""What a job's metadata says of the study that it runs."""

_LIVE = ("PENDING", "RUNNING")


@dataclass(frozen=True)
class Submitted:
    """A study that a cluster has taken."""

    job: str
    address: str
    results: str
    """The study's own folder, or its URI."""
    stay: tuple[str, ...] = ()
    """Packages of its parts that are installed here, or on PYTHONPATH, and did not travel."""


def submit(
    file: Path,
    results: str,
    address: str,
    *,
    sets: Sequence[str] = (),
    profile: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Submitted:
    """Run the study of `file` on the cluster whose job server is at `address`; go on with it where it was begun.

    The file and the parts of one's own that it names travel there. `results` is where its machines keep the results of
    studies: a folder that they all see, by its whole path, or a URI. `environment` is set for the job.
    Raises ValueError for a study that is not right, one that runs there already, and a cluster that cannot be reached.
    """
    study = load(file, sets, profile)
    root = str(inside(results, study.name))
    if "://" not in results and not Path(results).is_absolute():
        raise ValueError(
            f"--results is the whole path of a folder that all machines of the cluster see, or a URI such as "
            f"s3://bucket/results, not {results!r}"
        )
    client = _client(address)
    running = [job for job in client.list_jobs() if job.metadata and job.metadata.get(RESULTS) == root]
    live = [job.submission_id for job in running if job.status in _LIVE]
    if live:
        raise ValueError(
            f"the study {study.name} runs there already, as {live[0]}; see {_log_command(str(live[0]), address)}, "
            f"or stop it first: ray job stop --address {address} {live[0]}"
        )
    job = f"{study.name}-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory(prefix="fs-submit-") as folder:
        stay = _pack(study, file, Path(folder))
        client.submit_job(
            entrypoint=_command(file.name, results, sets, profile),
            submission_id=job,
            runtime_env={"working_dir": folder, "env_vars": dict(environment or {})},
            metadata={STUDY: study.name, RESULTS: root},
        )
    return Submitted(job, address, root, stay)


def follow(submitted: Submitted) -> Iterator[str]:
    """The job's log as it is written, until the job ends."""
    import asyncio

    loop = asyncio.new_event_loop()
    lines = _client(submitted.address).tail_job_logs(submitted.job)
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(lines))
            except StopAsyncIteration:
                return
    finally:
        loop.close()


def failed(submitted: Submitted) -> bool:
    """Whether the job ended otherwise than well."""
    return _client(submitted.address).get_job_status(submitted.job) in ("FAILED", "STOPPED")


def hints(submitted: Submitted) -> dict[str, str]:
    """The commands that look at the study, and the one that stops it."""
    return {
        "standing": f"flowsearch study show {shlex.quote(submitted.results)}",
        "dashboard": f"flowsearch dashboard {shlex.quote(submitted.results)}",
        "log": _log_command(submitted.job, submitted.address),
        "stop": f"ray job stop --address {submitted.address} {submitted.job}",
    }


def _log_command(job: str, address: str) -> str:
    return f"ray job logs --address {address} --follow {job}"


def _command(name: str, results: str, sets: Sequence[str], profile: str | None) -> str:
    """What the head runs, in the folder that travelled there."""
    words = ["python", "-m", "flowsearch", "study", "run", name, "--results", results, "--address", "auto", "--plain"]
    words += [] if profile is None else ["--profile", profile]
    for one in sets:
        words += ["--set", one]
    # In the place of the shell, so that the signal that stops the job reaches the study.
    return f"exec {shlex.join(words)}"


def _pack(study: Study, file: Path, folder: Path) -> tuple[str, ...]:
    """Put what travels into a folder: the study file as it is, and the modules of its own parts that lie beside it.
    Returns the packages of the others."""
    (folder / file.name).write_bytes(file.read_bytes())
    with own_parts.importable(study, {}):
        travel = own_parts.modules(study)
        for name, content in travel.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    sent = {name.partition("/")[0].removesuffix(".py") for name in travel}
    return tuple(sorted(own_parts.packages(study) - sent))


def _client(address: str) -> Any:
    """A client of the job server. Raises ValueError where there is none, or it knows us not."""
    if not address.startswith(("http://", "https://")):
        raise ValueError(
            f"--address is that of the cluster's job server, such as http://127.0.0.1:8265, not {address!r}"
        )
    try:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise ValueError(
            f"submitting a study needs Ray's job client ({error}): pip install 'flowsearch[cluster]'"
        ) from None
    # Ray tells of each file that it packs.
    logging.getLogger("ray").setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise ValueError(
            f"the cluster at {address} asks for its token, and this process has none, or another one: "
            "export RAY_AUTH_MODE=token, and have the token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
        ) from None
    except ConnectionError:
        raise ValueError(
            f"nothing answers at {address}; bring the cluster's port 8265 here, by `ray dashboard cluster.yaml`"
        ) from None
    except RuntimeError as error:
        if "ray[default]" in str(error):
            raise ValueError("submitting a study needs Ray's job client: pip install 'flowsearch[cluster]'") from None
        raise ValueError(f"the cluster at {address} took no study: {' '.join(str(error).split())}") from None
