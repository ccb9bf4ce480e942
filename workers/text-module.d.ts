/** Files of the console for browsers, which wrangler.toml bundles as text. */
declare module '*.css' {
  const text: string;
  export default text;
}
declare module '*.mjs' {
  const text: string;
  export default text;
}
