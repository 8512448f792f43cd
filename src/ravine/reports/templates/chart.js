// Curves on a canvas: linked by one axis of time, with a crosshair, marks, direct labels and a log switch.
// Colours are names of the stylesheet's table, so that dark mode and print redraw them.
"use strict";
const RavineCharts = (() => {
  const LEFT = 62, RIGHT = 118, TOP = 8, BOTTOM = 20, LABEL = 14, NARROW = 430;
  const known = new Map();  // colours; asking the stylesheet for each line of each frame is slow
  function css(name) {
    if (!known.has(name)) known.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "#888888");
    return known.get(name);
  }
  const element = (tag, text, parent, cls) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (cls) made.className = cls;
    if (parent) parent.append(made);
    return made;
  };

  // ---- numbers ---------------------------------------------------------------------------
  function brief(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e").replaceAll("-", "−");
    return (size >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(4)))).replace("-", "−");
  }
  const percent = value => value === null || Number.isNaN(value) ? "–" : `${Number((100 * value).toFixed(2))} %`;
  const between = ([low, high]) => `${Number((100 * low).toFixed(2))}–${percent(high)}`;
  function clock(seconds) {
    const whole = Math.round(seconds), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
    const two = n => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }
  const DURATIONS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  function ticks(low, high, count, seconds = false) {
    const rough = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(rough));
    const round = [1, 2, 5, 10].map(k => k * power).find(k => k >= rough) || 10 * power, found = [];
    const step = seconds && rough >= 1 ? DURATIONS.find(k => k >= rough) || 86400 * Math.ceil(rough / 86400) : round;
    for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
    return found;
  }
  function logTicks(low, high) {  // both are exponents
    const few = high - low < 2.5, found = [];
    for (let power = Math.floor(low); power <= Math.ceil(high); power++)
      for (const k of few ? [1, 2, 5] : [1]) found.push(power + Math.log10(k));
    const inside = found.filter(at => at >= low - 1e-9 && at <= high + 1e-9), every = Math.ceil(inside.length / 7);
    return inside.filter((_, k) => k % every === 0);
  }
  function firstAtLeast(x, value) {
    let low = 0, high = x.length;
    while (low < high) { const middle = (low + high) >> 1; if (x[middle] < value) low = middle + 1; else high = middle; }
    return low;
  }

  // ---- the axis of time that charts share --------------------------------------------------
  class Timeline {
    constructor() { this.name = "step"; this.full = [0, 1]; this.window = null; this.cursor = null; this.charts = new Set(); this.onwindow = () => {}; }
    get low() { return this.window ? this.window[0] : this.full[0]; }
    get high() { return this.window ? this.window[1] : this.full[1]; }
    text(x) { return this.name === "elapsed" ? clock(x) : this.name === "epoch" ? `epoch ${brief(x)}` : `step ${brief(Math.round(x))}`; }
    show(low, high) {
      const [a, b] = this.full, wide = Math.min(high - low, b - a), least = Math.max((b - a) * 1e-5, 1e-9);
      const start = Math.max(a, Math.min(b - wide, low));
      this.window = wide >= (b - a) * 0.999 ? null : [start, start + Math.max(wide, least)];
      this.redraw(); this.onwindow();
    }
    zoom(factor, at) { this.show(at - (at - this.low) * factor, at + (this.high - at) * factor); }
    pan(by) { this.show(this.low + by, this.high + by); }
    point(x) { this.cursor = x === null ? null : Math.max(this.low, Math.min(this.high, x)); this.redraw(); }
    redraw() { for (const chart of this.charts) chart.redraw(); }
  }

  // ---- what curves and heat maps have in common ----------------------------------------------
  class Panel {
    constructor(host, timeline, { title, height, room = RIGHT }) {
      this.timeline = timeline; this.title = title; this.tall = height; this.room = room; this.asked = false;
      this.figure = element("figure", "", host, "chart");
      const caption = element("figcaption", "", this.figure);
      this.heading = element("b", title, caption);
      this.readout = element("span", "", caption, "readout");
      this.caption = caption;
      this.canvas = element("canvas", "", this.figure);
      this.canvas.tabIndex = 0; this.canvas.setAttribute("role", "img"); this.canvas.setAttribute("aria-label", title);
      this.canvas.style.height = `${height}px`;
      this.pen = this.canvas.getContext("2d");
      timeline.charts.add(this);
      this.listen();
      new ResizeObserver(() => this.redraw()).observe(this.canvas);
    }
    remove() { this.timeline.charts.delete(this); this.figure.remove(); }
    get right() { return this.wide < NARROW ? 16 : this.room; }
    redraw() {
      if (this.asked) return;
      this.asked = true;
      requestAnimationFrame(() => { this.asked = false; this.draw(); });
    }
    begin() {
      const ratio = devicePixelRatio || 1, canvas = this.canvas;
      this.wide = canvas.clientWidth;
      const w = Math.round(this.wide * ratio), h = Math.round(this.tall * ratio);
      if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
      this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.pen.clearRect(0, 0, this.wide, this.tall);
      this.pen.font = "12px system-ui, -apple-system, Segoe UI, Roboto, sans-serif";
      const { low, high } = this.timeline, inner = Math.max(10, this.wide - LEFT - this.right);
      this.px = x => LEFT + (x - low) / ((high - low) || 1) * inner;
      this.xAt = px => low + (px - LEFT) / inner * (high - low);
      return this.wide > 0;
    }
    timeAxis() {
      const { pen, timeline } = this, bottom = this.tall - BOTTOM;
      pen.textAlign = "center"; pen.textBaseline = "top"; pen.fillStyle = css("dim"); pen.strokeStyle = css("line"); pen.lineWidth = 1;
      const count = Math.max(2, Math.floor((this.wide - LEFT - this.right) / 90));
      for (const at of ticks(timeline.low, timeline.high, count, timeline.name === "elapsed")) {
        const x = Math.round(this.px(at)) + 0.5;
        pen.beginPath(); pen.moveTo(x, bottom); pen.lineTo(x, bottom + 4); pen.stroke();
        pen.fillText(timeline.name === "elapsed" ? clock(at) : brief(at), x, bottom + 5);
      }
    }
    crosshair() {
      const { cursor } = this.timeline, { pen } = this;
      if (cursor === null) return;
      const x = Math.round(this.px(cursor)) + 0.5;
      pen.strokeStyle = css("dim"); pen.lineWidth = 1; pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, this.tall - BOTTOM); pen.stroke();
    }
    listen() {
      const { canvas, timeline } = this;
      let held = null;
      const at = event => this.xAt(event.clientX - canvas.getBoundingClientRect().left);
      canvas.addEventListener("pointermove", event => {
        if (held) { timeline.pan(held.x - at(event)); return; }
        this.pointedY = event.clientY - canvas.getBoundingClientRect().top;
        timeline.point(at(event));
      });
      canvas.addEventListener("pointerdown", event => { if (event.pointerType === "mouse" && timeline.window) { held = { x: at(event) }; canvas.setPointerCapture(event.pointerId); } });
      for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = null; });
      canvas.addEventListener("pointerleave", () => { this.pointedY = null; timeline.point(null); });
      canvas.addEventListener("dblclick", () => timeline.show(...timeline.full));
      canvas.addEventListener("wheel", event => {
        if (event.ctrlKey || event.metaKey) { event.preventDefault(); timeline.zoom(Math.exp(event.deltaY * 0.003), at(event)); }
        else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) { event.preventDefault(); timeline.pan((event.deltaX || event.deltaY) / this.wide * (timeline.high - timeline.low)); }
      }, { passive: false });
      canvas.addEventListener("keydown", event => {
        const wide = timeline.high - timeline.low, now = timeline.cursor ?? timeline.low;
        const moves = { ArrowRight: wide / 50, ArrowLeft: -wide / 50 };
        if (event.key in moves) timeline.point(now + moves[event.key]);
        else if (event.key === "+") timeline.zoom(0.7, timeline.cursor ?? (timeline.low + wide / 2));
        else if (event.key === "-") timeline.zoom(1 / 0.7, timeline.cursor ?? (timeline.low + wide / 2));
        else if (event.key === "0") timeline.show(...timeline.full);
        else if (event.key === "Escape") timeline.point(null);
        else return;
        event.preventDefault();
        this.readout.setAttribute("aria-live", "polite");
      });
    }
  }

  // ---- curves ----------------------------------------------------------------------------------
  class Chart extends Panel {
    constructor(host, timeline, options) {
      super(host, timeline, { height: 190, ...options });
      this.format = options.percent ? percent : brief;
      this.curves = []; this.marks = []; this.flags = options.flags;
      this.log = this.chosen = Boolean(options.log); this.plain = options.plain;  // without a scale of its own choice
      this.button = element("button", "log", this.caption);
      this.button.type = "button";
      this.button.setAttribute("aria-label", `log scale of ${this.title}`);
      this.button.addEventListener("click", () => { this.log = !this.log; this.chosen = true; this.redraw(); });
      if (options.percent) this.button.hidden = true;
    }
    rename(title) {
      if (title === this.title) return;
      this.title = this.heading.textContent = title;
      this.button.setAttribute("aria-label", `log scale of ${title}`);
      this.redraw();
    }
    // curves: {name, colour, x, y, kind: "line" | "pale" | "dots", low, high, alone: without a label}; marks: {x, severity, label}
    set(curves, marks = []) {
      this.curves = curves.filter(one => one.x.length); this.marks = marks;
      if (!this.chosen) this.log = this.spansDecades();
      this.redraw();
    }
    spansDecades() {
      if (this.button.hidden || this.plain) return false;
      let low = Infinity, high = 0;
      for (const one of this.curves) for (const v of one.y) if (v !== null) { if (v <= 0) return false; low = Math.min(low, v); high = Math.max(high, v); }
      return high / low > 60;
    }
    scale() {
      this.legendRoom = this.wide < NARROW && this.curves.some(one => one.name && !one.alone) ? LABEL + 4 : 0;
      let low = Infinity, high = -Infinity;
      for (const one of this.curves) {
        const a = Math.max(0, firstAtLeast(one.x, this.timeline.low) - 1), b = Math.min(one.x.length, firstAtLeast(one.x, this.timeline.high) + 1);
        for (let k = a; k < b; k++) {
          for (const v of [one.y[k], one.low?.[k], one.high?.[k]]) {
            if (v === null || v === undefined || !Number.isFinite(v) || (this.log && v <= 0)) continue;
            low = Math.min(low, v); high = Math.max(high, v);
          }
        }
      }
      if (low > high) { low = this.log ? 0.1 : 0; high = 1; }
      if (this.log) { low = Math.log10(low); high = Math.log10(high); }
      else if (low > 0 && low < 0.5 * high) low = 0;
      const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
      this.bottomValue = low === 0 && !this.log ? 0 : low - room; this.topValue = high + room;
      const inner = this.tall - TOP - BOTTOM - this.legendRoom;
      this.py = v => this.tall - BOTTOM - ((this.log ? Math.log10(v) : v) - this.bottomValue) / (this.topValue - this.bottomValue) * inner;
    }
    valueAxis() {
      const { pen } = this, inner = this.tall - TOP - BOTTOM - this.legendRoom;
      const at = this.log ? logTicks(this.bottomValue, this.topValue) : ticks(this.bottomValue, this.topValue, Math.max(2, inner / 42));
      pen.textAlign = "right"; pen.textBaseline = "middle"; pen.lineWidth = 1;
      for (const value of at) {
        const shown = this.log ? 10 ** value : value, y = Math.round(this.py(shown)) + 0.5;
        pen.strokeStyle = css("line"); pen.beginPath(); pen.moveTo(LEFT, y); pen.lineTo(this.wide - this.right, y); pen.stroke();
        pen.fillStyle = css("dim"); pen.fillText(this.format(shown), LEFT - 6, y);
      }
    }
    path(one) {
      const { pen } = this, a = Math.max(0, firstAtLeast(one.x, this.timeline.low) - 1), b = Math.min(one.x.length, firstAtLeast(one.x, this.timeline.high) + 1);
      let drawing = false;
      pen.beginPath();
      for (let k = a; k < b; k++) {
        const v = one.y[k];
        if (v === null || !Number.isFinite(v) || (this.log && v <= 0)) { drawing = false; continue; }
        if (drawing) pen.lineTo(this.px(one.x[k]), this.py(v)); else pen.moveTo(this.px(one.x[k]), this.py(v));
        drawing = true;
      }
      pen.stroke();
    }
    band(one) {
      const known = [...one.x.keys()].filter(k => Number.isFinite(one.low[k] ?? NaN) && Number.isFinite(one.high[k] ?? NaN));
      if (known.length < 2) return;
      const { pen } = this;
      pen.beginPath();
      known.forEach((k, n) => n ? pen.lineTo(this.px(one.x[k]), this.py(one.high[k])) : pen.moveTo(this.px(one.x[k]), this.py(one.high[k])));
      for (const k of known.reverse()) pen.lineTo(this.px(one.x[k]), this.py(one.low[k]));
      pen.globalAlpha = 0.16; pen.fillStyle = css(one.colour); pen.fill(); pen.globalAlpha = 1;
    }
    dots(one) {
      const { pen } = this;
      pen.fillStyle = css(one.colour);
      if (one.x.length > 120) return;
      for (let k = 0; k < one.x.length; k++) {
        if (one.y[k] === null || !Number.isFinite(one.y[k]) || (this.log && one.y[k] <= 0)) continue;
        const x = this.px(one.x[k]);
        if (x < LEFT - 3 || x > this.wide - this.right + 3) continue;
        pen.beginPath(); pen.arc(x, this.py(one.y[k]), 2.6, 0, 7); pen.fill();
      }
    }
    draw() {
      if (!this.begin()) return;
      const { pen } = this;
      this.button.setAttribute("aria-pressed", String(this.log));
      this.scale(); this.valueAxis(); this.timeAxis();
      pen.save(); pen.beginPath(); pen.rect(LEFT - 4, 0, this.wide - LEFT - this.right + 8, this.tall - BOTTOM); pen.clip();  // dots at an edge are whole
      for (const one of this.curves) if (one.low) this.band(one);
      for (const one of this.curves) {
        pen.strokeStyle = css(one.colour); pen.lineWidth = one.kind === "pale" ? 1 : 1.7; pen.lineJoin = "round";
        pen.globalAlpha = one.kind === "pale" ? 0.45 : 1;
        this.path(one);
        pen.globalAlpha = 1;
        if (one.kind === "dots") this.dots(one);
      }
      pen.restore();
      this.drawMarks(); this.crosshair(); this.labels(); this.say();
    }
    drawMarks() {
      const { pen } = this, taken = [];
      for (const mark of this.marks) {
        const x = this.px(mark.x);
        if (x < LEFT || x > this.wide - this.right) continue;
        pen.strokeStyle = pen.fillStyle = css(mark.severity === "critical" ? "red" : mark.severity === "warning" ? "second" : "dim");
        pen.setLineDash([4, 3]); pen.lineWidth = 1;
        pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, this.tall - BOTTOM); pen.stroke(); pen.setLineDash([]);
        if (!this.flags) continue;
        const wide = pen.measureText(mark.label).width, before = x + wide + 8 > this.wide - this.right;
        const left = before ? x - wide - 4 : x + 4;
        let row = 0;
        while (taken.some(t => t.row === row && left < t.right + 6 && left + wide > t.left - 6)) row++;
        taken.push({ row, left, right: left + wide });
        pen.textAlign = "left"; pen.textBaseline = "top";
        const y = TOP + this.legendRoom + row * LABEL;
        pen.save(); pen.fillStyle = css("paper"); pen.globalAlpha = 0.85; pen.fillRect(left - 2, y - 1, wide + 4, LABEL); pen.restore();
        pen.fillText(mark.label, left, y);
      }
    }
    labels() {
      const { pen } = this, ends = [], seen = new Set();
      for (const one of this.curves) {
        if (one.kind === "pale" || !one.name || one.alone || seen.has(one.name)) continue;
        let k = Math.min(one.x.length, firstAtLeast(one.x, this.timeline.high) + 1) - 1;
        while (k >= 0 && (one.y[k] === null || !Number.isFinite(one.y[k]) || (this.log && one.y[k] <= 0))) k--;
        if (k >= 0) { ends.push({ one, y: this.py(one.y[k]) }); seen.add(one.name); }
      }
      pen.textBaseline = "middle"; pen.textAlign = "left";
      if (this.wide < NARROW) { this.legend(ends); return; }
      ends.sort((a, b) => a.y - b.y);
      let above = -Infinity;
      for (const end of ends) { end.y = Math.max(end.y, above + LABEL, TOP + 4); above = end.y; }
      const over = above - (this.tall - BOTTOM - 2);
      if (over > 0) { let below = this.tall - BOTTOM - 2; for (const end of ends.slice().reverse()) { end.y = Math.min(end.y, below); below = end.y - LABEL; } }
      for (const { one, y } of ends) { pen.fillStyle = css(one.colour); pen.fillText(this.fitted(one.name, this.room - 10), this.wide - this.room + 7, y); }
    }
    legend(ends) {  // on a narrow page: one line above the curves
      const { pen } = this;
      let x = LEFT + 4, y = TOP + 4;
      for (const { one } of ends) {
        const text = this.fitted(one.name, this.wide - LEFT - 30), wide = pen.measureText(text).width;
        if (x > LEFT + 4 && x + wide > this.wide - 8) { x = LEFT + 4; y += LABEL; }
        pen.save(); pen.globalAlpha = 0.8; pen.fillStyle = css("paper"); pen.fillRect(x - 2, y - 7, wide + 4, LABEL); pen.restore();
        pen.fillStyle = css(one.colour); pen.fillText(text, x, y); x += wide + 12;
      }
    }
    fitted(text, wide) {
      if (this.pen.measureText(text).width <= wide) return text;
      let kept = text;
      while (kept.length > 1 && this.pen.measureText(`${kept}…`).width > wide) kept = kept.slice(0, -1);
      return `${kept}…`;
    }
    say() {
      const { cursor } = this.timeline, parts = [], last = [];
      for (const one of this.curves) {
        if (!one.name) continue;
        const k = Math.max(0, firstAtLeast(one.x, cursor ?? Infinity) - (cursor === null ? 1 : 0)), n = Math.min(k, one.x.length - 1);
        const text = `${one.name} ${this.format(one.y[n])}`;
        if (one.kind !== "pale") last.push(text);
        if (cursor !== null && one.kind !== "pale") parts.push(text);
      }
      this.readout.textContent = cursor === null ? "" : `${this.timeline.text(cursor)}: ${parts.join(", ")}`;
      const described = `${this.title} against ${this.timeline.name}: ${last.join(", ") || "no values yet"}${this.marks.length ? `; ${this.marks.length} findings` : ""}. Arrow keys move the cursor, plus and minus zoom, 0 shows all.`;
      if (cursor === null) this.canvas.setAttribute("aria-label", described);
    }
  }
  const all = new Set();
  function timeline() { const made = new Timeline(); all.add(made); return made; }
  const redrawAll = () => { known.clear(); for (const one of all) one.redraw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  // Printed at the paper's width and in its colours: a frame does not wait for the screen.
  const drawNow = () => { known.clear(); for (const one of all) for (const chart of one.charts) chart.draw(); };
  matchMedia("print").addEventListener("change", drawNow);
  addEventListener("beforeprint", drawNow); addEventListener("afterprint", redrawAll);
  return { Chart, Panel, timeline, element, brief, percent, between, clock, css, ticks, LEFT, RIGHT, TOP, BOTTOM };
})();
