"""Preparing folders and zips: what comes out, what is skipped or refused, and that nothing half-made stays."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_images import Maker, encoded, fits, plain_tiff, write_zip
from PIL import Image

from flowsearch import data
from flowsearch.data.decode import decode
from flowsearch.data.picture import find_pictures, read_picture


def files_under(home: Path) -> set[str]:
    """Names of all files of image sets; locks are no image sets."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and ".locks" not in path.parts}


def test_a_zip_becomes_one_memory_mapped_file(make_zip: Maker, home: Path) -> None:
    manifest = data.prepare("mine", make_zip(7), size=16)
    images = data.open_images(data.folder_of("mine", 16), manifest)
    assert (manifest.count, manifest.channels, manifest.size, manifest.source) == (7, 3, 16, "pictures.zip")
    assert images.shape == (7, 3, 16, 16)
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    assert data.fingerprint_images(images) == manifest.fingerprint
    assert data.list_datasets() == [manifest]
    assert files_under(home) == {f"data/mine-16/{name}" for name in ("images.npy", "manifest.json", "names.json")}


def test_a_folder_gives_what_its_zip_gives(make_zip: Maker, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(make_zip(5)) as packed:
        packed.extractall(tmp_path / "folder")
    (tmp_path / "folder" / ".hidden").write_text("not looked at")
    from_zip = data.prepare("a", tmp_path / "pictures.zip", size=16)
    from_folder = data.prepare("b", tmp_path / "folder", size=16)
    assert from_folder.fingerprint == from_zip.fingerprint
    assert from_folder.skipped == ()


@pytest.mark.parametrize("pack", ["folder", "tar"])
def test_names_that_are_no_utf_8_are_kept(pack: str, tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")  # as zips of old Windows unpack on Linux
    folder = tmp_path / "old"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.png").write_bytes(encoded(index))
    try:
        (folder / name).write_bytes(encoded(9))
        (folder / f"copy of {name}").write_bytes(encoded(9))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    source = folder
    if pack == "tar":
        source = tmp_path / "old.tar"
        with tarfile.open(source, "w") as archive:
            archive.add(folder, ".")
    manifest = data.prepare("mine", source, size=16)
    names = json.loads((data.folder_of("mine", 16) / "names.json").read_text(encoding="utf-8"))
    assert manifest.count == len(names) == 4
    assert {name, f"copy of {name}"} == {one for one in names if "caf" in one} | {dict(manifest.skipped).popitem()[0]}
    assert data.load(data.DataConfig(source="mine", size=16, train=2, val=1, test=1, ood=None, seed=5)).train.shape[0]


def test_broken_and_foreign_members_are_named_and_skipped(tmp_path: Path) -> None:
    good = [(f"{index}.png", encoded(index)) for index in range(5)]
    broken = encoded(20, kind="JPEG", width=200, height=200)
    members = [
        *good,
        ("cut.png", encoded(10)[:200]),
        ("cut.jpg", broken[: len(broken) // 2]),
        ("empty.png", b""),
        ("readme.txt", b"hello"),
        ("again.png", encoded(30)),
        ("again.png", encoded(31)),
        ("copy.png", encoded(0)),
    ]
    with pytest.warns(UserWarning, match="Duplicate name"):
        source = write_zip(tmp_path / "mixed.zip", members)
    content = bytearray(source.read_bytes())
    place = content.find(encoded(4))
    content[place + 60] ^= 0xFF
    source.write_bytes(bytes(content))
    manifest = data.prepare("mixed", source, size=16)
    reasons: dict[str, str] = dict(manifest.skipped)
    assert manifest.count == 5
    assert set(reasons) >= {"cut.png", "cut.jpg", "empty.png", "readme.txt", "again.png", "4.png"}
    assert len(manifest.skipped) == 7
    assert reasons["readme.txt"] == "not an image"
    assert "later member" in reasons["again.png"]
    assert "CRC" in reasons["4.png"]
    same_pixels = [reason for reason in reasons.values() if "same pixels" in reason]
    assert len(same_pixels) == 1


@pytest.mark.parametrize(
    ("members", "reason"),
    [([], "empty"), ([("a.txt", b"x"), ("b.png", b"y")], r"2 skipped \(.*not an image")],
    ids=["empty", "no image"],
)
def test_a_source_without_images_is_refused(
    members: list[tuple[str, bytes]], reason: str, tmp_path: Path, home: Path
) -> None:
    with pytest.raises(ValueError, match=f"no usable image: .*{reason}"):
        data.prepare("bare", write_zip(tmp_path / "bare.zip", members), size=16)
    assert files_under(home) == set()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"name": "faces"}, "built-in"),
        ({"name": "None"}, "could not tell a data set named None from none"),
        ({"name": "a/b"}, r"letters \(a to z, A to Z\), digits"),
        ({"name": "möbel"}, r"letters \(a to z, A to Z\), digits"),
        ({"size": 4}, "size is between 8"),
        ({"crop": "celebra"}, "did you mean celeba"),
        ({"limit": 0}, "limit is at least 1"),
        ({"seed": -1}, "seed is at least 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_settings_are_refused(options: dict[str, object], rule: str, make_zip: Maker, home: Path) -> None:
    arguments: dict[str, object] = {"name": "mine", "size": 16, **options}
    name = str(arguments.pop("name"))
    with pytest.raises(ValueError, match=rule):
        data.prepare(name, make_zip(2), **arguments)  # type: ignore[arg-type]
    assert files_under(home) == set()


def test_a_source_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        data.prepare("mine", tmp_path / "nowhere.zip", size=16)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="neither a folder nor a readable zip"):
        data.prepare("mine", tmp_path / "text.zip", size=16)


def test_the_same_source_is_kept_and_another_refused(make_zip: Maker) -> None:
    first = data.prepare("mine", make_zip(4), size=16)
    calls: list[tuple[int, int]] = []
    assert data.prepare("mine", make_zip(4), size=16, progress=lambda *at: calls.append(at)) == first
    assert calls == []
    other = make_zip(5, "other.zip")
    with pytest.raises(ValueError, match=r"already exists \(4 images from pictures.zip\) and differs: another source"):
        data.prepare("mine", other, size=16)
    with pytest.raises(ValueError, match="differs: channels 3"):
        data.prepare("mine", make_zip(4), size=16, grey=True)
    assert data.list_datasets() == [first]
    assert data.prepare("mine", other, size=16, overwrite=True).count == 5
    assert [manifest.count for manifest in data.list_datasets()] == [5]


def test_a_failed_overwrite_leaves_the_old_set(make_zip: Maker, tmp_path: Path) -> None:
    first = data.prepare("mine", make_zip(4), size=16)
    with pytest.raises(ValueError, match="no usable image"):
        data.prepare("mine", write_zip(tmp_path / "none.zip", []), size=16, overwrite=True)
    assert data.list_datasets() == [first]


def test_an_interrupted_preparation_leaves_nothing(make_zip: Maker, home: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.prepare("mine", make_zip(20), size=16, progress=stop)
    assert files_under(home) == set()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("there", [False, True], ids=["new", "overwriting"])
def test_a_killed_preparation_is_no_data_set_and_the_next_one_clears_it(
    there: bool, make_zip: Maker, home: Path
) -> None:
    before = [data.prepare("mine", make_zip(4, "other.zip"), size=16)] if there else []
    source = make_zip(40)
    script = (
        "import sys, time, pathlib; from flowsearch import data\n"
        "def slow(done, total):\n"
        "    print(done, flush=True); time.sleep(5 if done > 3 else 0)\n"
        "data.prepare('mine', pathlib.Path(sys.argv[1]), size=16, overwrite=True, progress=slow)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(source)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "4":
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert data.list_datasets() == before
    assert data.folder_of("mine", 16).exists() == there
    assert data.prepare("mine", source, size=16, overwrite=True).count == 40
    assert not any(".partial" in name for name in files_under(home))


def test_copies_are_left_out_and_named(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    source = write_zip(tmp_path / "twice.zip", [*((name, encoded(1)) for name in names), ("d.png", encoded(2))])
    manifest = data.prepare("once", source, size=16)
    assert manifest.count == 2
    assert all(name in names and "the same pixels as" in reason for name, reason in manifest.skipped)
    assert len(manifest.skipped) == 2


def test_limit_counts_usable_images(tmp_path: Path) -> None:
    members = [(f"{index}.png", encoded(index)) for index in range(12)] + [
        (f"bad{index}.png", b"x") for index in range(6)
    ]
    manifest = data.prepare("few", write_zip(tmp_path / "few.zip", members), size=16, limit=8)
    assert manifest.count == 8


def test_a_pixel_changes_the_fingerprint(tmp_path: Path) -> None:
    def prepared(name: str, change: int) -> str:
        pixels = np.zeros((16, 16, 3), dtype=np.uint8)
        pixels[3, 4, 1] = change
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        source = write_zip(tmp_path / f"{name}.zip", [("one.png", buffer.getvalue()), ("two.png", encoded(1))])
        return data.prepare(name, source, size=16).fingerprint

    assert prepared("a", 0) == prepared("b", 0)
    assert prepared("a2", 0) != prepared("c", 1)


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (31, 17)])
def test_the_centred_square_is_kept(width: int, height: int) -> None:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, :, 0] = np.abs(np.arange(width) - (width - 1) / 2)[None] < min(width, height) / 2
    pixels[:, :, 1] = np.abs(np.arange(height) - (height - 1) / 2)[:, None] < min(width, height) / 2
    buffer = io.BytesIO()
    Image.fromarray(pixels * 255).save(buffer, "PNG")
    image = decode(buffer.getvalue(), size=8, crop=None, grey=False)
    assert (image[:2] == 255).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_every_kind_of_pixel_is_read(mode: str, grey: bool) -> None:
    ramp = np.linspace(0, 255, 32)[None, :].repeat(32, axis=0)
    image = (
        Image.fromarray((ramp * 257).astype(np.uint16)) if mode == "I;16" else Image.fromarray(ramp.astype(np.uint8))
    )
    image = image if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    pixels = decode(buffer.getvalue(), size=16, crop=None, grey=grey).astype(float)
    assert pixels.shape == (1 if grey else 3, 16, 16)
    assert pixels[:, :, :4].mean() < 60
    assert pixels[:, :, -4:].mean() > 195


def as_file(pixels: np.ndarray, kind: str = "TIFF") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


RAMP = np.linspace(0, 1, 16)[None, :].repeat(16, axis=0)
WIDE = {
    "floating-point": RAMP.astype(np.float32),
    "16 bits": (RAMP * 65535).round().astype(np.uint16),
    "32 bits, to 65535": (RAMP * 65535).round().astype(np.int32),
}


@pytest.mark.parametrize("pixels", WIDE.values(), ids=WIDE)
def test_wide_pixels_are_brought_to_eight_bits(pixels: np.ndarray, tmp_path: Path) -> None:
    found = decode(as_file(pixels), size=16, crop=None, grey=True)[0]
    assert np.abs(found - RAMP * 255).max() <= 1
    (tmp_path / "wide.tif").write_bytes(as_file(pixels))
    picture = read_picture(tmp_path / "wide.tif", 1)[0]
    assert np.array_equal(np.rint(picture), found)
    assert np.abs(picture - RAMP * 255).max() <= 0.5 / 257 + 1e-4


DARK = (RAMP * 200).round()
"""16 bits of which the upper 8 are 0: nearly black beside an image that has them all."""
DARK_FILES = {
    "PNG": as_file(DARK.astype(np.uint16), "PNG"),
    "TIFF": plain_tiff(DARK.astype(np.uint16)),
    "TIFF, signed": plain_tiff(DARK.astype(np.int16)),
    "PGM": b"P5 16 16 65535\n" + DARK.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("content", DARK_FILES.values(), ids=DARK_FILES)
def test_a_dark_image_of_sixteen_bits_stays_dark(content: bytes, tmp_path: Path) -> None:
    assert np.array_equal(decode(content, size=16, crop=None, grey=True)[0], (DARK > 128))
    (tmp_path / "dark").write_bytes(content)
    assert np.allclose(read_picture(tmp_path / "dark", 1)[0], DARK / 257)


ARRAYS = {
    "uint8": ((RAMP * 255).round().astype(np.uint8), (RAMP * 255).round()),
    "uint16": ((RAMP * 65535).round().astype(">u2"), (RAMP * 65535).round() / 257),
    "float32": (RAMP.astype(np.float32), RAMP * 255),
    "grey, one channel": (RAMP[None].astype(np.float32), RAMP * 255),
    "colour made grey": (
        np.stack([RAMP, RAMP**2, 1 - RAMP]),
        255 * (RAMP * 0.299 + RAMP**2 * 0.587 + (1 - RAMP) * 0.114),
    ),
}


@pytest.mark.parametrize(("pixels", "grey"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_is_a_picture(pixels: np.ndarray, grey: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "slice.npy", pixels)
    assert find_pictures([tmp_path]) == [tmp_path / "slice.npy"]
    found = read_picture(tmp_path / "slice.npy", 1, convert=True)
    assert found.dtype == (np.uint8 if pixels.dtype == np.uint8 else np.float32)
    assert np.abs(found[0] - grey).max() < 1e-4


def test_a_measured_array_may_go_beyond_its_range(tmp_path: Path) -> None:
    noisy = np.stack([RAMP * 1.5 - 0.25] * 3).astype(np.float32)
    np.save(tmp_path / "noisy.npy", noisy)
    assert np.abs(read_picture(tmp_path / "noisy.npy", 3, measured=True) - noisy * 255).max() < 1e-3
    with pytest.raises(ValueError, match=r"noisy\.npy cannot be used: floating-point pixels are in \[0, 1\]"):
        read_picture(tmp_path / "noisy.npy", 3)


def pages(*images: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(image) for image in images)
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


SIXTEEN = (RAMP * 65535).round().astype(np.uint16)
MISREAD = {
    "a stack": (
        pages(SIXTEEN, SIXTEEN[::-1].copy(), SIXTEEN.T.copy()),
        "a stack of images in one TIFF; save each as a file",
    ),
    "0 is white": (plain_tiff(SIXTEEN, _262=0), "a TIFF of more than 8 bits with 0 as white; save it with 0 as black"),
    "planes": (plain_tiff(np.stack([SIXTEEN] * 3)), "a TIFF of 16 bits with a plane for each colour"),
    "FITS": (fits(SIXTEEN.astype(int) - 32768), "FITS, whose scale is not read; save its numbers as .npy"),
    "colour of 32 bits": (plain_tiff(np.stack([RAMP.astype(np.float32)] * 3)), "a TIFF of a kind that cannot be read"),
    "DICOM": (bytes(128) + b"DICM" + bytes(400), "DICOM, which is not read; save its images as .npy"),
    "NIfTI": (bytes(344) + b"n+1\0" + bytes(400), "NIfTI, which is not read"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "a file compressed by gzip, which is not read"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5, which is not read"),
    "nothing": (b"", "an empty file"),
    "16 bits of floats": (plain_tiff(RAMP.astype(np.float16)), "a TIFF of a kind that cannot be read"),
}


@pytest.mark.parametrize("orientation", [1, 6], ids=["upright", "sideways"])
def test_a_tiff_is_reconstructed_upright(orientation: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    upright = pixels if orientation == 1 else np.rot90(pixels, -1)
    assert np.array_equal(read_picture(tmp_path / "a.tif", 1)[0], upright)


def test_a_black_image_of_32_bits_is_black_on_either_scale() -> None:
    assert not decode(as_file(np.zeros((16, 16), np.int32)), size=16, crop=None, grey=True).any()


@pytest.mark.parametrize(("content", "reason"), MISREAD.values(), ids=MISREAD)
def test_what_would_be_misread_is_left_out_and_said(content: bytes, reason: str, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "some.zip", [("good.png", encoded(0)), ("other", content)])
    ((name, why),) = data.prepare("some", source, size=16).skipped
    assert name == "other"
    assert why.startswith(reason)
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match=f"other (is|cannot be used:) {reason}"):
        read_picture(tmp_path / "other", 3, convert=True)


def followed(*entries: bytes) -> bytes:
    """A TIFF whose second page has these tags only."""
    page = plain_tiff(SIXTEEN)
    return page[:-4] + struct.pack("<IH", len(page), len(entries)) + b"".join(entries) + bytes(4)


NO_STACK = {
    "a smaller copy": pages(SIXTEEN, SIXTEEN[::2, ::2].copy()),
    "a next page that is not there": plain_tiff(SIXTEEN)[:-4] + b"\0\0\0\1",
    "a next page of an unknown compression": followed(struct.pack("<HHII", 259, 4, 1, 34712)),
    "a next page of half a line": followed(struct.pack("<HHII", 256, 4, 1, 16), struct.pack("<HHIf", 257, 11, 1, 0.5)),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("content", NO_STACK.values(), ids=NO_STACK)
def test_what_else_is_in_a_tiff_makes_no_stack(content: bytes) -> None:
    assert np.abs(decode(content, size=16, crop=None, grey=True)[0] - RAMP * 255).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "rule"),
    [
        ((RAMP * 255).astype(np.float32), r"floating-point pixels are in \[0, 1\], not 0 to 255"),
        ((RAMP * 70000).astype(np.int32), "integer pixels of more than 8 bits are in 0 to 65535, not 0 to 70000"),
        ((RAMP * 100 - 1).astype(np.int32), "not -1 to 99"),
        ((RAMP * 255).round().astype(np.int32), "32 bits that are in 0 to 255 may be of 8 bits or of 16"),
    ],
    ids=["floating-point", "beyond 16 bits", "negative", "8 or 16 bits"],
)
def test_pixels_whose_range_cannot_be_told_are_refused(pixels: np.ndarray, rule: str, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "wide.zip", [("good.png", encoded(0)), ("wide.tif", as_file(pixels))])
    with pytest.raises(ValueError, match=rf"wide\.zip, image wide\.tif: .*{rule}"):
        data.prepare("wide", source, size=16)
    (tmp_path / "wide.tif").write_bytes(as_file(pixels))
    with pytest.raises(ValueError, match=rf"wide\.tif cannot be used: .*{rule}"):
        read_picture(tmp_path / "wide.tif", 1)


def test_a_large_image_is_taken_without_a_word_and_a_huge_one_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
    members = [("large.jpg", encoded(0, width=1500, height=1000, kind="JPEG"))]
    members += [("huge.jpg", encoded(1, width=2100, height=1000, kind="JPEG"))]
    array = io.BytesIO()
    np.save(array, np.zeros((1000, 2100), np.uint8))
    members += [("huge.npy", array.getvalue())]
    for name, content in members:
        (tmp_path / name).write_bytes(content)
    manifest = data.prepare("mine", write_zip(tmp_path / "panoramas.zip", members), size=16)
    reason = "too large an image: it has more than 2 million pixels"
    assert (manifest.count, manifest.skipped) == (1, (("huge.jpg", reason), ("huge.npy", reason)))
    assert read_picture(tmp_path / "large.jpg", 3).shape == (3, 1000, 1500)
    with pytest.raises(ValueError, match=f"huge.jpg is {reason}"):
        read_picture(tmp_path / "huge.jpg", 3)
    assert not list(recwarn)


def test_resizing_averages_instead_of_picking() -> None:
    """A checkerboard of single pixels turns grey: without antialiasing it would turn black or white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(board).save(buffer, "PNG")
    pixels = decode(buffer.getvalue(), size=16, crop=None, grey=True)
    assert np.abs(pixels[:, 2:-2, 2:-2].astype(float) - 127.5).max() < 8


def test_the_celeba_crop_is_the_published_one(tmp_path: Path) -> None:
    pixels = np.zeros((218, 178, 3), dtype=np.uint8)
    pixels[40:188, 15:163] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert (decode(buffer.getvalue(), size=37, crop="celeba", grey=False) == 255).all()
    members = [
        (f"img_align_celeba/{index:06d}.jpg", encoded(index, width=178, height=218, kind="JPEG")) for index in range(4)
    ]
    members.append(("img_align_celeba/small.jpg", encoded(9, kind="JPEG")))
    manifest = data.prepare("celeba", write_zip(tmp_path / "img_align_celeba.zip", members), size=32, crop="celeba")
    assert manifest.count == 4
    assert manifest.skipped == (("img_align_celeba/small.jpg", "20x20 pixels; the celeba crop is for 178x218"),)


@pytest.mark.parametrize(("name", "count"), [("celeba-988.zip", 988), ("anime-64.zip", 64)])
def test_real_archives(name: str, count: int, archive: Callable[[str], Path]) -> None:
    manifest = data.prepare("real", archive(name), size=32)
    assert manifest.count + len(manifest.skipped) == count
    assert all("the same pixels as" in reason for _, reason in manifest.skipped)
    images = data.open_images(data.folder_of("real", 32), manifest)
    assert 60 < images.mean() < 220
