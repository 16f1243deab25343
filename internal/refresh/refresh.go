// Package refresh keeps refresh tokens: opaque texts that a client shows instead of a
// password, for one account and one service.
//
// A token is 256 random bits. The file holds the SHA-256 of each, so that reading the
// file lets nobody in, together with a keyed hash of the password hash that the account
// had when the token was given out: once the password has changed, [Store.Bound] is
// false. Tokens are not rotated: clients show the same one again and again, several at a
// time (distribution's token specification, "offline_token").
//
// The file is one JSON object, written whole through [safefile] under its lock, so that a
// server and the command line may change it side by side. A reader looks whether the file is
// another one at every question: what somebody else revoked is dead at once.
//
//	store := refresh.New(refresh.Options{Path: "state/refresh/tokens.json", Lifetime: 90 * 24 * time.Hour})
//	if err := store.Prepare(ctx); err != nil { … }
//	text, t, err := store.Issue(ctx, refresh.Grant{Account: "alice", Service: "registry", Hash: hash})
//	t, err = store.Find(text) // ErrUnknown, ErrExpired
package refresh

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// FileName is the file's name in the folder that a deployment has for it.
const FileName = "tokens.json"

// Prefix begins every token, so that scanners for leaked secrets can know one.
const Prefix = "rsrt_"

// Bounds of what is kept.
const (
	// DefaultPerAccount is how many tokens an account has at most; the one that was not used
	// for longest makes room for a new one.
	DefaultPerAccount = 50
	// DefaultTotal is how many there are in all; then no more are given out.
	DefaultTotal = 20000
	// UseStep is how precisely the last use is known.
	UseStep = 15 * time.Minute
)

const (
	secretSize = 32 // bytes of a token
	idSize     = 6
	keySize    = 32
	version    = 1
	maxFile    = 32 << 20
	maxText    = 255 // bytes of what is noted about the client
)

// Reasons why a token is no good.
var (
	ErrUnknown = errors.New("unknown refresh token")
	ErrExpired = errors.New("the refresh token is out of date")
	// ErrFull: there are as many tokens as may be.
	ErrFull = errors.New("there are too many refresh tokens; revoke some")
)

