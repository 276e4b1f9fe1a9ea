import { expect, test } from "vitest";

import { between, percentile, told, type Live } from "../console/traffic";

const look = (at: number, requests: number, latency: number[]): Live => ({
  at,
  buckets: [0.001, 0.01],
  versions: [
    { name: "m", version: 1, state: "ready", default: true, requests, failed: 0, rows: requests, runs: requests / 2, latency },
  ],
  refused: {},
  gauges: {},
});

test("rates are of the time between two looks", () => {
  const moment = between(look(10, 100, [100, 0, 0]), look(12, 300, [200, 100, 0])).get("m v1");
  expect(moment?.rate).toBe(100);
  expect(moment?.batch).toBe(2);
  expect(moment?.p50).toBeCloseTo(1);
});

test("a server that was started anew counts from nothing", () => {
  expect(between(look(10, 100, [100, 0, 0]), look(12, 30, [30, 0, 0])).get("m v1")?.rate).toBe(15);
});

test("percentiles lie straight between bounds", () => {
  expect(percentile([0.001, 0.01], [0, 0, 0], 0.5)).toBeNull();
  expect(percentile([0.001, 0.01], [0, 10, 0], 0.5)).toBeCloseTo(5.5);
  expect(percentile([0.001, 0.01], [0, 0, 4], 0.99)).toBeCloseTo(10);
});

test("cells have three figures", () => {
  expect([null, 0, 0.1234, 12.34, 12345].map(told)).toEqual(["–", "0", "0.12", "12.3", "12,345"]);
});
