// ONNX Runtime's WebAssembly build: a model read once, executed again and again.
//
// `node run.mjs FOLDER`: the folder of the package onnxruntime-web. A message is the number of bytes of its head, as 8
// bytes, the head in JSON, {"facts": {}, "arrays": [[name, dtype, shape]]}, and the bytes of the arrays; dtypes are
// those of NumPy, little-endian. The first request holds the model, as the array `model`, and each later one inputs.
// Each reply holds outputs, or the fact `error`.

import { readSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const KINDS = {
  "|u1": ["uint8", Uint8Array], "|i1": ["int8", Int8Array], "|b1": ["bool", Uint8Array],
  "<i4": ["int32", Int32Array], "<i8": ["int64", BigInt64Array],
  "<f4": ["float32", Float32Array], "<f8": ["float64", Float64Array],
};
const REPLIES = 1;

function read(size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size;) {
    const count = readSync(0, bytes, at, size - at);
    if (count === 0) process.exit(0); // there are no more requests
    at += count;
  }
  return bytes;
}

function request() {
  const head = JSON.parse(read(Number(read(8).readBigUInt64LE())).toString());
  return head.arrays.map(([name, dtype, shape]) => {
    if (!(dtype in KINDS)) throw new Error(`an input of ${dtype} is not known here`);
    const [type, Kind] = KINDS[dtype];
    const count = shape.reduce((product, n) => product * n, 1);
    const bytes = read(count * Kind.BYTES_PER_ELEMENT);
    return [name, type, new Kind(new Uint8Array(bytes).buffer), shape];
  });
}

function writeAll(bytes) {
  for (let at = 0; at < bytes.length;) at += writeSync(REPLIES, bytes, at);
}

function reply(facts, arrays) {
  const head = Buffer.from(JSON.stringify({ facts, arrays: arrays.map(([name, dtype, , shape]) => [name, dtype, shape]) }));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(head.length));
  writeAll(Buffer.concat([size, head]));
  for (const [, , data] of arrays) writeAll(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function outputs(given) {
  return Object.entries(given).map(([name, tensor]) => {
    const dtype = Object.keys(KINDS).find((one) => KINDS[one][0] === tensor.type);
    if (!dtype) throw new Error(`an output of ${tensor.type} is not known here`);
    return [name, dtype, tensor.data, tensor.dims];
  });
}

async function main() {
  const { InferenceSession, Tensor, env } = await import(pathToFileURL(join(process.argv[2], "dist", "ort.wasm.min.mjs")));
  env.wasm.numThreads = 1;
  env.logLevel = "fatal";
  let session;
  try {
    const [[, , model]] = request();
    session = await InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 4 });
    reply({}, []);
  } catch (error) {
    reply({ error: String(error) }, []);
    return;
  }
  for (;;) {
    const given = request();
    try {
      const feeds = Object.fromEntries(given.map(([name, type, data, shape]) => [name, new Tensor(type, data, shape)]));
      reply({}, outputs(await session.run(feeds)));
    } catch (error) {
      reply({ error: String(error) }, []);
    }
  }
}

main();
