package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// metrics reads where the token server shows its metrics.
func (w *walker) metrics(k pair, s subject) {
	if !w.mapping(w.deref(k.val), s, `a map, as in {listen: "127.0.0.1:9101"} or {listen: off}`, &metricsSection) {
		return
	}
	for _, p := range w.pairs(w.deref(k.val), s, true, nil) {
		if p.name != "listen" {
			w.unknown(p, &metricsSection)
			continue
		}
		ps := subject{format: metricsSection.where + ".listen"}
		if isNull(w.deref(p.val)) {
			w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", ps), Hint: "remove the line, or write the value"})
			continue
		}
		text, ok := w.scalar(p.val, ps)
		if !ok {
			continue
		}
		m, err := ParseMetricsListen(text)
		if err != nil {
			w.problem(p.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected host:port or off, found %q: %v", ps, maskedKey(text), err),
				Hint: fmt.Sprintf("as %q on this machine only, or %q in a container", DefaultMetricsListen, ":9101")})
			continue
		}
		w.f.Extras.Metrics = m
	}
}

// ParseMetricsListen reads the address of the metrics listener as the setting, the flag and
// the environment write it: host:port, where the host may be left out for all addresses, or
// "off".
func ParseMetricsListen(text string) (Metrics, error) {
	if text == "off" {
		return Metrics{Given: true}, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		var ae *net.AddrError
		if errors.As(err, &ae) {
			err = errors.New(ae.Err) // without the text, which the caller quotes
		}
		return Metrics{}, err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
		return Metrics{}, fmt.Errorf("the port %q is not a number from 1 to 65535", port)
	}
	return Metrics{Listen: text, Given: true}, nil
}
