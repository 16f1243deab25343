package audit

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
)

// ending is where following the chain ended.
type ending struct {
	Head
	bytes int64
	lines int
}

// unchain splits a line into what the chain covers and the hash that it ends in.
func unchain(text []byte) (covered []byte, h Hash, ok bool) {
	text = bytes.TrimSuffix(text, []byte{'\n'})
	const tail = len(chainKey) + 2*len(h) + len(`"}`)
	if len(text) < tail || !bytes.HasSuffix(text, []byte(`"}`)) {
		return nil, h, false
	}
	covered = text[:len(text)-tail]
	rest := text[len(covered):]
	if !bytes.HasPrefix(rest, []byte(chainKey)) {
		return nil, h, false
	}
	_, err := hex.Decode(h[:], rest[len(chainKey):len(rest)-2])
	return covered, h, err == nil
}

// follow reads lines that continue the chain from head, as long as they do. rest is what
// comes after the last of them: nothing, or what a crash left.
func follow(r io.Reader, from Head) (end ending, rest []byte, err error) {
	end.Head = from
	br := bufio.NewReaderSize(r, 1<<16)
	for {
		text, err := br.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return end, nil, err
		}
		if len(text) == 0 {
			return end, nil, nil
		}
		covered, h, ok := unchain(text)
		if !ok || text[len(text)-1] != '\n' {
			more, err := io.ReadAll(br)
			return end, append(text, more...), err
		}
		rec, perr := Parse(bytes.TrimSuffix(text, []byte{'\n'}))
		if perr != nil || rec.Seq != end.Count+1 || link(end.Chain, covered) != h {
			more, err := io.ReadAll(br)
			return end, append(text, more...), err
		}
		end.Count, end.Chain = rec.Seq, h
		end.bytes += int64(len(text))
		end.lines++
	}
}

// walk reads a whole segment for the head after its last line, without judging it.
func walk(s *segment) (Head, int, error) {
	var h Head
	r, err := s.open()
	if err != nil {
		return h, 0, err
	}
	defer func() { _ = r.Close() }()
	br := bufio.NewReaderSize(r, 1<<16)
	n := 0
	for {
		text, err := br.ReadBytes('\n')
		if _, chain, ok := unchain(text); ok {
			if rec, perr := Parse(bytes.TrimSuffix(text, []byte{'\n'})); perr == nil {
				h = Head{rec.Seq, chain}
				n++
			}
		}
		if errors.Is(err, io.EOF) {
			return h, n, nil
		}
		if err != nil {
			return h, n, err
		}
	}
}
