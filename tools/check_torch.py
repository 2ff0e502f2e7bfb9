"""Trial of one build of the kernels with several versions of torch. (`python tools/check_torch.py 2.4.1 2.13.0`)

The wheel is built once; each version gets a virtual environment of its own with that wheel, and the operations' tests
run in it. Downloads torch, with CUDA where the index has it so: gigabytes for each version. Each version has wheels for
some Pythons only (2.4 for 3.8 to 3.12), so run it with one of those.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/cuda_ops", "tests/detector", "tests/energy", "tests/ebm")


def build_wheel(folder: Path) -> Path:
    """The package as a wheel, in `folder`."""
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    return max(folder.glob("lidar_ebm-*.whl"), key=lambda path: path.stat().st_mtime)


def check(version: str, wheel: Path, folder: Path) -> bool:
    """Install torch of that version and the wheel, and run the tests on the wheel's libraries."""
    environment = folder / f"torch-{version}"
    python = environment / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(environment)])
    pins = folder / "constraints.txt"
    rows = (ROOT / "constraints.txt").read_text().splitlines()
    pins.write_text("\n".join(row for row in rows if not row.startswith("torch==")))
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(pins)]
    run([*install, f"torch=={version}", f"{wheel}[test]"])
    run([*install, "--no-deps", "--force-reinstall", str(wheel)])  # the same version number, perhaps another build
    (site,) = (environment / "lib").glob("python*/site-packages")
    tests = [str(python), "-m", "pytest", "-n", str(os.cpu_count() or 1), *TESTS]
    return subprocess.run(tests, cwd=ROOT, env=_with_libraries(site / "cuda_ops" / "lib")).returncode == 0


def run(command: list[str]) -> None:
    subprocess.run(command, check=True)


def _with_libraries(folder: Path) -> dict[str, str]:
    # Tests import the checkout's sources, which are the wheel's; the libraries are those of the wheel.
    return os.environ | {"LIDAR_EBM_NATIVE_DIR": str(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="+", help="of torch, such as 2.4.1")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "torch_versions", help="environments go there")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(arguments.work)
    results = {version: check(version, wheel, arguments.work) for version in arguments.versions}
    for version, passed in results.items():
        print(f"torch {version}: {'passed' if passed else 'FAILED'}")
    sys.exit(not all(results.values()))


if __name__ == "__main__":
    main()
