// Decodes Geobuf from standard input with mapbox's own package and writes GeoJSON.
import { createRequire } from "node:module";
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[2] + "/");
const load = async (name) => {
  const module = await import(pathToFileURL(require.resolve(name)).href);
  return module.default ?? module;
};
const Pbf = await load("pbf");
const { decode } = await import(pathToFileURL(require.resolve("geobuf")).href).then((m) => m.default ?? m);
const text = JSON.stringify(decode(new Pbf(readFileSync(0))));
writeSync(1, text);
