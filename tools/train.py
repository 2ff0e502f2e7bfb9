"""`lidar-ebm train` for people who work in the checkout: python tools/train.py CONFIG --data DIR --out RUN."""

import sys

from lidar_ebm.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
