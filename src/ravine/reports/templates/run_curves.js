// Which charts a run has, and how its rows become curves: the live page and the report draw the same.
"use strict";
const RunCurves = (() => {
  const SHADES = ["blue", "vermilion", "green", "pink", "ochre", "olive", "violet", "grey"];
  const CHARTS = [
    { name: "loss", title: "Loss", flags: true, epochs: ["train_loss", "loss"] },
    { name: "accuracy", title: "Accuracy", percent: true, epochs: ["train_accuracy", "accuracy"] },
    { name: "lr", title: "Learning rate", plain: true },
    { name: "gradient_norm", title: "Norm of the gradient, before clipping" },
    { name: "images_per_second", title: "Images per second", plain: true },
  ];
  const short = name => name.split("/").pop();

  // The curves of a chart, of one run or of several laid over each other: runs are {name, answer}, an answer as
  // `HistoryColumns.curves` gives it.
  function curvesOf(one, runs) {
    const curves = [], several = runs.length > 1;
    runs.forEach(({ name, answer }, k) => {
      if (!answer) return;
      const own = SHADES[k % SHADES.length], steps = answer.steps[one.name];
      const [train, validation] = one.epochs || [];
      if (steps) curves.push({ name: several ? short(name) : one.epochs ? "" : one.title, colour: several ? own : "training", x: steps[0], y: steps[1], kind: several || !one.epochs ? "line" : "pale", alone: !several });
      if (!one.epochs) return;
      const low = one.percent ? answer.epochs.low[1] : null, high = one.percent ? answer.epochs.high[1] : null;
      if (!several) curves.push({ name: "training", colour: "training", x: answer.epochs[train][0], y: answer.epochs[train][1], kind: "dots" });
      const evaluated = answer.epochs[validation];
      curves.push({ name: several ? `${short(name)}, validation` : "validation", colour: several ? own : "validation", x: evaluated[0], y: evaluated[1], kind: "dots", ...(low && !several ? { low, high } : {}) });
    });
    return curves;
  }
  const marksOf = answer => (answer?.findings || []).filter(row => row.step).map(row => ({ x: row.x, severity: row.severity, label: row.code || row.severity }));

  const scoreTitle = measure => measure === "mAP" ? "Training: all labels right; validation: mAP" : "Accuracy";

  return { CHARTS, scoreTitle, short, curvesOf, marksOf };
})();
