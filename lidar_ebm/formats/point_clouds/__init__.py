"""Point clouds ↔ files: one file a format, points with named channels, and one rule for their reflectance."""

from __future__ import annotations

from lidar_ebm.formats.point_clouds.bin import read_bin, write_bin
from lidar_ebm.formats.point_clouds.npy import write_npy
from lidar_ebm.formats.point_clouds.pcd import write_pcd
from lidar_ebm.formats.point_clouds.ply import write_ply
from lidar_ebm.formats.point_clouds.point_cloud import PointCloud
from lidar_ebm.formats.point_clouds.reading import (
    POINT_SUFFIXES,
    read_point_cloud,
    read_point_file,
    write_point_cloud,
)
from lidar_ebm.formats.point_clouds.reflectance import (
    ReflectanceScale,
    choose_reflectance_scale,
    sample_reflectance_scale,
    scale_of_values,
    scale_reflectance,
)
from lidar_ebm.formats.point_clouds.units import PointsReport, describe_points

__all__ = [
    "POINT_SUFFIXES",
    "PointCloud",
    "PointsReport",
    "ReflectanceScale",
    "choose_reflectance_scale",
    "describe_points",
    "read_bin",
    "read_point_cloud",
    "read_point_file",
    "sample_reflectance_scale",
    "scale_of_values",
    "scale_reflectance",
    "write_bin",
    "write_npy",
    "write_pcd",
    "write_ply",
    "write_point_cloud",
]
