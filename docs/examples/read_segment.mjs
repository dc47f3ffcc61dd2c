// Prints the events of an exported segment, one JSON object a line: node read_segment.mjs SEGMENT FOLDER_OF_PROTOS
// All it knows of the bytes is what envelope.proto and segment.proto say, and it needs nothing but Node.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const [file, protos] = process.argv.slice(2);
const text = ["envelope", "segment"].map((name) => readFileSync(`${protos}/${name}.proto`, "utf8")).join("");
const fields = {}; // by message and field number: [type, name]
for (const [, message, body] of text.replace(/\/\/.*/g, "").matchAll(/^message (\w+) {(.*?)^}/gms))
  fields[message] = Object.fromEntries(
    [...body.matchAll(/(\w+) (\w+) = (\d+);/g)].map(([, type, name, number]) => [number, [type, name]]));

function varint(from) {
  let value = 0n, shift = 0n, byte;
  do value |= BigInt((byte = from.bytes[from.at++]) & 127) << (shift++ * 7n); while (byte & 128);
  return BigInt.asIntN(64, value);
}
const delimited = (from, length = Number(varint(from))) => from.bytes.subarray(from.at, (from.at += length));

function parse(message, bytes) { // to lists: a field may be there not at all, once or often
  const found = {};
  for (const from = { bytes, at: 0 }; from.at < bytes.length; ) {
    const key = Number(varint(from)), [type, name] = fields[message][key >> 3];
    const value = key & 7 ? delimited(from) : varint(from); // no field is of another wire type
    (found[name] ??= []).push(fields[type] ? parse(type, value) : type === "string" ? `${value}` : value);
  }
  return found;
}

const log = { bytes: gunzipSync(readFileSync(file)), at: 0 }, digest = createHash("sha256");
while (log.at < log.bytes.length)
  for (const { category, id, position, recorded_at = [0n], envelope } of parse("Record", delimited(log)).commit ?? []) {
    const { commit_id, first_version, events } = parse("Envelope", envelope[0]);
    for (const [index, { type, schema, payload = [Buffer.of()], occurred_at = [null] }] of events.entries()) {
      digest.update(payload[0]);
      const event = { stream: [category[0], id[0]], version: first_version[0] + BigInt(index), position: position[0],
        recorded_at: recorded_at[0], occurred_at: occurred_at[0], commit_id: commit_id[0].toString("hex"),
        type: type[0], schema: schema[0], payload: payload[0].toString("hex") };
      console.log(JSON.stringify(event, (_, value) => (typeof value === "bigint" ? `${value}` : value)));
    }
  }
console.log(JSON.stringify({ digest: digest.digest("hex") }));
