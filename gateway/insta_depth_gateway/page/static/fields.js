// The form's fields of a request's attributes, built from the server's own list of them.

const BASIC = ["num_inference_steps", "guidance_scale", "seed"];
const ELSEWHERE = ["prompt", "negative_prompt", "face_image", "pose_image", "base64", "preview"];
const LABELS = {
  "x-api-key": ["API key"],
  face_image: ["Face picture"],
  pose_image: ["Pose picture"],
  num_inference_steps: ["Steps", "More steps cost more."],
  guidance_scale: ["Guidance", "How closely to follow the prompt."],
  seed: ["Seed", "−1 draws one."],
  ip_adapter_scale: ["Likeness", "Weight of the face's features."],
  identitynet_scale: ["Face landmarks", "Weight of eyes, nose and mouth's places."],
  depth_scale: ["Depth", "Weight of the pose picture's depth."],
  scheduler: ["Scheduler"],
  enhance_face_region: ["Keep the face's influence inside the face"],
  pose_without_face: ["Where the pose picture shows no face"],
  face_mismatch: ["Where the face pictures show different people"],
  max_side: ["Longer side", "Pixels, a multiple of 64; empty is the server's largest."],
  output_format: ["File format"],
  output_quality: ["File quality"],
  speed: ["Speed"],
  refine_face: ["A second pass over a small face", "Keeps the person where the face has few pixels; its steps cost, too."],
  refine_strength: ["Strength of the second pass"],
};
const OWN = "the server's own";
const SLIDER_STEP = 0.05;

/** The name of an attribute for people. */
export function labelOf(name) {
  return LABELS[name]?.[0] ?? name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
}

/** offer: the answer of /v1/attributes. Fill both places and return a function that reads the fields' values. */
export function buildFields(offer, basics, extensions) {
  const readers = {};
  for (const [name, about] of Object.entries(offer.attributes)) {
    if (ELSEWHERE.includes(name)) continue;
    const [field, read] = fieldOf(name, about, offer);
    (BASIC.includes(name) ? basics : extensions).append(field);
    readers[name] = read;
  }
  return () => {
    const values = Object.entries(readers).map(([name, read]) => [name, read()]);
    return Object.fromEntries(values.filter(([, value]) => value !== undefined));
  };
}

function fieldOf(name, about, offer) {
  if (name === "scheduler") return choice(name, offer.schedulers, `${OWN} (${offer.default_scheduler ?? "?"})`);
  if (name === "refine_face") return flag(name, false, "auto");
  if (about.enum) return choice(name, about.enum, about.default ?? OWN);
  if (about.type === "boolean") return flag(name, about.default ?? false);
  return number(name, about);
}

function choice(name, names, own) {
  const select = element("select", { id: name });
  select.append(new Option(own, ""), ...names.filter((each) => each !== own).map((each) => new Option(each, each)));
  return [labelled(name, select), () => select.value || undefined];
}

/** A checkbox; ticked, it sends `value`, or true or false where there is none. */
function flag(name, initial, value) {
  const box = element("input", { id: name, type: "checkbox", checked: initial });
  const text = element("label", { htmlFor: name });
  text.append(box, labelOf(name));
  const read = () => (box.checked === initial ? undefined : value ?? box.checked);
  return [hinted(name, text), read];
}

function number(name, about) {
  const isWhole = about.type === "integer";
  const input = element("input", { id: name, type: "number", inputMode: isWhole ? "numeric" : "decimal", step: "any" });
  input.value = about.default ?? "";
  const initial = input.value;
  const isSent = () => input.value !== "" && (BASIC.includes(name) || input.value !== initial);
  const read = () => (isSent() ? Number(input.value) : undefined);
  const span = about.maximum - about.minimum;
  if (!(span <= 1000)) return [labelled(name, input), read];
  const step = isWhole ? about.multipleOf ?? 1 : SLIDER_STEP;
  const slider = element("input", { type: "range", min: about.minimum, max: about.maximum, step, tabIndex: -1 });
  slider.value = input.value || about.maximum;
  slider.setAttribute("aria-hidden", "true");
  slider.addEventListener("input", () => { input.value = slider.value; });
  input.addEventListener("input", () => { slider.value = input.value; });
  const pair = element("div", { className: "pair" });
  pair.append(slider, input);
  return [labelled(name, pair), read];
}

function labelled(name, content) {
  return hinted(name, element("label", { htmlFor: name, textContent: labelOf(name) }), content);
}

/** A field of these parts, and the attribute's hint below them. */
function hinted(name, ...parts) {
  const field = element("div", { className: "field" });
  field.append(...parts);
  const hint = LABELS[name]?.[1];
  if (hint) {
    field.append(element("p", { className: "hint", id: `${name}_hint`, textContent: hint }));
    field.querySelector(`#${name}`).setAttribute("aria-describedby", `${name}_hint`);
  }
  return field;
}

function element(kind, properties) {
  return Object.assign(document.createElement(kind), properties);
}
