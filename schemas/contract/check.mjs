// Checks asyncapi.json, with everything it refers to, by AsyncAPI's own parser.
//   node check.mjs DIRECTORY_WHOSE_node_modules_HAS_@asyncapi/parser
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.argv[2]), "package.json"));
const { Parser } = require("@asyncapi/parser");

const document = await readFile("asyncapi.json", "utf8");
const { document: parsed, diagnostics } = await new Parser().parse(document, { source: resolve("asyncapi.json") });
const errors = diagnostics.filter((found) => found.severity === 0);
for (const error of errors) console.error(`${error.path.join("/")}: ${error.message}`);
if (!parsed || errors.length > 0) process.exit(1);
const messages = parsed.messages().all().map((message) => message.name());
const wanted = [
  "telex.dialog.close.v1",
  "telex.item.quarantined.v1",
  ...[1, 2, 3].map((version) => `telex.message.received.v${version}`),
];
if (wanted.some((name) => !messages.includes(name))) {
  console.error(`messages: ${messages.join(", ")}`);
  process.exit(1);
}
