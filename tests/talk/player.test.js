// The player and the views' pure parts against scripted logs, with a clock of their own; run by node --test.
"use strict";
const test = require("node:test");
const assert = require("node:assert");
const path = require("node:path");

const STATIC = path.join(__dirname, "..", "..", "fflib", "talk", "static");
for (const name of ["player", "race", "typing", "ladder"]) { require(path.join(STATIC, `${name}.js`)); }
const { Player, RaceFrames, raceWaiting, typingFrames, Asker, ladderFrames, waterfall } = globalThis.Demos;

// A clock that goes when it is told to.
function makeClock() {
  let now = 0;
  let id = 0;
  const timers = new Map();
  return {
    now: () => now,
    every: (ms, f) => { timers.set(++id, { at: now + ms, ms, f }); return id; },
    after: (ms, f) => { timers.set(++id, { at: now + ms, ms: null, f }); return id; },
    stop: (which) => { timers.delete(which); },
    count: () => timers.size,
    go(ms) {
      const end = now + ms;
      for (;;) {
        const [which, next] = [...timers].filter(([, each]) => each.at <= end).sort((a, b) => a[1].at - b[1].at)[0] || [];
        if (!next) { break; }
        now = next.at;
        if (next.ms === null) { timers.delete(which); } else { next.at += next.ms; }
        next.f();
      }
      now = end;
    },
  };
}

const HEATS = [{ start_ms: 0, end_ms: 4000, lanes: [0], cores: [[0, 1]] }, { start_ms: 5000, end_ms: 9000, lanes: [1], cores: [[0, 1]] }];
const LANES = [{ name: "slow", what: "", trained: false }, { name: "fast", what: "", trained: true }];

function logOf(rows) {
  return { labels: ["no", "yes"], lanes: LANES, heats: HEATS, cores: 2, mode: "ghost", seconds: 9,
    requests: [["a", 1, 1], ["b", 0, 1]], machine: "m", date: "2026-01-01", events: rows };
}

const RECORDING = logOf([
  [1000, 0, 0, 0, 1000], [2000, 0, 1, 0, 1000], [3500, 0, 2, 0, 1500],
  ...Array.from({ length: 40 }, (_, i) => [5000 + 100 * (i + 1), 1, i, i % 4 ? 1 : 0, 100]),
]);
const START = { do: "race" };

// A stage that says what the test lets it say.
function makeStage() {
  const stage = { sent: [], closed: 0, connect: null };
  stage.connect = (handlers) => {
    stage.say = handlers;
    return { send: (what) => stage.sent.push(what), close: () => { stage.closed += 1; } };
  };
  return stage;
}

function makePlayer(stage, more = {}) {
  const clock = makeClock();
  const player = new Player({
    recording: RECORDING, connect: stage && stage.connect, waiting: raceWaiting, command: START, draw: () => {}, clock, ...more,
  });
  return { clock, player };
}

function counts(player) { return new RaceFrames().at(player.log, player.t).lanes.map((lane) => lane.count); }

test("without a stage the recording plays to its totals and ends", () => {
  const { clock, player } = makePlayer(null);
  player.start();
  clock.go(2500);
  assert.deepEqual([player.mode, ...counts(player)], ["recorded", 2, 0]);
  clock.go(7000);
  assert.deepEqual([player.isOver, ...counts(player)], [true, 3, 40]);
  assert.equal(clock.count(), 0, "a timer is left");
});

test("a stage that says nothing within 300 ms is none", () => {
  const stage = makeStage();
  const { clock, player } = makePlayer(stage);
  player.start();
  clock.go(299);
  assert.equal(player.mode, "asking");
  clock.go(2);
  assert.equal(player.mode, "recorded");
  assert.ok(player.t < 10, "the recording begins at its beginning");
  assert.equal(stage.closed, 1);
});

