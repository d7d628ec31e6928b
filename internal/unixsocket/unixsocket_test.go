package unixsocket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// There are two ways to listen, and neither may replace anything but stale sockets.
var binders = map[string]func(path string) (close func(), err error){
	"Listen stream": func(path string) (func(), error) { return closer(Listen("unix", path, 0o660)) },
	"Listen packet": func(path string) (func(), error) { return closer(Listen("unixpacket", path, 0o600)) },
	"Open": func(path string) (func(), error) {
		fd, err := Open(unix.SOCK_STREAM, path, 0o660, 5)
		return func() { unix.Close(fd) }, err
	},
}

func closer(l *net.UnixListener, err error) (func(), error) {
	return func() { l.Close() }, err
}

// stale leaves the socket of a process that has exited.
func stale(t *testing.T, network, path string) {
	t.Helper()
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	for name, bind := range binders {
		for _, network := range []string{"unix", "unixpacket"} {
			path := filepath.Join(t.TempDir(), "s")
			stale(t, network, path)
			if err := Check(path); err != nil {
				t.Errorf("%s: Check: %v", name, err)
			}
			closeIt, err := bind(path)
			if err != nil {
				t.Errorf("%s: over a stale %s socket: %v", name, network, err)
				continue
			}
			closeIt()
		}
	}
}

// TestNothingElseIsReplaced: everything that is not a stale socket stays, unchanged.
func TestNothingElseIsReplaced(t *testing.T) {
	for name, bind := range binders {
		dir := t.TempDir()
		file, sub := filepath.Join(dir, "file"), filepath.Join(dir, "directory")
		link, dangling := filepath.Join(dir, "link"), filepath.Join(dir, "dangling")
		linkToStale, fifo := filepath.Join(dir, "to-stale"), filepath.Join(dir, "fifo")
		stale(t, "unix", filepath.Join(dir, "old"))
		for _, err := range []error{os.WriteFile(file, []byte("precious"), 0o600), os.Mkdir(sub, 0o700),
			os.Symlink(file, link), os.Symlink(filepath.Join(dir, "nowhere"), dangling),
			os.Symlink(filepath.Join(dir, "old"), linkToStale), unix.Mkfifo(fifo, 0o600)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for path, kind := range map[string]string{file: "a file", sub: "a directory", link: "a symbolic link",
			dangling: "a symbolic link", linkToStale: "a symbolic link", fifo: "a special file"} {
			before, _ := os.Lstat(path)
			for _, err := range []error{second(bind(path)), Check(path)} {
				if err == nil || !strings.Contains(err.Error(), kind+", and only a stale socket is replaced") {
					t.Errorf("%s: %s: %v", name, path, err)
				}
			}
			if now, err := os.Lstat(path); err != nil || !os.SameFile(before, now) {
				t.Errorf("%s: %s has been replaced: %v", name, path, err)
			}
		}
		if text, err := os.ReadFile(file); string(text) != "precious" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func second(_ func(), err error) error { return err }

// TestLiveSocketIsSpared, of any type, whether it listens yet or not, and without a connection to it.
func TestLiveSocketIsSpared(t *testing.T) {
	for name, bind := range binders {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
			for _, listens := range []bool{false, true} {
				if kind == unix.SOCK_DGRAM && listens {
					continue
				}
				path := filepath.Join(t.TempDir(), "s")
				fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
				}
				if err == nil && listens {
					err = unix.Listen(fd, 1)
				}
				if err != nil {
					t.Fatal(err)
				}
				_, err = bind(path)
				if !errors.Is(err, ErrLive) || !errors.Is(err, syscall.EADDRINUSE) {
					t.Errorf("%s: over a live socket of type %d: %v", name, kind, err)
				}
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("%s: the live socket's file: %v", name, err)
				}
				if listens {
					if _, _, err := unix.Accept(fd); err != unix.EAGAIN {
						t.Errorf("%s: the live socket was connected to: %v", name, err)
					}
				}
				unix.Close(fd)
			}
		}
	}
}

func TestModeIsExact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen("unix", path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                              "give a path",
		"@abstract":                     "give a path",
		filepath.Join(dir, "none", "s"): "make the directory " + filepath.Join(dir, "none"),
		filepath.Join(file, "s"):        "is not a directory",
		filepath.Join(dir, strings.Repeat("x", 99)): "at most 107 bytes",
	} {
		if err := Check(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
	if err := Check(filepath.Join(dir, "s")); err != nil {
		t.Error(err)
	}
}
