// The run's model: texts to tokens to logits. Knows no page, so that tests run this very file in Node.
"use strict";

var TryIt = (() => {
  const packed = {}; // name of a file -> its content, gzipped, in base64; each script beside this one brings one

  function take(name, text) {
    packed[name] = text;
  }

  async function unpack(name) {
    const letters = atob(packed[name]);
    delete packed[name];
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i); // Uint8Array.from takes seconds
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const textOf = async (name) => new TextDecoder().decode(await unpack(name));

  // A module that is imported by its text: from a file system no browser imports one by its path.
  function addressOf(text) {
    return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  }

  // How many tokens of each text are left: what is too long is cut at the end of the longer text first, and where both
  // are, each gets half (tokenizers, `truncate_encodings`, LongestFirst).
  function lengthsLeft(lengths, room) {
    if (lengths.length === 1) return [Math.min(lengths[0], room)];
    let [short, long] = [...lengths].sort((a, b) => a - b);
    long = short > room ? short : Math.min(long, Math.max(short, room - short));
    if (short + long > room) {
      short = Math.floor(room / 2);
      long = short + (room % 2);
    }
    return lengths[0] > lengths[1] ? [long, short] : [short, long];
  }

  // settings: maxLength; frame: in order, [id, type] of a special token, or {text, type} for all of a text's tokens;
  // kept: null, or the ids that have embeddings here, in the order of these.
  async function load(ort, settings, address = addressOf) {
    const { Tokenizer } = await import(address(await textOf("tokenizers.mjs")));
    const tokenizer = new Tokenizer(JSON.parse(await textOf("tokenizer.json")), {});
    Object.assign(ort.env.wasm, {
      numThreads: 1, // more need a page that its server isolates
      wasmPaths: { mjs: address(await textOf("ort-wasm-simd-threaded.mjs")) },
      wasmBinary: await unpack("ort-wasm-simd-threaded.wasm"),
    });
    const rowOf = settings.kept && new Map(settings.kept.map((id, row) => [id, row]));
    const session = await ort.InferenceSession.create(await unpack("model.onnx"), { executionProviders: ["wasm"] });

    function tokens(fields) {
      const texts = fields.map((text) => tokenizer.encode(text, { add_special_tokens: false }).ids);
      const special = settings.frame.filter(Array.isArray).length;
      const left = lengthsLeft(texts.map((ids) => ids.length), settings.maxLength - special);
      const [ids, types] = [[], []];
      for (const part of settings.frame) {
        const added = Array.isArray(part) ? [part[0]] : texts[part.text].slice(0, left[part.text]);
        ids.push(...added);
        types.push(...added.map(() => (Array.isArray(part) ? part[1] : part.type)));
      }
      return { ids, types };
    }

    // The tokens that have no embedding here: of a text that holds one, nothing is answered.
    function unknown({ ids }) {
      return rowOf ? [...new Set(ids.filter((id) => !rowOf.has(id)))].map((id) => tokenizer.id_to_token(id)) : [];
    }

    async function logits({ ids, types }) {
      const row = (numbers) => new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [1, numbers.length]);
      const rows = rowOf ? ids.map((id) => rowOf.get(id)) : ids;
      const inputs = { input_ids: rows, attention_mask: ids.map(() => 1), token_type_ids: types };
      const wanted = session.inputNames.map((name) => [name, row(inputs[name])]);
      const outputs = await session.run(Object.fromEntries(wanted));
      return [...outputs[session.outputNames[0]].data];
    }

    return { tokens, unknown, logits };
  }

  function probabilities(logits) {
    const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  return { take, load, probabilities };
})();

if (typeof module === "object") module.exports = TryIt;
