#!/usr/bin/env python3
"""Compares thumbnails with Pillow's: the demo's photographs and generated pictures, in each format.

    WASMRUN=target/release/wasmrun tests/corpora/similarity.py target/guests/thumbnail.wasm
    WASMRUN=target/release/wasmrun tests/corpora/similarity.py --fits target/guests/image_processor.wasm

With `--fits`, the component is `image-processor`, and each picture is made in each of its fit modes. A result should have a structural similarity (SSIM) of at least 0.98 to the turned, converted picture resized with
LANCZOS, and a mean difference of at most 2 of 255. The exit code is 1 if one has less. Results are written as lossless
WebP, so that only reading, turning, converting and resizing are compared.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from run import CACHE, SIDE, THUMBNAIL, task, with_tools

MIN_SSIM, MAX_DIFFERENCE = 0.98, 2.0
FITS = ["contain", "cover", "fill", "inside", "outside"]
BOX = (300, 260)
PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "demo" / "photographs"


def ssim(a, b):
    """The mean structural similarity of two pictures' brightness, over windows of 8 x 8.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity".
    """
    import numpy
    a, b = (picture @ [0.299, 0.587, 0.114] for picture in (a, b))
    size = tuple(min(8, length) for length in a.shape)
    a, b = (numpy.lib.stride_tricks.sliding_window_view(picture, size) for picture in (a, b))
    mean_a, mean_b = a.mean(axis=(2, 3)), b.mean(axis=(2, 3))
    covariance = (a * b).mean(axis=(2, 3)) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a**2 + mean_b**2 + c1) * (a.var(axis=(2, 3)) + b.var(axis=(2, 3)) + c2))).mean()


def generate(folder):
    """Writes pictures of each format that Pillow writes."""
    import numpy
    from PIL import Image, ImageDraw
    width, height = 1203, 801
    x, y = numpy.meshgrid(numpy.arange(width) / width, numpy.arange(height) / height)
    random = numpy.random.default_rng(1)
    waves = [numpy.sin(40 * x * (1 + y)) * 0.5 + 0.5, y, numpy.cos(25 * (x + y)) * 0.5 + 0.5]
    smooth = Image.fromarray((numpy.stack(waves, axis=2) * 255).astype("uint8"))
    noisy = numpy.asarray(smooth).astype("int16") + random.normal(0, 12, (height, width, 1))
    noisy = Image.fromarray(noisy.clip(0, 255).astype("uint8"))
    drawn = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(drawn)
    for at in range(0, width, 40):
        draw.line([(at, 0), (width - at, height)], fill=(at % 256, 90, 200), width=3)
        draw.ellipse([at, at % height, at + 90, at % height + 60], outline="black", width=2)
    clear = smooth.copy()
    clear.putalpha(Image.fromarray((x * 255).astype("uint8")))
    formats = [
        ("baseline.jpg", dict(quality=92)), ("full-chroma.jpg", dict(quality=92, subsampling=0)),
        ("progressive.jpg", dict(quality=92, progressive=True)), ("rgb.png", {}), ("lossy.webp", dict(quality=90)),
        ("lossless.webp", dict(lossless=True)), ("colour.bmp", {}), ("lzw.tiff", dict(compression="tiff_lzw")),
        ("colour.ppm", {}),
    ]
    for what, picture in (("smooth", smooth), ("noisy", noisy), ("drawn", drawn)):
        for name, options in formats:
            picture.save(folder / f"{what}-{name}", **options)
        picture.quantize(256).save(folder / f"{what}-palette.gif")
        picture.convert("CMYK").save(folder / f"{what}-ink.jpg", quality=92)
        picture.convert("L").save(folder / f"{what}-gray.jpg", quality=92)
    for name, options in (("alpha.png", {}), ("alpha-lossy.webp", dict(quality=90)), ("alpha.tiff", {})):
        clear.save(folder / f"smooth-{name}", **options)


def scaled(size, box, is_covering):
    """The size at which a picture fits into a box, or covers it. It never grows."""
    (width, height), (across, down) = size, box
    if (width * down >= height * across) != is_covering:
        fitted = across, max(1, (2 * height * across + width) // (2 * width))
    else:
        fitted = max(1, (2 * width * down + height) // (2 * height)), down
    return tuple(min(one, other) for one, other in zip(fitted, size))


def in_box(picture, fit):
    """The picture in a fit mode, as sharp and CSS define it: cropped and placed from the centre, which rounds down."""
    from PIL import Image
    if fit == "fill":
        size = tuple(min(one, other) for one, other in zip(BOX, picture.size))
    else:
        size = scaled(picture.size, BOX, fit in ("cover", "outside"))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    if fit == "cover":
        left, top = (max(0, (one - other) // 2) for one, other in zip(size, BOX))
        return picture.crop((left, top, left + min(size[0], BOX[0]), top + min(size[1], BOX[1])))
    if fit == "contain":
        canvas = Image.new(picture.mode, BOX, "white")
        canvas.paste(picture, tuple((other - one) // 2 for one, other in zip(size, BOX)))
        return canvas
    return picture


def row(name, made, wanted):
    """A row of the table, and whether the result is near enough."""
    from PIL import Image

    from reference import on_white
    a, b = on_white(Image.open(made)), on_white(wanted)
    size = f"{a.shape[1]} x {a.shape[0]}"
    if a.shape != b.shape:
        return f"| {name} | {size} | | | and not {b.shape[1]} x {b.shape[0]} |", False
    similarity, difference = ssim(a, b), abs(a - b).mean()
    is_near = similarity >= MIN_SSIM and difference <= MAX_DIFFERENCE
    return f"| {name} | {size} | {similarity:.4f} | {difference:.2f} | {'' if is_near else 'missed'} |", is_near


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("component", help="thumbnail.wasm, or image_processor.wasm with --fits")
    parser.add_argument("--fits", action="store_true", help="compare the fit modes of image-processor")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    with_tools()
    from reference import expected, upright
    program = os.environ.get("WASMRUN") or shutil.which("wasmrun") or sys.exit("there is no wasmrun: set WASMRUN")
    renditions = {fit: {"width": BOX[0], "height": BOX[1], "fit": fit, "format": "webp", "background": "#ffffff"}
                  for fit in FITS}
    environment = {"RENDITIONS": json.dumps(renditions)} if options.fits else THUMBNAIL
    misses = 0
    print("| picture | size | SSIM | mean difference | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        pictures, out = Path(folder) / "in", Path(folder) / "out"
        pictures.mkdir()
        out.mkdir()
        for photograph in PHOTOGRAPHS.iterdir():
            shutil.copy(photograph, pictures)
        generate(pictures)
        for path in sorted(pictures.iterdir()):
            outcome, reason = task(program, options.component, pictures, path.name, out, environment)
            if outcome != "completed":
                print(f"| {path.name} | | | | {outcome}: {reason} |")
                misses += 1
            elif options.fits:
                picture = upright(path)
                for fit in FITS:
                    text, is_near = row(f"{path.name}, {fit}", out / f"{path.name}.{fit}.webp", in_box(picture, fit))
                    misses += not is_near
                    print(text)
            else:
                text, is_near = row(path.name, out / f"{path.name}.webp", expected(path, SIDE))
                misses += not is_near
                print(text)
    print(f"{misses} missed", file=sys.stderr)
    sys.exit(1 if misses else 0)


if __name__ == "__main__":
    main()
