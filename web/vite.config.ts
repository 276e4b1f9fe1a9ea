import { defineConfig } from "vite";

// What every page loads is one chunk: `core.js`. It is one by hand, because names of shared chunks are a bundler's own.
const core = /web\/src\/(?!app|form|results|table\.ts|proof|sw|setsail)|node_modules/;

/** Modules under fixed names, that the target copies as they are: no hashes, no addresses from elsewhere. */
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/setsail/targets/browser/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rollupOptions: {
      input: { setsail: "src/setsail.ts", app: "src/app.ts", proof: "src/proof.ts", sw: "src/sw.ts" },
      preserveEntrySignatures: "strict",
      output: {
        format: "es", entryFileNames: "[name].js", chunkFileNames: "[name].js",
        advancedChunks: { groups: [{ name: "core", test: core }] },
      },
    },
  },
  test: { include: ["test/**/*.test.ts"] },
} as never);
