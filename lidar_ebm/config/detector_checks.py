"""Checks of what the parts of the detector ask of one another."""

from __future__ import annotations

from collections import Counter

from lidar_ebm.config.detector import DetectorSettings


def check_detector(settings: DetectorSettings) -> None:
    """Refuse parts that do not fit together.

    Raises:
        ValueError: they do not; the message names the settings.
    """
    _check_encoder(settings)
    _check_center_head(settings)
    _check_suppression(settings)
    _check_flips(settings)


def _check_encoder(settings: DetectorSettings) -> None:
    if settings.bev.map_stride > 1 and not settings.bev.scales:
        raise ValueError(
            f"bev.map_stride={settings.bev.map_stride}: a map of a single scale has the encoder's cells; give "
            "bev.scales, or leave map_stride at 1"
        )
    stride = 1
    for number, scale in enumerate(settings.bev.scales):
        stride *= scale.stride
        if max(stride, settings.bev.map_stride) % min(stride, settings.bev.map_stride):
            raise ValueError(
                f"bev.scales.{number}: its cells are {stride} of the encoder's, and those of the maps "
                f"{settings.bev.map_stride} (bev.map_stride); let one divide the other"
            )
    if settings.encoder == "voxels":
        return
    if settings.voxels.max_points_per_voxel is not None:
        raise ValueError("voxels.max_points_per_voxel is of runs of version 0.1, and encoder=pillars takes all points")
    if settings.voxels.grid_shape[0] > 1:
        height = settings.voxels.range[5] - settings.voxels.range[2]
        raise ValueError(
            f"encoder=pillars takes voxels as tall as the range, and voxels.size has {settings.voxels.size[2]} m; set "
            f"its third number to {height:g}"
        )
    if settings.point_head.enabled:
        raise ValueError(
            "point_head.enabled=true: the point head reads the stages of the sparse backbone, which encoder=pillars "
            "does without; set point_head.enabled=false"
        )


def _check_center_head(settings: DetectorSettings) -> None:
    head, names = settings.center_head, settings.class_names
    if head.groups is not None:
        counts = Counter(name for group in head.groups for name in group)
        unknown = [name for name in counts if name not in names]
        if unknown:
            raise ValueError(f"center_head.groups: {unknown[0]!r} is no class here; there are {', '.join(names)}")
        wrong = [name for name in names if counts[name] != 1]
        if wrong:
            times = "twice" if counts[wrong[0]] else "in none"
            raise ValueError(f"center_head.groups: {wrong[0]!r} is there {times}; each class belongs to one group")
    if len(head.rectification) not in (1, len(names)):
        raise ValueError(
            f"center_head.rectification: {len(head.rectification)} numbers for {len(names)} classes; give one, or one "
            "of each class"
        )


def _check_suppression(settings: DetectorSettings) -> None:
    names, radii = settings.class_names, settings.detection.nms_radii
    unknown = [name for name in radii if name not in names]
    if unknown:
        raise ValueError(f"detection.nms_radii: {unknown[0]!r} is no class here; there are {', '.join(names)}")
    lacking = [name for name in names if name not in radii]
    if settings.detection.nms == "circle" and lacking:
        raise ValueError(f"detection.nms=circle needs a radius of {lacking[0]!r} in detection.nms_radii, m")


def _check_flips(settings: DetectorSettings) -> None:
    flips = settings.detection.flips
    if flips == "none":
        return
    if settings.head == "anchor":
        raise ValueError(f"detection.flips={flips}: the center head alone can average; set head=center, or flips=none")
    grid = settings.bev_grid
    for axis, position, cells in zip("xy", (0, 1), reversed(grid.shape), strict=True):
        low, cell = settings.voxels.range[position], grid.cell_size[position]
        if flips in (axis, "both") and abs(2 * low + cells * cell) > 1e-3 * cell:
            raise ValueError(
                f"detection.flips={flips}: the mirrored map's cells along {axis}, from {low:g} to "
                f"{low + cells * cell:g} m, must lie on the map's own; make voxels.range symmetric there, and a whole "
                f"number of map cells of {cell:g} m, or flip the other axis alone"
            )
