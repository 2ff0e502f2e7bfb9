"""Number of frames a second that the simulator writes (`python tools/benchmarks/simulator.py --help`).

The first frame (which compiles the kernels) and the start of the worker processes are timed apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from lidar_ebm.simulation.simulator import SimulationSettings, simulate, simulate_frame


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast LiDAR frames are simulated.")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--workers", type=int, default=None, help="processes; all processors by default")
    parser.add_argument("--full", action="store_true", help="360 degrees instead of the camera's view")
    arguments = parser.parse_args()
    settings = SimulationSettings(seed=0, full=arguments.full)

    began = time.perf_counter()
    simulate_frame(settings, 0)
    print(f"first frame, kernels compiled or loaded: {time.perf_counter() - began:.2f} s")

    began, used = time.perf_counter(), time.process_time()
    in_memory = min(arguments.frames, 50)
    for index in range(in_memory):
        simulate_frame(settings, index)
    elapsed, used = time.perf_counter() - began, time.process_time() - used
    print(f"in memory, one process: {in_memory / elapsed:.1f} frames/s ({1e3 * used / in_memory:.1f} ms CPU a frame)")

    times = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        simulate(
            folder,
            frames=arguments.frames,
            workers=arguments.workers,
            full=arguments.full,
            progress=lambda done, total: times.append(time.perf_counter()),
        )
        elapsed = time.perf_counter() - began
    print(f"written to disk, start of the processes included: {arguments.frames / elapsed:.1f} frames/s")
    middle = len(times) // 2
    steady = (len(times) - 1 - middle) / (times[-1] - times[middle])
    print(f"written to disk, second half: {steady:.1f} frames/s")


if __name__ == "__main__":
    main()
