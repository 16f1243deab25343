package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// headFile is the head's name in the log's folder.
const headFile = "head"

// Hash is a value of the chain.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String has written.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("hash %q: expected %d hexadecimal digits", s, 2*len(h))
	}
	copy(h[:], b)
	return h, nil
}

// Head is where a log ends: how many lines it has had, and the chain's hash after the last.
// Kept elsewhere, it shows later whether the log was cut or written anew ([ParseHead],
// [VerifyOptions.Head]).
type Head struct {
	Count uint64
	Chain Hash
}

// String is COUNT:HASH.
func (h Head) String() string { return strconv.FormatUint(h.Count, 10) + ":" + h.Chain.String() }

// ParseHead reads COUNT:HASH.
func ParseHead(s string) (Head, error) {
	count, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	n, err := strconv.ParseUint(count, 10, 63)
	if !ok || err != nil {
		return Head{}, fmt.Errorf("head %q: expected COUNT:HASH, as audit verify prints it", s)
	}
	chain, err := ParseHash(hash)
	if err != nil {
		return Head{}, fmt.Errorf("head %q: %w", s, err)
	}
	return Head{Count: n, Chain: chain}, nil
}

// state is what the head file holds.
type state struct {
	Head
	// segment is the number of the file that is written, size its bytes.
	segment int
	size    int64
	// first is the first line that is kept, firstPrev the hash before it.
	first     uint64
	firstPrev Hash
	// half is the one of the head file that it was read from.
	half int
}

// slotSize is how long each of the two halves of the head file is. They are written in
// turn, each in one write into a place of its own on the disk: a crash loses one at most,
// and no space is needed when the disk is full.
const slotSize = 512

// slotJSON is what a slot says.
type slotJSON struct {
	Count     uint64 `json:"count"`
	Chain     string `json:"chain"`
	Segment   int    `json:"segment"`
	Size      int64  `json:"size"`
	First     uint64 `json:"first"`
	FirstPrev string `json:"first_prev"`
	Time      string `json:"time"`
}

// slotDigits is how many digits of its hash a slot ends in.
const slotDigits = 16

// encode writes a state into b as one line of exactly slotSize bytes: [slotJSON], blanks, and
// the first digits of the hash of all that.
func (s *state) encode(b *[slotSize]byte, now time.Time) []byte {
	text := append(b[:0], `{"count":`...)
	text = strconv.AppendUint(text, s.Count, 10)
	text = append(text, `,"chain":"`...)
	text = hex.AppendEncode(text, s.Chain[:])
	text = append(text, `","segment":`...)
	text = strconv.AppendInt(text, int64(s.segment), 10)
	text = append(text, `,"size":`...)
	text = strconv.AppendInt(text, s.size, 10)
	text = append(text, `,"first":`...)
	text = strconv.AppendUint(text, s.first, 10)
	text = append(text, `,"first_prev":"`...)
	text = hex.AppendEncode(text, s.firstPrev[:])
	text = append(text, `","time":"`...)
	text = now.UTC().AppendFormat(text, time.RFC3339)
	text = append(text, `"}`...)
	for len(text) < slotSize-1-slotDigits {
		text = append(text, ' ')
	}
	sum := sha256.Sum256(text)
	text = hex.AppendEncode(text, sum[:slotDigits/2])
	return append(text, '\n')
}

func parseSlot(b []byte) (state, bool) {
	var s state
	if len(b) != slotSize || b[slotSize-1] != '\n' {
		return s, false
	}
	text, sum := b[:slotSize-1-slotDigits], b[slotSize-1-slotDigits:slotSize-1]
	want := sha256.Sum256(text)
	if hex.EncodeToString(want[:])[:slotDigits] != string(sum) {
		return s, false
	}
	var j slotJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return s, false
	}
	s.Count, s.segment, s.size, s.first = j.Count, j.Segment, j.Size, j.First
	var err, err2 error
	s.Chain, err = ParseHash(j.Chain)
	s.firstPrev, err2 = ParseHash(j.FirstPrev)
	return s, err == nil && err2 == nil && s.segment > 0 && s.size >= 0 && s.first > 0
}

// errNoHead: there is no head, or none that can be read.
var errNoHead = errors.New("no readable head")

// readHead returns the newer of the two states in the head file.
func readHead(dir string) (state, error) {
	f, err := os.Open(filepath.Join(dir, headFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return state{}, errNoHead
		}
		return state{}, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 2*slotSize))
	if err != nil {
		return state{}, err
	}
	best, found := state{}, false
	for i := 0; len(b) >= slotSize; i++ {
		s, ok := parseSlot(b[:slotSize])
		if ok && (!found || s.Count > best.Count || s.Count == best.Count && s.first > best.first) {
			s.half = i
			best, found = s, true
		}
		b = b[slotSize:]
	}
	if !found {
		return state{}, errNoHead
	}
	return best, nil
}

// ReadHead returns the log's head as its folder records it.
func ReadHead(dir string) (Head, error) {
	s, err := readHead(dir)
	if err != nil {
		return Head{}, fmt.Errorf("audit log %s: %w", dir, err)
	}
	return s.Head, nil
}
