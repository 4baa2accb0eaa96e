// DropBlock in JavaScript, tested by the test vectors of dropblock_ref:
//
//     node dropblock.js VECTORS RESULTS
//
// keepMask, scaleOf and multiply are the layer; the rest reads the vectors and writes what the layer makes of them.
// float32 and float64, kept cells counted over the batch or not at all; other cases are left out. With a third argument
// `planted-bug` they are counted in each sample.
"use strict";
const fs = require("fs");
const path = require("path");

const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

// Where the axes lie. Space may have two axes or three.
function layoutOf(dataFormat, shape) {
  const channelsFirst = dataFormat === "channels_first";
  const space = channelsFirst ? shape.slice(2) : shape.slice(1, -1);
  const channels = channelsFirst ? shape[1] : shape[shape.length - 1];
  const cells = product(space);
  return {
    batch: shape[0], channels, space, cells,
    index: (sample, channel, cell) =>
      channelsFirst ? (sample * channels + channel) * cells + cell : (sample * cells + cell) * channels + channel,
  };
}

function clippedBlock(block, space, oversizeBlock) {
  if (oversizeBlock === "clip_each_axis") return block.map((side, axis) => Math.min(side, space[axis]));
  if (oversizeBlock === "clip_to_smallest_axis") return block.map((side) => Math.min(side, ...space));
  return block;
}

// The numbers of the cells of a block that lie in the map.
function cellsOfBlock(seed, block, space, extraCell) {
  const strides = space.map((_, axis) => product(space.slice(axis + 1)));
  let cells = [0];
  space.forEach((size, axis) => {
    const at = Math.floor(seed / strides[axis]) % size;
    const first = at - Math.floor((extraCell === "before" ? block[axis] : block[axis] - 1) / 2);
    const inside = [];
    for (let u = Math.max(first, 0); u < Math.min(first + block[axis], size); u++) inside.push(u * strides[axis]);
    cells = cells.flatMap((cell) => inside.map((more) => cell + more));
  });
  return cells;
}

function keepMask(seeds, layout, block, extraCell) {
  const keep = new Uint8Array(seeds.length).fill(1);
  for (let sample = 0; sample < layout.batch; sample++)
    for (let channel = 0; channel < layout.channels; channel++)
      for (let seed = 0; seed < layout.cells; seed++)
        if (seeds[layout.index(sample, channel, seed)])
          for (const cell of cellsOfBlock(seed, block, layout.space, extraCell))
            keep[layout.index(sample, channel, cell)] = 0;
  return keep;
}

function scaleOf(keep, epsilon, allDropped) {
  const kept = keep.reduce((a, b) => a + b, 0);
  if (keep.length === 0) return 1;
  if (kept === 0) return allDropped === "nan" ? NaN : 0;
  return keep.length / (kept + epsilon);
}

// The mask has one channel where the channels share it, and one sample where the samples do.
const ofMask = (sample, channel, { batch, channels }) => [Math.min(sample, batch - 1), Math.min(channel, channels - 1)];

// One scale for each sample.
function multiply(x, keep, scales, layout, maskLayout) {
  const y = new x.constructor(x.length);
  for (let sample = 0; sample < layout.batch; sample++)
    for (let channel = 0; channel < layout.channels; channel++)
      for (let cell = 0; cell < layout.cells; cell++) {
        const i = layout.index(sample, channel, cell);
        y[i] = x[i] * keep[maskLayout.index(...ofMask(sample, channel, maskLayout), cell)] * scales[sample];
      }
  return y;
}

// .npy files of version 1.0, little endian, in C order.
const TYPES = { "|b1": Uint8Array, "<f4": Float32Array, "<f8": Float64Array };

function load(folder, entry) {
  const bytes = fs.readFileSync(path.join(folder, entry.file));
  const data = bytes.subarray(10 + bytes.readUInt16LE(8));
  const copy = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
  return new TYPES[entry.dtype](copy);
}

function save(file, array, shape) {
  const descr = Object.keys(TYPES).find((key) => array instanceof TYPES[key]);
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`.padEnd(117) + "\n";
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length, 0]);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, Buffer.concat([start, Buffer.from(header), Buffer.from(array.buffer)]));
}

function run(one, vectors, results, plantedBug) {
  const { x, seeds, cotangent } = one.arrays;
  const layout = layoutOf(one.data_format, x.shape);
  const maskLayout = layoutOf(one.data_format, seeds.shape);
  let keep = new Uint8Array(product(seeds.shape)).fill(1);
  let scales = new Array(layout.batch).fill(1);
  if (one.training && one.drop_prob > 0) {
    const block = clippedBlock(one.block_size, layout.space, one.oversize_block);
    keep = keepMask(load(vectors, seeds), maskLayout, block, one.even_extra_cell);
    const each = keep.length / maskLayout.batch;
    scales = scales.map((_, sample) => {
      if (one.scale_over === "keep_prob") return 1 / (1 - one.drop_prob);
      const first = Math.min(sample, maskLayout.batch - 1) * each;
      const counted = plantedBug ? keep.subarray(first, first + each) : keep;
      return scaleOf(counted, one.epsilon, one.all_dropped);
    });
  }
  const folder = path.join(results, one.name);
  save(path.join(folder, "keep_mask.npy"), keep, seeds.shape);
  save(path.join(folder, "y.npy"), multiply(load(vectors, x), keep, scales, layout, maskLayout), x.shape);
  save(path.join(folder, "x_bar.npy"), multiply(load(vectors, cotangent), keep, scales, layout, maskLayout), x.shape);
}

const [vectors, results, planted] = process.argv.slice(2);
const manifest = JSON.parse(fs.readFileSync(path.join(vectors, "manifest.json"), "utf8"));
if (manifest.version !== 1) throw new Error(`version ${manifest.version} of the vectors is unknown`);
for (const one of manifest.cases)
  if (["float32", "float64"].includes(one.dtype) && ["batch", "keep_prob"].includes(one.scale_over))
    run(one, vectors, results, planted === "planted-bug");
