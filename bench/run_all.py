"""Every figure that the project claims, one after the other: about an hour on 2 cores.

    python bench/run_all.py FOLDER_OF_FASHION_MNIST CIFAR10_JPEG.tar.gz

The last results lie in bench/results, with the machine that they were had on.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(fashion: str, cifar: str) -> None:
    for arguments in (
        ["speed.py"],
        ["data.py", cifar],
        ["kills.py", "--kills", "20"],
        ["accuracy.py", "demo", fashion],
        ["accuracy.py", "fashion", fashion],
        ["accuracy.py", "cifar", cifar],
    ):
        subprocess.run([sys.executable, str(HERE / arguments[0]), *arguments[1:]], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
