/**
 * A model in the browser: onnxruntime-web around the program, steps around that, and the signature in front.
 *
 * `load` reads `model.json` beside this module (or at `base`), takes WebGPU where it is there and of use, else WASM,
 * and gives a Model. Everything is fetched from the same folder; nothing is sent anywhere.
 */

import { ARRAYS, NULL, joined, nested, rows, type Numbers, type Tensor, type Text, type Value } from "./arrays";
import { Fault } from "./fault";
import { bind, type Signature, type Spec } from "./signature";
import { prepare, type Step } from "./steps";

export type { Signature, Spec } from "./signature";
export type { Tensor } from "./arrays";

/** What `model.json` says. */
export interface Manifest {
  format: 1;
  name: string;
  version: number;
  digest: string;
  framework: string;
  kind: string;
  signature: Signature;
  /** What the program itself takes and gives, where that is not the signature. */
  program: Signature | null;
  steps: Step[];
  files: Record<string, string>;
  model: { entry: string; external: Record<string, string>; maxBatch: number | null };
  runtime: { wasm: Runtime; webgpu: Runtime | null };
  samples: string | null;
  bytes: { wasm: number; webgpu: number | null; weights: number };
  cached: string[];
}

export interface Runtime {
  module: string;
  mjs: string;
  wasm: string;
}

export interface LoadOptions {
  /** Where model.json lies; by default beside this module. */
  base?: string | URL;
  /** "webgpu" and "wasm" force one; by default WebGPU where it is there and the model gains by it. */
  device?: "auto" | "webgpu" | "wasm";
  /** Threads of WASM; more than one only on pages that are cross-origin isolated. */
  threads?: number;
  /** Is told what is loaded. */
  progress?: (what: string) => void;
}

type Ort = any;

export class Model {
  /** The checks, steps and runs of one request at a time: a session runs nothing twice at once. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    readonly manifest: Manifest, readonly device: "webgpu" | "wasm", readonly threads: number,
    private readonly ort: Ort, private readonly session: any,
    private readonly before: Around, private readonly after: Around,
  ) {}

  get signature(): Signature {
    return this.manifest.signature;
  }

  /** Answers as nested arrays by the names of the outputs. Throws a Fault that says what was wrong with which row. */
  async predict(given: unknown): Promise<Record<string, unknown>> {
    const tensors = await this.tensors(given);
    return Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, nested(value)]));
  }

  /** The same as tensors. */
  async tensors(given: unknown): Promise<Record<string, Tensor>> {
    const inputs = bind(this.signature, given);
    const batch = this.batched ? this.manifest.model.maxBatch : null;
    const size = inputs[this.signature.inputs[0].name].shape[0];
    if (!batch || size <= batch) return this.once(inputs);
    const parts: Record<string, Tensor>[] = [];
    for (let start = 0; start < size; start += batch) {
      const cut = Object.entries(inputs).map(([name, value]) => [name, rows(value, start, start + batch)]);
      parts.push(await this.once(Object.fromEntries(cut)));
    }
    return Object.fromEntries(this.signature.outputs.map(({ name }) => [name, joined(parts.map((part) => part[name]))]));
  }

  async close(): Promise<void> {
    await this.session.release();
  }

  private get batched(): boolean {
    const { inputs, outputs } = this.signature;
    return [...inputs, ...outputs].every((spec) => spec.shape.length > 0 && typeof spec.shape[0] === "string");
  }

  private once(inputs: Record<string, Tensor>): Promise<Record<string, Tensor>> {
    const run = this.last.then(() => this.run(inputs));
    this.last = run.catch(() => undefined);
    return run;
  }

  private async run(inputs: Record<string, Tensor>): Promise<Record<string, Tensor>> {
    const inner = this.manifest.program ?? this.signature;
    const made = await this.before(inputs);
    const feeds: Record<string, any> = {};
    for (const spec of inner.inputs) feeds[spec.name] = this.fed(spec, made[spec.name] as Tensor);
    const answers: Record<string, any> = await this.session.run(feeds);
    const results: Record<string, Value> = {};
    for (const spec of inner.outputs) results[spec.name] = taken(spec, answers[spec.name]);
    const done = await this.after(results);
    return Object.fromEntries(this.signature.outputs.map(({ name }) => [name, done[name] as Tensor]));
  }

  private fed(spec: Spec, value: Tensor): any {
    if (value.shape.length !== spec.shape.length ||
        spec.shape.some((dim, axis) => typeof dim === "number" && dim !== value.shape[axis])) {
      const told = `the request has another size than the model takes, as '${spec.name}': [${value.shape}]`;
      throw new Fault("input.shape", told, { field: spec.name });
    }
    const data = spec.dtype === "string" ? (value.data as Text[]).map((text) => text ?? NULL) : value.data;
    return new this.ort.Tensor(spec.dtype, data, value.shape);
  }
}

