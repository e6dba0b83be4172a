// Makes thumbnails with sharp on one thread, in memory. Reads a line of JSON, [file, seconds], makes thumbnails of the file
// until so much CPU time has passed, and answers with a line of JSON.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

sharp.concurrency(1);
sharp.cache(false);

const thumbnail = (file) => sharp(file).resize(320, 320, { fit: 'inside' }).jpeg({ quality: 80 }).toBuffer();
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

for await (const line of createInterface({ input: process.stdin })) {
  const [path, seconds] = JSON.parse(line);
  const file = readFileSync(path);
  await thumbnail(file);
  let pictures = 0;
  const [cpu, wall] = [cpuSeconds(), performance.now()];
  while (cpuSeconds() - cpu < seconds || pictures < 2) {
    await thumbnail(file);
    pictures += 1;
  }
  const found = { pictures, cpu_seconds: cpuSeconds() - cpu, seconds: (performance.now() - wall) / 1e3 };
  console.log(JSON.stringify(found));
}
