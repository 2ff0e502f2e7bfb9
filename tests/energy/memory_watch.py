"""Record of the operations that run, and how much memory of what they make is alive at a time."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Watch(TorchDispatchMode):
    """Names every operation, and counts the bytes that are alive of what they made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.alive = self.max_alive = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(function))
        results = function(*args, **(kwargs or {}))
        if not function.is_view:
            for result in results if isinstance(results, tuple | list) else (results,):
                if isinstance(result, Tensor):
                    self._count(result)
        return results

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self.alive += size
        self.max_alive = max(self.max_alive, self.alive)
        weakref.finalize(tensor, self._release, size)

    def _release(self, size: int) -> None:
        self.alive -= size
