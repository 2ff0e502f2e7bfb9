"""Average precision by KITTI's rules, on the CPU, from folders or from memory; tables and comparisons of it."""

from __future__ import annotations

from lidar_ebm.evaluation.curves import Comparison, compare, comparison_table, write_comparison_csv
from lidar_ebm.evaluation.kitti_ap import evaluate, evaluate_folders
from lidar_ebm.evaluation.result import Curve, Evaluation
from lidar_ebm.evaluation.score import score
from lidar_ebm.evaluation.table import score_table, to_json, write_csv, write_json

__all__ = [
    "Comparison",
    "Curve",
    "Evaluation",
    "compare",
    "comparison_table",
    "evaluate",
    "evaluate_folders",
    "score",
    "score_table",
    "to_json",
    "write_comparison_csv",
    "write_csv",
    "write_json",
]
