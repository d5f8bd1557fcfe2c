// The page: a form, its request to the documented API, and what comes of it.

import { buildFields, labelOf } from "./fields.js";
import { Zone, acceptPasted } from "./pictures.js";
import { curlCommand, pythonProgram } from "./snippets.js";
import { readEvents } from "./stream.js";

const $ = (id) => document.getElementById(id);
const API = new URL("v1/", document.baseURI);
const CREDITS_AFTER_MS = 600;
const EMPTY = $("stage").firstElementChild;
const SUFFIX = { jpeg: "jpg", png: "png", webp: "webp" };

let offer = { attributes: {}, schedulers: [], price_base: 0, price_per_step: 0 };
let readFields = () => ({});
let running = null;
const pictures = [];

const zones = {
  face_image: new Zone($("face_image"), 8, refresh),
  pose_image: new Zone($("pose_image"), 1, refresh),
};

async function start() {
  acceptPasted(Object.values(zones));
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  $("form").addEventListener("input", refresh);
  $("key").addEventListener("input", later(showCredits, CREDITS_AFTER_MS));
  $("cancel").addEventListener("click", () => running?.abort());
  $("again").addEventListener("click", () => {
    $("seed").value = $("again").dataset.seed;
    refresh();
  });
  try {
    offer = await (await fetch(new URL("attributes", API))).json();
  } catch {
    complain("The server cannot be reached; load the page again later.");
  }
  readFields = buildFields(offer, $("basics"), $("extensions"));
  refresh();
}

// The request

function values() {
  const texts = { prompt: $("prompt").value, negative_prompt: $("negative_prompt").value };
  return { ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text)), ...readFields() };
}

/** What is missing, as [zone or null, message]. */
function missing() {
  if (!$("key").value.trim()) return [null, "API key: type or paste your key"];
  for (const [name, zone] of Object.entries(zones)) {
    if (!zone.files.length) return [zone, `${labelOf(name)}: choose a file`];
  }
  if (!$("prompt").value.trim()) return [null, "Prompt: say what to render"];
  return null;
}

function body() {
  const form = new FormData();
  for (const [name, zone] of Object.entries(zones)) for (const file of zone.files) form.append(name, file);
  for (const [name, value] of Object.entries({ ...values(), preview: true })) form.append(name, value);
  return form;
}

async function generate() {
  if (running) return;
  complain("");
  const lacks = missing();
  if (lacks) {
    lacks[0]?.complain(lacks[1]);
    return complain(lacks[1]);
  }
  running = new AbortController();
  const clock = busy("Waiting for a turn …");
  try {
    await follow(await ask("insta-depth/stream", { method: "POST", body: body(), signal: running.signal }), clock);
  } catch (error) {
    idle();
    if (error.name === "AbortError") say("Cancelled. A picture that was not finished costs nothing.");
    else fail(error);
  } finally {
    running = null;
    clock.stop();
  }
}

async function follow(response, clock) {
  for await (const [event, data] of readEvents(response)) {
    if (event === "waiting") say(`Step ${data.step} of ${data.num_inference_steps} · ${data.ahead} ahead of you`);
    if (event === "progress") showProgress(data);
    if (event === "error") throw new Refused(data);
    if (event === "image") {
      idle();
      say(`Done in ${clock.seconds().toFixed(1)} s.`);
      return keep(data);
    }
  }
  throw new Error("the connection ended before the picture came");
}

class Refused extends Error {
  constructor({ error }) {
    super(error);
  }
}

