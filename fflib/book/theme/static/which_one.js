// "Which one do I take?": hides the rungs that are over one of the reader's limits, and says how many are left.
"use strict";

(() => {
  const form = document.getElementById("which-one");
  const answer = document.getElementById("which-one-answer");
  const rows = [...document.querySelectorAll("#which-one-rungs tbody tr")];
  const fields = [...form.querySelectorAll("input")];
  const many = (count) => `${count} of ${rows.length} rungs`;

  // A number that was not measured keeps no limit.
  const keeps = (row, field) => {
    const value = row.dataset[field.name];
    if (value === undefined) return false;
    return field.dataset.kind === "min" ? Number(value) >= field.valueAsNumber : Number(value) <= field.valueAsNumber;
  };

  function words(field) {
    return field.closest("label").firstChild.textContent.trim().toLowerCase().replace(/,? at (most|least)$/, "");
  }

  function show() {
    const limits = fields.filter((field) => !Number.isNaN(field.valueAsNumber));
    const fit = rows.filter((row) => limits.every((field) => keeps(row, field)));
    for (const row of rows) row.hidden = !fit.includes(row);
    const wrong = fields.filter((field) => field.validity.badInput || field.valueAsNumber < 0);
    if (wrong.length) {
      answer.textContent = `Not a number from 0 up: ${wrong.map(words).join(", ")}.`;
    } else if (!limits.length) {
      answer.textContent = `All ${rows.length} rungs, best first.`;
    } else if (fit.length) {
      answer.textContent = `${many(fit.length)} fit. The first one, ${fit[0].cells[1].firstChild.textContent.replace(/ [†‡]/g, "")}, is the fastest of them.`;
    } else {
      const alone = limits.map((field) => `${words(field)} (${many(rows.filter((row) => keeps(row, field)).length)})`);
      answer.textContent = `No rung of this run fits. Each limit alone is kept by: ${alone.join("; ")}.`;
    }
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
