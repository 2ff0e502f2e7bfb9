"""Types that pass between the stages: frozen dataclasses, with shape, unit and frame beside each field.

Everywhere: LiDAR frame x forward, y left, z up, in metres; a box is (x, y, z, l, w, h, yaw) with z at its geometric
centre and yaw counter-clockwise about +z from +x in [-pi, pi). Ragged data are flat, with a `batch_index` per row and
an explicit `batch_size`; any of them may be empty.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    # Scoring reads label files without torch, which takes a second and over a hundred MB to import; what needs it here
    # imports it itself.
    import torch
    from torch import Tensor

T = TypeVar("T")

# Names of channels of points.
REFLECTANCE = "reflectance"  # 0..1
TIME_LAG = "time_lag"  # s, 0 in the key sweep; a point of lag t was measured t before it


def to_device(value: T, device: torch.device | str) -> T:
    """A copy of a dataclass of this module with every tensor in it, nested ones too, on `device`."""
    import torch
    from torch import Tensor

    # A copy from a GPU that did not wait would be read before it is there.
    waits = torch.device(device).type == "cpu"
    moved = {}
    for field in fields(value):  # type: ignore[arg-type]  # every T here is a dataclass
        item = getattr(value, field.name)
        if isinstance(item, Tensor):
            moved[field.name] = item.to(device, non_blocking=not waits)
        elif hasattr(item, "__dataclass_fields__"):
            moved[field.name] = to_device(item, device)
    return replace(value, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class LabelBatch:
    """Labelled boxes of a batch."""

    boxes: Tensor  # [M, D] float32: seven numbers, or nine with vx, vy (m/s, NaN where they are unknown)
    class_index: Tensor  # [M] int64, index into config.classes
    batch_index: Tensor  # [M] int64
    batch_size: int


@dataclass(frozen=True)
class Batch:
    """Frames put together for the model."""

    frame_ids: tuple[str, ...]
    points: Tensor  # [N, 3 + C] float32: x, y, z (m), the channels of config.points, reflectance 0..1 the first
    point_batch_index: Tensor  # [N] int64
    boxes: LabelBatch
    batch_size: int

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        return to_device(self, device)


@dataclass(frozen=True)
class Voxels:
    """Occupied voxels of a batch."""

    features: Tensor  # [V, 3 + C] float32: mean x, y, z (m) and channels of the points in the voxel
    indices: Tensor  # [V, 4] int32: batch, z, y, x
    spatial_shape: tuple[int, int, int]  # D, H, W
    batch_size: int


@dataclass(frozen=True)
class SparseFeatures:
    """Features on the occupied cells of a 3-D grid."""

    features: Tensor  # [V, C]
    indices: Tensor  # [V, 4] int32: batch, z, y, x
    spatial_shape: tuple[int, int, int]  # D, H, W
    batch_size: int
    voxel_size: tuple[float, float, float]  # dx, dy, dz, m
    origin: tuple[float, float, float]  # x, y, z of the grid's low corner, LiDAR frame, m

    def centers(self) -> Tensor:
        """Centres of the occupied cells, [V, 3] float32, LiDAR frame, m."""
        import torch

        size = self.features.new_tensor(self.voxel_size, dtype=torch.float32)
        origin = self.features.new_tensor(self.origin, dtype=torch.float32)
        return (self.indices[:, [3, 2, 1]].to(torch.float32) + 0.5) * size + origin


@dataclass(frozen=True)
class BevGrid:
    """Grid of the cells of a bird's-eye-view map."""

    origin: tuple[float, float]  # LiDAR (x, y) of the centre of cell (0, 0), m
    cell_size: tuple[float, float]  # dx, dy, m
    shape: tuple[int, int]  # H (along y), W (along x)


@dataclass(frozen=True)
class BevFeatures:
    """Bird's-eye-view maps of a batch."""

    shared: Tensor  # [B, C, H, W], what part scores and the energy read
    anchor: Tensor  # [B, C', H, W], what the head reads
    occupied: Tensor  # [B, H, W] bool, cells with an occupied voxel above them
    grid: BevGrid


@dataclass(frozen=True)
class FrameFeatures:
    """Features of a batch of frames before any box is looked at."""

    voxels: Voxels
    stages: tuple[SparseFeatures, ...]  # fine to coarse
    bev: BevFeatures


@dataclass(frozen=True)
class MirroredFeatures:
    """Maps of a batch's frames mirrored."""

    axes: str  # whose signs are turned: "x", "y" or "xy"
    bev: BevFeatures


@dataclass(frozen=True)
class LossCounts:
    """Counts that the sums of a batch's losses are divided by.

    Of a batch that is trained on in several passes or processes these are the whole batch's (see
    `lidar_ebm.system.synchronised.shared_count`). A loss without its count divides by what it counts itself.
    """

    anchors: float | None = None  # of the head: positive anchors, or labels on the map
    points: float | None = None  # voxels' mean points that lie in labelled boxes
    part_boxes: float | None = None  # boxes that the part score is to take for right
    labels: float | None = None  # labelled boxes


@dataclass(frozen=True)
class Proposals:
    """Scored boxes of a batch, ordered by frame and falling score within it."""

    boxes: Tensor  # [N, D] float32: seven numbers, or nine with vx, vy (m/s)
    scores: Tensor  # [N] 0..1
    class_index: Tensor  # [N] int64, index into config.classes
    batch_index: Tensor  # [N] int64
    batch_size: int

    def rank_in_class(self) -> Tensor:
        """Place of each row among those of its frame and class, [N] int64, from 0 on."""
        import torch

        classes = int(self.class_index.max()) + 1 if len(self.class_index) else 1
        group = self.batch_index * classes + self.class_index
        order = torch.argsort(group, stable=True)
        sizes = torch.bincount(group, minlength=self.batch_size * classes)
        first = sizes.cumsum(0) - sizes
        rank = torch.empty_like(group)
        rank[order] = torch.arange(len(group), device=group.device) - first[group[order]]
        return rank

    def select(self, index: Tensor) -> Proposals:
        """The rows that `index` (indices or a mask) names."""
        return Proposals(
            self.boxes[index], self.scores[index], self.class_index[index], self.batch_index[index], self.batch_size
        )
