// Runs an ONNX file in onnxruntime-web: node onnxruntime_web.mjs MODEL FOLDER
//
// For each line [[name, type, shape], ...] on standard input, reads FOLDER/input0 and so on, and
// writes FOLDER/output0 and so on, and a line of the same form. The package is searched for from
// node's working directory.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [model, folder] = process.argv.slice(2);
const ort = createRequire(join(process.cwd(), "here.js"))("onnxruntime-web");
const ARRAYS = {
  bool: Uint8Array,
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
};

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });

for await (const line of createInterface({ input: process.stdin })) {
  const feeds = {};
  JSON.parse(line).forEach(([name, type, shape], index) => {
    if (!(type in ARRAYS)) throw new Error(`no array of ${type} for input ${name}`);
    const { buffer } = new Uint8Array(readFileSync(join(folder, `input${index}`)));
    feeds[name] = new ort.Tensor(type, new ARRAYS[type](buffer), shape);
  });
  const answers = await session.run(feeds);
  const told = session.outputNames.map((name, index) => {
    const { data, type, dims } = answers[name];
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    writeFileSync(join(folder, `output${index}`), bytes);
    return [name, type, dims];
  });
  console.log(JSON.stringify(told));
}
