"""The project's own operations, one folder each; usable without `lidar_ebm`, which they never import.

Every operation has a `reference.py` in plain PyTorch that runs wherever PyTorch runs and says what the operation means.
"""
