// The page "try it": loads the model when it is first asked, answers, and tells what this browser took.
"use strict";

(() => {
  const settings = JSON.parse(document.getElementById("try-it-settings").textContent);
  const form = document.getElementById("try-it");
  const status = document.getElementById("try-it-status");
  const answer = document.getElementById("try-it-answer");
  const here = document.getElementById("try-it-here");
  const RUNS = 15;
  let model = null; // a promise, once it was asked for
  let measured = false;

  const add = (name) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = settings.folder + name;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${script.src} cannot be read; copy the whole folder of the book`));
      document.head.append(script);
    });

  async function load() {
    if (typeof DecompressionStream === "undefined" || typeof WebAssembly === "undefined") {
      throw new Error("it is too old for this page: it lacks WebAssembly or DecompressionStream");
    }
    for (const [i, name] of settings.scripts.entries()) {
      status.textContent = `Loading part ${i + 1} of ${settings.scripts.length}, ${settings.megabytes} MB in all …`;
      await add(name);
    }
    status.textContent = "Starting the model …";
    return TryIt.load(ort, settings);
  }

  async function timed(run) {
    const began = performance.now();
    const result = await run();
    return [result, performance.now() - began];
  }

  const inMs = (ms) => `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;

  function show(logits, tokens, ms) {
    const shares = TryIt.probabilities(logits);
    const best = shares.indexOf(Math.max(...shares));
    const rows = shares.map((share, i) => {
      const row = document.createElement("tr");
      row.className = i === best ? "best" : "";
      const bar = document.createElement("meter");
      bar.value = share;
      bar.setAttribute("aria-hidden", "true");
      for (const content of [settings.labels[i], bar, `${(100 * share).toFixed(1)} %`]) {
        const cell = document.createElement("td");
        cell.append(content);
        row.append(cell);
      }
      return row;
    });
    answer.querySelector("strong").textContent = settings.labels[best];
    answer.querySelector("tbody").replaceChildren(...rows);
    answer.querySelector("p:last-child").textContent = `${tokens} tokens, answered in ${inMs(ms)}, tokens included.`;
    answer.hidden = false;
  }

  // A request of as many tokens as the median one of the run, so that this is beside the native number what it was there.
  async function measure(loaded, { ids, types }) {
    const stretch = (row) => Array.from({ length: settings.medianTokens }, (_, i) => row[i % row.length]);
    const request = { ids: stretch(ids), types: stretch(types) };
    const times = [];
    for (let i = -3; i < RUNS; i++) {
      const [, ms] = await timed(() => loaded.logits(request));
      if (i >= 0) times.push(ms);
    }
    return times.sort((a, b) => a - b)[Math.floor(RUNS / 2)];
  }

  async function ask() {
    const fields = [...form.querySelectorAll("textarea")].map((field) => field.value);
    if (fields.some((text) => !text.trim())) {
      status.textContent = `Fill in ${settings.fields.join(" and ")} first.`;
      return;
    }
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const loaded = await (model ??= load());
      status.textContent = "";
      const unknown = loaded.unknown(loaded.tokens(fields));
      if (unknown.length) {
        answer.hidden = true;
        status.textContent = `This page keeps only the words of the run's training texts, and not: ${unknown.join(", ")}.`;
        return;
      }
      if (!measured) await loaded.logits(loaded.tokens(fields)); // the first call also prepares the engine
      const [[tokens, logits], ms] = await timed(async () => {
        const tokens = loaded.tokens(fields);
        return [tokens, await loaded.logits(tokens)];
      });
      show(logits, tokens.ids.length, ms);
      if (!measured) here.textContent = inMs(await measure(loaded, tokens));
      measured = true;
    } catch (error) {
      model = null;
      status.textContent = `This browser cannot run the model: ${error.message}.`;
    } finally {
      button.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.querySelector("button").disabled = false;
  if (location.hash === "#answer") ask(); // a link that answers the example at once
})();
