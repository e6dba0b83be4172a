#!/usr/bin/env bash
# componentize-qjs 0.4.5 (npm): Math.random() draws the same numbers in every instance of a component. QuickJS seeds its generator
# when it creates its context, which the build does, and the state is part of the snapshot that each instance starts from.
#
# A host that gives each request or message an instance of its own so gets the same "random" name or delay each time, until the
# component is built again. componentize-js 0.23.0 (SpiderMonkey) draws other numbers from the same source. componentize-py 0.25.1
# seeds `random` anew in each instance, but not a `random.Random()` that the module made at its top. What helps is wasi:random: its
# numbers differ with each tool, if the world imports it and the code calls it.
#
# wasmrun gives each message an instance, so a guest of QuickJS draws the same numbers for all messages.
#
# Seen: the first number of two instances of the same component, in Wasmtime 50.0.1:
#       Math.random() in QuickJS same, in SpiderMonkey different
#       wasi:random in QuickJS different
#       random.random() in Python different, Random().random() same
#
# Needs Node 20 or later with npm, and python3 with venv; compiles for a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init -y > /dev/null
npm install --silent --no-fund --no-audit componentize-qjs@0.4.5 @bytecodealliance/componentize-js@0.23.0
python3 -m venv venv
venv/bin/pip install --quiet componentize-py==0.25.1 wasmtime==50.0.1

cat > draw.wit <<'WIT'
package example:draw;

world draw {
    import wasi:random/random@0.2.0;
    export numbers: func() -> list<string>;
}

package wasi:random@0.2.0 {
    interface random {
        get-random-u64: func() -> u64;
    }
}
WIT
cat > draw.js <<'JS'
import { getRandomU64 } from 'wasi:random/random@0.2.0';
export const numbers = () => [Math.random(), getRandomU64()].map(String);
JS
cat > build.mjs <<'JS'
import { readFileSync, writeFileSync } from 'node:fs';
import * as quickjs from 'componentize-qjs';
import * as spidermonkey from '@bytecodealliance/componentize-js';

const source = readFileSync('draw.js', 'utf8');
const small = await quickjs.componentize({ witPath: 'draw.wit', jsSource: source, sync: true });
writeFileSync('quickjs.wasm', small.component);
const options = { witPath: 'draw.wit', disableFeatures: ['http', 'fetch-event'] };
const large = await spidermonkey.componentize(source, options);
writeFileSync('spidermonkey.wasm', large.component);
JS
node build.mjs

cat > app.py <<'PYTHON'
import random
from wit_world.imports.random import get_random_u64

own = random.Random()


class WitWorld:
    def numbers(self):
        return [str(number) for number in (random.random(), get_random_u64(), own.random())]
PYTHON
venv/bin/componentize-py --wit-path draw.wit --world draw componentize app --output python.wasm > /dev/null

cat > host.py <<'PYTHON'
from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

config = Config()
config.cranelift_opt_level = "none"
engine = Engine(config)
linker = Linker(engine)
linker.add_wasip2()


def numbers(component):
    store = Store(engine)
    store.set_wasi(WasiConfig())
    return linker.instantiate(store, component).get_func(store, "numbers")(store)


for name, sources in {
    "quickjs": ("Math.random()", "wasi:random"),
    "spidermonkey": ("Math.random()", "wasi:random"),
    "python": ("random.random()", "wasi:random", "Random().random()"),
}.items():
    component = Component.from_file(engine, name + ".wasm")
    for source, one, other in zip(sources, numbers(component), numbers(component)):
        print(name, source, "same" if one == other else "different")
PYTHON
venv/bin/python host.py > seen

cat seen
diff - seen <<'EXPECTED'
quickjs Math.random() same
quickjs wasi:random different
spidermonkey Math.random() different
spidermonkey wasi:random different
python random.random() different
python wasi:random different
python Random().random() same
EXPECTED
