// Drives the official JavaScript SDK: a JSON list of [class, its arguments, method, its arguments] on standard input, a
// line of JSON for each answer on standard output.
'use strict';

const sdk = require('smile-identity-core');

async function answer([name, made, method, args]) {
  try {
    return { answer: await new sdk[name](...made)[method](...args) };
  } catch (error) {
    return { status: error.response?.status, refused: error.response?.data ?? error.message };
  }
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  for (const call of JSON.parse(Buffer.concat(chunks))) {
    process.stdout.write(`${JSON.stringify(await answer(call))}\n`);
  }
}

main();
