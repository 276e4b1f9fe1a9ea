import { defineConfig } from "vite";

// One script and one style sheet beside the admin port's pages, under fixed names: `npm run build:console`.
export default defineConfig({
  root: import.meta.dirname,
  build: {
    outDir: "../../src/setsail/server/pages",
    emptyOutDir: false,
    lib: { entry: "main.ts", formats: ["es"], fileName: () => "console.js", cssFileName: "console" },
    target: "es2022",
    minify: true,
  },
});
