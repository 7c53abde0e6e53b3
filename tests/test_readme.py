"""The examples of the README and of some pages of docs run and print what they say."""

import contextlib
import io
import re

import pytest

from tests.conftest import BACKEND, ROOT

EXAMPLES = [
    example
    for page in (
        "README.md",
        *(f"docs/{name}.md" for name in ("adapters", "detection", "explain", "finetune")),
    )
    for example in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    # Of what runs where this package is not, the tests of exports are the proof.
    if "keras_cbam" in example
]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")
@pytest.mark.parametrize("code", EXAMPLES)
def test_example_prints_what_its_comments_say(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    said = re.findall(r"print\(.*\)  # ([^:\n]+)", code)
    assert printed.getvalue().splitlines() == said
    assert said
