// The places for the pictures that are sent: chosen, dropped or pasted, shown and taken away again.

export class Zone {
  /** element: the fieldset; most: how many pictures it holds. */
  constructor(element, most, onChange) {
    this.element = element;
    this.most = most;
    this.files = [];
    this._onChange = onChange;
    this._list = element.querySelector(".thumbs");
    this._input = element.querySelector("input");
    this._fault = element.querySelector(".fault");
    this._legend = element.querySelector("legend").textContent;
    this._input.addEventListener("change", () => {
      this.add(this._input.files);
      this._input.value = "";
    });
    for (const kind of ["dragover", "dragleave", "drop"]) {
      element.addEventListener(kind, (event) => this._dragged(event));
    }
  }

  /** Take more files; where there is room for one, the newest takes its place. */
  add(files) {
    const added = [...files];
    if (!added.length) return;
    this.files = this.most === 1 ? added.slice(-1) : [...this.files, ...added];
    this._show();
    if (this.files.length > this.most) {
      this.files = this.files.slice(0, this.most);
      this._show();
      this.complain(`${this.most} pictures are the most; the others were left out.`);
    }
  }

  /** Say what is wrong, with the picture of that number, or with all. */
  complain(message, number = null) {
    this._fault.textContent = message;
    this._fault.hidden = !message;
    [...this._list.children].forEach((item, place) => {
      item.classList.toggle("bad", Boolean(message) && (number === null ? this.files.length === 1 : place === number));
    });
  }

  _dragged(event) {
    event.preventDefault();
    this.element.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") this.add(event.dataTransfer.files);
  }

  _show() {
    for (const image of this._list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    this._list.replaceChildren(...this.files.map((file, place) => this._item(file, place)));
    this.complain("");
    this._onChange();
  }

  _item(file, place) {
    const item = document.createElement("li");
    const image = document.createElement("img");
    const remove = document.createElement("button");
    image.src = URL.createObjectURL(file);
    image.alt = `${this._legend}, ${place + 1}: ${file.name}`;
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      this.files = this.files.filter((_, other) => other !== place);
      this._show();
      this._input.focus();
    });
    item.append(image, remove);
    return item;
  }
}

/** Let pasted pictures go to the zone with the focus or under the pointer, else to the first. */
export function acceptPasted(zones) {
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    const here = (zone) => zone.element.matches(":focus-within") || zone.element.matches(":hover");
    (zones.find(here) ?? zones[0]).add(files);
  });
}
