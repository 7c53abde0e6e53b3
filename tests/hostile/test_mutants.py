"""A few mutants of every file that the package reads; `make fuzz` tries tens of thousands."""

import numpy as np
import pytest

from tests.backend import BACKEND
from tests.hostile.child import attack
from tests.hostile.fuzz import GOOD, Tally, table
from tests.hostile.mutants import of_json
from tests.hostile.readers import READERS

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")

# Readers that start a process for each mutant get fewer.
MUTANTS, FEW = 40, 2


@pytest.mark.parametrize("name", READERS)
def test_mutants_are_read_or_refused(name, tmp_path):
    count = FEW if READERS[name].starts else MUTANTS
    rows = [row for row in attack(name, 0, range(count), tmp_path) if "outcome" in row]
    assert [row for row in rows if row["outcome"] not in GOOD] == []
    assert len(rows) == count


def test_what_is_bad_is_seen(tmp_path, monkeypatch):
    def read(root):
        text = (root / "a.json").read_text()
        if "1" in text:
            raise KeyError(text)
        if "2" in text:
            (tmp_path.parent / "outside").touch()

    def make(root):
        (root / "a.json").write_text("0")
        return [root / "a.json"]

    texts = iter(["0", "1", "2"])
    reader = READERS["COCO"]._replace(
        make=make, read=read, mutate=lambda data, rng: next(texts).encode()
    )
    monkeypatch.setitem(READERS, "own", reader)
    rows = [row for row in attack("own", 0, range(3), tmp_path / "in") if "outcome" in row]
    assert [row["outcome"] for row in rows] == ["read", "traceback", "reached out"]
    tally = Tally()
    for row in rows:
        # The peak here is that of all tests before.
        tally.add(**{**row, "memory": 1})
    assert "| own | 3 | 1 | 0 | 1 | 1 |" in table({"own": tally})


def test_mutants_are_the_same_for_a_number():
    data = b'{"a": [1, 2, {"b": "c"}]}'
    mutants = [[of_json(data, np.random.default_rng((0, n))) for n in range(20)] for _ in range(2)]
    assert mutants[0] == mutants[1]
    assert len(set(mutants[0])) > 10
