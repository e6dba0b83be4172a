// Shows the worker's status, which arrives once a second. Everything that it says is untrusted text: it becomes the
// content of text nodes only. The history is kept here, and only while the page is open.
(() => {
  "use strict";

  const KEPT = 900; // samples: 15 minutes
  const RATE_OVER = 10; // seconds
  const SILENCE = 5000; // milliseconds after which the worker counts as lost
  const AGAIN = 5000; // milliseconds until the page connects again after a refusal

  const byId = (id) => document.getElementById(id);

  // ---- Text

  // Characters that change the direction of writing or that nobody sees, as `wasmrun top` escapes them.
  const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
  const clean = (text) =>
    String(text ?? "").replace(UNSAFE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  const number = (value) => (typeof value === "number" ? value.toLocaleString("en") : "–");
  const rate = (value) => (typeof value === "number" ? `${value.toFixed(1)}/s` : "–");

  function duration(seconds) {
    if (typeof seconds !== "number") return "–";
    if (seconds > 0 && seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
    if (seconds > 0 && seconds < 1) return `${(seconds * 1e3).toFixed(1)} ms`;
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    const [days, hours, minutes] = [whole / 86400, (whole / 3600) % 24, (whole / 60) % 60].map(Math.floor);
    if (days > 0) return `${days} d ${hours} h`;
    return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
  }

  const micros = (value) => duration(typeof value === "number" ? value / 1e6 : undefined);

  function bytes(value) {
    if (typeof value !== "number") return "–";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    const unit = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), units.length - 1);
    return `${(value / 1024 ** unit).toFixed(unit ? 1 : 0)} ${units[unit]}`;
  }

  // ---- History: an array of each quantity, as the charts take them

  const history = { at: [], uptime: [], tasks: [], completed: [], done: [], failed: [], backlog: [], running: [], allowed: [] };
  const columns = Object.values(history);

  function remember(status) {
    const last = history.uptime.length - 1;
    // Another process has the address now.
    if (last >= 0 && status.uptime_seconds < history.uptime[last]) columns.forEach((column) => (column.length = 0));
    const { uptime, tasks, completed } = history;
    history.at.push(Date.now() / 1000);
    uptime.push(status.uptime_seconds);
    tasks.push(status.tasks);
    completed.push(status.outcomes.completed ?? 0);
    const now = uptime.length - 1;
    const first = uptime.findIndex((then) => uptime[now] - then <= RATE_OVER);
    const time = uptime[now] - uptime[first];
    const perSecond = (counts) => (time > 0 ? (counts[now] - counts[first]) / time : null);
    const [ended, done] = [perSecond(tasks), perSecond(completed)];
    history.done.push(done);
    history.failed.push(ended === null ? null : Math.max(ended - done, 0));
    history.backlog.push(status.depth?.visible ?? null);
    history.running.push(status.instances.running);
    history.allowed.push(status.instances.allowed);
    if (history.at.length > KEPT) columns.forEach((column) => column.shift());
  }

  // ---- Charts

  const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
  const WHOLE = [...Array(13).keys()].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));
  const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

  // Draws lines of the history. Each is [name, key of the history, colour, how a value is written, scale, dashes].
  function chart(id, lines, scales) {
    const box = byId(id);
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    const caption = (plot) => {
      const at = plot.cursor.idx ?? history.at.length - 1;
      const items = lines.map(([name, key, kind, shown, , dashes]) => {
        const item = element("span", `${name} `, dashes ? `${kind} dashes` : kind);
        item.append(element("b", shown(history[key][at])));
        return item;
      });
      byId(`${id}-values`).replaceChildren(...items);
    };
    const range = (plot, low, high) => [0, Math.max(1, (high ?? 0) * 1.1)];
    const plot = new uPlot(
      {
        width: box.clientWidth,
        height: box.clientHeight,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: {
          x: { range: (plot, from, to) => [Math.min(from, to - 60), to] },
          ...Object.fromEntries(scales.map((scale) => [scale, { range }])),
        },
        axes: [
          { ...axis, space: 90, size: 30, values: (plot, ticks) => ticks.map(clock) },
          ...scales.map((scale, index) => ({
            ...axis,
            scale,
            side: index ? 1 : 3,
            size: 50,
            incrs: WHOLE,
            grid: index ? { show: false } : axis.grid,
            values: (plot, ticks) => ticks.map((tick) => (tick >= 1e4 ? `${tick / 1e3}k` : `${tick}`)),
          })),
        ],
        series: [
          {},
          ...lines.map(([label, , kind, , scale, dash]) => ({
            label, scale, dash, stroke: colour(kind), width: 2, points: { show: false },
          })),
        ],
        hooks: { setCursor: [caption] },
      },
      [[], ...lines.map(() => [])],
      box,
    );
    new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: box.clientHeight })).observe(box);
    return {
      draw() {
        plot.setData([history.at, ...lines.map(([, key]) => history[key])]);
        caption(plot);
      },
      redraw: () => plot.redraw(false, true),
    };
  }

  const charts = [
    chart("throughput", [
      ["completed", "done", "one", rate, "tasks"],
      ["failed", "failed", "two", rate, "tasks"],
    ], ["tasks"]),
    chart("backlog", [
      ["backlog", "backlog", "three", number, "messages"],
      ["running", "running", "one", number, "tasks"],
      ["limit", "allowed", "one", number, "tasks", [6, 4]],
    ], ["messages", "tasks"]),
  ];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.redraw()));

  // ---- Numbers and tables

  // Fills a table's body. A cell is a text, or a number that is already written as text.
  function fill(id, rows, none) {
    const cell = (text, index) => {
      if (index === 0) {
        const head = element("th", clean(text));
        head.scope = "row";
        return head;
      }
      const made = element("td", "", /^[\d–]/.test(text) ? "number" : "");
      made.append(element("div", clean(text)));
      return made;
    };
    const lines = rows.map((cells) => {
      const line = document.createElement("tr");
      line.append(...cells.map(cell));
      return line;
    });
    if (lines.length === 0) {
      const line = document.createElement("tr");
      line.append(element("td", none, "none"));
      line.firstChild.colSpan = 9;
      lines.push(line);
    }
    byId(id).replaceChildren(...lines);
  }

  const counts = (object) =>
    Object.entries(object ?? {}).map(([name, count]) => [name.replaceAll("_", " "), number(count)]);

  function tiles(status) {
    const { instances, depth } = status;
    const limit = instances.because ? `${instances.min}..${instances.max}: ${instances.because}` : "fixed";
    const rows = [
      ["Running", number(instances.running), `limit ${number(instances.allowed)}, ${limit}`],
      ["Backlog", number(depth?.visible), depth ? `${number(depth.in_flight)} in flight, ${number(depth.delayed)} delayed` : "not known"],
      ["Throughput", rate(history.done.at(-1)), `failed ${rate(history.failed.at(-1))}`],
      ["Longest wait", duration(status.waited_seconds), "in the queue, of the last receive"],
      ["Tasks", number(status.tasks), "since the start"],
    ];
    if (status.held > 0) rows.push(["Held", number(status.held), "for fair shares or a permit"]);
    const failing = status.queues.filter((queue) => queue.failing);
    if (failing.length > 0) rows.push(["Failing queues", number(failing.length), failing.map((queue) => queue.queue).join(", ")]);
    if (status.waiting_for_backends > 0) rows.push(["Waiting", number(status.waiting_for_backends), "for a store or a queue"]);
    return rows.map(([name, value, more]) => {
      const tile = document.createElement("div");
      const shown = element("dd", value);
      shown.append(element("small", clean(more)));
      tile.append(element("dt", name), shown);
      return tile;
    });
  }

  function show(status) {
    const title = clean(status.component);
    byId("component").textContent = title;
    document.title = `${title} – wasmrun`;
    byId("about").textContent = `on ${clean(status.queue)}, up ${duration(status.uptime_seconds)}, wasmrun ${clean(status.version)}`;
    byId("now").replaceChildren(...tiles(status));
    charts.forEach((chart) => chart.draw());
    const spread = (name, key, shown) => {
      const of = status.percentiles[key] ?? {};
      return [name, ...["p50", "p95", "p99", "max"].map((percentile) => shown(of[percentile]))];
    };
    fill("percentiles", [
      spread("in the queue", "queued_us", micros),
      spread("duration", "wall_us", micros),
      spread("CPU time", "cpu_us", micros),
      spread("peak memory", "peak_memory_bytes", bytes),
      spread("bytes", "bytes", bytes),
    ]);
    fill("outcomes", counts(status.outcomes), "No task has ended yet.");
    fill("limits", counts(status.limits), "None.");
    const always = ["received", "dead_lettered", "released", "leases_expired"];
    const happened = Object.entries(status.counts).filter(([name, count]) => count > 0 || always.includes(name));
    fill("messages", counts(Object.fromEntries(happened)));
    fill("running", status.running.map((task) => [duration(task.age_seconds), number(task.receive_count), task.message_id]), "No task is running.");
    fill("failures", status.failures.map((task) => [
      duration(task.seconds_ago), task.outcome, number(task.receive_count), task.message_id, task.reason ?? "",
    ]), "No task has failed.");
  }

  // ---- Connection

  let source = null;
  let heard = Date.now();
  let paused = false;

  // A screen reader reads the state whenever it is set, so it is set only when it changes.
  function state(text, kind) {
    const shown = byId("state");
    if (shown.textContent === text) return;
    shown.textContent = text;
    shown.className = kind;
  }

  function connect() {
    source?.close();
    source = null;
    if (paused || document.hidden) return;
    const mine = (source = new EventSource("events"));
    mine.onmessage = (event) => {
      const status = JSON.parse(event.data);
      heard = Date.now();
      remember(status);
      show(status);
      const failed = [status.alive, status.ready].find((check) => !check.is);
      state(failed ? `not ready: ${clean(failed.why)}` : "ready", failed ? "bad" : "good");
    };
    // The browser connects again by itself, except after a refusal.
    mine.onerror = () => {
      if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === source && connect(), AGAIN);
    };
  }

  setInterval(() => {
    if (source && Date.now() - heard > SILENCE) state("no answer from the worker", "bad");
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    heard = Date.now();
    connect();
  });
  byId("pause").addEventListener("click", (event) => {
    paused = !paused;
    heard = Date.now();
    event.currentTarget.setAttribute("aria-pressed", String(paused));
    state(paused ? "paused" : "connecting", "");
    connect();
  });
  connect();
})();