async function ask(path, options = {}) {
  const headers = { "x-api-key": $("key").value.trim() };
  const request = { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", headers, ...options };
  const response = await fetch(new URL(path, API), request);
  if (response.ok) return response;
  throw new Refused(await response.json().catch(() => ({ error: `the server answered ${response.status}` })));
}

// What is shown

function busy(text) {
  $("generate").disabled = true;
  $("cancel").disabled = false;
  Object.assign($("progress"), { hidden: false, max: 1, value: 0 });
  say(text);
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const timer = setInterval(() => { $("elapsed").textContent = `${seconds().toFixed(0)} s`; }, 1000);
  return { seconds, stop: () => clearInterval(timer) };
}

function idle() {
  $("generate").disabled = false;
  $("cancel").disabled = true;
  $("progress").hidden = true;
  $("elapsed").textContent = "";
  if (!pictures.length) $("stage").replaceChildren(EMPTY);
  else if ($("stage").querySelector(".preview")) show(pictures[0]);
}

function say(text) {
  $("status").textContent = text;
}

function complain(text) {
  $("fault").textContent = text;
  $("fault").hidden = !text;
  if (text) say("");
  if (!text) for (const zone of Object.values(zones)) zone.complain("");
}

function fail(error) {
  const [, name, number, rest] = /^([\w-]+?)(?:\[(\d)\])?: (.*)$/s.exec(error.message) ?? [null, "", undefined, error.message];
  const place = number === undefined ? null : Number(number);
  const label = name && labelOf(name) + (place === null ? "" : ` ${place + 1}`);
  const message = name ? `${label}: ${rest}` : error.message;
  complain(message.replace(/^./, (first) => first.toUpperCase()));
  zones[name]?.complain(rest, place);
}

function showProgress({ step, num_inference_steps: count, preview }) {
  say(`Step ${step} of ${count}`);
  Object.assign($("progress"), { max: count, value: step });
  if (preview) stage(blobOf(preview, "jpeg"), "Preview", "preview");
}

function keep(data) {
  const url = URL.createObjectURL(blobOf(data.image, data.output_format));
  const picture = { url, name: `insta-depth-${data.seed}.${SUFFIX[data.output_format]}`, ...data };
  pictures.unshift(picture);
  show(picture);
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(Object.assign(new Image(), { src: url, alt: `Picture ${pictures.length}, seed ${data.seed}` }));
  button.addEventListener("click", () => show(picture));
  const item = document.createElement("li");
  item.append(button);
  $("gallery").prepend(item);
  $("session").hidden = false;
  showBalance(data.remaining_credits);
}

function show(picture) {
  stage(picture.url, `Picture with the seed ${picture.seed}`);
  const rows = {
    Seed: picture.seed,
    Cost: credits(picture.cost),
    "Credits left": credits(picture.remaining_credits),
    Time: `${picture.generation_time.toFixed(1)} s`,
    Waited: `${picture.queue_time.toFixed(1)} s`,
  };
  $("facts").replaceChildren(...Object.entries(rows).map(([term, text]) => {
    const row = document.createElement("div");
    row.append(
      Object.assign(document.createElement("dt"), { textContent: term }),
      Object.assign(document.createElement("dd"), { textContent: text }),
    );
    return row;
  }));
  const depthOnly = picture.pose_face ? [] : ["The pose picture shows no face: only its depth was followed."];
  $("note").textContent = [...depthOnly, ...picture.warnings].join("\n");
  Object.assign($("download"), { href: picture.url, download: picture.name, hidden: false });
  Object.assign($("again"), { hidden: false }).dataset.seed = picture.seed;
}

function stage(source, alt, kind = "") {
  const url = typeof source === "string" ? source : URL.createObjectURL(source);
  const image = Object.assign(new Image(), { src: url, alt, className: kind, id: kind || "picture" });
  if (typeof source !== "string") image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  $("stage").replaceChildren(image);
}

function blobOf(base64, format) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: `image/${format}` });
}

function credits(amount) {
  const text = Number(amount.toFixed(3)).toLocaleString("en");
  return `${text} ${text === "1" ? "credit" : "credits"}`;
}

async function showCredits() {
  if (!$("key").value.trim()) return showBalance(null);
  try {
    showBalance((await (await ask("get-user-credits")).json()).credits);
  } catch (error) {
    $("credits").textContent = error instanceof Refused ? "This key is not known." : "";
  }
}

function showBalance(amount) {
  $("credits").textContent = amount === null ? "Your key for this server. It stays in this tab." : `${credits(amount)} left.`;
}

/** The steps of a second pass over the face, counted as the server does. */
function secondPassSteps(sent, steps) {
  const strength = sent.refine_strength ?? offer.attributes.refine_strength?.default;
  return sent.refine_face ? Math.max(Math.trunc(steps * strength), 1) : 0;
}

function refresh() {
  const sent = values();
  const steps = sent.num_inference_steps ?? offer.attributes.num_inference_steps?.default ?? 0;
  const most = credits(offer.price_base + offer.price_per_step * (steps + secondPassSteps(sent, steps)));
  $("price").textContent = `This picture costs ${sent.refine_face ? "at most " : ""}${most}.`;
  const files = Object.fromEntries(Object.entries(zones).map(([name, zone]) =>
    [name, zone.files.length ? zone.files.map((file) => file.name) : [`${name}.jpg`]]));
  const url = new URL("insta-depth", API).href;
  $("curl").textContent = curlCommand(url, files, sent);
  $("python").textContent = pythonProgram(url, files, sent);
}

function later(action, delay) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
}

start();
