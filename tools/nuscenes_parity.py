"""Compare this program's figures of nuScenes' benchmark with those of the official one, nuscenes-devkit.

    make nuscenes-parity                              # a simulated database
    make nuscenes-parity NUSCENES_SETS=folder         # and sets: SET/data, SET/predictions/SPLIT/NAME.json

The official program needs numpy below 2, so it runs in an environment of its own beside this one; `--official` is what
that environment's Python is asked to do: score one result file, and write the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIMIT = 1e-6  # by which a figure may differ
SKIP = {"eval_time", "cfg", "meta"}
# Sweeps are not looked at, so small ones will do.
SIMULATED = ("--scenes", "9", "--samples-per-scene", "20", "--sweep-rate", "4", "--azimuth-steps", "180", "--seed", "1")


def main() -> None:
    """Run the comparison; exit status 1 where a figure differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="of the environment that has nuscenes-devkit")
    parser.add_argument("--sets", type=Path, help="folder of sets, or one set")
    parser.add_argument("--simulate", action="store_true", help="make a simulated database and score it too")
    parser.add_argument("--official", nargs=5, metavar=("ROOT", "VERSION", "SPLIT", "RESULTS", "OUT"))
    arguments = parser.parse_args()
    if arguments.official:
        official(*arguments.official)
        return
    if arguments.python is None:
        parser.error("--python is missing")
    sys.exit(compare_all(arguments.python, arguments.sets, simulated=arguments.simulate))


def official(root: str, version: str, split: str, results: str, out: str) -> None:
    """Score with the official program."""
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    with tempfile.TemporaryDirectory() as folder:
        database = NuScenes(version=version, dataroot=root, verbose=False)
        config = config_factory("detection_cvpr_2019")
        evaluation = DetectionEval(database, config, results, split, output_dir=folder, verbose=False)
        metrics, _ = evaluation.evaluate()
    Path(out).write_text(json.dumps(metrics.serialize()), encoding="utf-8")


def compare_all(python: str, sets: Path | None, *, simulated: bool) -> int:
    """Compare every result file of every set; 1 where one differs."""
    worst, count = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        places = [] if sets is None else list(find_sets(sets))
        if simulated:
            places.append(simulate_set(Path(folder) / "simulated"))
        for place in places:
            for version, split, results in list_results(place):
                out = Path(folder) / "official.json"
                code = [python, __file__, "--official", str(place / "data"), version, split, str(results), str(out)]
                environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
                done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{results}: the official program stops:\n{done.stderr}")
                theirs = json.loads(out.read_text(encoding="utf-8"))
                difference = largest_difference(theirs, ours(place / "data", version, split, results))
                sys.stdout.write(
                    f"{place.name} {split} {results.stem}: NDS {theirs['nd_score']:.6f}, mAP {theirs['mean_ap']:.6f}, "
                    f"largest difference of any figure {difference:.1e}\n"
                )
                worst, count = max(worst, difference), count + 1
    sys.stdout.write(f"{count} result files, largest difference {worst:.1e}; allowed: {LIMIT:g}\n")
    return 0 if count and worst <= LIMIT else 1


def find_sets(folder: Path) -> Iterator[Path]:
    """Sets in a folder, in its folders, and in theirs: what has data/ and predictions/."""
    for pattern in (".", "*", "*/*"):
        for place in sorted(folder.glob(pattern)) if pattern != "." else [folder]:
            if (place / "data").is_dir() and (place / "predictions").is_dir():
                yield place


def list_results(place: Path) -> Iterator[tuple[str, str, Path]]:
    """Version, split and file of all results of a set: predictions/SPLIT/NAME.json or predictions/SPLIT.json."""
    from lidar_ebm.formats.nuscenes.tables import versions_of

    version = versions_of(place / "data")[0]
    for path in sorted((place / "predictions").rglob("*.json")):
        yield version, path.stem if path.parent.name == "predictions" else path.parent.name, path


def ours(root: Path, version: str, split: str, results: Path) -> dict[str, Any]:
    """This program's figures, with the official names."""
    from lidar_ebm.evaluation.nuscenes.outcome import NuscenesEvaluation, summary_record
    from lidar_ebm.evaluation.scoring import evaluate

    evaluation = evaluate(root, results, protocol="nuscenes", version=version, split=split)
    assert isinstance(evaluation, NuscenesEvaluation)
    return summary_record(evaluation)


def largest_difference(theirs: Any, other: Any) -> float:
    """Largest difference of any number of a record; infinite where one is missing, or NaN on one side alone."""
    if isinstance(theirs, dict):
        return max(
            (largest_difference(value, other.get(key, math.nan)) for key, value in theirs.items() if key not in SKIP),
            default=0.0,
        )
    if not isinstance(theirs, int | float) or not isinstance(other, int | float):
        return math.inf
    if math.isnan(theirs) or math.isnan(other):
        return 0.0 if math.isnan(theirs) and math.isnan(other) else math.inf
    return abs(theirs - other)


def simulate_set(place: Path) -> Path:
    """A simulated database, with its own labels, jittered and thinned out, as results of its validation split."""
    import numpy as np

    from lidar_ebm.evaluation.nuscenes.labels import labels_of_tables
    from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, CLASSES
    from lidar_ebm.formats.nuscenes.tables import Tables, versions_of

    if not versions_of(place / "data"):
        command = [sys.executable, "-m", "lidar_ebm.cli", "simulate", str(place / "data"), "--layout", "nuscenes"]
        subprocess.run([*command, *SIMULATED], check=True)
    version = versions_of(place / "data")[0]
    split = "mini_val" if version.endswith("mini") else "val"
    labels = labels_of_tables(Tables.open(place / "data", version), split)
    rng, objects = np.random.default_rng(0), labels.objects
    results: dict[str, list[dict[str, Any]]] = {token: [] for token in labels.tokens}
    for row in np.flatnonzero(rng.random(len(objects)) < 0.8).tolist():
        yaw = objects.yaw[row] + rng.normal(0.0, 0.2)
        token = labels.tokens[objects.sample[row]]
        attribute = int(objects.attribute[row])
        results[token].append(
            {
                "sample_token": token,
                "translation": (objects.centers[row] + rng.normal(0.0, 0.6, 3)).tolist(),
                "size": (objects.sizes[row] * rng.uniform(0.8, 1.2, 3)).tolist(),
                "rotation": [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)],
                "velocity": (np.nan_to_num(objects.velocity[row]) + rng.normal(0.0, 0.5, 2)).tolist(),
                "detection_name": CLASSES[objects.class_index[row]],
                "detection_score": float(rng.integers(1, 50)) / 50,
                "attribute_name": ATTRIBUTES[attribute] if attribute >= 0 and rng.random() < 0.8 else "",
            }
        )
    meta = {f"use_{name}": name == "lidar" for name in ("camera", "lidar", "radar", "map", "external")}
    path = place / "predictions" / split / "jittered.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"meta": meta, "results": results}), encoding="utf-8")
    return place


if __name__ == "__main__":
    main()
