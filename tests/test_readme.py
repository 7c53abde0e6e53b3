"""The README's example runs and prints what it says."""

import contextlib
import io
import re

import pytest

from tests.conftest import BACKEND, ROOT


@pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")
def test_example_prints_what_its_comments_say():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    said = re.findall(r"print\(.*\)  # (\w+)", code)
    assert printed.getvalue().split() == said
