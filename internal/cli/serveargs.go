package cli

import "strings"

// glogFlags are the logging flags that docker_auth takes from the glog package, and
// whether each is followed by a value.
var glogFlags = map[string]bool{
	"logtostderr": false, "alsologtostderr": false, "log_link": true,
	"v": true, "vmodule": true, "stderrthreshold": true, "log_dir": true,
	"log_backtrace_at": true, "logbuflevel": true,
}

// serveArgs takes docker_auth's logging flags out of the arguments of serve, so that it
// can be started by the same command line: -logtostderr -v=1 FILE.
func serveArgs(args []string) []string {
	at := -1
	for i, arg := range args {
		if arg == "serve" {
			at = i
			break
		}
	}
	if at < 0 {
		return args
	}
	out := append([]string{}, args[:at+1]...)
	rest := args[at+1:]
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			return append(out, rest[i:]...)
		}
		name, ok := strings.CutPrefix(arg, "-")
		if !ok {
			out = append(out, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		takesValue, isGlog := glogFlags[name]
		if !isGlog {
			out = append(out, arg)
			continue
		}
		if takesValue && !hasValue {
			i++ // its value is the next argument
		}
	}
	return out
}