test("models that are still loading: recorded, with the reason", () => {
  const stage = makeStage();
  const { clock, player } = makePlayer(stage);
  player.start();
  stage.say.hello({ ready: false, why: "still loading" });
  clock.go(100);
  assert.deepEqual([player.mode, player.why], ["recorded", "still loading"]);
});

function begun() {
  const stage = makeStage();
  const made = makePlayer(stage);
  made.player.start();
  made.clock.go(50);
  stage.say.hello({ ready: true });
  assert.deepEqual(stage.sent, [START]);
  stage.say.log({ log: { ...logOf([]), events: undefined } });
  return { stage, ...made };
}

test("live rows are shown as they come, and the recording stays as it was", () => {
  const before = JSON.stringify(RECORDING);
  const { stage, clock, player } = begun();
  clock.go(500);
  stage.say.rows({ rows: [[400, 0, 0, 0, 400]] });
  assert.deepEqual([player.mode, ...counts(player)], ["live", 1, 0]);
  stage.say.rows({ rows: [[450, 0, 1, 0, 50]] });
  clock.go(100);
  assert.deepEqual(counts(player), [2, 0]);
  assert.equal(JSON.stringify(RECORDING), before);
});

for (const [how, pull] of [
  ["the server is killed", (stage) => stage.say.closed()],
  ["the stage says that a lane failed", (stage) => stage.say.failed({ why: "gone" })],
]) {
  test(`${how} in mid-race: the recording goes on from the same moment and reaches its totals`, () => {
    const { stage, clock, player } = begun();
    clock.go(1500);
    stage.say.rows({ rows: [[700, 0, 0, 0, 700], [1400, 0, 1, 0, 700]] });
    pull(stage);
    clock.go(100);
    assert.equal(player.mode, "recorded");
    assert.ok(player.t >= 1500 && player.t <= 1700, `t is ${player.t}`);
    assert.deepEqual(counts(player), [1, 0]);
    clock.go(8000);
    assert.deepEqual([player.isOver, ...counts(player)], [true, 3, 40]);
    assert.equal(clock.count(), 0);
  });
}

test("a lane that is silent for 3 s has failed, and not before; what comes later is not heard", () => {
  const slow = { ...RECORDING, events: RECORDING.events.map(([at, lane, i, label]) => [at, lane, i, label, 100]) };
  const stage = makeStage();
  const { clock, player } = makePlayer(stage, { recording: slow });
  player.start();
  stage.say.hello({ ready: true });
  stage.say.log({ log: logOf([]) });
  stage.say.rows({ rows: [[500, 0, 0, 0, 100]] });
  clock.go(3400);
  assert.equal(player.mode, "live");
  clock.go(300);
  assert.equal(player.mode, "recorded");
  const rows = player.log.events.length;
  stage.say.rows({ rows: [[3600, 0, 1, 0, 100]] });
  assert.equal(player.log.events.length, rows);
});

test("a lane whose answers take long is given longer", () => {
  const { clock, player } = begun(); // its slowest recorded answer took 1.5 s: 4.5 s are allowed
  clock.go(3900);
  assert.equal(player.mode, "live");
});

test("a stage that says hello and no more", () => {
  const stage = makeStage();
  const { clock, player } = makePlayer(stage);
  player.start();
  stage.say.hello({ ready: true });
  clock.go(3200);
  assert.equal(player.mode, "recorded");
});

test("reset, whatever it hangs at, and a new start asks for the stage again", () => {
  const { stage, clock, player } = begun();
  clock.go(700);
  player.stop();
  assert.deepEqual([player.mode, player.t, clock.count(), stage.closed], ["idle", 0, 0, 1]);
  player.start();
  stage.say.hello({ ready: true });
  assert.equal(stage.sent.length, 2);
});

