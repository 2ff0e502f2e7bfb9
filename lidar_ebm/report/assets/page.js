"use strict";
// The page's script: the theme, and the 3-D view of frames, which are decoded when they are first looked at.
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const listeners = [];

  function setTheme(name) {
    root.dataset.theme = name;
    byId("theme").textContent = name === "light" ? "Dark" : "Light";
    listeners.forEach((listener) => listener());
  }
  byId("theme").addEventListener("click", () => setTheme(root.dataset.theme === "light" ? "dark" : "light"));
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  const texts = [...document.querySelectorAll("script.frame")];
  if (!texts.length) return;
  const view = JSON.parse(byId("view").textContent);
  const FAR = 70; // m, of the colours by distance
  const POSES = {
    behind: { eye: [-9, 0, 6], target: [18, 0, -2.5] },
    above: view.above,
  };
  const EDGES = [0, 1, 1, 2, 2, 3, 3, 0, 4, 5, 5, 6, 6, 7, 7, 4, 0, 4, 1, 5, 2, 6, 3, 7];

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas: byId("canvas"), antialias: true });
  } catch {
    byId("no-view").hidden = false;
    return;
  }
  renderer.outputColorSpace = "srgb-linear"; // colours are those of the palette, as they are
  renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
  const scene = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(40, 1, 0.1, 400);
  camera.up.set(0, 0, 1);
  const controls = new THREE.OrbitControls(camera, renderer.domElement);
  let pending = false;
  function redraw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      renderer.render(scene, camera);
    });
  }
  controls.addEventListener("change", redraw);

  const cloud = new THREE.Points(
    new THREE.BufferGeometry(),
    new THREE.PointsMaterial({ size: 2, sizeAttenuation: false, vertexColors: true })
  );
  cloud.frustumCulled = false;
  const layers = {};
  for (const [name, width] of [["label", 4], ["before", 2], ["after", 2.5]]) {
    const lines = new THREE.LineSegments2(
      new THREE.LineSegmentsGeometry(), new THREE.LineMaterial({ linewidth: width, vertexColors: true })
    );
    lines.frustumCulled = false;
    layers[name] = lines;
  }
  scene.add(cloud, ...Object.values(layers));

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  const decoded = new Map();
  function frameAt(index) {
    if (!decoded.has(index)) {
      const frame = JSON.parse(texts[index].textContent);
      frame.places = Float32Array.from(new Int16Array(bytes(frame.places).buffer), (value) => value / view.units);
      for (const channel of Object.values(frame.channels)) channel.bytes = bytes(channel.bytes);
      decoded.set(index, frame);
    }
    return decoded.get(index);
  }

  function isInside(x, y, z, box) {
    const cos = Math.cos(box[6]), sin = Math.sin(box[6]), dx = x - box[0], dy = y - box[1];
    return Math.abs(z - box[2]) <= box[5] / 2 && Math.abs(cos * dx + sin * dy) <= box[3] / 2 &&
      Math.abs(cos * dy - sin * dx) <= box[4] / 2;
  }

  function pointShares(frame, by) {
    const { places, channels } = frame, count = places.length / 3, shares = new Float32Array(count);
    const [low, high] = view.heights;
    const boxes = [...frame.labels, ...frame.steps.at(-1)];
    for (let k = 0; k < count; k++) {
      const x = places[3 * k], y = places[3 * k + 1], z = places[3 * k + 2];
      if (by === "height") shares[k] = (z - low) / (high - low);
      else if (by === "distance") shares[k] = Math.hypot(x, y) / FAR;
      else if (by !== "boxes") shares[k] = by in channels ? channels[by].bytes[k] / 255 : 0;
      else shares[k] = boxes.some((box) => isInside(x, y, z, box)) ? 2 : 0;
    }
    return shares;
  }

  const rampOf = (theme, by) => (by === view.lag ? theme.lags : theme.heights); // new sweeps stand out, old ones fade

  function paintScale(frame) {
    const theme = view.themes[root.dataset.theme], by = byId("color").value, channel = frame.channels[by];
    const ends = { height: [...view.heights, "m"], distance: [0, FAR, "m"], boxes: null };
    if (channel) ends[by] = [channel.low, channel.high, by === view.lag ? "s before the newest sweep" : ""];
    const scale = byId("scale"), shown = ends[by];
    scale.hidden = !shown;
    if (!shown) return;
    const bar = document.createElement("i"), number = (value) => String(Number(value.toPrecision(3)));
    bar.style.background = `linear-gradient(to right, ${rampOf(theme, by).join(", ")})`;
    scale.replaceChildren(number(shown[0]), bar, `${number(shown[1])} ${shown[2]}`);
  }

  function paintPoints(frame) {
    const theme = view.themes[root.dataset.theme], by = byId("color").value, region = rgb(theme.region);
    const stops = rampOf(theme, by).map(rgb), shares = pointShares(frame, by), colors = new Float32Array(3 * shares.length);
    shares.forEach((share, k) => {
      if (share > 1.5) return colors.set(region, 3 * k);
      const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
      for (let c = 0; c < 3; c++) colors[3 * k + c] = stops[low][c] + (at - low) * (stops[low + 1][c] - stops[low][c]);
    });
    cloud.geometry.setAttribute("position", new THREE.BufferAttribute(frame.places, 3));
    cloud.geometry.setAttribute("color", new THREE.BufferAttribute(colors, 3));
  }

  function boxLines(box) {
    const [x, y, z, l, w, h, yaw] = box, cos = Math.cos(yaw), sin = Math.sin(yaw), corners = [];
    for (const up of [-0.5, 0.5]) {
      for (const [along, across] of [[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]]) {
        corners.push([x + cos * along * l - sin * across * w, y + sin * along * l + cos * across * w, z + up * h]);
      }
    }
    const reach = 0.5 * l + 0.4 * w; // the heading mark: from the middle through the front
    return [...EDGES.flatMap((k) => corners[k]), x, y, z, x + cos * reach, y + sin * reach, z];
  }

  function arrowLines(box) {
    const [x, y, z] = box, { seconds, share, limit, turn } = view.arrow;
    const along = [box[7] * seconds, box[8] * seconds], length = Math.hypot(...along);
    if (box.length < 9 || box[7] === null || box[8] === null || !length) return [];
    const tip = [x + along[0], y + along[1], z], barb = Math.min(share, limit / length), lines = [x, y, z, ...tip];
    for (const angle of [turn, -turn]) {
      const cos = Math.cos(angle) * barb, sin = Math.sin(angle) * barb;
      lines.push(...tip, tip[0] + cos * along[0] - sin * along[1], tip[1] + sin * along[0] + cos * along[1], z);
    }
    return lines;
  }

  const byClass = () => byId("boxes-by").value === "class";
  const showsArrows = () => Boolean(byId("show-velocity")?.checked);

  function paintBoxes(name, boxes, types) {
    const theme = view.themes[root.dataset.theme], lines = layers[name], positions = [], colors = [];
    boxes.forEach((box, row) => {
      const drawn = [...boxLines(box), ...(showsArrows() ? arrowLines(box) : [])];
      const color = rgb(byClass() ? theme.classes[types[row].toLowerCase()] : theme[name]);
      positions.push(...drawn);
      for (let k = 0; k < drawn.length / 3; k++) colors.push(...color);
    });
    lines.geometry.dispose();
    lines.geometry = new THREE.LineSegmentsGeometry();
    lines.userData.empty = !boxes.length;
    if (boxes.length) lines.geometry.setPositions(positions).setColors(colors);
  }

  function paintClasses(frame) {
    const theme = view.themes[root.dataset.theme], list = byId("classes"), counts = new Map();
    for (const name of frame.label_types) counts.set(name, (counts.get(name) ?? 0) + 1);
    for (const name of frame.types) counts.set(name, counts.get(name) ?? 0);
    list.hidden = !byClass();
    for (const name of Object.keys(layers)) document.querySelector(`.swatch.${name}`).hidden = byClass();
    list.replaceChildren(...[...counts.keys()].sort().map((name) => {
      const row = document.createElement("li"), swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = theme.classes[name.toLowerCase()];
      row.append(swatch, `${name} (${counts.get(name)})`);
      return row;
    }));
  }

  const state = { index: 0, step: 0 };

  function shownRows(frame) {
    const minimum = Number(byId("score").value);
    return frame.scores.map((score, row) => (score >= minimum ? row : -1)).filter((row) => row >= 0);
  }

  function paint() {
    const frame = frameAt(state.index), rows = shownRows(frame), steps = frame.steps;
    scene.background = new THREE.Color().setRGB(...rgb(view.themes[root.dataset.theme].background));
    paintPoints(frame);
    paintScale(frame);
    paintClasses(frame);
    paintBoxes("label", frame.labels, frame.label_types);
    paintBoxes("before", rows.map((row) => steps[0][row]), rows.map((row) => frame.types[row]));
    paintStep();
  }

  function paintStep() {
    const frame = frameAt(state.index), rows = shownRows(frame), f = frame.f[state.step];
    paintBoxes("after", rows.map((row) => frame.steps[state.step][row]), rows.map((row) => frame.types[row]));
    const mean = rows.reduce((sum, row) => sum + f[row], 0) / Math.max(rows.length, 1);
    byId("step-text").textContent =
      `${state.step} of ${frame.steps.length - 1}` + (rows.length ? `, mean f ${mean.toFixed(2)}` : "");
    for (const [name, object] of [["points", cloud], ...Object.entries(layers)]) {
      object.visible = byId(`show-${name}`).checked && !object.userData.empty;
    }
    redraw();
  }

  function showFrame(index) {
    state.index = (index + texts.length) % texts.length;
    const last = frameAt(state.index).steps.length - 1;
    state.step = last;
    byId("frame").selectedIndex = state.index;
    byId("step").max = last;
    byId("step").value = last;
    byId("tip").hidden = true;
    paint();
  }

  function setPose(name) {
    camera.position.set(...POSES[name].eye);
    controls.target.set(...POSES[name].target);
    controls.update();
    redraw();
  }

  byId("frame").addEventListener("change", (event) => showFrame(event.target.selectedIndex));
  byId("previous").addEventListener("click", () => showFrame(state.index - 1));
  byId("next").addEventListener("click", () => showFrame(state.index + 1));
  for (const id of ["color", "boxes-by", "show-velocity"]) byId(id)?.addEventListener("change", paint);
  byId("score").addEventListener("input", (event) => {
    byId("score-text").textContent = Number(event.target.value).toFixed(2);
    paint();
  });
  for (const name of ["points", ...Object.keys(layers)]) byId(`show-${name}`).addEventListener("change", paintStep);
  function setStep(step) {
    state.step = step;
    byId("step").value = step;
    paintStep();
  }
  byId("step").addEventListener("input", (event) => setStep(Number(event.target.value)));
  let playing = 0;
  byId("play").addEventListener("click", () => {
    clearInterval(playing);
    const last = frameAt(state.index).steps.length - 1;
    setStep(0);
    playing = setInterval(() => (state.step < last ? setStep(state.step + 1) : clearInterval(playing)), 250);
  });
  document.querySelectorAll("[data-pose]").forEach((button) => {
    button.addEventListener("click", () => setPose(button.dataset.pose));
  });
  listeners.push(paint);

  const speed = (box) => (box.length < 9 || box[7] === null ? "" : `, ${Math.hypot(box[7], box[8]).toFixed(1)} m/s`);

  // What is known of the box whose middle is nearest to the pointer.
  byId("canvas").addEventListener("pointermove", (event) => {
    const tip = byId("tip"), frame = frameAt(state.index), area = renderer.domElement.getBoundingClientRect();
    const place = new THREE.Vector3();
    let best = null, nearest = 24; // px
    const consider = (box, text) => {
      place.set(box[0], box[1], box[2]).project(camera);
      if (place.z > 1) return;
      const right = (place.x + 1) / 2 * area.width, down = (1 - place.y) / 2 * area.height;
      const away = Math.hypot(right - (event.clientX - area.left), down - (event.clientY - area.top));
      if (away < nearest) [nearest, best] = [away, { right, down, text }];
    };
    const shows = (layer) => byId(`show-${layer}`).checked;
    if (shows("label")) frame.labels.forEach((box, row) => consider(box, `label: ${frame.label_types[row]}${speed(box)}`));
    if (shows("after")) shownRows(frame).forEach((row) => {
      const iou = frame.iou[state.step][row], f = frame.f[state.step][row];
      consider(
        frame.steps[state.step][row],
        `${frame.types[row]} ${row}, score ${frame.scores[row].toFixed(2)}${speed(frame.steps[state.step][row])}\nstep ${state.step}: f ${f.toFixed(2)}, ` +
          `IoU ${iou.toFixed(3)}\nbefore: f ${frame.f[0][row].toFixed(2)}, IoU ${frame.iou[0][row].toFixed(3)}`
      );
    });
    tip.hidden = best === null;
    if (best) {
      tip.textContent = best.text;
      tip.style.left = `${Math.min(best.right + 14, area.width - 190)}px`;
      tip.style.top = `${Math.min(best.down + 14, area.height - 90)}px`;
    }
  });
  byId("canvas").addEventListener("pointerleave", () => (byId("tip").hidden = true));

  new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = byId("stage");
    renderer.setSize(width, height, false);
    camera.aspect = width / Math.max(height, 1);
    camera.updateProjectionMatrix();
    redraw();
  }).observe(byId("stage"));
  setPose("behind");
  showFrame(0);
})();
