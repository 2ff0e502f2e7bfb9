"""`lidar-ebm evaluate` as a script, for torchrun: torchrun --nproc-per-node 2 tools/evaluate.py RUN --data DATA …"""

from __future__ import annotations

import sys

from lidar_ebm.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
