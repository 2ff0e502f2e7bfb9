"""The scoring protocols that there are: every module or package of `lidar_ebm.evaluation` that has a `PROTOCOL`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from lidar_ebm.evaluation.protocol import ScoringProtocol

_PACKAGE = "lidar_ebm.evaluation"
_BESIDE = ("protocols", "scoring", "paired", "submissions")  # these import this module


@cache
def protocols() -> Mapping[str, ScoringProtocol]:
    """All protocols by the name that `facts` gives them: `PROTOCOL` of a module, or of a package's `protocol.py`."""
    protocol_by_name = {}
    for each in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__):
        if each.name in _BESIDE:
            continue
        module = importlib.import_module(f"{_PACKAGE}.{each.name}" + (".protocol" if each.ispkg else ""))
        if hasattr(module, "PROTOCOL"):
            protocol_by_name[module.PROTOCOL.facts.name] = module.PROTOCOL
    return MappingProxyType(protocol_by_name)
