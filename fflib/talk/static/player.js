// Plays events: from the stage while it is there, from the recording otherwise, by one and the same code.
//
// A demo is drawn from a log and a moment t: {events: [[t_ms, lane, request, label, ms], ...], and what its view needs}.
// Live, rows are added to the log as they come. When the stage is gone, or a lane is silent, the log is exchanged for
// the recording's and t goes on: server killed, network unplugged and a folder opened without any are one path.
//
// The page sets window.TALK = {live: "auto" | "no", photograph: true or nothing, old: names of recordings by other code}
// and window.RECORDINGS, and calls
// Demos.enter(element), Demos.leave(element) and Demos.reset(element) for <div class="demo" data-demo="race">.
(function (root) {
  "use strict";

  const HELLO_MS = 300; // a stage that has not said hello by then is none
  const SILENCE_MS = 3000; // a lane that says nothing for so long has failed,
  const SLOW = 3; // or for so many times as long as its slowest recorded answer took
  const TICK_MS = 100;

  const realClock = {
    now: () => performance.now(),
    every: (ms, f) => setInterval(f, ms),
    after: (ms, f) => setTimeout(f, ms),
    stop: (id) => { clearInterval(id); clearTimeout(id); },
  };

  // Connects to the stage that this page came from. handlers: hello, log, rows, end, failed, closed.
  function connectToStage(handlers) {
    const socket = new WebSocket(`ws://${location.host}/live`);
    let closed = false;
    const gone = () => { if (!closed) { closed = true; handlers.closed(); } };
    socket.onmessage = (message) => {
      const said = JSON.parse(message.data);
      if (!closed && handlers[said.is]) { handlers[said.is](said); }
    };
    socket.onclose = gone;
    socket.onerror = gone;
    return {
      send: (what) => { if (socket.readyState === 1) { socket.send(JSON.stringify(what)); } },
      close: () => { closed = true; socket.close(); },
    };
  }

  // mode: "idle" (nothing plays), "asking" (is there a stage?), "live" or "recorded"; `isOver` once all was played.
  class Player {
    // recording: the log to fall back on, or null. connect: see connectToStage; null where nothing can be live.
    // draw(player): called after each change. waiting(player): [[lane, since which t]] of those who owe an answer.
    // command: what the stage is told after its hello; without one the view sends what it wants itself.
    // patient: where no stage answers, nothing plays before `play` is called.
    constructor({ recording, connect, draw, waiting, command, patient, clock }) {
      Object.assign(this, { recording, connect, draw, waiting, command, patient });
      this.clock = clock || realClock;
      this.slowest = slowestByLane(recording);
      this.stop();
    }

    // Ends what plays and goes back to the beginning.
    stop() {
      this._close();
      Object.assign(this, { mode: "idle", log: this.recording, t: 0, isOver: false, why: "", hello: null });
      this.began = null;
    }

    // Begins: asks for the stage if it may be live, else plays the recording.
    start() {
      this.stop();
      if (!this.connect) { this.play(); return; }
      this.mode = "asking";
      this.asked = this.clock.now();
      this.limit = this.clock.after(HELLO_MS, () => this.fall("no stage"));
      const only = (f) => (said) => { if (this.link === link) { f(said); this.draw(this); } };
      const link = {};
      this.link = link;
      try {
        link.real = this.connect({
          hello: only((said) => this._hello(said)),
          log: only((said) => this.begin(said.log)),
          rows: only((said) => { this.log.events.push(...said.rows); }),
          end: only(() => { this._hangUp(); }),
          failed: only((said) => this.fall(said.why)),
          closed: only(() => this.fall("the stage is gone")),
        });
      } catch (error) { this.fall(String(error)); }
      this._tickAlways();
    }

    // Plays the recording from t on.
    play(t = 0) {
      this._close();
      Object.assign(this, { mode: "recorded", log: this.recording, isOver: false });
      this.began = this.clock.now() - t;
      this._tickAlways();
      this._tick();
    }

    // Shows the end of the recording at once, without any timer.
    showEnd() {
      this.stop();
      Object.assign(this, { mode: "recorded", t: Infinity, isOver: true });
      this.draw(this);
    }

    // Lets t begin now, with an empty log of this form.
    begin(log) {
      this.log = Object.assign({}, log, { events: [] });
      this.began = this.clock.now();
    }

    send(what) { if (this.link && this.link.real) { this.link.real.send(what); } }

    _hello(said) {
      this.clock.stop(this.limit);
      this.hello = said;
      if (!said.ready) { this.fall(said.why); return; }
      this.mode = "live";
      this.asked = this.clock.now();
      if (this.command) { this.send(this.command); }
    }

    // The stage is no help any more: the recording goes on from the same moment.
    fall(why) {
      if (this.mode !== "asking" && this.mode !== "live") { return; }
      const t = this.began === null ? 0 : this.clock.now() - this.began;
      const waits = this.patient && this.began === null;
      this.why = why;
      if (waits) {
        this._close();
        Object.assign(this, { mode: "idle", log: this.recording, t: 0 });
        this.clock.stop(this.ticking);
        this.draw(this);
      } else { this.play(t); }
    }

    _tickAlways() {
      this.clock.stop(this.ticking);
      this.ticking = this.clock.every(TICK_MS, () => this._tick());
    }

    _tick() {
      const now = this.clock.now();
      this.t = this.began === null ? 0 : now - this.began;
      if (this.mode === "live") {
        const owes = this.command && this.began === null ? [[-1, 0]] : this.waiting(this);
        const t = this.began === null ? now - this.asked : this.t;
        if (owes.some(([lane, since]) => t - since > this.patience(lane))) { this.fall("a lane is silent"); return; }
      }
      if (this.log && this.log.seconds && this.began !== null && this.t > 1000 * this.log.seconds) {
        if (this.mode === "recorded" || this.command) { this._over(); }
      }
      this.draw(this);
    }

    _over() {
      this.isOver = true;
      this.clock.stop(this.ticking);
      this._close();
    }

    patience(lane) { return Math.max(SILENCE_MS, SLOW * (this.slowest[lane] || 0)); }

    _close() {
      this.clock.stop(this.limit);
      this.clock.stop(this.ticking);
      this._hangUp();
    }

    _hangUp() {
      if (this.link && this.link.real) { this.link.real.close(); }
      this.link = null;
    }
  }

  function slowestByLane(log) {
    const slowest = {};
    for (const [, lane, , , ms] of log ? log.events : []) { slowest[lane] = Math.max(slowest[lane] || 0, ms); }
    return slowest;
  }

  // ---- What the views share -------------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  // Makes an element: make("div", {class: "x", text: "..."}, children). Text is always text, never markup.
  function make(name, properties = {}, children = []) {
    const isSvg = ["svg", "rect", "line", "path", "g"].includes(name);
    const element = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "text") { element.textContent = value; } else { element.setAttribute(key, value); }
    }
    element.append(...children);
    return element;
  }

  function text(element, value) { if (element.textContent !== value) { element.textContent = value; } }

  // Shows as much of a text as its place holds, so that nothing is cut in the middle of a line.
  const fitted = new WeakMap();
  function fit(element, value) {
    if (fitted.get(element) === value || !element.clientHeight) {
      if (!element.clientHeight) { text(element, value); }
      return;
    }
    fitted.set(element, value);
    text(element, value);
    let [low, high] = [0, value.length];
    if (element.scrollHeight <= element.clientHeight) { return; }
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      text(element, `${value.slice(0, middle).trimEnd()}…`);
      if (element.scrollHeight <= element.clientHeight) { low = middle; } else { high = middle - 1; }
    }
    text(element, `${value.slice(0, low).trimEnd()}…`);
  }

  function count(n) { return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ","); }

  function times(factor) { return factor == null ? "" : `${factor < 10 ? factor.toFixed(1) : count(factor)}×`; }

  function milliseconds(ms) { return ms < 10 ? `${ms.toFixed(1)} ms` : `${count(ms)} ms`; }

  function duration(ms) {
    const seconds = Math.round(ms / 1000);
    if (seconds < 60) { return `${seconds} s`; }
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) { return `${minutes} min ${seconds % 60} s`; }
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  // Where the numbers on screen come from; a recording never passes for something live.
  function badge(player) {
    if (player.mode === "live") { return "live, on this machine"; }
    if (player.mode === "asking" || (player.mode === "idle" && player.connect && !player.why)) { return ""; }
    const from = player.recording;
    if (!from) { return "no recording"; }
    const machine = from.machine.replace(/\((R|TM)\)/g, "").replace(/ \(family.*/, "");
    return `recorded on ${machine}, ${from.date.slice(0, 10)}${isOld(player) ? ", by older code" : ""}`;
  }

  // Whether what plays was recorded by other code than the deck is of: it may be shown, but nothing is claimed of it.
  function isOld(player) {
    const from = player.mode !== "live" && player.recording;
    return Boolean(from && ((root.TALK || {}).old || []).includes(from.demo));
  }

  // Asks the stage for the label of one text: {lane or stop, slot, texts, spans} -> {label, ms}, or an error.
  async function classify(question) {
    const options = { method: "POST", body: JSON.stringify(question) };
    const answer = await fetch("/classify", options);
    const said = await answer.json();
    if (!answer.ok) { throw new Error(said.why || answer.statusText); }
    return said;
  }

  function mayBeLive() {
    return typeof location !== "undefined" && location.protocol === "http:" && (root.TALK || {}).live !== "no";
  }

  // A frame for a view: a line with a button, what goes on, and the badge; below it the view's own.
  function frame(element, onButton) {
    const button = make("button", { type: "button", class: "demo-button" });
    const status = make("span", { class: "demo-status" });
    const mark = make("span", { class: "demo-badge" });
    const body = make("div", { class: "demo-body" });
    button.addEventListener("click", () => { button.blur(); onButton(); });
    element.replaceChildren(make("div", { class: "demo-line" }, [button, status, mark]), body);
    const show = (player, { label, what }) => {
      button.hidden = !label;
      text(button, label || "");
      text(status, what || "");
      text(mark, badge(player));
      element.dataset.mode = player.mode;
      element.dataset.over = player.isOver;
      mark.classList.toggle("live", player.mode === "live");
      mark.classList.toggle("recorded", player.mode !== "live");
      mark.hidden = !mark.textContent;
    };
    return { body, show, button };
  }

  // ---- The demos of a page --------------------------------------------------------------------------------------

  const kinds = {};
  const views = new Map();
  let entered = null;

  function viewOf(element) {
    if (!views.has(element)) {
      const kind = kinds[element.dataset.demo];
      if (!kind) { return null; }
      const recording = (root.RECORDINGS || {})[element.dataset.demo] || null;
      views.set(element, new kind(element, recording, mayBeLive() ? connectToStage : null));
    }
    return views.get(element);
  }

  const Demos = {
    register(name, kind) { kinds[name] = kind; },

    // The slide of this demo is shown.
    enter(element) {
      const view = viewOf(element);
      if (!view) { return; }
      entered = view;
      if ((root.TALK || {}).photograph) { view.player.showEnd(); } else { view.enter(); }
    },

    // Another slide is shown: nothing goes on, nothing is asked any more.
    leave(element) {
      const view = viewOf(element);
      if (!view) { return; }
      if (entered === view) { entered = null; }
      view.leave();
    },

    // Back to the beginning, whatever it hangs at.
    reset(element) {
      const view = viewOf(element);
      if (!view) { return; }
      view.leave();
      view.enter();
    },
  };

  if (typeof document !== "undefined") {
    document.addEventListener("keydown", (event) => { // Enter begins
      const typing = /input|textarea|button/i.test((document.activeElement || {}).tagName || "");
      if (event.key === "Enter" && entered && !typing) { entered.go(); }
    });
  }

  Object.assign(Demos, {
    Player, HELLO_MS, SILENCE_MS, TICK_MS,
    parts: { make, text, fit, count, times, milliseconds, duration, badge, isOld, classify, frame },
  });
  root.Demos = Demos;
})(typeof window !== "undefined" ? window : globalThis);
