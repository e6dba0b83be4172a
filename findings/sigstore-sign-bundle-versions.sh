#!/usr/bin/env bash
# @sigstore/sign 5.1.0 (npm): its two builders write bundles of different versions. DSSEBundleBuilder writes version 0.3, and
# MessageSignatureBundleBuilder writes 0.2, without an option for another, also for a plain public key that has no certificate.
#
# So the same signer, in the same program, makes bundles of which some readers take only one kind: a reader of artefacts in
# registries looks for the media type of version 0.3, as cosign writes it.
#
# Seen: message signature: application/vnd.dev.sigstore.bundle+json;version=0.2
#       DSSE envelope: application/vnd.dev.sigstore.bundle.v0.3+json
#
# Needs node and npm. The key is made here; nothing is sent to a log.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init -y > /dev/null
npm install --silent --no-fund --no-audit @sigstore/sign@5.1.0
cat > finding.cjs <<'JS'
const { createHash, generateKeyPairSync, sign } = require('node:crypto');
const { bundleToJSON } = require('@sigstore/bundle');
const { DSSEBundleBuilder, MessageSignatureBundleBuilder } = require('@sigstore/sign');

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const hint = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
const signer = {
  sign: async (data) => ({
    key: { $case: 'publicKey', publicKey: publicKey.export({ type: 'spki', format: 'pem' }), hint },
    signature: sign('sha256', data, privateKey),
  }),
};

(async () => {
  const artifact = { data: Buffer.from('content'), type: 'text/plain' };
  const options = { signer, witnesses: [] };
  const message = await new MessageSignatureBundleBuilder(options).create(artifact);
  const envelope = await new DSSEBundleBuilder(options).create(artifact);
  console.log('message signature:', bundleToJSON(message).mediaType);
  console.log('DSSE envelope:', bundleToJSON(envelope).mediaType);
})();
JS
node finding.cjs > seen

cat seen
diff - seen <<'EXPECTED'
message signature: application/vnd.dev.sigstore.bundle+json;version=0.2
DSSE envelope: application/vnd.dev.sigstore.bundle.v0.3+json
EXPECTED
