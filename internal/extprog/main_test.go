package extprog_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/extprog"
)

// TestMain makes the test binary the programs that the tests run: "program MODE ARG…".
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "program" {
		os.Exit(program(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// self is the test binary in one of its modes.
func self(args ...string) extprog.Program {
	return extprog.Program{Name: "ext_auth", Path: os.Args[0], Args: append([]string{"program"}, args...)}
}

func program(mode string, args []string) int {
	switch mode {
	case "answer": // STATUS STDOUT STDERR
		fmt.Print(args[1])
		fmt.Fprint(os.Stderr, args[2])
		status, _ := strconv.Atoi(args[0])
		return status
	case "keep": // FILE: keeps what it reads and its environment
		in, err := io.ReadAll(os.Stdin)
		if err != nil {
			return 9
		}
		if err := os.WriteFile(args[0], []byte(string(in)+"\n"+strings.Join(os.Environ(), "\n")), 0o600); err != nil {
			return 9
		}
		return 0
	case "complain": // prints its question on stderr
		in, _ := io.ReadAll(os.Stdin)
		fmt.Fprintf(os.Stderr, "can't handle %s, or %q\n", in, in)
		return 3
	case "hang": // DIR
		sign(args[0])
		<-time.After(time.Hour)
	case "stubborn": // DIR
		signal.Ignore(syscall.SIGTERM, os.Interrupt)
		sign(args[0])
		<-time.After(time.Hour)
	case "fork", "leave": // DIR: with a child that hangs; "leave" ends before it
		c := exec.Command(os.Args[0], "program", "hang", args[0])
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return 9
		}
		if mode == "fork" {
			sign(args[0])
			<-time.After(time.Hour)
		}
		for len(signed(args[0])) == 0 {
			<-time.After(time.Millisecond)
		}
	case "flood":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 4096)); err != nil {
				return 9
			}
		}
	case "complain much":
		for range 256 {
			_, _ = os.Stderr.WriteString(strings.Repeat("x", 4096))
		}
		return 1
	}
	return 0
}

// sign leaves the process's id in dir.
func sign(dir string) {
	name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		os.Exit(9)
	}
}

// signed returns the ids that were left in dir.
func signed(dir string) []int {
	list, _ := os.ReadDir(dir)
	var ids []int
	for _, e := range list {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
