// Typing: the audience's own text, classified at every key. A model that is busy takes the newest key when it is free;
// the keys between are lost to it.
(function (root) {
  "use strict";
  const { make, text, fit, count, milliseconds, classify, frame } = root.Demos.parts;
  const SHOWN = 60; // keys that the strip shows
  const WIDTH = 540;
  const HEIGHT = 44;
  const LARGEST_MS = 2000; // the top of the strip, which is logarithmic

  // What each lane did with the keys up to t: [{answers: Map(key -> [label, ms]), last, lost}]. Pure.
  function typingFrames(log, t) {
    const keys = log.keys.filter(([at]) => at <= t);
    const lanes = log.lanes.map(() => ({ answers: new Map(), last: -1, lost: 0, label: null, ms: null }));
    for (const [at, lane, key, label, ms] of log.events) {
      if (at > t) { continue; }
      lanes[lane].answers.set(key, [label, ms]);
      if (key > lanes[lane].last) { Object.assign(lanes[lane], { last: key, label, ms }); }
    }
    for (const lane of lanes) { lane.lost = lane.last + 1 - lane.answers.size; }
    return { keys, lanes };
  }

  // Asks one lane about the newest key, again and again while there is one that it has not seen.
  class Asker {
    constructor(lane, slot, ask, told) { Object.assign(this, { lane, slot, ask, told, busySince: null, next: null }); }

    take(key, t) {
      this.next = key;
      if (this.busySince === null) { this._go(t); }
    }

    async _go(t) {
      while (this.next !== null) {
        const key = this.next;
        this.next = null;
        this.busySince = t();
        let said = null;
        try { said = await this.ask(this.lane, this.slot, key); } catch { /* told as nothing */ }
        this.told(this.lane, key, said);
      }
      this.busySince = null;
    }
  }

  class Typing {
    constructor(element, recording, connect) {
      this.element = element;
      this.text = 0;
      this.player = new root.Demos.Player({
        recording, connect, patient: true, waiting: () => this.waiting(), draw: (player) => this.draw(player),
      });
      this.frame = frame(element, () => this.go());
      this.other = make("div", { class: "typing-other" });
      this.fixed = make("span", { class: "typing-fixed" });
      this.input = make("input", { class: "typing-input", type: "text", spellcheck: "false", autocomplete: "off" });
      this.input.addEventListener("input", () => this.typed());
      this.frame.body.append(this.other, make("div", { class: "typing-box" }, [this.fixed, this.input]));
      this.rows = (recording ? recording.lanes : []).map((_, i) => this._row(i));
      this.on = new Set();
      this.draw(this.player);
    }

    enter() {
      this.askers = [];
      this.input.value = "";
      if (this.player.connect && this.player.recording) { this.player.start(); } else { this.player.stop(); }
      this.draw(this.player);
    }

    leave() { this.player.stop(); this.askers = []; this.input.blur(); this.input.value = ""; this.draw(this.player); }

    // Live: the next text, an empty box. Recorded: plays the session, from its beginning.
    go() {
      if (this.player.mode === "live") {
        this.text = (this.text + 1) % this.player.recording.texts.length;
        this._clear();
        this.input.focus();
      } else if (this.player.recording && (this.player.mode === "idle" || this.player.isOver)) { this.player.play(); }
      this.draw(this.player);
    }

    _clear() {
      this.input.value = "";
      this.player.began = null;
      this.player.log = null;
      this.askers = [];
    }

    // A key of the audience: every lane that is on is asked, as soon as it is free.
    typed() {
      const player = this.player;
      if (player.mode !== "live") { return; }
      if (player.began === null) {
        player.begin({ ...player.recording, keys: [], seconds: 0 });
        this.askers = [...this._chosen()].map((lane, slot) => new Asker(
          lane, slot, (which, core, key) => this._ask(which, core, key), (...said) => this._told(player.log, ...said)));
      }
      const log = player.log;
      log.keys.push([this._t(), this.text, this.input.value]);
      if (this.input.value.trim()) { for (const asker of this.askers) { asker.take(log.keys.length - 1, () => this._t()); } }
      this.draw(player);
    }

    _t() { return this.player.clock.now() - this.player.began; }

    _ask(lane, slot, key) {
      const [, number, value] = this.player.log.keys[key];
      const { texts, edited, fixed, spans } = this.player.log.texts[number];
      const asked = texts.map((each, i) => (i === edited ? fixed + value : each));
      return classify({ lane, slot, texts: asked, spans });
    }

    _told(log, lane, key, said) {
      if (this.player.mode !== "live" || log !== this.player.log) { return; }
      if (said) { log.events.push([this._t(), lane, key, said.label, said.ms]); this.draw(this.player); }
      else { this.player.fall("a lane has failed"); }
    }

    // Who owes an answer: those that are asked, since when.
    waiting() {
      return (this.askers || []).filter((asker) => asker.busySince !== null).map((asker) => [asker.lane, asker.busySince]);
    }

    // The lanes that are asked: as many as there are cores, the last one always, and then the slowest or who was chosen.
    _chosen() {
      const { lanes } = this.player.recording;
      const room = Math.max(1, (this.player.hello || {}).at_once || lanes.length);
      const wanted = [lanes.length - 1, ...(this.picked === undefined ? [] : [this.picked]), ...lanes.keys()];
      return new Set([...new Set(wanted)].slice(0, room));
    }

    _row(lane) {
      const parts = {
        name: make("button", { class: "typing-name", type: "button" }),
        label: make("div", { class: "typing-label" }),
        strip: make("svg", { class: "typing-strip", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT }),
        ms: make("div", { class: "typing-ms" }),
        lost: make("div", { class: "typing-lost" }),
      };
      parts.name.addEventListener("click", () => { // this lane is the one to compare with
        this.picked = lane;
        parts.name.blur();
        if (this.player.mode === "live") { this._clear(); }
        this.draw(this.player);
      });
      const numbers = make("div", { class: "typing-numbers" }, [parts.ms, parts.lost]);
      parts.row = make("div", { class: "typing-row" }, [parts.name, parts.label, parts.strip, numbers]);
      this.frame.body.append(parts.row);
      return parts;
    }

    draw(player) {
      const recording = player.recording;
      if (!recording) { this.frame.show(player, { what: "nothing is recorded yet: make talk" }); return; }
      const isLive = player.mode === "live";
      const isOn = isLive ? this._chosen() : new Set(recording.lanes.keys());
      const log = player.log || { ...recording, keys: [], events: [] };
      const frames = typingFrames(log, player.mode === "idle" ? -1 : isLive ? Infinity : player.t);
      const key = frames.keys.at(-1);
      const shown = log.texts[key && !isLive ? key[1] : this.text];
      const others = shown.texts.filter((_, i) => i !== shown.edited).join(" ");
      fit(this.other, others);
      text(this.fixed, shown.fixed.length > 44 ? `…${shown.fixed.slice(-43)}` : shown.fixed);
      this.input.readOnly = !isLive;
      this.input.placeholder = isLive ? "type here" : "";
      const value = key ? key[2] : "";
      if (!isLive && this.input.value !== value) {
        this.input.value = value;
        this.input.scrollLeft = this.input.scrollWidth; // the end of a long text, where it is typed
      }
      frames.lanes.forEach((lane, i) => this._drawLane(this.rows[i], lane, recording.lanes[i], isOn.has(i), frames, log));
      const isWhole = shown.fixed + this.input.value === shown.texts[shown.edited];
      const right = isWhole ? `; right: ${recording.labels[shown.right]}` : "";
      this.element.dataset.answers = frames.lanes.map((lane) => lane.answers.size).join(" ");
      this.frame.show(player, {
        label: isLive ? "Another text" : player.mode === "idle" ? "Play" : player.isOver ? "Again" : "",
        what: `${isLive ? "a core for each; click a name to compare with it" : "each model has a core of its own"}${right}`,
      });
    }

    _drawLane(row, lane, known, isOn, frames, log) {
      const teacher = frames.lanes[frames.lanes.length - 2];
      const isFresh = lane.last === frames.keys.length - 1;
      const differs = known.trained && lane.label !== null && teacher.label !== null && lane.last === teacher.last
        && lane.label !== teacher.label;
      row.row.classList.toggle("off", !isOn);
      text(row.name, known.name);
      text(row.label, lane.label === null ? "" : known.trained ? log.labels[lane.label] : "untrained");
      row.label.classList.toggle("differs", differs);
      row.label.classList.toggle("speed-only", !known.trained);
      row.label.classList.toggle("late", !isFresh);
      text(row.ms, lane.ms === null ? (isOn ? "" : "off") : milliseconds(lane.ms));
      text(row.lost, lane.last < 0 ? "" : `${count(lane.lost)} of ${count(lane.last + 1)} keys lost`);
      row.lost.classList.toggle("slow", lane.lost > 0);
      const drawn = `${lane.answers.size} ${frames.keys.length} ${lane.last}`;
      if (row.drawn !== drawn || !frames.keys.length) { drawStrip(row.strip, lane, frames.keys.length); }
      row.drawn = drawn;
    }
  }

  // A bar for each of the last keys, as high as the logarithm of its milliseconds; a red mark where the key was lost.
  function drawStrip(svg, lane, keys) {
    const first = Math.max(0, keys - SHOWN);
    const step = WIDTH / SHOWN;
    const bars = [];
    for (let key = first; key < keys; key++) {
      const answer = lane.answers.get(key);
      const isLost = !answer && key < lane.last;
      if (!answer && !isLost) { continue; }
      const height = answer ? Math.max(3, (HEIGHT * Math.log(1 + answer[1])) / Math.log(1 + LARGEST_MS)) : 8;
      const at = { x: (key - first) * step + 1, width: step - 2, y: HEIGHT - Math.min(HEIGHT, height), height };
      bars.push(make("rect", { ...at, class: isLost ? "lost" : "answered" }));
    }
    svg.replaceChildren(...bars);
  }

  root.Demos.typingFrames = typingFrames;
  root.Demos.Asker = Asker;
  root.Demos.register("typing", Typing);
})(typeof window !== "undefined" ? window : globalThis);
