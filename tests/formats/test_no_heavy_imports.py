from __future__ import annotations

import subprocess
import sys


def test_formats_need_neither_torch_nor_pandas_nor_pyarrow() -> None:
    code = (
        "import sys; from lidar_ebm.formats import box_formats; box_formats(); "
        "sys.exit(sorted({'torch', 'pandas', 'pyarrow'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
