/** The look of a report, light or dark as the reader's system is. */
export const STYLE = `
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #e6e9ee); --paper: light-dark(#fff, #12161c); --card: light-dark(#f5f6f8, #1b2129);
  --line: light-dark(#d9dde3, #333c48); --bad: light-dark(#b3261e, #ff8a80); --good: light-dark(#1d7a5f, #7ad9b5); }
body { margin: 0 auto; max-width: 56rem; padding: 1.5rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
header p { margin: 0 0 1rem; }
section { margin: 0 0 2rem; }
.verdict { padding: 1.1rem 1.4rem; border-radius: .6rem; background: var(--card); border-left: .4rem solid var(--good); }
.verdict.bad { border-color: var(--bad); }
.verdict.good h1 { color: var(--good); }
.verdict.bad h1 { color: var(--bad); }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
.verdict p { margin: .3rem 0 0; }
ul { margin: .3rem 0 .8rem; padding-left: 1.3rem; }
figure { margin: .8rem 0; overflow-x: auto; background: light-dark(#fff, #eef0f3); border-radius: .4rem; }
figure svg { display: block; max-width: 100%; height: auto; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
.pictures figure { margin: 0; width: 140px; overflow: visible; background: none; }
.pictures img { box-sizing: border-box; max-width: 100%; image-rendering: pixelated; border: 1px solid var(--line); border-radius: .3rem; }
figcaption, .note { font-size: .82rem; opacity: .8; margin: .3rem 0 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
code { font-size: .92em; }
`;
