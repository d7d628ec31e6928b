package chat

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"golang.org/x/text/secure/precis"

	"megaphone/internal/textfile"
)

// Iterations of PBKDF2. A plain-text password is derived with the default at start, which takes about a millisecond.
const (
	defaultIterations = 4096 // the minimum of RFC 7677
	maxIterations     = 200_000
)

const saltBytes = 16

// Accounts holds the accounts that may log in. It does not keep passwords. For each it has salted credentials for
// SCRAM, and a keyed hash for PLAIN. The hash key is generated at start and stays in memory.
type Accounts struct {
	byName map[string]*account
	names  []string // sorted
	key    [32]byte // of the hashes for PLAIN
	has    mechanismSet
}

type account struct {
	hash    [sha256.Size]byte // of the password, for PLAIN
	hashed  bool
	salted  [mechanismCount]scram.StoredCredentials // for the SCRAM mechanisms
	present mechanismSet
}

// LoadAccounts reads an accounts file.
func LoadAccounts(path string) (*Accounts, error) {
	text, err := textfile.ReadSecret(path)
	if err != nil {
		return nil, fmt.Errorf("accounts file: %w", err)
	}
	return readAccounts(strings.NewReader(text), path)
}

// readAccounts reads accounts, one per line: `name:password`, or with a salted password (RFC 5803)
// `name:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, which saltedLine writes. SCRAM-SHA-1 has the same form, on
// a line of its own. Empty lines and lines that begin with # are skipped. source names the file in errors.
func readAccounts(r io.Reader, source string) (*Accounts, error) {
	a := &Accounts{byName: make(map[string]*account)}
	if _, err := rand.Read(a.key[:]); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		if err := a.add(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", source, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w: a line holds one name and password, at most 64 KiB", source, n+1, err)
	}
	if len(a.byName) == 0 {
		return nil, fmt.Errorf("%s: no accounts: write one name:password a line", source)
	}
	slices.Sort(a.names)
	return a, nil
}

// len returns the number of accounts.
func (a *Accounts) len() int { return len(a.names) }

func (a *Accounts) add(line string) error {
	written, secret, found := strings.Cut(line, ":")
	if !found || secret == "" {
		return fmt.Errorf("no password: write name:password")
	}
	if strings.Contains(written, "@") {
		return fmt.Errorf("name %q has a domain: write only the part before the @", written)
	}
	name, ok := canonicalLocal(written)
	if !ok {
		return fmt.Errorf("name %q cannot be part of an address: use letters, digits, '.', '-' and '_'", written)
	}
	if isAnonymousName(name) {
		return fmt.Errorf("name %q begins with %q, which is reserved for anonymous users: choose another", written,
			anonymousPrefix)
	}
	acc := a.byName[name]
	if acc == nil {
		acc = new(account)
	}
	salted := strings.HasPrefix(secret, "SCRAM-") && strings.Contains(secret, "$")
	if acc.hashed || !salted && acc.present != 0 {
		return fmt.Errorf("name %q is listed already: remove one of the lines", name)
	}
	var err error
	if salted {
		err = acc.addSalted(secret)
	} else {
		err = a.addPassword(acc, secret)
	}
	if err != nil {
		return fmt.Errorf("name %q: %w", name, err)
	}
	if a.byName[name] == nil {
		a.byName[name] = acc
		a.names = append(a.names, name)
	}
	a.has |= acc.present
	return nil
}

func (a *Accounts) addPassword(acc *account, password string) error {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	for _, m := range []mechanism{scramSHA1, scramSHA256} {
		credentials, err := derive(m, password, scram.KeyFactors{Salt: string(salt), Iters: defaultIterations})
		if err != nil {
			return err
		}
		acc.salted[m] = credentials
		acc.present |= 1 << m
	}
	acc.hash, acc.hashed = a.hash(password), true
	return nil
}

// derive returns a password's SCRAM credentials.
func derive(m mechanism, password string, kf scram.KeyFactors) (scram.StoredCredentials, error) {
	client, err := m.hash().NewClient("", password, "")
	if err != nil {
		return scram.StoredCredentials{}, fmt.Errorf("the password has characters that SASLprep forbids: " +
			"use letters, digits and punctuation")
	}
	return client.GetStoredCredentialsWithError(kf)
}

