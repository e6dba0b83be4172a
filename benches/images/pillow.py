"""Makes thumbnails with Pillow, in memory. Reads a line of JSON, [file, seconds], makes thumbnails of the file until so much
CPU time has passed, and answers with a line of JSON."""

import io
import json
import sys
import time

from PIL import Image


def thumbnail(file):
    picture = Image.open(io.BytesIO(file))
    picture.draft("RGB", (320, 320))
    picture.thumbnail((320, 320))
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=80, optimize=True)
    return output.getvalue()


for line in sys.stdin:
    path, seconds = json.loads(line)
    with open(path, "rb") as opened:
        file = opened.read()
    thumbnail(file)
    pictures, cpu, wall = 0, time.process_time(), time.perf_counter()
    while time.process_time() - cpu < seconds or pictures < 2:
        thumbnail(file)
        pictures += 1
    found = {"pictures": pictures, "cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
    print(json.dumps(found), flush=True)
