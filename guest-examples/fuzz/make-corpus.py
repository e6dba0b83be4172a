#!/usr/bin/env python3
"""Makes the pictures of corpus/picture: small ones of each format and kind. It needs Pillow and numpy.

Inputs that a fuzzer found stay: this writes only the files that it names itself.
"""
import io
import struct
import zlib
from pathlib import Path

import numpy
from PIL import Image, ImageCms, PngImagePlugin

FOLDER = Path(__file__).parent / "corpus" / "picture"
WIDTH, HEIGHT = 40, 24

x, y = numpy.meshgrid(numpy.arange(WIDTH), numpy.arange(HEIGHT))
RGB = numpy.stack([x * 6, y * 10, 255 - x * 3 - y * 4], axis=2).astype("uint8")
ALPHA = ((x + y) * 4).astype("uint8")
COLOUR = Image.fromarray(RGB)
CLEAR = Image.fromarray(numpy.dstack([RGB, ALPHA]))
GRAY = COLOUR.convert("L")
INDEXED = COLOUR.quantize(16)
INK = COLOUR.convert("CMYK")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Without the date, so that the files are the same each time.
PROFILE = PROFILE[:24] + bytes(12) + PROFILE[36:]
EXIF = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


def save(name, picture, format, **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    write(name, file.getvalue())


def write(name, data):
    (FOLDER / name).write_bytes(data)


def jpegs():
    save("jpeg-420", COLOUR, "JPEG", quality=50)
    save("jpeg-444-restarts", COLOUR, "JPEG", quality=50, subsampling=0, restart_marker_blocks=3)
    save("jpeg-progressive", COLOUR, "JPEG", quality=50, progressive=True)
    save("jpeg-progressive-gray", GRAY, "JPEG", quality=70, progressive=True)
    save("jpeg-gray-exif", GRAY, "JPEG", quality=50, exif=b"Exif\0\0" + EXIF, optimize=True)
    save("jpeg-cmyk", INK, "JPEG", quality=30)
    save("jpeg-profile", COLOUR.crop((0, 0, 9, 9)), "JPEG", quality=30, icc_profile=PROFILE, optimize=True)
    save("jpeg-422-xmp", COLOUR, "JPEG", quality=30, subsampling=1, xmp=XMP)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, kind, rows, chunks=b"", interlaced=0, size=(WIDTH, HEIGHT)):
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def filtered(rows):
    return b"".join(b"\0" + row.tobytes() for row in rows)


def pngs():
    save("png-rgb", COLOUR, "PNG", optimize=True)
    save("png-rgba", CLEAR, "PNG", optimize=True)
    save("png-gray-alpha", CLEAR.convert("LA"), "PNG", optimize=True)
    save("png-palette", INDEXED, "PNG", optimize=True, transparency=3)
    save("png-1-bit", GRAY.convert("1"), "PNG")
    save("png-animated", COLOUR, "PNG", save_all=True, append_images=[COLOUR.rotate(180)])
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    text.add_text("Raw profile type exif", "\nexif\n%8d\n%s\n" % (len(EXIF), EXIF.hex()), zip=True)
    save("png-texts", GRAY, "PNG", pnginfo=text)
    save("png-profile", COLOUR.crop((0, 0, 9, 9)), "PNG", icc_profile=PROFILE)
    sixteen = RGB.astype(">u2") * 257
    write("png-16-bits", png(16, 2, filtered(sixteen[:8]), size=(WIDTH, 8)))
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    primaries = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 15000, 6000, 30000, 60000, 64000, 33000))
    write("png-gamma", png(8, 0, filtered(RGB[:, :, 0]), gamma + primaries))
    write("png-exif-points", png(8, 2, filtered(RGB), chunk(b"cICP", bytes([12, 13, 0, 1])) + chunk(b"eXIf", EXIF)))
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(filtered(RGB[top::down, left::right]) for left, top, right, down in passes)
    write("png-interlaced", png(8, 2, rows, interlaced=1))


def many_codes(groups):
    """A lossless WebP with Huffman codes of 2,048 symbols: each takes some bytes here, and 36 KiB in the decoder."""
    bits = []
    put = lambda value, count: bits.extend(value >> bit & 1 for bit in range(count))
    one = lambda symbol: [put(5, 3), put(symbol, 8)]
    for value, count in [(0x2f, 8), (WIDTH - 1, 14), (HEIGHT - 1, 14), (0, 4), (0, 1), (1, 1), (11, 4), (1, 1), (0, 4)]:
        put(value, count)
    for symbol in [(groups - 1) & 255, (groups - 1) >> 8, 0, 0, 0]:
        one(symbol)
    for _ in range(groups):
        for value, count in [(0, 1), (11, 4), (0, 42), (1, 3), (1, 1), (5, 3), (2046, 12)] + 4 * [(1, 4)]:
            put(value, count)
    bits += [0] * (-len(bits) % 8 + WIDTH * HEIGHT * 16)
    data = bytes(sum(bit << at for at, bit in enumerate(bits[start:start + 8])) for start in range(0, len(bits), 8))
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webps():
    save("webp-lossy", COLOUR, "WEBP", quality=50)
    save("webp-lossy-alpha-exif", CLEAR, "WEBP", quality=50, exif=EXIF)
    save("webp-lossless", COLOUR, "WEBP", lossless=True)
    save("webp-lossless-alpha-xmp", CLEAR, "WEBP", lossless=True, xmp=XMP)
    save("webp-palette-profile", INDEXED.convert("RGB"), "WEBP", lossless=True, icc_profile=PROFILE)
    save("webp-animated", CLEAR, "WEBP", save_all=True, quality=40, append_images=[CLEAR.rotate(180)])
    write("webp-lossless-many-codes", many_codes(500))
    write("webp-frame-without-height", with_height("webp-lossy-alpha-exif", 0))
    write("webp-frame-too-high", with_height("webp-animated", HEIGHT + 17))


