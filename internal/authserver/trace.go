package authserver

import "net/http"

// Tracer follows token requests through the server. It must neither block nor fail.
type Tracer interface {
	// Begin begins to follow a request.
	Begin(r *http.Request) Trace
}

// Trace is one request that is being followed.
type Trace interface {
	// Phase begins a part of the request's work: authenticate, decide, sign or record.
	Phase(name string) (end func())
	// End ends the request with what became of it. It may keep nothing of d.
	End(d *Decision)
}

// beginTrace follows the request of d, where anybody wants that.
func (s *Server) beginTrace(r *http.Request, d *Decision) {
	if s.tracer != nil {
		d.trace = s.tracer.Begin(r)
	}
}

// phase begins a part of the work for d.
func (d *Decision) phase(name string) (end func()) {
	if d.trace == nil {
		return func() {}
	}
	return d.trace.Phase(name)
}

func (d *Decision) endTrace() {
	if d.trace != nil {
		d.trace.End(d)
	}
}
