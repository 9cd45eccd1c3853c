"""``biasprop xdnn check`` and ``biasprop xdnn convert``."""

from toys import IMAGE


def test_xdnn_check_and_convert(folder, run):
    arguments = [*IMAGE[:4], "--shape", "3,16,16"]
    status, out, err = run("xdnn", "check", *arguments)
    assert status == 1, err
    assert "0 (conv2d): its bias is a constant" in out
    for name in ("free.pt2", "free.safetensors"):
        status, out, err = run("xdnn", "convert", name, *arguments)
        assert status == 0, err
        assert "Homogeneous of degree 1" in out
    assert (folder / "free.safetensors").exists()
    status, out, err = run("xdnn", "check", "--model", "free.pt2", "--trust", "--shape", "3,16,16")
    assert status == 0, err
    wrong = (
        ["convert", "free.onnx", *arguments],
        ["check", "--model", "toys:nothing"],
        ["check", *arguments[:5], "a"],
        ["check", *arguments[:5], "99999,99999,99999"],
        ["check", "--model", "free.pt2", "--shape", "3,16,16"],
        ["check", *arguments[:5], "4,16,16"],
    )
    for command in wrong:
        status, out, err = run("xdnn", *command)
        assert status == 2
        assert "Traceback" not in err
    assert sorted(p.name for p in folder.glob("free*")) == ["free.pt2", "free.safetensors"]
