"""Every kind of source: the same images give the same pixels, and what is wrong with one is said."""

import importlib
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_images import encoded, write_zip

from flowsearch import data

COUNT = 7
NAMES = [f"images/{index:03d}.png" for index in range(COUNT)]
FILES = [encoded(index, width=24, height=20) for index in range(COUNT)]


def arrays(dtype: str = "uint8") -> np.ndarray:
    """The pixels of `FILES`, (N, H, W, C)."""
    images = np.stack(
        [np.random.default_rng(index).integers(0, 256, (20, 24, 3), dtype=np.uint8) for index in range(COUNT)]
    )
    if dtype == "uint8":
        return images
    return (images.astype(np.uint16) * 257 if np.dtype(dtype).kind == "u" else images / 255.0).astype(dtype)


def as_folder(root: Path) -> Path:
    for name, content in zip(NAMES, FILES, strict=True):
        path = root / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / "folder"


def npy(pixels: np.ndarray) -> bytes:
    """A `.npy` as bytes."""
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def arrays_in_files(root: Path) -> Path:
    """A zip with a `.npy` for each image: of every type and order that there is."""
    kinds = ["uint8", ">u2", "float32", "float64", "uint16", ">f4", "uint8"]
    contents = [npy(arrays(kind)[place]) for place, kind in enumerate(kinds)]
    contents[0] = npy(np.asfortranarray(arrays()[0]))
    contents[1] = npy(arrays(">u2")[1].transpose(2, 0, 1))
    return write_zip(root / "arrays.zip", list(zip(NAMES, contents, strict=True)))


