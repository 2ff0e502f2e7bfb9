"""Draw what each part of the augmentation does to a simulated frame: the picture of the README.

`python tools/draw_augmentation.py` writes docs/augmentation.png; the same arguments give the same picture.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.datasets.preparation.label_database import load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.workflows.augmentation import plot_augmentation
from lidar_ebm.workflows.simulate import simulate


def main() -> None:
    """Simulate, prepare and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/augmentation.png"), help="picture (default %(default)s)")
    parser.add_argument("--frames", type=int, default=30, help="simulated frames, whose objects are the label database")
    parser.add_argument("--frame", type=int, default=12, help="the one to draw, counted from 0 (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the frames and of the augmentation")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            simulate(root, frames=arguments.frames, seed=arguments.seed, val_fraction=0.0, workers=1)
            data = open_data_set(root)
            prepare(data, workers=1)
            config = load_config()
            frames = open_samples(data, "train", config, cropped=False)
            if not 0 <= arguments.frame < len(frames):
                raise InputError(f"--frame is {arguments.frame}; give a number from 0 to {len(frames) - 1}.")
            database = load_label_database(data)
            frame = frames[arguments.frame]
            print(plot_augmentation(frame, database, config.classes, arguments.out, seed=arguments.seed))
    except (InputError, OutputError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
