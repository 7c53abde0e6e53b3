"""The README's examples run and print what they say."""

import contextlib
import io
import re

import pytest

from tests.conftest import BACKEND, ROOT

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")
@pytest.mark.parametrize("code", EXAMPLES)
def test_example_prints_what_its_comments_say(code):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    said = re.findall(r"print\(.*\)  # ([^:\n]+)", code)
    assert printed.getvalue().splitlines() == said
    assert said
