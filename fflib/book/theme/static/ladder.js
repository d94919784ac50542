// The ladder to touch: a stop a rung, by mouse, finger or arrow keys; beside it what that rung is made of and costs.
"use strict";

(() => {
  const place = document.getElementById("ladder-stops");
  const stops = JSON.parse(document.getElementById("ladder-data").textContent);
  const largest = Math.max(...stops.map((stop) => stop.factor));
  const smallest = Math.min(1, ...stops.map((stop) => stop.factor));
  const share = (factor) => Math.log(factor / smallest) / Math.log(largest / smallest);

  function element(tag, attributes, ...content) {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...content);
    return made;
  }

  const card = element("div", { className: "ladder-card" });
  card.setAttribute("aria-live", "polite");
  const list = element("fieldset", {}, element("legend", {}, "Stop at a rung (arrow keys go up and down)"));

  function rows(title, parts) {
    const lines = parts.map((part) => {
      const text = element(part.changed ? "mark" : "span", {}, part.text);
      return element("tr", {}, element("th", { scope: "row" }, part.name), element("td", {}, text));
    });
    return [element("p", {}, title), element("table", {}, element("tbody", {}, ...lines))];
  }

  function show(stop) {
    const under = stop.below ? `on top of “${stop.below}”; what it changes is marked` : "the ground";
    card.replaceChildren(
      element("p", { className: "ladder-name" }, element("strong", {}, stop.rung), stop.what && `: ${stop.what}`),
      ...rows(`Made of, ${under}`, stop.madeOf),
      ...rows("It costs", stop.costs),
      ...rows("It answers", stop.quality),
    );
  }

  const lines = stops.map((stop, i) => {
    const radio = element("input", { type: "radio", name: "ladder-stop", value: i, onchange: () => show(stop) });
    const bar = element("span", { className: "ladder-bar" });
    bar.style.width = `${Math.max(1, 100 * share(stop.factor))}%`;
    const track = element("span", { className: "ladder-track" }, bar);
    const factor = element("span", { className: "ladder-factor" }, stop.factorText);
    const line = element("label", {}, radio, element("span", {}, stop.rung), track, factor);
    line.hidden = !stop.taken;
    list.append(line);
    return { radio, line, stop };
  });

  function choose(line) {
    line.radio.checked = true;
    show(line.stop);
  }

  const all = element("input", {
    type: "checkbox",
    onchange: () => {
      for (const { line, stop } of lines) line.hidden = !(stop.taken || all.checked);
      if (lines.some(({ radio, line }) => radio.checked && line.hidden)) choose(last);
    },
  });
  const others = stops.length - lines.filter(({ stop }) => stop.taken).length;
  const last = lines.filter(({ stop }) => stop.taken).at(-1);
  if (others) list.append(element("label", { className: "ladder-all" }, all, ` also the ${others} that the story did not take`));
  list.append(element("p", { className: "ladder-note" }, "A bar shows how many times as fast as the padded reference, on a log scale."));
  place.append(list, card);
  place.hidden = false;
  choose(last);
})();
