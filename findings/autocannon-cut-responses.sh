#!/usr/bin/env bash
# autocannon 9.0.0 (npm) reports no error for a response that the server cuts off. It connects again and goes on with the parser of
# the lost connection, so the next response, status line included, becomes the rest of the body that was cut: one response with
# status 200. Its queue keeps the request without an answer, so each later time is measured from an earlier request, and they grow.
#
# A server that fails after it has sent a status can only cut the connection off (or reset the stream, in HTTP/2). A service of
# which half of the requests fail so has no errors in such a load test, but half as many requests a second and long latencies.
#
# wasmrun cuts off the response of a handler that traps after it has begun to answer (docs/src/guides/services.md). Its own
# benchmark takes h2load, which counts errors.
#
# Seen: 20 requests, of whose responses every second is cut off after half of its body, within 20 ms:
#       autocannon: sent 20, 2xx 10, errors 0, timeouts 0; longest time over 90 ms
#       loadtest 8.2.1: requests 20, errors 10
#
# Needs Node 20 or later with npm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init -y > /dev/null
npm install --silent --no-fund --no-audit autocannon@9.0.0 loadtest@8.2.1
cat > finding.mjs <<'JS'
import { createServer } from 'node:http';
import autocannon from 'autocannon';
import { loadTest } from 'loadtest';

async function serve(test) {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    if (requests % 2 === 1) return response.end('whole');
    // Its length isn't known, so it is chunked, and a client can tell that the last chunk is missing.
    response.write('half');
    setTimeout(() => response.destroy(), 20);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  await test(`http://127.0.0.1:${server.address().port}/`);
  server.closeAllConnections();
  server.close();
}

await serve(async (url) => {
  const result = await autocannon({ url, connections: 1, amount: 20, timeout: 5 });
  const counts = ['2xx', 'non2xx', 'errors', 'timeouts', 'resets'].map((name) => `${name} ${result[name]}`);
  console.log('autocannon sent', result.requests.sent, ...counts, 'long', result.latency.max > 90);
});
await serve(async (url) => {
  const result = await loadTest({ url, concurrency: 1, maxRequests: 20, quiet: true });
  console.log('loadtest sent', result.totalRequests, 'errors', result.totalErrors);
});
process.exit();
JS
node finding.mjs > seen

cat seen
diff - seen <<'EXPECTED'
autocannon sent 20 2xx 10 non2xx 0 errors 0 timeouts 0 resets 0 long true
loadtest sent 20 errors 10
EXPECTED
