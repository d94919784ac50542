// Runs a book's model as the page "try it" does, in Node: node browser_model.cjs FOLDER SETTINGS <requests >answers
// A request is a line of JSON: {fields} is answered by {ids, types, unknown}, with {logits: true} also by {logits}.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");
const { pathToFileURL } = require("url");

const [folder, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "browser-model-"));
let modules = 0;

// Node imports no blob, so a module's text goes into a file.
function address(text) {
  const file = path.join(scratch, `${modules++}.mjs`);
  fs.writeFileSync(file, text);
  return pathToFileURL(file).href;
}

(async () => {
  globalThis.TryIt = require(path.join(folder, "model.js"));
  for (const name of settings.scripts) {
    if (name !== "model.js" && name !== "ort.wasm.min.js") require(path.join(folder, name));
  }
  const model = await TryIt.load(require(path.join(folder, "ort.wasm.min.js")), settings, address);
  for (const line of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
    const request = JSON.parse(line);
    const tokens = model.tokens(request.fields);
    console.log(JSON.stringify({ ...tokens, unknown: model.unknown(tokens), logits: request.logits && (await model.logits(tokens)) }));
  }
  fs.rmSync(scratch, { recursive: true });
  process.exit(0); // the engine would keep Node waiting
})();
