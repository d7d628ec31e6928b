package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	directoryMode = 0o700
	fileMode      = 0o600
	subdirectory  = "acme"
	accountFile   = "account.key"
	lockFile      = "lock"

	// maxFileBytes bounds a file of a certificate.
	maxFileBytes = 1 << 20
)

var errLocked = errors.New("another process orders")

// folder is the directory of a CA.
type folder string

// folderOf returns the directory of a CA in the state directory.
func folderOf(state, directory string) folder {
	host := "ca"
	if u, err := url.Parse(directory); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	sum := sha256.Sum256([]byte(directory))
	return folder(filepath.Join(state, subdirectory, fmt.Sprintf("%s-%x", host, sum[:4])))
}

// newFolder makes it.
func newFolder(state, directory string) (folder, error) {
	dir := string(folderOf(state, directory))
	if err := os.MkdirAll(dir, directoryMode); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s has mode %#o, and it is for private keys: chmod 700 it", dir, info.Mode().Perm())
	}
	return folder(dir), err
}

func (f folder) certificate(domain string) string { return filepath.Join(string(f), domain+".pem") }
func (f folder) failures(domain string) string    { return filepath.Join(string(f), domain+".json") }

// lock makes this process the one that orders, until unlock or its end. It returns errLocked if another one is.
func lock(state string) (unlock func(), err error) {
	dir := filepath.Join(state, subdirectory)
	if err := os.MkdirAll(dir, directoryMode); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if err == unix.EWOULDBLOCK {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return func() { file.Close() }, nil
}

// write replaces a file. After a crash it has its old or its new contents.
func write(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxFileBytes:
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxFileBytes)
	}
	return os.ReadFile(name)
}

// accountKey returns the key of the account. It makes one if there is none.
func (f folder) accountKey() (*ecdsa.PrivateKey, error) {
	name := filepath.Join(string(f), accountFile)
	data, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		key, text, err := newKey()
		if err != nil {
			return nil, err
		}
		return key, write(name, text)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s has no key in PEM format: remove it for a new account", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ours, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s has no ECDSA key: remove it for a new account", name)
	}
	return ours, nil
}

// newKey makes a key, also in PEM format.
func newKey() (key *ecdsa.PrivateKey, text []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// load returns the certificate in a file, nil if there is none.
func load(name, domain string) (*tls.Certificate, error) {
	data, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := parse(data, domain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parse parses a key and a chain, which must be for domain.
func parse(data []byte, domain string) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &c, c.Leaf.VerifyHostname(domain)
}

// failures are those since the last success.
type failures struct {
	Count int       `json:"count"`
	Until time.Time `json:"until"` // no order before
	Error string    `json:"error"` // the last
}

// loadFailures returns the failures in a file. One that cannot be read counts as none.
func loadFailures(name string) (f failures) {
	data, err := read(name)
	if err == nil && json.Unmarshal(data, &f) != nil {
		f = failures{}
	}
	return f
}

func (f *failures) save(name string) error {
	if f.Count == 0 {
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return write(name, data)
}