def with_height(name, height):
    """A lossy WebP whose frame has another height than its container says."""
    file = bytearray((FOLDER / name).read_bytes())
    at = file.index(b"VP8 ") + 16
    file[at:at + 2] = struct.pack("<H", height)
    return bytes(file)


def gifs():
    save("gif-interlaced", INDEXED, "GIF")
    save("gif-animated", INDEXED, "GIF", save_all=True, append_images=[COLOUR.rotate(180).quantize(8)], transparency=2)
    # A frame within a canvas of 8 x 8, and no palette of its own.
    write("gif-offset", b"GIF89a\x08\0\x08\0\x80\0\0\0\0\0\xff\xff\xff,\x02\0\x02\0\x04\0\x04\0\0\x02\x05D\x8f\xa7\x89\x05\0;")


def bmp(bits, compression, palette, data, size=40, width=8, height=2):
    header = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + header + palette + data


def bmps():
    save("bmp-24", COLOUR, "BMP")
    save("bmp-8", INDEXED, "BMP")
    save("bmp-1", GRAY.convert("1"), "BMP")
    four = bytes(range(64))
    write("bmp-run-lengths-8", bmp(8, 1, four + bytes(960), bytes([8, 1, 0, 0, 0, 3, 1, 2, 3, 0, 5, 7, 0, 1])))
    write("bmp-run-lengths-4", bmp(4, 2, four, bytes([8, 0x12, 0, 0, 0, 2, 1, 0, 0, 6, 0x12, 0x34, 0x56, 0, 0, 1])))
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    write("bmp-masks", bmp(32, 3, masks, CLEAR.crop((0, 0, 8, 2)).tobytes(), size=56))
    write("bmp-16", bmp(16, 0, b"", bytes(range(32))))
    core = struct.pack("<IHHHH", 12, 8, 2, 1, 4)
    write("bmp-os2", struct.pack("<2sIHHI", b"BM", 0, 0, 0, 74) + core + bytes(range(48)) + bytes(8))


def pnms():
    write("pnm-1", b"P1\n# a comment\n8 2\n0 1 0 1 0 1 0 1\n11110000\n")
    write("pnm-2", b"P2 4 2 15\n0 1 2 3 4 5 6 15\n")
    write("pnm-3", b"P3\n2 2\n255\n255 0 0  0 255 0\n0 0 255  9 9 9\n")
    save("pnm-4", GRAY.convert("1"), "PPM")
    save("pnm-5", GRAY, "PPM")
    write("pnm-6", b"P6 8 2 65535\n" + bytes(range(96)))
    write("pnm-7", b"P7\nWIDTH 4\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(range(32)))


def tiffs():
    small = COLOUR.crop((0, 0, 20, 12))
    save("tiff-raw-sideways", small, "TIFF", tiffinfo={274: 6})
    for compression in ["lzw", "deflate", "packbits", "jpeg"]:
        save("tiff-" + compression, small, "TIFF", compression="tiff_" + compression if compression != "jpeg" else "jpeg")
    save("tiff-predictor", COLOUR, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    for compression in ["group3", "group4", "tiff_ccitt"]:
        save("tiff-" + compression.removeprefix("tiff_"), GRAY.convert("1"), "TIFF", compression=compression)
    save("tiff-palette", INDEXED, "TIFF")
    save("tiff-cmyk", INK.crop((0, 0, 8, 8)), "TIFF")
    save("tiff-alpha", CLEAR.crop((0, 0, 8, 8)), "TIFF")
    save("tiff-16-bits", GRAY.convert("I;16").crop((0, 0, 8, 8)), "TIFF")
    save("tiff-big", small, "TIFF", big_tiff=True)
    write("tiff-planes-in-tiles", planes_in_tiles())
    save("tiff-two-pages", small, "TIFF", save_all=True, append_images=[GRAY.crop((0, 0, 8, 8))])


def planes_in_tiles():
    """Three planes, each of four tiles of 16 x 16, for 20 x 18 pixels. Pillow doesn't write such a file."""
    tiles = 12
    entries = [(256, 3, 1, 20), (257, 3, 1, 18), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3),
               (284, 3, 1, 2), (322, 3, 1, 16), (323, 3, 1, 16)]
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries += [(324, 4, tiles, start), (325, 4, tiles, start + 4 * tiles)]
    data = start + 8 * tiles
    offsets = [data + 256 * (tile % 2) for tile in range(tiles)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4)
            + struct.pack("<12I", *offsets) + struct.pack("<12I", *[256] * tiles) + bytes(range(256)) + bytes(256))


def others():
    file = b"qoif" + struct.pack(">IIBB", WIDTH, HEIGHT, 4, 0)
    for pixel in numpy.dstack([RGB, ALPHA])[:6].reshape(-1, 4):
        file += b"\xff" + pixel.tobytes()
    write("qoi", file + b"\xc0\x10\x42\xa0\x55\xfd\xfd\xfd\xfd" * 3 + b"\xfd" * 12 + bytes(7) + b"\1")
    save("ico-bmp", CLEAR, "ICO", sizes=[(16, 16)], bitmap_format="bmp")
    save("ico-png", CLEAR, "ICO", sizes=[(24, 24)])
    save("avif", COLOUR, "AVIF", quality=40)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for made in [jpegs, pngs, webps, gifs, bmps, pnms, tiffs, others]:
        made()
    print(sum(file.stat().st_size for file in FOLDER.iterdir()), "bytes in all")
