// What a report's page does by itself: values at the pointer, the logarithmic axis, dark and light, one player at a time.

const tip = document.getElementById("tip");

for (const figure of document.querySelectorAll(".chart")) {
  const { from, to, series } = JSON.parse(figure.dataset.chart);
  const svg = figure.querySelector("svg");
  const pointer = figure.querySelector(".pointer");
  const places = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))];
  const toSvg = (x) => PLOT.left + ((x - from) / (to - from)) * (PLOT.right - PLOT.left);

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * PLOT.width;
    const distance = (x) => Math.abs(toSvg(x) - at);
    const nearest = places.reduce((best, x) => (distance(x) < distance(best) ? x : best), places[0]);
    pointer.setAttribute("x1", toSvg(nearest));
    pointer.setAttribute("x2", toSvg(nearest));
    pointer.style.visibility = "visible";
    tip.replaceChildren(line(`epoch ${nearest}`, null));
    for (const { name, colour, points } of series) {
      const point = points.find(([x]) => x === nearest);
      if (point) tip.append(line(`${name} ${point[1]}`, colour));
    }
    tip.hidden = false;
    const right = event.clientX + 14 + tip.offsetWidth;
    tip.style.left = `${right > innerWidth ? event.clientX - 14 - tip.offsetWidth : event.clientX + 14}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight)}px`;
  });
  svg.addEventListener("pointerleave", () => {
    tip.hidden = true;
    pointer.style.visibility = "hidden";
  });
}

function line(text, colour) {
  const element = document.createElement("div");
  if (colour) {
    const dot = document.createElement("i");
    dot.className = `swatch ${colour}`;
    element.append(dot);
  }
  element.append(text);
  return element;
}

document.getElementById("log-scale")?.addEventListener("change", (event) => {
  document.body.classList.toggle("log-scale", event.target.checked);
});

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

for (const clip of document.querySelectorAll(".clip")) {
  const audio = clip.querySelector("audio");
  if (!audio) continue;
  const picture = clip.querySelector(".picture");
  const cursor = picture.querySelector(".playhead");
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
  });
  audio.addEventListener("timeupdate", () => {
    cursor.style.visibility = "visible";
    cursor.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
  });
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    audio.currentTime = ((event.clientX - box.left) / box.width) * audio.duration;
    audio.play();
  });
}
