// What the console draws: rates and latencies of every version, out of counts that only grow.

export interface Version {
  name: string;
  version: number;
  state: string;
  default: boolean;
  requests: number;
  failed: number;
  rows: number;
  runs: number;
  latency: number[];
}

export interface Live {
  at: number;
  buckets: number[];
  versions: Version[];
  refused: Record<string, number>;
  gauges: Record<string, number>;
}

/** What happened to one version between two looks; latencies in milliseconds, null where nothing was answered. */
export interface Moment {
  rate: number;
  failed: number;
  batch: number | null;
  p50: number | null;
  p99: number | null;
}

export const key = (version: { name: string; version: number }): string => `${version.name} v${version.version}`;

/** What came between two looks, by version. A server that was started anew counts from nothing again. */
export function between(before: Live, now: Live): Map<string, Moment> {
  const seconds = Math.max(now.at - before.at, 1e-3);
  const old = new Map(before.versions.map((v) => [key(v), v]));
  const told = new Map<string, Moment>();
  for (const version of now.versions) {
    const was = old.get(key(version));
    const since = (count: number, earlier: number | undefined): number => {
      const grown = count - (earlier ?? 0);
      return grown < 0 ? count : grown;
    };
    const counts = version.latency.map((count, at) => since(count, was?.latency[at]));
    const runs = since(version.runs, was?.runs);
    told.set(key(version), {
      rate: since(version.requests, was?.requests) / seconds,
      failed: since(version.failed, was?.failed) / seconds,
      batch: runs > 0 ? since(version.rows, was?.rows) / runs : null,
      p50: percentile(now.buckets, counts, 0.5),
      p99: percentile(now.buckets, counts, 0.99),
    });
  }
  return told;
}

/** A percentile in milliseconds, straight between a bucket's bounds; beyond the last bound, that bound. */
export function percentile(bounds: number[], counts: number[], share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = share * total;
  for (let at = 0; at < counts.length; at++) {
    const count = counts[at] ?? 0;
    if (count > 0 && left <= count) {
      const low = at === 0 ? 0 : (bounds[at - 1] ?? 0);
      const high = bounds[at] ?? low;
      return 1e3 * (low + ((high - low) * left) / count);
    }
    left -= count;
  }
  return 1e3 * (bounds[bounds.length - 1] ?? 0);
}

/** A number for a table's cell: three figures. */
export function told(value: number | null): string {
  if (value === null) return "–";
  if (value === 0) return "0";
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toPrecision(value >= 10 ? 3 : 2);
}
