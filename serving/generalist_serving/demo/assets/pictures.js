// The pictures of a conversation: add them by file, drop, paste, camera or sample; choose which one is shown.
const input = element.querySelector("input");
const strip = element.querySelector("ul");
const camera = element.querySelector(".camera");
const samples = element.querySelector(".samples");
let drawn = "";
let at = 0; // of what is shown; something older may come later

// --- sending -----------------------------------------------------------------------------------------

async function send(file, name) {
  const url = `pictures?name=${encodeURIComponent(name)}`;
  try {
    const response = await fetch(url, {
      method: "POST",
      body: file,
      headers: { "content-type": "application/octet-stream" },
    });
    return await response.json();
  } catch {
    return { error: "The demo cannot be reached; the picture was not added." };
  }
}

async function add(files) {
  if (!files.length) return;
  element.setAttribute("aria-busy", "true");
  const answers = await Promise.all(files.map((file) => send(file, file.name || "pasted.png")));
  element.removeAttribute("aria-busy");
  const refused = answers.find((answer) => answer.error);
  const ids = answers.filter((answer) => answer.id).map((answer) => answer.id);
  trigger("added", { ids, refused: refused ? refused.error : "" });
}

const pictures = (list) => [...(list ?? [])].filter((file) => file.type.startsWith("image/"));

element.querySelector(".choose").addEventListener("click", () => input.click());
input.addEventListener("change", () => {
  add([...input.files]);
  input.value = "";
});

// Wherever on the page of this tab, so that nobody has to aim.
const here = () => element.offsetParent !== null;
document.addEventListener("paste", (event) => {
  const files = here() ? pictures(event.clipboardData?.files) : [];
  if (files.length) {
    event.preventDefault();
    add(files);
  }
});
document.addEventListener("dragover", (event) => {
  if (here() && event.dataTransfer?.types.includes("Files")) {
    event.preventDefault();
    element.classList.add("dragged");
  }
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) element.classList.remove("dragged");
});
document.addEventListener("drop", (event) => {
  element.classList.remove("dragged");
  const files = here() ? [...(event.dataTransfer?.files ?? [])] : [];
  if (files.length) {
    event.preventDefault();
    add(files);
  }
});

// --- camera ------------------------------------------------------------------------------------------

const video = camera.querySelector("video");
let stream = null;

function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
  camera.hidden = true;
}

element.querySelector(".open-camera").addEventListener("click", async () => {
  if (stream) return closeCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    return trigger("added", { ids: [], refused: "There is no camera that this page may use." });
  }
  camera.hidden = false;
  video.srcObject = stream;
  await video.play();
  camera.querySelector(".snap").focus();
});
camera.querySelector(".snap").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    add([new File([blob], "camera.png", { type: "image/png" })]);
    closeCamera();
  }, "image/png");
});
camera.querySelector(".close-camera").addEventListener("click", closeCamera);

// --- drawing -----------------------------------------------------------------------------------------

function thumbnail(picture, shown) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "thumbnail" });
  button.setAttribute("aria-pressed", String(shown));
  button.title = picture.name;
  const image = Object.assign(document.createElement("img"), { src: picture.url, alt: `Show ${picture.name}` });
  button.append(image);
  button.addEventListener("click", () => trigger("chosen", { picture: picture.id }));
  const item = document.createElement("li");
  item.append(button);
  if (picture.removable) {
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "remove" });
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove ${picture.name}`);
    remove.addEventListener("click", () => trigger("removed", { picture: picture.id }));
    item.append(remove);
  }
  return item;
}

function sample({ name, url, words }) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "sample" });
  const caption = document.createElement("span");
  caption.textContent = words;
  button.append(Object.assign(document.createElement("img"), { src: url, alt: "" }), caption);
  button.addEventListener("click", () => trigger("sampled", { name }));
  return button;
}

function draw() {
  const value = props.value || { pictures: [], shown: null, at };
  if (value.at < at) return;
  at = value.at;
  const text = JSON.stringify([value.pictures, value.shown]);
  if (text === drawn) return;
  drawn = text;
  strip.replaceChildren(...value.pictures.map((picture) => thumbnail(picture, picture.id === value.shown)));
  strip.hidden = value.pictures.length === 0;
  element.querySelector(".welcome").hidden = value.pictures.length > 0;
}

samples.append(...props.samples.map(sample));
element.querySelector(".try").hidden = props.samples.length === 0;
watch("value", draw);
draw();
