/// The style sheet of `report.html`: one column, system fonts, both colour schemes.
let reportStyle = """

    :root {
      --paper: #f6f5f2; --card: #ffffff; --ink: #1d2129; --quiet: #646b78; --line: #e3e1dc;
      --accent: #2456c8; --track: #ecebe7; --plain: #a9adb6; --good: #197245; --bad: #b3401f;
      --shadow: 0 1px 2px rgb(20 24 33 / 6%), 0 4px 16px rgb(20 24 33 / 4%);
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --paper: #121418; --card: #1b1e24; --ink: #e9e8e4; --quiet: #9aa1ae; --line: #2d313a;
        --accent: #7fa6ff; --track: #2a2e37; --plain: #626975; --good: #6cc795; --bad: #f0906f; --shadow: none;
      }
    }
    * { box-sizing: border-box; }
    html { -webkit-text-size-adjust: 100%; }
    body { margin: 0; background: var(--paper); color: var(--ink);
      font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
    main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
    h1 { font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; letter-spacing: -.015em; margin: 0;
      overflow-wrap: anywhere; }
    h2 { font-size: 1.1rem; margin: 0 0 1rem; }
    h3 { font-size: .8rem; font-weight: 600; color: var(--quiet); margin: 0 0 .4rem; }
    p, dl, dd, figure { margin: 0; }
    header { margin-bottom: 1.5rem; }
    .subtitle { color: var(--quiet); margin-top: .4rem; }
    .card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.4rem;
      margin-bottom: 1.25rem; box-shadow: var(--shadow); }

    .hero { display: grid; grid-template-columns: minmax(13rem, 1fr) 2fr; gap: 1.5rem 2.5rem; align-items: center; }
    .hero .label, .hero .details { color: var(--quiet); font-size: .9rem; }
    .number { font-size: clamp(3.2rem, 12vw, 4.6rem); font-weight: 700; line-height: 1.05; letter-spacing: -.04em;
      font-variant-numeric: tabular-nums; }
    .number span { font-size: .42em; font-weight: 500; color: var(--quiet); margin-left: .12em; letter-spacing: 0; }
    .comparison { font-weight: 600; font-size: .9rem; margin-top: .6rem; }
    .comparison.good { color: var(--good); } .comparison.bad { color: var(--bad); }
    .note { border-left: 3px solid var(--accent); padding: .1rem 0 .1rem .9rem; margin: 0 0 1.25rem;
      color: var(--quiet); }

    table.numbers { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
    table.numbers th, table.numbers td { text-align: right; padding: .15rem .7rem; border-bottom: 1px solid var(--line); }
    table.numbers th { color: var(--quiet); font-weight: 600; } table.numbers .chosen { font-weight: 700; }

    .bar { display: grid; grid-template-columns: minmax(6rem, 13rem) 1fr 4.4rem; gap: 0 .9rem; align-items: center;
      padding: .28rem 0; font-size: .92rem; }
    .bar:has(.n) { grid-template-columns: minmax(6rem, 13rem) 1fr 4.4rem 5.6rem; }
    .bar .name { overflow-wrap: anywhere; line-height: 1.3; }
    .bar svg { width: 100%; height: 14px; display: block; overflow: visible; }
    .bar .value { text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
    .bar .n { color: var(--quiet); text-align: right; font-size: .85rem; font-variant-numeric: tabular-nums; }
    .track { fill: var(--track); } .fill { fill: var(--accent); }
    .baseline .fill { fill: var(--plain); } .baseline .name, .baseline .value { color: var(--quiet); }
    .main .name { font-weight: 600; }
    .hero .bar { grid-template-columns: minmax(6rem, 11rem) 1fr 4.4rem; padding: .42rem 0; }
    .hero .bar svg { height: 20px; }
    .whisker { stroke: var(--ink); stroke-width: 1.5; }

    .chart { display: grid; grid-template-columns: 3rem 1fr; grid-template-rows: 17rem 1.6rem; }
    .chart svg { width: 100%; height: 100%; border-bottom: 1px solid var(--quiet); }
    .chart .left, .chart .below { position: relative; color: var(--quiet); font-size: .8rem;
      font-variant-numeric: tabular-nums; }
    .chart .below { grid-column: 2; }
    .chart .left span { position: absolute; right: .6rem; transform: translateY(50%); }
    .chart .below span { position: absolute; top: .3rem; transform: translateX(-50%); white-space: nowrap; }
    .chart polyline { fill: none; vector-effect: non-scaling-stroke; stroke: var(--accent); stroke-linejoin: round; }
    .chart .raw { stroke-width: 1; opacity: .28; } .chart .smooth { stroke-width: 2.2; }
    .grid { stroke: var(--line); vector-effect: non-scaling-stroke; }
    .legend { color: var(--quiet); font-size: .85rem; margin: .6rem 0 0 3rem; display: flex; flex-wrap: wrap;
      align-items: center; }
    .card .note { margin: 1rem 0 0; }
    .key { display: inline-block; width: 1.3rem; height: 0; border-top: 2.5px solid var(--accent);
      margin-right: .4rem; }
    .key.raw { opacity: .35; margin-left: .9rem; }
    .legend .end { margin-left: auto; }

    .examples { margin: 2rem 0 1.25rem; }
    .examples input { position: absolute; opacity: 0; }
    .examples label { display: inline-block; cursor: pointer; padding: .35rem .9rem; margin: 0 .3rem 1rem 0;
      border: 1px solid var(--line); border-radius: 99px; background: var(--card); font-size: .9rem; }
    .examples label span { color: var(--quiet); font-size: .85em; margin-left: .15rem; }
    .examples input:checked + label { background: var(--ink); border-color: var(--ink); color: var(--paper); }
    .examples input:checked + label span { color: inherit; opacity: .7; }
    .examples input:focus-visible + label { outline: 2px solid var(--accent); outline-offset: 2px; }
    #show-right:checked ~ .gallery .wrong, #show-wrong:checked ~ .gallery .right { display: none; }
    .gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(15.5rem, 1fr)); gap: 1rem; }
    article { background: var(--card); border: 1px solid var(--line); border-radius: 14px; overflow: hidden;
      display: flex; flex-direction: column; box-shadow: var(--shadow); }
    figure { background: var(--track); aspect-ratio: 4 / 3; display: grid; place-items: center; overflow: hidden; }
    figure img { width: 100%; height: 100%; object-fit: contain; min-height: 0; }
    figure .tiny { image-rendering: pixelated; }
    .missing { color: var(--quiet); font-size: .85rem; }
    article .text { padding: .9rem 1rem 1rem; }
    .verdict { font-size: .8rem; font-weight: 600; }
    .right .verdict { color: var(--good); } .wrong .verdict { color: var(--bad); }
    .question { font-weight: 600; line-height: 1.35; margin: .15rem 0 .6rem; overflow-wrap: anywhere; }
    article dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; font-size: .92rem; }
    dt { color: var(--quiet); } dd { overflow-wrap: anywhere; }
    .wrong .prediction { color: var(--bad); font-weight: 600; }
    .right .prediction { color: var(--good); font-weight: 600; }
    article .bars { border-top: 1px solid var(--line); margin-top: .8rem; padding-top: .6rem; }
    .candidate.bar { grid-template-columns: 5.5rem 1fr 3.6rem; font-size: .82rem; padding: .1rem 0; gap: 0 .6rem; }
    .candidate.bar:not(:has(.n)) .value { grid-column: auto; }
    .candidate.bar svg { height: 8px; } .candidate .fill { fill: var(--plain); }
    .candidate:first-child .fill { fill: var(--accent); }
    .candidate.bar .name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .candidate.bar .value { font-weight: 400; color: var(--quiet); }

    .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1.5rem 2.5rem; }
    .facts dl > div { display: flex; justify-content: space-between; gap: 1rem; padding: .35rem 0;
      border-top: 1px solid var(--line); font-size: .92rem; }
    .facts dt { flex: none; max-width: 50%; } .facts dd { text-align: right; font-variant-numeric: tabular-nums; }
    pre { margin: 0; overflow-x: auto; font: .85rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
    .command { background: var(--track); border-radius: 8px; padding: .7rem .9rem; user-select: all;
      white-space: pre-wrap; overflow-wrap: anywhere; }
    .command + h3 { margin-top: 1.1rem; }
    summary { cursor: pointer; font-weight: 600; }
    details[open] > summary { margin-bottom: .9rem; }

    @media (max-width: 42rem) {
      main { padding: 1.5rem 1rem 3rem; }
      .card { padding: 1.1rem; }
      .hero { grid-template-columns: 1fr; }
      .bar, .bar:has(.n), .hero .bar { grid-template-columns: 1fr auto auto; gap: .15rem .8rem; }
      .bar .value { min-width: 3.8rem; } .bar .n { min-width: 5.2rem; }
      .bar:not(:has(.n)) .value { grid-column: 2 / -1; }
      .bar svg { grid-row: 2; grid-column: 1 / -1; }
      .candidate.bar { grid-template-columns: 5.5rem 1fr 3.6rem; }
      .candidate.bar svg, .candidate.bar .value { grid-row: auto; grid-column: auto; min-width: 0; }
      .legend { margin-left: 0; }
      .gallery { grid-template-columns: 1fr; }
    }
    @media print { .card, article { break-inside: avoid; box-shadow: none; } }

    """
