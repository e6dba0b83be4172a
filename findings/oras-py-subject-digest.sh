#!/usr/bin/env bash
# oras 0.2.43 (PyPI): `Subject.from_manifest(client.get_manifest(...))` names a digest that the registry doesn't have, unless oras
# for Python pushed that manifest. It serializes the parsed manifest again, with a space after each comma and colon, and hashes
# that, but a digest is of the bytes in the registry. Encoders of Go and Rust write no such spaces: digest and size are both wrong.
#
# A push with this subject succeeds, as a registry must accept subjects that it doesn't have. The referrer, such as a signature,
# is then never listed for the artefact. What helps: `Subject` with the digest of the header Docker-Content-Digest.
#
# wasmrun asks the registry for what refers to the artefact's digest, so with --verify-key it calls an artefact not signed if
# its signature was attached so.
#
# Seen: subject of a manifest as oras for Python writes it: the digest in the registry
#       subject of the same manifest without spaces: another digest
#       push of a referrer with that subject: 201
#
# Needs python3 with venv. The registry is a few lines of Python on the loopback interface.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet oras==0.2.43
cat > finding.py <<'PYTHON'
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import oras.client
import oras.oci

manifests = {}


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Registry(BaseHTTPRequestHandler):
    """Keeps manifests as they come, and says of each blob that it is there."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, content=b"", kind="application/octet-stream"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", digest(content))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self):
        self.answer(200)

    def do_GET(self):
        content = manifests[self.path.split("/")[-1]]
        self.answer(200, content, json.loads(content)["mediaType"])

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        manifests[self.path.split("/")[-1]] = content
        self.answer(201, content)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
threading.Thread(target=server.serve_forever, daemon=True).start()
repository = f"127.0.0.1:{server.server_port}/guest"
client = oras.client.OrasClient(insecure=True)
with open("guest.wasm", "wb") as file:
    file.write(b"\0asm\x0d\0\1\0")


def subject(tag):
    return oras.oci.Subject.from_manifest(client.get_manifest(client.get_container(f"{repository}:{tag}")))


client.push(target=f"{repository}:spaces", files=["guest.wasm:application/wasm"], quiet=True)
manifests["none"] = json.dumps(json.loads(manifests["spaces"]), separators=(",", ":")).encode()
for tag in ("spaces", "none"):
    found, stored = subject(tag), manifests[tag]
    print(tag, "digest", found.digest == digest(stored), "size", found.size == len(stored))
pushed = client.push(target=f"{repository}:signature", files=["guest.wasm"], subject=subject("none"), quiet=True)
refers_to = json.loads(manifests["signature"])["subject"]["digest"]
print("push", pushed.status_code, "subject in the registry", refers_to == digest(manifests["none"]))
PYTHON
venv/bin/python finding.py > seen

cat seen
diff - seen <<'EXPECTED'
spaces digest True size True
none digest False size False
push 201 subject in the registry False
EXPECTED
