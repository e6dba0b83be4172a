// SQS for load, on this machine alone: fauxqs on the port that is given.
import { buildApp } from 'fauxqs';

const app = buildApp({ logger: false, defaultRegion: 'eu-west-1' });
await (await app).listen({ port: Number(process.argv[2]), host: '127.0.0.1' });
