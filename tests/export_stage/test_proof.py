"""What an export has to prove may be stated, and files may belong to it."""

import hashlib
import json
from dataclasses import replace

import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import Proof, Tolerance, VerificationError, export, export_model, verify
from keras_cbam.export.formats import ARTIFACTS
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

ONNX = {"formats": ["onnx"], "runtimes": ()}


def companions(**texts):
    """Files of these texts, `_` for the dot of their names."""

    def writer(text):
        return lambda path: path.write_text(text)

    return {name.replace("_", "."): writer(text) for name, text in texts.items()}


@pytest.fixture(scope="module")
def shipped(network, images, tmp_path_factory):
    """An export with two companions."""
    directory = tmp_path_factory.mktemp("shipped")
    proof = Proof(companions=companions(decoder_py="one", notes_txt="two"))
    report = export_model(network, directory, verification_data=images[:50], proof=proof, **ONNX)
    assert report.verified
    return directory


def test_companions_are_published_and_verified(shipped):
    assert (shipped / "decoder.py").read_text() == "one"
    assert verify(shipped, runtimes=()).verified
    (shipped / "notes.txt").write_text("three")
    report = verify(shipped, runtimes=())
    assert not report.verified
    assert report.missed == (
        "notes.txt: the file is not the one that was exported: its SHA-256 differs",
    )
    (shipped / "notes.txt").unlink()
    assert verify(shipped, runtimes=()).missed == ("notes.txt: the file is missing",)
    (shipped / "notes.txt").write_text("two")


def test_companions_are_replaced_only_as_they_were_exported(network, images, shipped):
    arguments = {"verification_data": images[:50], **ONNX}
    new = Proof(companions=companions(notes_txt="new"))
    (shipped / "notes.txt").write_text("by the user")
    with pytest.raises(InputError, match=r"notes\.txt is in the way"):
        export_model(network, shipped, proof=new, **arguments)
    assert (shipped / "notes.txt").read_text() == "by the user"
    (shipped / "notes.txt").write_text("two")
    export_model(network, shipped, proof=new, **arguments)
    assert (shipped / "notes.txt").read_text() == "new"
    # It belonged to the earlier export.
    assert not (shipped / "decoder.py").exists()


def test_a_manifest_cannot_give_away_other_files(network, images, tmp_path):
    """Neither by a name outside, nor by one whose content it does not know."""
    export_model(network, tmp_path / "out", verification_data=images[:50], **ONNX)
    (tmp_path / "outside.txt").write_text("kept")
    (tmp_path / "out" / "inside.txt").write_text("kept")
    path = tmp_path / "out" / "manifest.json"
    record = json.loads(path.read_text())
    record["beside"] = ["../outside.txt", "inside.txt"]
    kept = hashlib.sha256(b"kept").hexdigest()
    record["beside_sha256"] = {"../outside.txt": kept, "inside.txt": "0" * 64}
    path.write_text(json.dumps(record))
    missed = verify(tmp_path / "out", runtimes=()).missed
    assert "../outside.txt: expected a name of letters" in missed[0]
    export_model(network, tmp_path / "out", verification_data=images[:50], **ONNX)
    assert (tmp_path / "outside.txt").read_text() == "kept"
    assert (tmp_path / "out" / "inside.txt").read_text() == "kept"


NAMES = ["../a", "a/b", ".hidden", "", "a b", "model.onnx", "Manifest.json", "x" * 65]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_companions_are_checked_first(name, network, tmp_path):
    with pytest.raises(InputError, match="Expected names of companions"):
        export_model(network, tmp_path / "out", proof=Proof(companions={name: print}), **ONNX)
    assert not (tmp_path / "out").exists()


def test_tolerances_are_those_stated(network, images, tmp_path):
    usual = next(each.tolerance for each in ARTIFACTS if each.name == "model.onnx")
    strict = Proof(tolerances={"model.onnx": replace(usual, largest_error=0.0)})
    arguments = {"verification_data": images[:50], **ONNX}
    with pytest.raises(VerificationError, match="largest error"):
        export_model(network, tmp_path / "out", proof=strict, **arguments)
    loose = Proof(tolerances={"model.onnx": Tolerance(largest_error=0.5, agreement=None)})
    report = export_model(network, tmp_path / "out", proof=loose, **arguments)
    assert "model.onnx is judged by largest error 0.5" in report.remarks()
    path = tmp_path / "out" / "manifest.json"
    assert verify(path.parent, runtimes=()).verified
    record = json.loads(path.read_text())
    record["tolerances"]["model.onnx"]["largest_error"] = 0.0
    path.write_text(json.dumps(record))
    (missed,) = verify(path.parent, runtimes=()).missed
    assert "largest error" in missed
    wrong = Proof(tolerances={"other": usual})
    with pytest.raises(InputError, match=r"Expected tolerances of model.onnx. Received: other"):
        export_model(network, tmp_path / "out", proof=wrong, **arguments)


def test_companions_may_be_called_as_files_of_an_export_in_progress(network, images, tmp_path):
    files = {name: companions(a="text")["a"] for name in ("replaced", "inputs.npz", "companions")}
    for _ in range(2):
        report = export_model(
            network,
            tmp_path,
            verification_data=images[:50],
            proof=Proof(companions=files),
            **ONNX,
        )
    assert report.verified
    assert all((tmp_path / name).read_text() == "text" for name in files)


def test_a_companion_that_is_not_written_is_named(network, images, tmp_path):
    proof = Proof(companions={"notes.txt": lambda path: None})
    with pytest.raises(InputError, match=r"writes the companion notes\.txt\. No file"):
        export_model(network, tmp_path, verification_data=images[:50], proof=proof, **ONNX)
    assert list(tmp_path.iterdir()) == []


def test_two_judges_are_refused(network, tmp_path):
    proof = Proof(judge=lambda *arguments: [], tolerances={"model.onnx": Tolerance()})
    with pytest.raises(InputError, match="Expected a judge or tolerances"):
        export_model(network, tmp_path, proof=proof, **ONNX)
    with pytest.raises(InputError, match="Expected judge or a proof with a judge"):
        export_model(network, tmp_path, judge="values", proof=Proof(judge=proof.judge), **ONNX)


def test_the_old_name_warns(network, images, tmp_path):
    seen = []

    def judge(name, precision, outputs, reference):
        seen.append((name, precision, set(outputs)))
        return []

    beside = companions(notes_txt="text")
    with pytest.warns(DeprecationWarning, match="Use `keras_cbam.export.export_model`"):
        export(
            network,
            tmp_path / "out",
            verification_data=images[:50],
            judge=judge,
            beside=beside,
            **ONNX,
        )
    assert seen == [("model.onnx", "float32", {"probabilities"})]
    assert (tmp_path / "out" / "notes.txt").exists()
