package main

import (
	"bytes"
	"fmt"
	"html"
)

// plot draws the rates as bars, with the times beside them, as SVG.
func plot(results []result) []byte {
	const width, left, row = 860, 190, 46
	most := 1.0
	for _, r := range results {
		most = max(most, r.rate())
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="13">`+"\n", width, 60+row*len(results))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="16" y="26" font-size="15" fill="#1c1e21">Requests a second</text>`+"\n")
	for i, r := range results {
		y := 44 + row*i
		length := r.rate() / most * (width - left - 250)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#1c1e21">%s</text>`, left-12, y+19, html.EscapeString(r.name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="28" rx="3" fill="#3a6ea5"/>`, left, y, length)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#5c6370">%.0f/s, p50 %v, p99 %v</text>`+"\n", left+length+8, y+19, r.rate(), r.quantile(0.5), r.quantile(0.99))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
