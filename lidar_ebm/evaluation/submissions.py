"""The servers that results can be packed for: those of the protocols that have one."""

from __future__ import annotations

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.protocols import protocols
from lidar_ebm.evaluation.submission import Submission


def submission_of(protocol: str) -> Submission:
    """Rules of a protocol's server.

    Raises:
        InputError: there is no such protocol, or it has no server.
    """
    servers = {name: each.submission for name, each in protocols().items() if each.submission is not None}
    if protocol not in servers:
        raise InputError(f"protocol {protocol!r}: has no server to submit to; choose one of {', '.join(servers)}.")
    return servers[protocol]