var errSalted = fmt.Errorf("malformed salted password: write SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, " +
	"the last three in base64")

// addSalted parses MECHANISM$iterations:salt$StoredKey:ServerKey.
func (acc *account) addSalted(secret string) error {
	parts := strings.Split(secret, "$")
	if len(parts) != 3 {
		return errSalted
	}
	m, ok := mechanismNamed([]byte(parts[0]))
	if !ok || m.hash() == nil {
		return fmt.Errorf("mechanism %q is unknown: use SCRAM-SHA-256 or SCRAM-SHA-1", parts[0])
	}
	if acc.present.has(m) {
		return fmt.Errorf("%s is listed already: remove one of the lines", m)
	}
	count, salt64, ok1 := strings.Cut(parts[1], ":")
	stored64, server64, ok2 := strings.Cut(parts[2], ":")
	if !ok1 || !ok2 {
		return errSalted
	}
	iterations, err := strconv.Atoi(count)
	if err != nil {
		return errSalted
	}
	if iterations < defaultIterations || iterations > maxIterations {
		return fmt.Errorf("%d iterations: use %d to %d", iterations, defaultIterations, maxIterations)
	}
	salt, err1 := base64.StdEncoding.DecodeString(salt64)
	stored, err2 := base64.StdEncoding.DecodeString(stored64)
	server, err3 := base64.StdEncoding.DecodeString(server64)
	size := m.hash()().Size()
	if err1 != nil || err2 != nil || err3 != nil || len(salt) == 0 || len(stored) != size || len(server) != size {
		return errSalted
	}
	acc.salted[m] = scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: iterations}, StoredKey: stored, ServerKey: server,
	}
	acc.present |= 1 << m
	return nil
}

// saltedLine returns the line of an accounts file for name and password, without the password itself.
func saltedLine(name, password string, iterations int) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	c, err := derive(scramSHA256, password, scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	line := fmt.Sprintf("%s:%s$%d:%s$%s:%s", name, scramSHA256, iterations,
		b64(salt), b64(c.StoredKey), b64(c.ServerKey))
	_, err = readAccounts(bytes.NewReader([]byte(line)), "account")
	return line, err
}

// hash returns the keyed hash of a password, in the form of RFC 8265 if it has one.
func (a *Accounts) hash(password string) (sum [sha256.Size]byte) {
	if prepared, err := precis.OpaqueString.String(password); err == nil {
		password = prepared
	}
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write([]byte(password))
	mac.Sum(sum[:0])
	return sum
}

// check reports whether password is correct for the account name. An account with only salted credentials costs a
// derivation until its first success. A wrong password always costs one, hence MaxAttempts and maxIterations.
func (a *Accounts) check(name, password string) bool {
	acc := a.byName[name]
	sum := a.hash(password)
	if acc == nil {
		return false
	}
	if acc.hashed {
		return hmac.Equal(sum[:], acc.hash[:])
	}
	m := scramSHA256
	if !acc.present.has(m) {
		m = scramSHA1
	}
	want := &acc.salted[m]
	got, err := derive(m, password, want.KeyFactors)
	if err != nil || !hmac.Equal(got.StoredKey, want.StoredKey) {
		return false
	}
	acc.hash, acc.hashed = sum, true
	return true
}

// credentials is the look-up function of a SCRAM server. An unknown name gets its own constant salt, so that it looks
// like a known one (RFC 5802, section 9). No proof matches it.
func (a *Accounts) credentials(m mechanism, name string) scram.StoredCredentials {
	if canonical, ok := canonicalLocal(name); ok {
		if acc := a.byName[canonical]; acc != nil && acc.present.has(m) {
			return acc.salted[m]
		}
	}
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write([]byte(m.String() + "\x00" + name))
	salt := mac.Sum(nil)[:saltBytes]
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: defaultIterations},
		StoredKey:  nil, // equals no hash
	}
}
