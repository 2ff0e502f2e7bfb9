"""`python -m lidar_ebm.cli`: the command without its installed script."""

from __future__ import annotations

from lidar_ebm.cli import main

if __name__ == "__main__":
    main()
