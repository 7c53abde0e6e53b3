"""The examples of the README and of some pages of docs run and print what they say."""

import contextlib
import io
import re

import pytest

from tests.backend import BACKEND, ROOT

# Page -> whether its examples take long, and wait for `make test-all`.
PAGES = {
    "README.md": False,
    "docs/adapters.md": False,
    "docs/detection.md": False,
    "docs/explain.md": True,
    "docs/finetune.md": True,
}
EXAMPLES = [
    pytest.param(example, marks=pytest.mark.slow if long else ())
    for page, long in PAGES.items()
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