test("a race ends live where the stage says so", () => {
  const { stage, clock, player } = begun();
  for (let t = 500; t < 4000; t += 500) { clock.go(500); stage.say.rows({ rows: [[t, 0, 0, 0, 400]] }); }
  clock.go(1500);
  for (let t = 5100; t < 9000; t += 500) { clock.go(500); stage.say.rows({ rows: [[t, 1, 0, 1, 40]] }); }
  stage.say.end();
  clock.go(3000);
  assert.deepEqual([player.mode, player.isOver, ...counts(player)], ["live", true, 7, 8]);
});

test("race: ghosts run beside the heat, the slow lane is told what it still needs, flips are counted", () => {
  const frames = new RaceFrames();
  const early = frames.at(RECORDING, 2500);
  assert.deepEqual(early.lanes.map((lane) => [lane.state, lane.count]), [["racing", 2], ["waiting", 0]]);
  const ghost = frames.at(RECORDING, 7000); // 2 s into the second heat: the first lane as it was 2 s into its own
  assert.deepEqual(ghost.lanes.map((lane) => [lane.state, lane.count]), [["ghost", 2], ["racing", 20]]);
  const end = frames.at(RECORDING, Infinity);
  assert.equal(end.lanes[0].missing_ms, (3500 / 3) * 37);
  assert.equal(end.lanes[1].missing_ms, null);
  // Even requests: the teacher says 1, of which every second is answered 0. Odd ones: it says 0, all are answered 1.
  assert.deepEqual([end.lanes[1].differing, end.lanes[1].right], [30, 30]);
});

test("typing: the keys between two answers are lost", () => {
  const keys = Array.from({ length: 6 }, (_, i) => [100 * i, 0, "x".repeat(i + 1)]);
  const log = { keys, lanes: LANES, events: [[250, 0, 0, 1, 250], [500, 0, 2, 0, 250], [510, 1, 5, 1, 10]] };
  const [slow, fast] = typingFrames(log, 505).lanes;
  assert.deepEqual([slow.last, slow.lost, slow.label], [2, 1, 0]);
  assert.deepEqual([fast.last, fast.lost], [-1, 0]);
  assert.equal(typingFrames(log, 600).lanes[1].lost, 5);
});

test("typing: a busy lane takes the newest key when it is free", async () => {
  const asked = [];
  const answers = [];
  const told = [];
  const ask = (lane, slot, key) => { asked.push(key); return new Promise((resolve) => answers.push(resolve)); };
  const asker = new Asker(0, 0, ask, (lane, key, said) => told.push([key, said]));
  for (const key of [0, 1, 2, 3]) { asker.take(key, () => 0); }
  answers[0]("first");
  await new Promise(setImmediate);
  assert.deepEqual(asked, [0, 3]);
  answers[1]("last");
  await new Promise(setImmediate);
  assert.deepEqual([told, asker.busySince], [[[0, "first"], [3, "last"]], null]);
});

test("ladder: an answer that is not the teacher's flips; without trained weights none does", () => {
  const stops = [{ trained: false }, { trained: true }, { trained: true }];
  const log = { stops, events: [[0, 2, 0, 1, 1], [1, 1, 0, 0, 9], [2, 0, 0, 1, 99], [0, 2, 1, 0, 1]] };
  assert.deepEqual(ladderFrames(log, 0).flips, [false, false, true]);
  assert.deepEqual(ladderFrames(log, 1).flips, [false, false, false]); // the teacher has not answered yet
  assert.deepEqual(ladderFrames(log, 0, 0).answers.map(Boolean), [false, false, true]);
});

test("waterfall: each bar begins where the one below ends; a step back is marked", () => {
  const bars = waterfall([1, 10, 5, 100].map((factor) => ({ speedup_vs_padded: factor })));
  assert.deepEqual([bars[0].from, bars[0].to, bars[3].to], [0, 0, 1]);
  assert.ok(Math.abs(bars[1].to - 0.5) < 1e-9 && bars[2].to === bars[1].to && bars[3].from === bars[2].from);
  assert.deepEqual(bars.map((bar) => bar.isLoss), [false, false, true, false]);
});
