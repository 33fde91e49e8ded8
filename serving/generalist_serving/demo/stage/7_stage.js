// Ties the parts together: the value comes in, what is drawn goes out, highlights go both ways.

const HIGHLIGHT = "generalist:highlight";

function createStage() {
  const find = (name) => element.querySelector(`.${name}`);
  const frame = find("frame");
  const stage = element.parentElement.closest("[id]")?.id || "";
  let image = null;
  let kept = null; // the last value that was not overtaken by a newer one
  let drawing = null;

  const say = (text) => (find("hint").textContent = text);
  const highlight = (unit) => document.dispatchEvent(new CustomEvent(HIGHLIGHT, { detail: { unit, stage } }));
  const units = createUnits(find, highlight);
  const depth = createDepth(find);
  const prompts = createPrompts(find, send, say);
  const tools = createTools(find, prompts, say);

  function send() {
    kept = props.value = { ...props.value, prompts: prompts.state.prompts };
    trigger("input");
  }

  function receive() {
    if (kept && props.value && props.value.at < kept.at) {
      props.value = kept;
      return;
    }
    const value = props.value || { image: null, units: [], depth: null, prompts: [] };
    const another = JSON.stringify(value.image) !== JSON.stringify(image);
    image = value.image;
    if (another) showImage();
    units.show(image ? value.units : [], image, another);
    depth.show(value.depth, image, another);
    const loaded = value.drawing && value.drawing === drawing;
    drawing = value.drawing;
    const drawn = (!loaded && value.prompts) || (another ? [] : prompts.state.prompts);
    if (another || JSON.stringify(drawn) !== JSON.stringify(prompts.state.prompts)) prompts.load(drawn, image);
    if (props.value && value.prompts !== drawn) props.value = { ...value, prompts: drawn };
    kept = props.value;
    refresh();
  }

  function showImage() {
    find("empty").hidden = Boolean(image);
    find("tools").hidden = find("views").hidden = !image;
    find("numbers").hidden = true;
    if (!image) return;
    find("shown").src = image.url;
    find("views").style.setProperty("--ratio", image.width / image.height);
    for (const layer of ["shapes", "drawn"]) find(layer).setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    find("name").textContent = [image.name, `${image.width} × ${image.height} px`].filter(Boolean).join(" · ");
    tools.setImage(image);
  }

  function refresh() {
    const all = units.records.map(({ unit }) => unit);
    find("opacity").hidden = !all.some((unit) => unit.type === "mask");
    find("threshold").hidden = !all.some((unit) => typeof unit.score === "number");
    find("blending").hidden = find("depth").hidden;
    find("sliders").hidden = ["opacity", "threshold", "blending"].every((name) => find(name).hidden);
    const read = (name) => Number(find(name).querySelector("input").value);
    const tell = (name, text) => (find(name).querySelector("output").textContent = text);
    units.state.threshold = read("threshold");
    units.refresh();
    find("masks").style.setProperty("--opacity", read("opacity") / 100);
    find("blend").style.opacity = read("blending") / 100;
    tell("opacity", `${read("opacity")} %`);
    tell("threshold", `${read("threshold").toFixed(2)} (${units.visible().length} of ${all.length})`);
    tell("blending", `${read("blending")} %`);
  }

  function onHighlight(event) {
    if (!element.isConnected) {
      document.removeEventListener(HIGHLIGHT, onHighlight);
      return;
    }
    const { unit, stage: meant } = event.detail || {};
    if (meant && meant !== stage) return;
    units.state.lit = unit ?? null;
    units.refresh();
  }

  function over(event) {
    if (!image) return;
    const place = pixelsAt(event, frame, image);
    depth.look(...place);
    if (!tools.looking()) return;
    const unit = units.at(...place) ?? units.state.pinned;
    if (unit !== units.state.lit) highlight(unit);
  }

  frame.addEventListener("pointermove", over);
  frame.addEventListener("pointerleave", () => tools.looking() && highlight(units.state.pinned));
  for (const slider of find("sliders").querySelectorAll("input")) slider.addEventListener("input", refresh);
  document.addEventListener(HIGHLIGHT, onHighlight);
  watch("value", receive);
  receive();
}

createStage();
