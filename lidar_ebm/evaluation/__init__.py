"""Average precision by KITTI's rules or by distance, on the CPU, from files or memory; tables and comparisons of it."""

from __future__ import annotations

from lidar_ebm.evaluation.curves import Comparison, compare_evaluations, comparison_table, write_comparison_csv
from lidar_ebm.evaluation.kitti.frame_boxes import FrameBoxes
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.paired import compare_results
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.paired_table import paired_table, write_paired_csv, write_paired_json
from lidar_ebm.evaluation.protocol import ScoringProtocol
from lidar_ebm.evaluation.result import Curve, Evaluation, OperatingPoint, ProtocolFacts
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.evaluation.table import distance_table, matches_table, score_table, to_json, write_csv, write_scores_json

__all__ = [
    "Comparison",
    "Curve",
    "Difficulty",
    "Evaluation",
    "FrameBoxes",
    "OperatingPoint",
    "PairedComparison",
    "PairedDifference",
    "ProtocolFacts",
    "ScoringOptions",
    "ScoringProtocol",
    "compare_evaluations",
    "compare_results",
    "comparison_table",
    "distance_table",
    "evaluate",
    "matches_table",
    "paired_table",
    "score_table",
    "to_json",
    "write_comparison_csv",
    "write_csv",
    "write_paired_csv",
    "write_paired_json",
    "write_scores_json",
]
