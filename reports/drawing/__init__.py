"""How plots are painted: canvas, palette, lines. The kinds of plots are in `reports.plots`."""
