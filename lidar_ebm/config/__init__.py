"""Configurations: their settings, one module a room, and how they are read, checked and explained."""

from __future__ import annotations

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config, save_config

__all__ = ["Config", "load_config", "save_config"]
