// Writes the folders `types` and `wit` from the WIT package of this repository.
import { $init, generateTypes } from "@bytecodealliance/jco-transpile/component";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";

const source = new URL("../../wit/", import.meta.url);
const names = readdirSync(source).filter((name) => name.endsWith(".wit"));
const files = names.map((name) => [name, readFileSync(new URL(name, source), "utf8")]);

// One text, which begins with the file that names the package.
const isFirst = ([, text]) => /^package /m.test(text);
const text = [...files.filter(isFirst), ...files.filter((file) => !isFirst(file))].map(([, text]) => text).join("\n");

await $init;
const types = generateTypes("task", {
  wit: { tag: "source", val: text },
  world: "task",
  features: { tag: "list", val: [] },
  guest: true,
  tlaCompat: false,
  flagsAsBigint: false,
  variantsInlineCases: false,
  useNamespaceObjects: false,
  enumValuesScreamingSnakeCase: false,
});

for (const [folder, contents] of [["types/", types], ["wit/", files]]) {
  const target = new URL(folder, import.meta.url);
  rmSync(target, { recursive: true, force: true });
  for (const [name, content] of contents) {
    const path = new URL(name, target);
    mkdirSync(new URL(".", path), { recursive: true });
    writeFileSync(path, content);
  }
}