type Around = (given: Record<string, Value>) => Promise<Record<string, Value>>;

function taken(spec: Spec, answer: any): Tensor {
  const shape = [...answer.dims] as number[];
  if (spec.dtype === "string") {
    return { dtype: "string", shape, data: (answer.data as string[]).map((text) => (text === NULL ? null : text)) };
  }
  const held = ARRAYS[spec.dtype];
  const data = answer.data instanceof held ? answer.data : (held as unknown as typeof Float32Array).from(answer.data);
  return { dtype: spec.dtype, shape, data: data as Numbers };
}

/** Read model.json and what it names, and make the program ready. */
export async function load(options: LoadOptions = {}): Promise<Model> {
  const base = new URL(options.base ?? ".", options.base ? document.baseURI : import.meta.url);
  const tell = options.progress ?? (() => undefined);
  tell("reading the model's description");
  const manifest: Manifest = JSON.parse(new TextDecoder().decode(await fetched(new URL("model.json", base))));
  if (manifest.format !== 1) throw new Fault("artifact.requires", "model.json is of another format");
  const files = Object.fromEntries(
    await Promise.all(Object.entries(manifest.files).map(async ([name, path]) => [name, await fetched(new URL(path, base))])),
  );
  const before = prepare(manifest.steps.filter((step) => !isAfter(step)), files);
  const after = prepare(manifest.steps.filter(isAfter), files);
  tell("loading the weights");
  const program = await fetched(new URL(manifest.model.entry, base));
  const externalData = await Promise.all(Object.entries(manifest.model.external).map(async ([path, file]) =>
    ({ path, data: await fetched(new URL(file, base)) })));
  const threads = globalThis.crossOriginIsolated ? (options.threads ?? Math.min(4, navigator.hardwareConcurrency || 1)) : 1;
  for (const device of await devices(manifest, options.device ?? "auto")) {
    tell(device === "webgpu" ? "starting on the graphics processor" : "starting the runtime");
    try {
      const ort = await runtime(manifest.runtime[device]!, base, threads);
      const session = await ort.InferenceSession.create(program, {
        executionProviders: [device], externalData, graphOptimizationLevel: "all",
      });
      return new Model(manifest, device, threads, ort, session, before, after);
    } catch (fault) {
      if (device === "wasm" || options.device === "webgpu") throw fault;
      console.warn("WebGPU cannot run this model; WASM takes over.", fault);
    }
  }
  throw new Fault("model.failed", "no device runs this model");
}

const isAfter = (step: Step): boolean => step.kind.startsWith("scores.") || step.kind.startsWith("values.");

/** Which devices to try, best first. */
async function devices(manifest: Manifest, wanted: string): Promise<("webgpu" | "wasm")[]> {
  if (wanted === "webgpu") return ["webgpu"];
  const gpu = (navigator as any).gpu;
  if (wanted === "wasm" || !manifest.runtime.webgpu || !gpu) return ["wasm"];
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter ? ["webgpu", "wasm"] : ["wasm"];
}

async function runtime(files: Runtime, base: URL, threads: number): Promise<Ort> {
  const ort = await import(/* @vite-ignore */ new URL(files.module, base).href);
  ort.env.wasm.wasmPaths = { mjs: new URL(files.mjs, base).href, wasm: new URL(files.wasm, base).href };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return ort;
}

async function fetched(url: URL): Promise<Uint8Array> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Fault("artifact.missing", `${url.pathname} is not there: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}
