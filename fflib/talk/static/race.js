// The race: the same requests, answered by four lanes in heats of a few seconds, with real answers and counters.
(function (root) {
  "use strict";
  const { make, text, fit, count, duration, isOld, frame } = root.Demos.parts;

  // What a race looks like at the moment t: a pure function of a log, which may still grow.
  class RaceFrames {
    constructor() { this.log = null; }

    // Sorts what came since the last call into lanes.
    _read(log) {
      if (log !== this.log) {
        this.log = log;
        this.read = 0;
        this.lanes = log.lanes.map(() => []);
        this.differing = log.lanes.map(() => [0]); // of the first n answers, how many are not the teacher's
        this.right = log.lanes.map(() => [0]);
        this.heatOf = log.lanes.map((_, lane) => log.heats.findIndex((heat) => heat.lanes.includes(lane)));
      }
      for (; this.read < log.events.length; this.read++) {
        const event = log.events[this.read];
        const [, lane, request, label] = event;
        const [, teacher, right] = log.requests[request % log.requests.length];
        this.lanes[lane].push(event);
        this.differing[lane].push(this.differing[lane].at(-1) + (label !== teacher));
        this.right[lane].push(this.right[lane].at(-1) + (label === right));
      }
    }

    // Returns {heat, isOver, lanes: [{state, count, last, differing, right, isTrained, missing_ms}], target}.
    at(log, t) {
      this._read(log);
      let heat = -1;
      log.heats.forEach((each, i) => { if (each.start_ms <= t) { heat = i; } });
      const now = Math.max(heat, 0);
      const running = log.heats[now];
      const elapsed = Math.min(t, running.end_ms) - running.start_ms;
      const isOver = t > log.heats.at(-1).end_ms;
      const lanes = log.lanes.map((lane, i) => this._lane(log, lane, i, heat, elapsed, t >= running.end_ms));
      const target = Math.max(...lanes.map((lane) => lane.count));
      for (const lane of lanes) { lane.missing_ms = isOver ? missing(lane, target) : null; }
      return { heat, isOver, lanes, target };
    }

    _lane(log, lane, i, heat, elapsed, isRun) {
      const mine = this.heatOf[i];
      const known = { name: lane.name, what: lane.what, isTrained: lane.trained };
      if (mine > heat || heat < 0) { return { ...known, state: "waiting", count: 0, differing: 0, right: 0, last: null }; }
      const events = this.lanes[i];
      const start = log.heats[mine].start_ms;
      const n = before(events, start + elapsed);
      const last = n ? events[n - 1] : null;
      const state = isRun ? "done" : mine === heat ? "racing" : "ghost";
      const took = last ? last[0] - start : 0;
      return { ...known, state, count: n, last, took, differing: this.differing[i][n], right: this.right[i][n] };
    }
  }

  // How many events lie at t or before it; events are in order.
  function before(events, t) {
    let low = 0;
    let high = events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (events[middle][0] <= t) { low = middle + 1; } else { high = middle; }
    }
    return low;
  }

  // How long a lane would go on until it has answered as many as the fastest; null where that cannot be said.
  function missing(lane, target) {
    return lane.count && lane.count < target ? (lane.took / lane.count) * (target - lane.count) : null;
  }

  // Who owes an answer: the lanes of the heat that runs, since their last answer or its start.
  function waiting(player) {
    const { log, t } = player;
    const heat = log.heats.find((each) => each.start_ms <= t && t < each.end_ms);
    if (!heat) { return []; }
    return heat.lanes.map((lane) => {
      const last = log.events.findLast((event) => event[1] === lane);
      return [lane, Math.max(heat.start_ms, last ? last[0] : 0)];
    });
  }

  class Race {
    constructor(element, recording, connect) {
      this.element = element;
      this.frames = new RaceFrames();
      this.player = new root.Demos.Player({
        recording, connect, waiting, command: { do: "race" }, draw: (player) => this.draw(player),
      });
      this.frame = frame(element, () => this.go());
      this.rows = (recording ? recording.lanes : []).map(() => this._row());
      this.draw(this.player);
    }

    enter() { this.player.stop(); this.draw(this.player); }

    leave() { this.player.stop(); this.draw(this.player); }

    // Begins, or begins anew.
    go() {
      if (this.player.mode === "idle" || this.player.isOver) { this.player.start(); this.draw(this.player); }
    }

    _row() {
      const bar = make("rect", { class: "race-bar", x: 0, y: 0, height: 26, width: 0 });
      const track = make("rect", { class: "race-track", x: 0, y: 0, height: 26, width: 620 });
      const parts = {
        bar,
        name: make("div", { class: "race-name" }),
        what: make("div", { class: "race-what" }),
        count: make("div", { class: "race-count" }),
        answer: make("div", { class: "race-answer" }),
        more: make("div", { class: "race-told" }),
        told: make("div", { class: "race-told" }),
      };
      const svg = make("svg", { class: "race-svg", viewBox: "0 0 620 26", width: 620, height: 26 }, [track, bar]);
      const left = make("div", { class: "race-left" }, [parts.name, parts.what]);
      const middle = make("div", { class: "race-middle" }, [svg, parts.answer]);
      const right = make("div", { class: "race-right" }, [parts.count, parts.more, parts.told]);
      parts.row = make("div", { class: "race-row" }, [left, middle, right]);
      this.frame.body.append(parts.row);
      return parts;
    }

    draw(player) {
      if (!player.log) {
        this.frame.show(player, { label: "", what: "nothing is recorded yet: make talk" });
        return;
      }
      while (this.rows.length < player.log.lanes.length) { this.rows.push(this._row()); }
      const isIdle = player.mode === "idle";
      const frames = this.frames.at(player.log, isIdle ? -1 : player.t);
      const scale = Math.max(frames.target, isIdle ? 1 : this._recordedTarget(), 1);
      if (isOld(player)) { for (const lane of frames.lanes) { lane.missing_ms = null; } }
      frames.lanes.forEach((lane, i) => this._drawLane(i, lane, player.log, scale, isIdle));
      this.element.dataset.counts = frames.lanes.map((lane) => lane.count).join(" ");
      this.frame.show(player, {
        label: isIdle || player.isOver ? (isIdle ? "Start" : "Again") : "",
        what: isIdle ? sharing(player.log) : this._says(player, frames),
      });
    }

    // As many as the fastest lane answers in the recording: a scale that does not jump while a race goes on.
    _recordedTarget() {
      if (!this.player.recording) { return 1; }
      this.target = this.target || new RaceFrames().at(this.player.recording, Infinity).target;
      return this.target;
    }

    _says(player, frames) {
      if (player.mode === "asking") { return "…"; }
      if (frames.isOver && isOld(player)) { return "this code may be faster or slower"; }
      if (frames.isOver) { return `what each still needs for ${count(frames.target)} answers`; }
      const heat = player.log.heats[Math.max(frames.heat, 0)];
      const left = heat.end_ms - player.t;
      const next = player.log.heats[frames.heat + 1];
      if (left <= 0 && next) { return `next: ${next.lanes.map((lane) => player.log.lanes[lane].name).join(" and ")}`; }
      return `heat ${frames.heat + 1} of ${player.log.heats.length}: ${Math.max(0, Math.ceil(left / 1000))} s`;
    }

    _drawLane(i, lane, log, scale, isIdle) {
      const row = this.rows[i];
      const isSlow = lane.missing_ms != null;
      row.row.dataset.state = lane.state;
      text(row.name, lane.name);
      fit(row.what, lane.isTrained ? lane.what : `${lane.what.split(",")[0]}, untrained: speed only`);
      row.bar.setAttribute("width", (620 * lane.count) / scale);
      row.bar.classList.toggle("speed-only", !lane.isTrained);
      text(row.count, lane.state === "waiting" ? "" : count(lane.count));
      text(row.more, isSlow ? `${duration(lane.missing_ms)} more` : lane.state === "ghost" ? "replayed" : "");
      row.more.classList.toggle("slow", isSlow);
      text(row.told, told(lane, i === log.lanes.length - 2));
      this._drawAnswer(row.answer, lane, log, isIdle);
    }

    _drawAnswer(element, lane, log, isIdle) {
      if (!lane.last) {
        text(element, lane.state === "waiting" || isIdle ? "" : "no answer yet");
        element.classList.remove("differs");
        return;
      }
      const [, , request, label] = lane.last;
      const [shown, teacher] = log.requests[request % log.requests.length];
      text(element, lane.isTrained ? `${log.labels[label]} ← ${shown}` : `an answer without training ← ${shown}`);
      element.classList.toggle("differs", lane.isTrained && label !== teacher);
    }
  }

  // How good the answers are, of a lane that has learnt; the teacher cannot differ from itself.
  function told(lane, isTeacher) {
    if (!lane.count || !lane.isTrained) { return ""; }
    const percent = (n) => `${((100 * n) / lane.count).toFixed(0)} %`;
    return `${percent(lane.right)} right${isTeacher ? "" : `, ${percent(lane.differing)} flipped`}`;
  }

  function sharing(log) {
    const cores = `${log.cores} core${log.cores === 1 ? "" : "s"}`;
    return log.mode === "split"
      ? `${cores}: two lanes at a time, each on its own half`
      : `${cores}: one lane at a time has them all; earlier heats are replayed beside it`;
  }

  root.Demos.RaceFrames = RaceFrames;
  root.Demos.raceWaiting = waiting;
  root.Demos.register("race", Race);
})(typeof window !== "undefined" ? window : globalThis);
