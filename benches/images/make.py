"""Makes the test pictures from the demo's photographs: make.py PHOTOGRAPHS FOLDER.

An enlarged photograph is smoother than what a camera takes, and would be decoded too quickly. So noise is added in octaves, as
the detail of photographs has it: each octave is half as fine as the one before. The same bytes come out each time.
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

# Grain in pixels, and amplitude for a strength of 1.
OCTAVES = [(1, 0.02), (2, 0.04), (4, 0.08), (8, 0.12), (16, 0.16)]


def scene(photograph, size, strength):
    """A photograph that fills this size, with as much detail as the strength says."""
    picture = ImageOps.fit(Image.open(photographs / photograph).convert("RGB"), size, Image.Resampling.LANCZOS)
    luma, blue, red = picture.convert("YCbCr").split()
    source = random.Random(1)
    for grain, amplitude in OCTAVES:
        width, height = size[0] // grain, size[1] // grain
        noise = Image.frombytes("L", (width, height), source.randbytes(width * height))
        scaled = [128 + round((value - 128) * amplitude * strength) for value in range(256)]
        noise = noise.resize(size, Image.Resampling.BICUBIC).point(scaled)
        luma = ImageChops.add(luma, noise, 1, -128)
    return Image.merge("YCbCr", (luma, blue, red))


photographs, folder = Path(sys.argv[1]), Path(sys.argv[2])
camera = (4000, 3000)
few = scene("coffee cup.jpg", camera, 0.5)
some = scene("chelsea.png", camera, 1.4)
many = scene("hubble-deep-field.jpg", camera, 4.5)
large = scene("chelsea.png", (6000, 4000), 1.4)
small = some.convert("RGB").resize((1632, 1224), Image.Resampling.LANCZOS)
for name, picture in [("few", few), ("some", some), ("many", many), ("24mp", large), ("2mp", small)]:
    picture.save(folder / f"{name}.jpg", quality=88)
for name, picture in [("few", few), ("some", some), ("many", many)]:
    picture.save(folder / f"{name}-progressive.jpg", quality=88, progressive=True)
small.save(folder / "2mp.png")
small.save(folder / "2mp.webp", quality=80)
