"""What Ray says when work is lost, in the words of a person who has to do something about it."""

from __future__ import annotations

from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

DIED = (LocalRayletDiedError, NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError)
"""How a task ends whose worker or node died, or took along what it needs: it may be done again."""
_LONGEST = 300
"""Letters of Ray's own words that are repeated; the rest is in its logs."""


def cause_of(error: BaseException) -> BaseException:
    """What went wrong in a task, without the wrappings of the tasks that met it and of what could not be unpacked."""
    while True:
        inner = error.cause if isinstance(error, RayTaskError) else getattr(error, "client_exc", None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def in_words(error: BaseException) -> str:
    """One line: the type of an error, and what it says."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said if len(said) <= _LONGEST else said[:_LONGEST] + ' …'}".removesuffix(": ")


def what_died(error: BaseException) -> str:
    """What became of a task that ended as one of `DIED`, and what helps."""
    if isinstance(error, OutOfMemoryError):
        text = "its machine ran out of memory; let fewer items run at a time, with --workers or a larger --ray.num-cpus"
    elif isinstance(error, (NodeDiedError, LocalRayletDiedError)):
        text = "its machine left the cluster"
    elif isinstance(error, ObjectLostError):
        text = "records were lost with the machine that held them"
    else:
        text = "its process died"
    return f"{text} ({in_words(error)})"


def is_everywhere(cause: BaseException) -> bool:
    """Whether no other item would fare better: packages or files of ours are missing, there is no room, Ray itself failed."""
    return isinstance(cause, RayError) or _is_bare(cause)


def _is_bare(cause: BaseException) -> bool:
    """Whether a machine lacks what the job needs."""
    # Ray's own wording where the function of a task cannot be imported: it is no class of its own.
    cannot_import = isinstance(cause, RuntimeError) and "failed to import on the worker" in str(cause)
    return isinstance(cause, (ImportError, RuntimeEnvSetupError)) or cannot_import


def stopped(cause: BaseException, what: str) -> OSError:
    """The error that ends a collection, for `is_everywhere`."""
    if isinstance(cause, (ObjectStoreFullError, OutOfDiskError)):
        advice = "make room on the disks of Ray's temporary folders, or let fewer items run at a time with --workers"
    elif _is_bare(cause):
        advice = "give every machine of the cluster the same Python packages and the files of this job"
    else:
        advice = "see the logs of the cluster"
    return ChildProcessError(
        f"{what}: expected the cluster to run it, found {in_words(cause)}; {advice}, and start again: it goes on"
    )
