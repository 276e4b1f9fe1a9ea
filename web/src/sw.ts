/**
 * After one visit the page works without a network: everything of it is kept, under the name of this very shipment.
 *
 * Answers also get the two headers that threads need, for hosts on which headers cannot be set; they count from the
 * second visit on.
 */

declare const self: ServiceWorkerGlobalScope;

interface Kept {
  digest: string;
  cached: string[];
}

const PREFIX = "setsail-";
const here = new URL(".", self.location.href);

/** The same bytes, with the headers of an isolated page. */
async function isolated(answer: Response): Promise<Response> {
  if (answer.status === 0 || answer.type === "opaque") return answer;
  const headers = new Headers(answer.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}

/** Keep what model.json lists, and what the page tells it has loaded besides. */
async function keep(more: string[] = []): Promise<void> {
  const answer = await fetch(new URL("model.json", here), { cache: "no-cache" });
  const { digest, cached } = (await answer.clone().json()) as Kept;
  const cache = await caches.open(PREFIX + digest);
  await cache.put(new URL("model.json", here), answer);
  for (const file of [...cached, ...more]) {
    const url = new URL(file, here);
    if (url.origin === here.origin && !(await cache.match(url))) await cache.add(url);
  }
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== PREFIX + digest) await old(name);
  }
}

/** Of what an older shipment to this very place left, nothing; other places of the same host keep theirs. */
async function old(name: string): Promise<void> {
  const cache = await caches.open(name);
  for (const request of await cache.keys()) if (request.url.startsWith(here.href)) await cache.delete(request);
  if (!(await cache.keys()).length) await caches.delete(name);
}

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", (event) => {
  const told = event.data as { keep?: string[] };
  if (told.keep) event.waitUntil(keep(told.keep).then(() => event.source?.postMessage({ kept: true })));
});

/** The network first for what names a shipment, so that a new one is seen; what was kept first for the rest. */
async function answered(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const fresh = request.mode === "navigate" || url.pathname.endsWith("/model.json");
  const kept = await caches.match(request, { ignoreSearch: request.mode === "navigate" });
  if (kept && !fresh) return isolated(kept);
  try {
    return await isolated(await fetch(request));
  } catch (fault) {
    if (kept) return isolated(kept);
    throw fault;
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && request.url.startsWith(here.href)) {
    event.respondWith(answered(request));
  }
});

export {};
