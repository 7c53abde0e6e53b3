"""Print the time `import keras_cbam` adds to `import keras`, each time in a fresh process.

python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys

RUNS = 7
CODE = (
    "import time, keras; start = time.perf_counter(); import keras_cbam; "
    "print(time.perf_counter() - start)"
)


def main() -> None:
    """Measure in fresh processes."""
    times = []
    for _ in range(RUNS):
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(1000 * float(done.stdout.split()[-1]))
    print(
        f"import keras_cbam after keras: {min(times):.1f} ms, median {statistics.median(times):.1f}"
    )


if __name__ == "__main__":
    main()
