/** The contract of steps, in Node. What only a browser decodes is run in one: tests/targets/test_browser_steps.py. */

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KINDS } from "../src/steps";
import { run, type Case } from "./cases";

const folder = new URL("../../tests/steps/", import.meta.url);
const held = readdirSync(folder).map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf-8")));
const drawn = /BMP|WebP|GIF|JPEG|two of different sizes/;

test("every kind has cases", () => {
  expect(Object.keys(KINDS).sort()).toEqual(held.map((one) => one.kind).sort());
});

for (const { kind, cases } of held) {
  for (const one of cases as Case[]) {
    test.skipIf(kind === "image.decode" && drawn.test(one.what) && !one.fault)(`${kind}: ${one.what}`, async () => {
      expect(await run(kind, one)).toBe("");
    });
  }
}
