package takeover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// version is the version of the packets; a process refuses to take over from one of another version.
const version = 1

const (
	maxPacketBytes   = 64 << 10
	maxPacketSockets = 128 // the kernel's bound is 253 (SCM_MAX_FD)

	// stepTimeout bounds the wait for a packet that the other process only has to write.
	stepTimeout = 5 * time.Second
	// DefaultPatience bounds the time in which a successor starts and links up.
	DefaultPatience = 30 * time.Second
)

// packet is any packet; each step has its own fields.
type packet struct {
	Version int      `json:"version,omitempty"` // ask
	Address string   `json:"address,omitempty"` // of the listener whose sockets are attached
	Offer   *offer   `json:"offer,omitempty"`   // the end of the listeners
	Serving bool     `json:"serving,omitempty"`
	Keeps   []string `json:"keeps,omitempty"`    // with serving
	Confirm bool     `json:"confirms,omitempty"` // with serving: alone will follow leaving
	Leaving bool     `json:"leaving,omitempty"`
	Alone   bool     `json:"alone,omitempty"`
	Error   string   `json:"error,omitempty"`
}

type offer struct {
	Links   int      `json:"links"`
	Up      int      `json:"up"`
	Tickets [][]byte `json:"tickets,omitempty"`
}

// errGone is the reason if the other process has closed its end, or has exited.
var errGone = errors.New("the other process has hung up or exited")

// refusal is the reason with which the other process ends the conversation.
type refusal string

func (r refusal) Error() string {
	return fmt.Sprintf("refused by the other process: %.200q", string(r))
}

// send writes one packet, with the descriptors of files.
func send(c *net.UnixConn, p packet, files ...*os.File) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		raw, err := f.SyscallConn() // File.Fd would make the socket blocking in every process that has it
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			return err
		}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := c.SetWriteDeadline(time.Now().Add(stepTimeout)); err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix(text, rights, nil)
	for _, f := range files { // they must be open until here
		_ = f.Name()
	}
	return err
}

// forever makes receive wait without a time limit.
const forever time.Duration = -1

// receive reads one packet within d, with attached descriptors. It returns errGone if no more can come, a refusal if
// the packet is one, os.ErrDeadlineExceeded if none comes in time, and other errors for an unreadable packet.
func receive(c *net.UnixConn, d time.Duration) (p packet, files []*os.File, err error) {
	until := time.Now().Add(d)
	if d == forever {
		until = time.Time{}
	}
	if err := c.SetReadDeadline(until); err != nil {
		return p, nil, errGone
	}
	text, rights := make([]byte, maxPacketBytes), make([]byte, unix.CmsgSpace(4*maxPacketSockets))
	n, r, flags, _, err := c.ReadMsgUnix(text, rights)
	if errors.Is(err, os.ErrDeadlineExceeded) && has(c, unix.POLLIN|unix.POLLRDHUP) { // this process itself did not run
		_ = c.SetReadDeadline(time.Time{})
		n, r, flags, _, err = c.ReadMsgUnix(text, rights)
	}
	if errors.Is(err, unix.ECONNRESET) { // once, if the other end closed with packets unread: its own packets follow
		n, r, flags, _, err = c.ReadMsgUnix(text, rights)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p, nil, err
	case err != nil:
		return p, nil, errGone
	}
	files, err = filesOf(rights[:r])
	switch {
	case err != nil:
	case n == 0:
		err = errGone
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("packet too large")
	default:
		err = json.Unmarshal(text[:n], &p)
	}
	if err == nil && p.Error != "" {
		err = refusal(p.Error)
	}
	if err != nil {
		closeAll(files)
		return p, nil, err
	}
	return p, files, nil
}

func filesOf(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// hungUp reports whether the other end of c is closed, even if there are packets to read.
func hungUp(c *net.UnixConn) bool { return has(c, unix.POLLRDHUP) }

// has reports whether poll(2) finds one of events; an error counts as one.
func has(c *net.UnixConn, events int16) (is bool) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd), Events: events}}
			n, err := unix.Poll(p, 0)
			is = err == nil && n > 0
		})
	}
	return is || err != nil
}

// peer returns the process at the other end. It returns an error unless that runs as our own user or root.
func peer(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	if uid := int(cred.Uid); uid != 0 && uid != os.Geteuid() {
		return 0, fmt.Errorf("the other process runs as user %d, this one as %d", uid, os.Geteuid())
	}
	return int(cred.Pid), nil
}
