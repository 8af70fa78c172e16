// One script and one style sheet for each page, named by their contents; the service makes the HTML around them.
import { defineConfig } from "vite";

export default defineConfig({
  base: "/static/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    outDir: "../src/fluxport/pages/static",
    emptyOutDir: true,
    assetsDir: "",
    manifest: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    target: "es2022",
    rollupOptions: {
      input: {
        home: "src/home.tsx",
        dashboard: "src/dashboard.tsx",
        exports: "src/exports.tsx",
        "sign-in": "src/sign-in.tsx",
      },
    },
  },
});
