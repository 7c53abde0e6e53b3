"""What TensorFlow's analyzer says of TFLite files on the GPU delegate, by the last one that tells.

    python benchmarks/gpu_analyzer.py shipped/*.tflite

Since 2.18 the analyzer calls every graph compatible, so TensorFlow 2.17 is installed in a temporary
environment for it. Prints a line for each file and objection.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

ANALYZE = """
import sys, tensorflow as tf
tf.lite.experimental.Analyzer.analyze(sys.argv[1], gpu_compatibility=True)
"""
# A graph that must be objected to, or the analyzer tells nothing.
REFUSED = """
import sys, tensorflow as tf
function = tf.function(lambda x: tf.unique(x)[0], input_signature=[tf.TensorSpec((8,))])
converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
open(sys.argv[1], "wb").write(converter.convert())
"""


def objections(python: str, path: Path) -> Counter[str]:
    """What the analyzer objects to, with how often; empty if it calls the file compatible."""
    done = subprocess.run(
        [python, "-c", ANALYZE, str(path)], capture_output=True, text=True, check=True
    )
    return Counter(re.findall(r"^GPU COMPATIBILITY WARNING: (?!Subgraph)(.*)$", done.stdout, re.M))


def main() -> None:
    """Install the analyzer, see that it can object, and ask it about each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder) / "venv", with_pip=True)
        python = str(Path(folder) / "venv/bin/python")
        install = [python, "-m", "pip", "install", "--quiet", "tensorflow-cpu==2.17.*"]
        subprocess.run(install, check=True)
        refused = Path(folder) / "refused.tflite"
        subprocess.run([python, "-c", REFUSED, str(refused)], check=True, stderr=subprocess.DEVNULL)
        if not objections(python, refused):
            sys.exit("This analyzer objects to nothing, not even to UNIQUE.")
        for path in arguments.files:
            found = objections(python, path)
            told = "; ".join(f"{count} x {what}" for what, count in found.items())
            print(f"{path.name}: {told or 'compatible'}", flush=True)


if __name__ == "__main__":
    main()