def as_tar(suffix: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = root / f"pictures.{suffix}"
        mode: Any = "w:" + suffix.partition(".")[2]
        with tarfile.open(path, mode) as archive:
            archive.add(as_folder(root), arcname=".")
        return path

    return make


def write_parquet(path: Path, names: list[str | None] | None, files: list[bytes | None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Any] = list(files)
    if names is not None:
        rows = [{"bytes": content, "path": name} for name, content in zip(names, files, strict=True)]
    table = pa.table({"label": list(range(len(files))), "image": rows})
    pq.write_table(table, path, row_group_size=2)
    return path


def as_shards(root: Path) -> Path:
    write_parquet(root / "shards" / "train" / "0.parquet", NAMES[:3], FILES[:3])  # type: ignore[arg-type]
    write_parquet(root / "shards" / "train" / "1.parquet", NAMES[3:], FILES[3:])  # type: ignore[arg-type]
    return root / "shards"


def as_npy(dtype: str, axes: tuple[int, ...]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        np.save(root / "pictures.npy", arrays(dtype).transpose(axes))
        return root / "pictures.npy"

    return make


def as_npz(root: Path) -> Path:
    np.savez_compressed(root / "pictures.npz", labels=np.arange(COUNT), images=arrays())
    return root / "pictures.npz"


NAMED: dict[str, Callable[[Path], Path]] = {
    "folder": as_folder,
    "zip": lambda root: write_zip(root / "pictures.zip", list(zip(NAMES, FILES, strict=True))),
    "tar": as_tar("tar"),
    "tar.gz": as_tar("tar.gz"),
    "tar.bz2": as_tar("tar.bz2"),
    "tar.xz": as_tar("tar.xz"),
    "parquet": lambda root: write_parquet(root / "a.parquet", NAMES, FILES),  # type: ignore[arg-type]
    "shards": as_shards,
    "npy in zip": arrays_in_files,
}
NUMBERED: dict[str, Callable[[Path], Path]] = {
    "parquet of binary": lambda root: write_parquet(root / "b.parquet", None, FILES),  # type: ignore[arg-type]
    "npy NHWC": as_npy("uint8", (0, 1, 2, 3)),
    "npy NCHW": as_npy("uint8", (0, 3, 1, 2)),
    "npy uint16": as_npy("uint16", (0, 1, 2, 3)),
    "npy uint16, big-endian": as_npy(">u2", (0, 3, 1, 2)),
    "npy float32": as_npy("float32", (0, 1, 2, 3)),
    "npy float16": as_npy("float16", (0, 1, 2, 3)),
    "npz": as_npz,
}


def pixels(name: str) -> dict[str, bytes]:
    """The stored pixels by the name of their image."""
    manifest, folder = data.find_dataset(name, 16)
    names = json.loads((folder / "names.json").read_text())
    return {key: image.tobytes() for key, image in zip(names, data.open_images(folder, manifest), strict=True)}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    """What a zip gives."""
    data.prepare("expected", NAMED["zip"](tmp_path), size=16)
    return pixels("expected")


@pytest.mark.parametrize("kind", NAMED)
def test_files_of_the_same_names_make_the_same_set(kind: str, expected: dict[str, bytes], tmp_path: Path) -> None:
    manifest = data.prepare("mine", NAMED[kind](tmp_path), size=16)
    assert pixels("mine") == expected
    assert manifest.skipped == ()
    assert manifest.fingerprint == data.find_dataset("expected", 16)[0].fingerprint


@pytest.mark.parametrize("kind", NUMBERED)
def test_images_without_a_name_are_named_by_their_place(kind: str, expected: dict[str, bytes], tmp_path: Path) -> None:
    data.prepare("mine", NUMBERED[kind](tmp_path), size=16)
    ours = {int(name.rpartition(":")[2]): image for name, image in pixels("mine").items()}
    assert ours == {NAMES.index(name): image for name, image in expected.items()}


def test_grey_arrays_need_no_channel_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", arrays()[..., 0])
    np.save(tmp_path / "b.npy", arrays()[..., :1])
    first = data.prepare("a", tmp_path / "a.npy", size=16, grey=True)
    assert first.channels == 1
    assert data.prepare("b", tmp_path / "b.npy", size=16, grey=True).fingerprint == first.fingerprint


def test_each_useless_member_is_named_with_its_reason(tmp_path: Path) -> None:
    """Three corrupt members, two copies and a text file among six good images."""
    files = {f"{index}.png": encoded(index) for index in range(6)}
    members = [
        *files.items(),
        ("cut.png", encoded(10)[:300]),
        ("noise.png", encoded(11)[:20] + bytes(200)),
        ("rotten.png", encoded(12)),
        ("copy of 0.png", files["0.png"]),
        ("copy of 1.png", files["1.png"]),
        ("notes.txt", b"not a picture"),
    ]
    source = write_zip(tmp_path / "mixed.zip", members)
    content = bytearray(source.read_bytes())
    content[content.find(encoded(12)) + 60] ^= 0xFF
    source.write_bytes(bytes(content))
    manifest = data.prepare("mixed", source, size=16)
    reasons = dict(manifest.skipped)
    assert manifest.count == 6
    assert len(reasons) == len(manifest.skipped) == 6
    assert reasons.pop("notes.txt") == "not an image"
    assert "broken" in reasons.pop("cut.png")
    assert "CRC" in reasons.pop("rotten.png")
    assert "image" in reasons.pop("noise.png")
    copies = {frozenset((name, reason.removeprefix("the same pixels as "))) for name, reason in reasons.items()}
    assert copies == {frozenset((f"{index}.png", f"copy of {index}.png")) for index in (0, 1)}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.integers(-1, 4), min_size=1, max_size=12), limit=st.integers(1, 6))
def test_a_limited_set_is_the_beginning_of_the_whole_one(
    kinds: list[int], limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is broken (-1) or a copy, and however far the reading goes on at once."""
    if max(kinds) < 0:
        kinds = [*kinds, 0]
    members = [(f"{place}.png", b"x" if kind < 0 else encoded(kind)) for place, kind in enumerate(kinds)]
    source = write_zip(tmp_path / "some.zip", members)
    monkeypatch.setattr(importlib.import_module("flowsearch.data.prepare"), "_LEAST_STRETCH", 1)
    whole = data.prepare("whole", source, size=16, overwrite=True)
    some = data.prepare("some", source, size=16, limit=limit, overwrite=True)
    assert whole.count == len({kind for kind in kinds if kind >= 0})
    assert some.count == min(limit, whole.count)
    assert list(pixels("some").items()) == list(pixels("whole").items())[: some.count]
    assert set(some.skipped) <= set(whole.skipped)


def broken_tar(root: Path) -> Path:
    path = as_tar("tar.gz")(root)
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def two_columns(root: Path) -> Path:
    pq.write_table(pa.table({"left": FILES, "right": FILES}), root / "two.parquet")
    return root / "two.parquet"


def no_bytes(root: Path) -> Path:
    pq.write_table(pa.table({"label": [1, 2]}), root / "none.parquet")
    return root / "none.parquet"


def pickled(root: Path) -> Path:
    np.save(root / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    return root / "objects.npy"


def pickled_npz(root: Path) -> Path:
    np.savez(root / "objects.npz", images=np.array([{}, None], dtype=object))
    return root / "objects.npz"


def saved(name: str, **images: np.ndarray) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        if name.endswith(".npz"):
            np.savez(root / name, **images)  # type: ignore[arg-type]
        else:
            np.save(root / name, images["images"])
        return root / name

    return make


def empty_folder(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def text(name: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (root / name).write_text("no archive")
        return root / name

    return make


def short_npz(root: Path) -> Path:
    """A .npz whose header speaks of 10^12 images, and is followed by two."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 20, 24)})
    return write_zip(root / "a.npz", [("images.npy", header.getvalue() + bytes(2 * 20 * 24))])


def folder_of(pixels: np.ndarray) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (root / "slices").mkdir()
        np.save(root / "slices" / "0.npy", pixels)
        return root / "slices"

    return make


def cut_npy(root: Path) -> Path:
    """An image whose header speaks of 10^12 rows, and is followed by one."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 24)})
    return write_zip(root / "a.zip", [("0.npy", header.getvalue() + bytes(4 * 24))])


def headed(header: str) -> Callable[[Path], Path]:
    """An image file with this header."""

    def make(root: Path) -> Path:
        text = f"{header}\n".encode()
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(16 * 16)
        return write_zip(root / "a.zip", [("0.npy", content)])

    return make


def dicoms(root: Path) -> Path:
    return write_zip(root / "scans.zip", [(str(number), bytes(128) + b"DICM" + bytes(99)) for number in range(12)])


def negative_npy(root: Path) -> Path:
    """A .npy of fewer than no images."""
    with (root / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (-2, 20, 24)})
        file.write(bytes(2 * 20 * 24))
    return root / "a.npy"


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a tar that is cut off": (broken_tar, "damaged"),
    "an empty folder": (empty_folder, "no usable image: it is empty"),
    "no archive": (text("a.tar"), "neither a folder nor a readable"),
    "no Parquet": (text("a.parquet"), "no readable Parquet"),
    "no npy": (text("a.npy"), "no readable .npy"),
    "no npz": (text("a.npz"), "no readable .npz"),
    "two columns": (two_columns, "left, right: which of them are the images. give --column"),
    "no column": (no_bytes, "none holds the bytes of images"),
    "pickled objects": (pickled, "no readable .npy file of numbers"),
    "pickled objects in npz": (pickled_npz, "none holds images"),
    "from -1 to 1": (saved("a.npy", images=arrays("float32") * 2 - 1), r"in \[0, 1\], not -1 to 1"),
    "integers": (
        saved("a.npy", images=arrays().astype(np.int64)),
        r"a\.npy: pixels are uint8, uint16, or .*, not int64; .*astype",
    ),
    "integers in npz": (
        saved("a.npz", images=arrays().astype(np.int64)),
        r"images int64\[7, 20, 24, 3\]: none holds images, as uint8, uint16, or floating-point",
    ),
    "integers in files": (folder_of(arrays()[0].astype(np.int16)), r"slices, image 0\.npy: .*uint16, .*, not int16"),
    "stacks in files": (folder_of(arrays()[..., 0]), r"0\.npy: an array of shape \(7, 20, 24\); an image is"),
    "pickled objects in files": (folder_of(np.array([[{}]])), r"0\.npy: a broken array"),
    "more than a file holds": (cut_npy, r"0\.npy: a broken array"),
    "a name that is damaged": (
        headed("{'descr': '|u1', 'fortran_order': False,B'shape': (16, 16)}"),
        r"0\.npy: a broken array",
    ),
    "a header without end": (headed("-" * 9000 + "1"), r"0\.npy: a broken array"),
    "fewer rows than none": (
        headed("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 16)}"),
        r"0\.npy: a broken array \(its shape is \(-1, 16\)\)",
    ),
    "files of one kind": (dicoms, r"12 skipped \(\d+ and 11 more: DICOM, which is not read; .*\)$"),
    "one image alone": (saved("a.npy", images=arrays()[0]), "images are"),
    "a header of more than is there": (short_npz, "fewer numbers than its shape"),
    "a negative count": (negative_npy, "no readable .npy file of numbers"),
    "two arrays": (saved("a.npz", images=arrays(), more=arrays()), "which of them are the images"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_a_source_is_refused_in_one_line(case: str, tmp_path: Path, home: Path) -> None:
    make, rule = WRONG[case]
    with pytest.raises(ValueError, match=rule) as raised:
        data.prepare("mine", make(tmp_path), size=16)
    assert len(str(raised.value).splitlines()) == 1
    assert not any(path.is_file() for path in home.rglob("*.npy"))


@pytest.mark.parametrize("make", [two_columns, saved("a.npz", left=arrays(), right=arrays())], ids=["parquet", "npz"])
def test_a_column_is_chosen(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = make(tmp_path)
    assert data.prepare("mine", source, size=16, column="left").count == COUNT
    with pytest.raises(ValueError, match="did you mean left"):
        data.prepare("other", source, size=16, column="lefft")


def test_a_column_is_refused_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"column is for Parquet and \.npz"):
        data.prepare("mine", as_folder(tmp_path), size=16, column="image")


def test_rows_without_bytes_and_images_that_are_not_finite_are_skipped(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "a.parquet", ["a.png", "b.png"], [FILES[0], None])
    assert data.prepare("rows", source, size=16).skipped == (("b.png", "no bytes in its row"),)
    images = arrays("float32")
    images[2, 3, 4] = np.nan
    np.save(tmp_path / "a.npy", images)
    manifest = data.prepare("arrays", tmp_path / "a.npy", size=16)
    assert manifest.skipped == (("2", "an array with numbers that are not finite"),)


def test_paths_that_repeat_do_not_name_rows(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "a.parquet", ["image.png"] * COUNT, FILES)  # type: ignore[arg-type]
    data.prepare("mine", source, size=16)
    assert set(pixels("mine")) == {f"a.parquet:{row}" for row in range(COUNT)}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_a_file_larger_than_any_image_is_not_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsearch.data.files.LARGEST", min(map(len, FILES)) - 1)
    with pytest.raises(ValueError, match=r"no usable image: .*larger than any image"):
        data.prepare("mine", NAMED[kind](tmp_path), size=16)


def test_links_in_a_folder_are_followed_to_files_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.png").symlink_to(as_folder(tmp_path) / NAMES[0])
    (tmp_path / "here" / "more").symlink_to(tmp_path / "folder")
    (tmp_path / "here" / "gone.png").symlink_to("nowhere.png")
    manifest = data.prepare("mine", tmp_path / "here", size=16)
    assert manifest.count == 1
    assert manifest.skipped == (
        ("gone.png", "a link to no file"),
        ("more", "a link to a folder, which is not followed"),
    )


def test_links_and_hidden_members_of_a_tar_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(FILES[0])
    (tmp_path / "link.png").symlink_to("a.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, stored in (("a.png", "./a.png"), ("link.png", "link.png"), ("a.png", "._a.png")):
            archive.add(tmp_path / name, arcname=stored)
    assert data.prepare("mine", tmp_path / "a.tar", size=16).skipped == (("link.png", "a link, not a file"),)


def test_archives_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("unpacked")

    for kind in (zipfile.ZipFile, tarfile.TarFile):
        for name in ("extract", "extractall"):
            monkeypatch.setattr(kind, name, refuse)
    for kind_name in ("zip", "tar.gz"):
        data.prepare(f"from-{kind_name}", NAMED[kind_name](tmp_path), size=16)
