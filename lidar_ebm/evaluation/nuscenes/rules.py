"""Numbers of nuScenes' detection benchmark (configuration detection_cvpr_2019)."""

from __future__ import annotations

import numpy as np

from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, CLASSES

# m, on the ground, from the ego vehicle: only what is nearer is scored.
RANGES = {
    "car": 50.0,
    "truck": 50.0,
    "bus": 50.0,
    "trailer": 50.0,
    "construction_vehicle": 50.0,
    "pedestrian": 40.0,
    "motorcycle": 40.0,
    "bicycle": 40.0,
    "traffic_cone": 30.0,
    "barrier": 30.0,
}
DISTANCES = (0.5, 1.0, 2.0, 4.0)  # m, below which the centre of a match has to be
ERROR_DISTANCE = 2.0  # m, of the matches that the errors are of
ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
ERROR_NAMES = {
    "trans_err": "mATE",
    "scale_err": "mASE",
    "orient_err": "mAOE",
    "vel_err": "mAVE",
    "attr_err": "mAAE",
}
ERROR_UNITS = {"trans_err": "m", "scale_err": "1 - IoU", "orient_err": "rad", "vel_err": "m/s", "attr_err": "1 - acc."}
# Errors that mean nothing for a class.
UNDEFINED = {"traffic_cone": ("orient_err", "vel_err", "attr_err"), "barrier": ("vel_err", "attr_err")}

STEPS = 100
FIRST_STEP = 11  # recalls up to 0.1 are left out
MINIMUM_PRECISION = 0.1
AP_WEIGHT = 5.0  # of mAP in NDS; each of the five errors has 1
MAXIMUM_BOXES = 500  # of one sample

# A double product each, so that a few lie one step above i/100; the last is 1.
RECALLS = np.arange(STEPS + 1) * 0.01
RECALLS[STEPS] = 1.0

CLASS_INDEX = {name: index for index, name in enumerate(CLASSES)}
RANGE_OF_CLASS = np.array([RANGES[name] for name in CLASSES])
# -1 is no attribute.
ATTRIBUTE_INDEX = {"": -1, **{name: index for index, name in enumerate(ATTRIBUTES)}}
# Where a heading may as well be turned round.
HALF_TURN_CLASSES = ("barrier",)
RACK_CLASSES = ("bicycle", "motorcycle")  # not scored within a bike rack

# Begins the reason of what the program refuses only once it meets it while it scores.
STOPS = "the program stops"
USE_FLAGS = ("use_camera", "use_lidar", "use_radar", "use_map", "use_external")


def heading(rotations: np.ndarray) -> np.ndarray:
    """Heading [N], rad, of quaternions [N, 4] w, x, y, z of any length; 0 for length 0, NaN for an infinite one."""
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(rotations, axis=1, keepdims=True)
        w, x, y, z = (rotations / np.where(length == 0.0, 1.0, length)).T
        return np.where(length[:, 0] == 0.0, 0.0, np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))
