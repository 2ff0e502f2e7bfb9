"""`lidar-ebm train` for torchrun: `torchrun --nproc-per-node 8 tools/train.py CONFIG --data DATA --out RUN`."""

from __future__ import annotations

import sys

from lidar_ebm.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
