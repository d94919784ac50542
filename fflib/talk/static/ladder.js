// The ladder: one stop a rung. The slider goes up; a text is answered at each; an answer that flips turns red.
(function (root) {
  "use strict";
  const { make, text, fit, count, times, milliseconds, classify, frame } = root.Demos.parts;
  const PAUSE_MS = 250; // after the last key, before all stops are asked
  const BAR = 300; // pixels of the largest factor
  const ROOM = 12; // rows that a slide has room for; of a longer ladder those around the stop are shown
  const KEPT = "talk.ladder";

  // What the stops said to a text: [{label, ms} or null]; `judge` is the first stop with trained weights. Pure.
  function ladderFrames(log, request, t = Infinity) {
    const answers = log.stops.map(() => null);
    for (const [at, stop, number, label, ms] of log.events) {
      if (number === request && at <= t) { answers[stop] = { label, ms }; }
    }
    const judge = log.stops.findIndex((stop) => stop.trained);
    return { answers, judge, flips: answers.map((answer, i) => flips(log.stops[i], answer, answers[judge])) };
  }

  function flips(stop, answer, judged) {
    return Boolean(stop.trained && answer && judged && answer.label !== judged.label);
  }

  // Where the bar of a rung begins and ends, from 0 to 1, on a logarithmic scale; the waterfall. Pure.
  function waterfall(stops) {
    const totals = stops.map((stop) => stop.speedup_vs_padded || 1);
    const top = Math.log(Math.max(2, ...totals));
    return totals.map((total, i) => {
      const ends = [i ? totals[i - 1] : 1, total].map((factor) => Math.max(0, Math.log(factor)) / top);
      return { from: Math.min(...ends), to: Math.max(...ends), isLoss: i > 0 && total < totals[i - 1] };
    });
  }

  class Ladder {
    constructor(element, recording, connect) {
      this.element = element;
      this.player = new root.Demos.Player({
        recording, connect, patient: true, waiting: () => this.owed || [], draw: (player) => this.draw(player),
      });
      this.log = recording;
      this.frame = frame(element, () => this.go());
      this.request = 0;
      this.stop = recording ? recording.stops.length - 1 : 0;
      if (recording) { this._build(recording); this._recall(); }
      this.draw(this.player);
    }

    _build(recording) {
      this.other = make("div", { class: "ladder-other" });
      this.fixed = make("span", { class: "typing-fixed" });
      this.input = make("input", { class: "typing-input", type: "text", spellcheck: "false", autocomplete: "off" });
      this.input.addEventListener("input", () => this.typed());
      const box = make("div", { class: "typing-box" }, [this.fixed, this.input]);
      this.bars = waterfall(recording.stops);
      this.rows = recording.stops.map((stop, i) => this._row(stop, i));
      this.slider = make("input", { class: "ladder-slider", type: "range", min: 0, max: recording.stops.length - 1, step: 1 });
      this.slider.addEventListener("input", () => this._go(Number(this.slider.value)));
      this.facts = make("div", { class: "ladder-facts" });
      this.what = make("div", { class: "ladder-what" });
      const side = make("div", { class: "ladder-side" }, [this.facts, this.what, this.slider]);
      const list = make("div", { class: "ladder-rows" }, this.rows.map((row) => row.row));
      this.frame.body.append(this.other, box, make("div", { class: "ladder-both" }, [list, side]));
    }

    _row(stop, i) {
      const bar = make("rect", { class: "ladder-bar", y: 3, height: 18 });
      const parts = {
        bar,
        name: make("div", { class: "ladder-name", text: stop.rung }),
        factor: make("div", { class: "ladder-factor" }),
        answer: make("div", { class: "ladder-answer" }),
        ms: make("div", { class: "ladder-ms" }),
      };
      const svg = make("svg", { viewBox: `0 0 ${BAR} 24`, width: BAR, height: 24 }, [bar]);
      parts.row = make("div", { class: "ladder-row" }, [parts.name, svg, parts.factor, parts.answer, parts.ms]);
      parts.row.addEventListener("click", () => this._go(i));
      return parts;
    }

    enter() {
      this._forget();
      if (this.player.connect && this.player.recording) { this.player.start(); } else { this.player.stop(); }
      this.draw(this.player);
    }

    leave() { this.player.stop(); this._forget(); if (this.input) { this.input.blur(); } this.draw(this.player); }

    // Another of the prepared texts.
    go() {
      if (!this.player.recording) { return; }
      this._forget();
      this.request = (this.request + 1) % this.player.recording.texts.length;
      this._keep();
      this.draw(this.player);
    }

    // Forgets what was typed: the prepared text stands there again, with its recorded answers.
    _forget() {
      clearTimeout(this.pause);
      this.asking = null;
      this.owed = [];
      this.typedLog = null;
      this.shownFor = null;
    }

    _go(stop) {
      this.stop = stop;
      this._keep();
      this.draw(this.player);
    }

    _keep() {
      try { localStorage.setItem(KEPT, JSON.stringify([this.stop, this.request])); } catch { /* a page without storage */ }
    }

    _recall() {
      try {
        const [stop, request] = JSON.parse(localStorage.getItem(KEPT));
        this.stop = Math.min(stop, this.player.recording.stops.length - 1);
        this.request = Math.min(request, this.player.recording.texts.length - 1);
      } catch { /* nothing kept */ }
    }

    // The audience typed: after a pause all stops are asked, the fast ones first.
    typed() {
      if (this.player.mode !== "live") { return; }
      const asked = { value: this.input.value };
      this.asking = asked;
      this.typedLog = { ...this.player.recording, events: [] };
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this._askAll(asked, this.typedLog), PAUSE_MS);
      this.draw(this.player);
    }

    async _askAll(asked, log) {
      const { texts, edited, fixed, spans } = log.texts[this.request];
      const whole = texts.map((each, i) => (i === edited ? fixed + asked.value : each));
      if (!asked.value.trim()) { return; }
      for (let stop = log.stops.length - 1; stop >= 0; stop--) {
        if (this.asking !== asked || this.player.mode !== "live") { return; }
        this.owed = [[stop, this.player.clock.now() - this.player.asked]];
        try {
          const said = await classify({ stop, texts: whole, spans });
          log.events.push([0, stop, this.request, said.label, said.ms]);
        } catch (error) {
          if (this.asking === asked) { this.player.fall(String(error)); }
          return;
        }
        this.owed = [];
        if (this.asking === asked) { this.draw(this.player); }
      }
    }

    draw(player) {
      const recording = player.recording;
      if (!recording) { this.frame.show(player, { what: "nothing is recorded yet: make talk" }); return; }
      if (player.mode !== "live" && this.typedLog) { this._forget(); } // the stage is gone: the prepared text again
      const prepared = recording.texts[this.request];
      const value = prepared.texts[prepared.edited].slice(prepared.fixed.length);
      if (this.shownFor !== this.request && !this.typedLog) { this.input.value = value; this.shownFor = this.request; }
      fit(this.other, prepared.texts.filter((_, i) => i !== prepared.edited).join(" "));
      text(this.fixed, prepared.fixed.length > 44 ? `…${prepared.fixed.slice(-43)}` : prepared.fixed);
      this.input.readOnly = player.mode !== "live";
      const frames = ladderFrames(this.typedLog || recording, this.request);
      recording.stops.forEach((stop, i) => this._drawStop(i, stop, frames, recording.labels));
      this.slider.value = this.stop;
      this._drawFacts(recording.stops[this.stop], frames, recording.labels);
      this.element.dataset.answers = frames.answers.filter(Boolean).length;
      this.element.dataset.flips = frames.flips.filter(Boolean).length;
      const right = this.input.value === value ? `; right: ${recording.labels[prepared.right]}` : "";
      const what = `${player.mode === "live" ? "type, and go up" : "go up"} the ladder${right}`;
      this.frame.show(player, { label: "Another text", what });
    }

    _drawStop(i, stop, frames, labels) {
      const row = this.rows[i];
      const { from, to, isLoss } = this.bars[i];
      const answer = frames.answers[i];
      const isReached = i <= this.stop;
      const first = Math.max(0, Math.min(this.stop - ROOM + 2, this.rows.length - ROOM));
      row.row.hidden = i < first || i >= first + ROOM;
      row.row.classList.toggle("ahead", !isReached);
      row.row.classList.toggle("here", i === this.stop);
      row.bar.setAttribute("x", isReached ? BAR * from : 0);
      row.bar.setAttribute("width", isReached ? Math.max(3, BAR * (to - from)) : 0);
      row.bar.classList.toggle("loss", isLoss);
      text(row.factor, times(stop.speedup_vs_padded));
      text(row.answer, !answer ? "" : stop.trained ? labels[answer.label] : "–");
      row.answer.classList.toggle("differs", frames.flips[i]);
      text(row.ms, answer ? milliseconds(answer.ms) : "");
    }

    _drawFacts(stop, frames, labels) {
      const percent = (share) => `${(100 * share).toFixed(1)} % right`;
      const size = stop.model_mb == null ? "" : `${count(stop.model_mb)} MB`;
      const answer = frames.answers[this.stop];
      const flipped = frames.flips[this.stop];
      const lines = [
        ["ladder-total", stop.speedup_vs_padded == null ? "" : times(stop.speedup_vs_padded)],
        ["", "the padded stock model's requests per second"],
        ["", stop.speedup_step == null ? "" : `${times(stop.speedup_step)} by this step`],
        ["", [stop.accuracy == null ? "untrained: speed only" : percent(stop.accuracy), size].filter(Boolean).join(", ")],
        [flipped ? "differs" : "", flipped ? `“${labels[answer.label]}”: the teacher says otherwise` : ""],
      ];
      const drawn = JSON.stringify([lines, stop.what]);
      if (drawn === this.drawn) { return; }
      this.drawn = drawn;
      this.facts.replaceChildren(...lines.filter(([, line]) => line).map(([kind, line]) => make("div", { class: kind, text: line })));
      fit(this.what, stop.what);
    }
  }

  root.Demos.ladderFrames = ladderFrames;
  root.Demos.waterfall = waterfall;
  root.Demos.register("ladder", Ladder);
})(typeof window !== "undefined" ? window : globalThis);
