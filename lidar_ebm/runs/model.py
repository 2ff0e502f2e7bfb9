"""The model that a run trains and holds: a detector, and the energy of its boxes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lidar_ebm.config.config import Config
from lidar_ebm.detector.detector import Detector
from lidar_ebm.energy.box_feature import BoxFeature
from lidar_ebm.energy.energy_head import EnergyHead


class Model(nn.Module):
    """A detector and an energy, each with a life of its own.

    Args:
        config: what both follow.
        detector: one of your own in the place of the configured one.
        energy: likewise.
    """

    def __init__(self, config: Config, *, detector: Detector | None = None, energy: EnergyHead | None = None) -> None:
        super().__init__()
        self.config = config
        self.detector = Detector(config.detector_settings) if detector is None else detector
        self.energy = make_energy(config) if energy is None else energy


def make_energy(config: Config, extra: Sequence[BoxFeature] = ()) -> EnergyHead:
    """The configured energy, with fresh weights; `extra`: terms of your own beside the configured ones."""
    sizes = [item.anchor_size for item in config.classes]
    return EnergyHead(config.energy_settings, map_channels=config.bev.channels, sizes=sizes, extra=extra)


def name_in_file(name: str) -> str:
    """The name that a weight of `Model` has in files: those of the detector stand there without their prefix."""
    return name.removeprefix("detector.")


def name_in_model(name: str) -> str:
    """The inverse of `name_in_file`."""
    return name if name.startswith("energy.") else f"detector.{name}"
