"""How the page looks: readable on a projector, in the light and in the dark, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1a1a1a; --faint: #5a5a5a; --line: #c8c8c8; --panel: #f4f4f2;
  --blue: #08519c; --orange: #d94801; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181b; --ink: #ececec; --faint: #a8a8a8; --line: #4a4d52;
  --panel: #22252a; --blue: #7fb2e5; --orange: #ff9a57; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 1.0625rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; }
h2 { font-size: 1.45rem; margin: 0 0 .5rem; }
h2 code { font-weight: normal; font-size: 1.1rem; color: var(--faint); }
h3 { font-size: 1.15rem; margin: 1.5rem 0 .5rem; }
h4 { font-size: 1rem; margin: .75rem 0 .25rem; }
section { border-top: 2px solid var(--line); margin-top: 2rem; padding-top: 1.25rem; }
summary { cursor: pointer; }
summary h2 { display: inline; }
section:has(> details:not([open])) { margin-top: .4rem; padding-top: .4rem; border-top-width: 1px; }
details:not([open]) h2 { font-size: 1.15rem; }
details:not([open]) h2 code { font-size: 1rem; }
header > details { border-top: 1px solid var(--line); margin-top: .4rem; padding-top: .4rem; }
.first { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-start; }
.first > :last-child { flex: 1 1 20rem; }
p { max-width: 62rem; }
a { color: var(--blue); }
pre.formula { background: var(--panel); border-left: 4px solid var(--blue); padding: .6rem .9rem; margin: .75rem 0;
  white-space: pre-wrap; font-size: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0; }
dt { color: var(--faint); }
dd { margin: 0; }
.remark, figcaption { color: var(--faint); font-size: .95rem; }
.verdict { font-size: 1.25rem; }
.maps, .steps, .kernels { display: flex; flex-wrap: wrap; gap: .9rem; align-items: flex-start; }
.steps { align-items: center; margin: .75rem 0; }
.filter { display: flex; flex-wrap: wrap; gap: .3rem; border: 1px solid var(--line); padding: .3rem; }
figure { margin: 0; }
figure.map { width: 8rem; }
figure.map.wide { min-width: 8rem; max-width: 100%; }
figure.map.image { width: 14rem; margin-bottom: 1rem; }
.filter figure.map { width: 4.6rem; }
.filter figcaption { font-size: .75rem; line-height: 1.25; }
figure img { width: 100%; display: block; image-rendering: pixelated; border: 1px solid var(--line); }
figcaption { font-size: .85rem; line-height: 1.3; margin-top: .2rem; }
.parameters { display: flex; flex-wrap: wrap; gap: 0 2.5rem; }
.parameter, .gallery { min-width: 0; max-width: 100%; }
.titled figcaption { margin: 0 0 .2rem; }
.titled figure.map { width: 8rem; }
.marked { position: relative; display: block; }
.box { position: absolute; border: 3px solid #000; outline: 2px solid #fff; pointer-events: none; }
.sign { font-size: 1.2rem; }
.under { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: .5rem 0; }
.scale { white-space: nowrap; font-size: .95rem; }
.bar { display: inline-block; width: 9rem; height: .9rem; margin: 0 .5rem; vertical-align: middle;
  border: 1px solid var(--line); background: linear-gradient(90deg, #08519c, #fff, #d94801);
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; overflow-wrap: normal; }
th, td { padding: .2rem .6rem; white-space: nowrap; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; vertical-align: top; }
th { text-align: left; font-weight: 600; }
tbody th { font-weight: normal; }
thead th:not(:first-child) { text-align: right; }
.overview td:nth-child(2), .overview th:nth-child(2) { text-align: left; white-space: normal; }
.overview td:nth-child(2) code { font-size: .875rem; }
.overview td, .overview th { vertical-align: baseline; }
.grid td { border: 1px solid var(--line); padding: .2rem .45rem; font-size: .95rem; }
.grid .padding { color: var(--faint); font-style: italic; border-style: dashed; }
.grid .mark { outline: 3px solid var(--orange); outline-offset: -3px; font-weight: bold; }
.bars { width: 100%; max-width: 46rem; }
.bars td:last-child, .bars th:last-child { width: 55%; }
.track { display: block; background: var(--panel); }
.probability { display: block; height: 1.2rem; min-width: 1px; background: var(--blue);
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.ok { color: var(--blue); }
.wrong { color: var(--orange); }
@media print { body { max-width: none; font-size: 10pt; }
  h2, h3, h4 { break-after: avoid; }
  figure, tr, .steps { break-inside: avoid; } a { color: inherit; text-decoration: none; } }
"""
