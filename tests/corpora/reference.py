"""The picture that a thumbnail should be, made with Pillow: turned, converted to sRGB, resized with LANCZOS."""
import io
import warnings

import numpy
from PIL import Image, ImageCms, ImageFile, ImageOps

Image.MAX_IMAGE_PIXELS = 200_000_000
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.simplefilter("ignore")
SRGB = ImageCms.createProfile("sRGB")


def fitted(width, height, side):
    """The size of a thumbnail: the longer side has at most `side` pixels, and the proportions stay."""
    longest = max(width, height)
    if longest <= side:
        return width, height
    return tuple(max(1, (2 * length * side + longest) // (2 * longest)) for length in (width, height))


def eight_bits(picture):
    """16-bit gray as 8-bit gray. Pillow's own conversion clips at 255."""
    if not (picture.mode.startswith("I;16") or picture.mode == "I"):
        return picture
    pixels = numpy.asarray(picture).astype("int64")
    gray = Image.fromarray((pixels >> 8).clip(0, 255).astype("uint8"))
    clear = picture.info.pop("transparency", None)
    if clear is not None:
        gray = gray.convert("LA")
        gray.putalpha(Image.fromarray(numpy.where(pixels == clear, 0, 255).astype("uint8")))
    return gray


def converted(picture):
    """In sRGB, by the profile or the gamma of the file. A profile that can't be applied is ignored."""
    profile, gamma = picture.info.get("icc_profile"), picture.info.get("gamma")
    described = "srgb" in picture.info or profile
    alpha = None
    if "A" in picture.mode or "transparency" in picture.info or picture.mode == "P":
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
        picture = picture.convert("RGB")
    if picture.mode not in ("L", "RGB", "CMYK"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space.strip()
            if space == "RGB" and picture.mode == "L":
                picture = picture.convert("RGB")
            if space == "GRAY" and picture.mode == "RGB":
                gray = [ImageCms.profileToProfile(channel, source, SRGB, outputMode="RGB").getchannel(0)
                        for channel in picture.split()]
                picture = Image.merge("RGB", gray)
            else:
                picture = ImageCms.profileToProfile(picture, source, SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    elif gamma and not described and abs(gamma - 1 / 2.2) > 0.001:
        light = (numpy.arange(256) / 255) ** (1 / gamma)
        curve = numpy.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
        table = [int(value) for value in (curve * 255).round()]
        picture = picture.point(table * len(picture.getbands()))
    picture = picture.convert("RGB")
    if alpha is not None:
        picture.putalpha(alpha)
    return picture


def upright(file):
    """The picture of a file, turned and in sRGB. Raises what Pillow raises if it can't be read."""
    picture = Image.open(file)
    picture.load()
    turned = ImageOps.exif_transpose(eight_bits(picture))
    turned.info = {**picture.info, **turned.info}
    return converted(turned)


def expected(file, side):
    """The thumbnail of a file."""
    picture = upright(file)
    size = fitted(*picture.size, side)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def on_white(picture):
    """As an array of numbers of 0 to 255, transparency laid on white."""
    pixels = numpy.asarray(picture.convert("RGBA")).astype("float64")
    alpha = pixels[:, :, 3:] / 255
    return pixels[:, :, :3] * alpha + 255 * (1 - alpha)
