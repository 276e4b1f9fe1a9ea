/** The form that a signature describes: a field for each column, with its type, and what was entered as values. */

import { isFloat } from "./arrays";
import { tableOf, type Signature, type Spec } from "./signature";
import { meant } from "./table";

export interface Field {
  spec: Spec;
  element: HTMLElement;
  value: () => Promise<unknown>;
  fill: (value: unknown) => void;
}

type Attributes = Record<string, string | boolean | number>;

/** An element with attributes and children; text is only ever text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Attributes = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false) element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** A column of a table is an input of one value a row. */
export function fieldSpecs(signature: Signature): Spec[] {
  const table = tableOf(signature);
  if (!table) return signature.inputs;
  return table.columns!.map((name) => ({ name, dtype: table.dtype, shape: ["N"], nullable: table.nullable }));
}

let made = 0;

export function field(spec: Spec): Field {
  const id = `field-${made++}`;
  const build = spec.content === "image" || spec.content === "bytes" ? file
    : spec.shape.length > 1 || spec.shape.length === 0 || spec.content ? tensorText
    : spec.categories?.length ? levels : spec.dtype === "bool" ? truth : spec.dtype === "string" ? text : number;
  const { control, value, fill } = build(spec, id);
  const kind = spec.content || { string: "text", bool: "yes or no" }[spec.dtype] || (isFloat(spec.dtype) ? "number" : "integer");
  const hint = make("span", { class: "kind" }, spec.nullable ? `${kind}, may be empty` : kind);
  const element = make("div", { class: "field" }, make("label", { for: id }, spec.name, " ", hint), control);
  return { spec, element, value, fill };
}

interface Control {
  control: HTMLElement;
  value: () => Promise<unknown>;
  fill: (value: unknown) => void;
}

const shown = (value: unknown): string => (value === null || value === undefined ? "" : String(value));

function number(spec: Spec, id: string): Control {
  const input = make("input", { id, type: "text", inputmode: isFloat(spec.dtype) ? "decimal" : "numeric",
    autocomplete: "off", spellcheck: "false", required: !spec.nullable });
  return { control: input, value: async () => meant(spec, input.value), fill: (v) => (input.value = shown(v)) };
}

function text(spec: Spec, id: string): Control {
  const area = make("textarea", { id, rows: 3, required: !spec.nullable });
  return { control: area, value: async () => meant(spec, area.value), fill: (v) => (area.value = shown(v)) };
}

function truth(spec: Spec, id: string): Control {
  const box = make("select", { id }, make("option", { value: "false" }, "no"), make("option", { value: "true" }, "yes"));
  return { control: box, value: async () => meant(spec, box.value), fill: (v) => (box.value = String(Boolean(v))) };
}

/** Known levels: a list to choose from where no other is taken, else a field that suggests them. */
function levels(spec: Spec, id: string): Control {
  const options = spec.categories!.map((level) => make("option", { value: level }, level));
  if (spec.closed) {
    const box = make("select", { id }, ...(spec.nullable ? [make("option", { value: "" }, "—")] : []), ...options);
    return { control: box, value: async () => meant(spec, box.value), fill: (v) => (box.value = shown(v)) };
  }
  const input = make("input", { id, type: "text", list: `${id}-levels`, autocomplete: "off" });
  const control = make("div", {}, input, make("datalist", { id: `${id}-levels` }, ...options));
  return { control, value: async () => meant(spec, input.value), fill: (v) => (input.value = shown(v)) };
}

function file(spec: Spec, id: string): Control {
  const image = spec.content === "image";
  // What was chosen last, from the moment it is chosen: a run must never answer for the file before
  let bytes: Promise<Uint8Array> | undefined;
  const input = make("input", { id, type: "file", accept: image ? "image/png,image/jpeg,image/gif,image/bmp,image/webp" : "*/*" });
  const preview = make("img", { alt: "", hidden: true });
  const take = (raw: Blob): void => {
    bytes = raw.arrayBuffer().then((buffer) => new Uint8Array(buffer));
    bytes.catch(() => {}); // told by whoever asks for the value
    if (!image) return;
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(raw);
    preview.alt = `the picture for ${spec.name}`;
    preview.hidden = false;
  };
  const chosen = (files: FileList | null | undefined): void => {
    if (files?.length) take(files[0]);
  };
  input.addEventListener("change", () => chosen(input.files));
  const control = make("div", { class: "drop" }, input, preview);
  control.addEventListener("dragover", (event) => event.preventDefault());
  control.addEventListener("drop", (event) => {
    event.preventDefault();
    chosen(event.dataTransfer?.files);
  });
  return {
    control,
    value: async () => {
      if (!bytes) throw new Error(`choose a file for '${spec.name}'`);
      return bytes;
    },
    fill: (v) => {
      if (v instanceof Uint8Array) take(new Blob([v as BlobPart]));
    },
  };
}

/** A tensor of several dimensions: one row of it as JSON. */
function tensorText(spec: Spec, id: string): Control {
  const batched = typeof spec.shape[0] === "string";
  const shape = batched ? spec.shape.slice(1) : spec.shape;
  const area = make("textarea", { id, rows: 4, spellcheck: "false", placeholder: `JSON of the shape [${shape.join(", ")}]` });
  return {
    control: area,
    value: async () => {
      try {
        return JSON.parse(area.value);
      } catch {
        throw new Error(`'${spec.name}' takes JSON: nested lists of the shape [${shape.join(", ")}]`);
      }
    },
    fill: (v) => (area.value = JSON.stringify(v, (_, one) => (typeof one === "bigint" ? Number(one) : one))),
  };
}
