// Lint of unpacked/: `npm run check`. Rules beyond the recommended ones are those that
// guard the extension's own promises.
import { fileURLToPath, URL } from "node:url";

import js from "@eslint/js";
import globals from "globals";
import tseslint from "typescript-eslint";

const here = fileURLToPath(new URL(".", import.meta.url));

export default [
  { ignores: ["node_modules/"] },
  js.configs.recommended,
  {
    files: ["unpacked/*.js", "tests/unit/*.js"],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: "./tsconfig.json", tsconfigRootDir: here },
      globals: { ...globals.browser, chrome: "readonly" },
    },
    plugins: { "@typescript-eslint": tseslint.plugin },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-floating-promises": [
        "error",
        { allowForKnownSafeCalls: [{ from: "package", name: "test", package: "node:test" }] },
      ],
      curly: "error",
      eqeqeq: "error",
      "no-empty": "error",
      "no-eval": "error",
      "no-implicit-globals": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "text never becomes markup here" },
        { property: "outerHTML", message: "text never becomes markup here" },
      ],
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["unpacked/*.js"],
    ignores: ["unpacked/gateway.js"],
    rules: {
      "no-restricted-globals": [
        "error",
        { name: "fetch", message: "only gateway.js fetches" },
        { name: "XMLHttpRequest", message: "only gateway.js fetches" },
        { name: "WebSocket", message: "only gateway.js fetches" },
      ],
    },
  },
];
