// Makes a thumbnail of each file of a folder with sharp: sharp-folder.mjs IN OUT THREADS. So many pictures are made at once, each
// on one thread, which is faster than one picture on several threads.
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';

sharp.concurrency(1);
sharp.cache(false);

const [input, output, threads] = process.argv.slice(2);
const names = readdirSync(input).values();

async function work() {
  for (const name of names) {
    const file = await readFile(join(input, name));
    const thumbnail = await sharp(file).resize(320, 320, { fit: 'inside' }).jpeg({ quality: 80 }).toBuffer();
    await writeFile(join(output, `${name}.jpg`), thumbnail);
  }
}

await Promise.all(Array.from({ length: Number(threads) }, work));
