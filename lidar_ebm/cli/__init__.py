"""The command `lidar-ebm`: one module a verb."""

from __future__ import annotations

from lidar_ebm.cli.command import app, main

__all__ = ["app", "main"]
