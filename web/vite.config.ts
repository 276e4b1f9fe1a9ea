import { defineConfig } from "vite";

export default defineConfig({ test: { include: ["test/**/*.test.ts"] } } as never);