// Token is what is known about a refresh token. The token itself is not.
type Token struct {
	// ID names it in lists and logs; it lets nobody in.
	ID      string `json:"id"`
	Account string `json:"account"`
	Service string `json:"service"`
	// Client and Address are those of the login that it was given out for.
	Client  string     `json:"client,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
	Created time.Time  `json:"created"`
	// Used is when it was last shown, to [UseStep]; zero: never.
	Used time.Time `json:"used,omitzero"`
	// Sum is the SHA-256 of the token.
	Sum []byte `json:"sha256"`
	// Bind is the HMAC-SHA256 of account and password hash under the file's key.
	Bind []byte `json:"bind"`
}

// idleSince is when the token was last of use to anybody.
func (t *Token) idleSince() time.Time {
	if t.Used.After(t.Created) {
		return t.Used
	}
	return t.Created
}

// content is the file.
type content struct {
	Version int     `json:"version"`
	Key     []byte  `json:"key"`
	Tokens  []Token `json:"tokens"`
}

// Options of a [Store]. A zero field means the default.
type Options struct {
	// Path is the file. Its folder is made, with mode 0700, where it is missing.
	Path string
	// Lifetime is how long a token is good; zero: until it is revoked.
	Lifetime time.Duration
	// PerAccount and Total bound how many are kept.
	PerAccount, Total int
	// Command is what others read while they wait for the file's lock.
	Command string
	Now     func() time.Time
	Rand    io.Reader
}

// Store is the file with the tokens. It is safe for concurrent use.
type Store struct {
	o Options

	writing sync.Mutex // one change of this process at a time

	mu    sync.Mutex // guards what follows
	info  fs.FileInfo
	now   *content // never changed, only replaced
	bySum map[[sha256.Size]byte]*Token
	used  map[string]time.Time // uses that are not in the file
}

// New returns the store of a file, which is not looked at yet.
func New(o Options) *Store {
	o.PerAccount, o.Total = cmp.Or(o.PerAccount, DefaultPerAccount), cmp.Or(o.Total, DefaultTotal)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Store{o: o, used: map[string]time.Time{}}
}

// Prepare makes the file where there is none, and fails where it can't be read or changed.
func (s *Store) Prepare(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.o.Path), 0o700); err != nil {
		return err
	}
	// A change that changes nothing takes the lock, which only who may write gets.
	if err := s.change(ctx, func(*content) {}); err != nil {
		return err
	}
	_, err := s.current()
	return err
}

// Grant is what a token is given out for.
type Grant struct {
	Account, Service string
	Client           string
	Address          netip.Addr
	// Hash is the account's stored password hash.
	Hash secret.Text
}

// Issue makes a token. It returns the text, which is kept nowhere.
func (s *Store) Issue(ctx context.Context, g Grant) (secret.Text, Token, error) {
	var raw [secretSize]byte
	var id [idSize]byte
	for _, b := range [][]byte{raw[:], id[:]} {
		if _, err := io.ReadFull(s.o.Rand, b); err != nil {
			return secret.Text{}, Token{}, fmt.Errorf("random bits for a refresh token: %w", err)
		}
	}
	text := secret.New(Prefix + base64.RawURLEncoding.EncodeToString(raw[:]))
	sum := sha256.Sum256([]byte(text.Reveal()))
	t := Token{
		ID: hex.EncodeToString(id[:]), Account: g.Account, Service: g.Service, Client: cut(g.Client), Address: g.Address,
		Created: s.o.Now().UTC().Truncate(time.Second), Sum: sum[:],
	}
	full := false
	err := s.change(ctx, func(c *content) {
		c.Tokens = slices.DeleteFunc(c.Tokens, func(t Token) bool { return s.Expired(&t) })
		c.makeRoom(g.Account, s.o.PerAccount)
		if full = len(c.Tokens) >= s.o.Total; full {
			return
		}
		t.Bind = bind(c.Key, g.Account, g.Hash)
		c.Tokens = append(c.Tokens, t)
	})
	switch {
	case err != nil:
		return secret.Text{}, Token{}, err
	case full:
		return secret.Text{}, Token{}, ErrFull
	}
	return text, t, nil
}

// makeRoom leaves room for one more token of the account.
func (c *content) makeRoom(account string, most int) {
	for {
		n, oldest := 0, -1
		for i := range c.Tokens {
			if c.Tokens[i].Account != account {
				continue
			}
			n++
			if oldest < 0 || c.Tokens[i].idleSince().Before(c.Tokens[oldest].idleSince()) {
				oldest = i
			}
		}
		if n < most {
			return
		}
		c.Tokens = slices.Delete(c.Tokens, oldest, oldest+1)
	}
}

// cut bounds what a client says about itself.
func cut(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return string(bytes.ToValidUTF8([]byte(text), nil))
}

// Find returns the token with this text. [ErrUnknown] and [ErrExpired] are about the text;
// another error says why the file can't be read.
func (s *Store) Find(text secret.Text) (Token, error) {
	sum := sha256.Sum256([]byte(text.Reveal()))
	if _, err := s.current(); err != nil {
		return Token{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.bySum[sum]
	switch {
	case t == nil:
		return Token{}, ErrUnknown
	case s.Expired(t):
		return *t, ErrExpired
	}
	return *t, nil
}

// Expired reports whether the token's time is over.
func (s *Store) Expired(t *Token) bool {
	return s.o.Lifetime > 0 && !s.o.Now().Before(s.Expires(t))
}

// Expires is when the token stops being good; zero: never.
func (s *Store) Expires(t *Token) time.Time {
	if s.o.Lifetime <= 0 {
		return time.Time{}
	}
	return t.Created.Add(s.o.Lifetime)
}

// Bound reports whether the account still has the password hash that it had when the token
// was given out.
func (s *Store) Bound(t *Token, hash secret.Text) (bool, error) {
	c, err := s.current()
	if err != nil {
		return false, err
	}
	return hmac.Equal(t.Bind, bind(c.Key, t.Account, hash)), nil
}

func bind(key []byte, account string, hash secret.Text) []byte {
	mac := hmac.New(sha256.New, key)
	var n [8]byte
	for _, field := range []string{account, hash.Reveal()} {
		binary.BigEndian.PutUint64(n[:], uint64(len(field)))
		mac.Write(n[:])
		mac.Write([]byte(field))
	}
	return mac.Sum(nil)
}

// Used notes that the token was shown. The file is written only where what it says is older
// than [UseStep]; an error says that it could not be, and the next try is a [UseStep] later.
func (s *Store) Used(ctx context.Context, id string) error {
	now := s.o.Now().UTC().Truncate(time.Second)
	if c, err := s.current(); err != nil {
		return err
	} else if !c.stale(id, now) {
		return nil
	}
	s.mu.Lock()
	last, noted := s.used[id]
	if noted && now.Sub(last) < UseStep {
		s.mu.Unlock()
		return nil
	}
	s.used[id] = now
	s.mu.Unlock()
	return s.change(ctx, func(*content) {})
}

// stale reports whether the last use in the file is worth a new one.
func (c *content) stale(id string, now time.Time) bool {
	i := slices.IndexFunc(c.Tokens, func(t Token) bool { return t.ID == id })
	return i >= 0 && now.Sub(c.Tokens[i].Used) >= UseStep
}

// List returns all tokens, the oldest first.
func (s *Store) List() ([]Token, error) {
	c, err := s.current()
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.Tokens), nil
}

// Remove removes the tokens that gone says, and returns them. Without any nothing is
// written.
func (s *Store) Remove(ctx context.Context, gone func(*Token) bool) ([]Token, error) {
	list, err := s.List()
	if err != nil || !slices.ContainsFunc(list, func(t Token) bool { return gone(&t) }) {
		return nil, err
	}
	var removed []Token
	err = s.change(ctx, func(c *content) {
		removed = nil
		c.Tokens = slices.DeleteFunc(c.Tokens, func(t Token) bool {
			if !gone(&t) {
				return false
			}
			removed = append(removed, t)
			return true
		})
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// change changes the file under its lock, and takes the noted uses along.
func (s *Store) change(ctx context.Context, alter func(*content)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	used := make(map[string]time.Time, len(s.used))
	for id, at := range s.used {
		used[id] = at
	}
	s.mu.Unlock()
	_, err := safefile.Transform(ctx, s.o.Path, func(old []byte) ([]byte, error) {
		c, err := s.parse(old)
		if err != nil {
			return nil, err
		}
		for i := range c.Tokens {
			if at, ok := used[c.Tokens[i].ID]; ok && at.After(c.Tokens[i].Used) {
				c.Tokens[i].Used = at
			}
		}
		alter(c)
		return c.marshal()
	}, safefile.TransformOptions{Create: true, Mode: 0o600, Max: 0o600, MaxSize: maxFile, Command: s.o.Command})
	var applied *safefile.DurabilityError
	if err != nil && !errors.As(err, &applied) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range used {
		if s.used[id].Equal(at) {
			delete(s.used, id)
		}
	}
	return nil
}

// parse reads the file's bytes; nil makes a new one.
func (s *Store) parse(data []byte) (*content, error) {
	if data == nil {
		c := &content{Version: version, Key: make([]byte, keySize), Tokens: []Token{}}
		if _, err := io.ReadFull(s.o.Rand, c.Key); err != nil {
			return nil, fmt.Errorf("key of the refresh tokens: %w", err)
		}
		return c, nil
	}
	c := &content{}
	damaged := func(err error) error {
		return fmt.Errorf("refresh tokens %s: %w; remove the file, and every client has to log in again", s.o.Path, err)
	}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, damaged(err)
	}
	switch {
	case c.Version != version:
		return nil, damaged(fmt.Errorf("version %d, expected %d", c.Version, version))
	case len(c.Key) != keySize:
		return nil, damaged(errors.New("no key in it"))
	}
	for i := range c.Tokens {
		if t := &c.Tokens[i]; t.ID == "" || t.Account == "" || len(t.Sum) != sha256.Size || len(t.Bind) != sha256.Size || t.Created.IsZero() {
			return nil, damaged(fmt.Errorf("token %d of %d is not complete", i+1, len(c.Tokens)))
		}
	}
	return c, nil
}

// marshal writes one line for each token.
func (c *content) marshal() ([]byte, error) {
	var b bytes.Buffer
	key, err := json.Marshal(c.Key)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "{\"version\": %d, \"key\": %s, \"tokens\": [", c.Version, key)
	for i := range c.Tokens {
		line, err := json.Marshal(&c.Tokens[i])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n")
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	return b.Bytes(), nil
}

// current is the file as it is now, read again where it is another one than before. Without a
// file there are no tokens.
func (s *Store) current() (*content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.info, s.now, s.bySum = nil, &content{Version: version, Key: make([]byte, keySize)}, nil
		return s.now, nil
	case err != nil:
		return nil, fmt.Errorf("refresh tokens: %w", err)
	case s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime()):
		return s.now, nil
	}
	f, err := os.Open(s.o.Path)
	if err != nil {
		return nil, fmt.Errorf("refresh tokens: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil { // of the file that is read, whatever has the name by now
		return nil, fmt.Errorf("refresh tokens: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("refresh tokens: %w", err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("refresh tokens %s: the file has more than %d bytes", s.o.Path, maxFile)
	}
	c, err := s.parse(data)
	if err != nil {
		return nil, err
	}
	bySum := make(map[[sha256.Size]byte]*Token, len(c.Tokens))
	for i := range c.Tokens {
		bySum[[sha256.Size]byte(c.Tokens[i].Sum)] = &c.Tokens[i]
	}
	s.info, s.now, s.bySum = info, c, bySum
	return c, nil
}
