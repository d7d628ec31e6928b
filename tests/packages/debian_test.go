package packages

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// cache is where fresh Debians are kept: one for each version of the script that makes them.
const cache = "/var/cache/megaphone-tests"

// Ages at which a Debian is removed: the current one, so that packages do not grow old in it, and any other.
const (
	debianLives = 14 * 24 * time.Hour
	debianRests = time.Hour
)

// debian is the root of a fresh Debian, the lower directory of guests and the base of an image.
func debian(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("making a Debian takes root")
	}
	dir, err := debianOnce()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var debianOnce = sync.OnceValues(func() (string, error) {
	script, err := os.ReadFile("testdata/debian.sh")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(cache, fmt.Sprintf("debian-%x", sha256.Sum256(script))[:23])
	sweep(dir)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fresh, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	root := filepath.Join(fresh, "root")
	if out, err := say("testdata/debian.sh", root); err != nil {
		return "", fmt.Errorf("debian.sh: %w\n%s", err, out)
	}
	if err := os.Rename(root, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another process was faster
		return "", err
	}
	return dir, nil
})

// sweep removes dir if it is too old, and what else is there after a rest.
func sweep(dir string) {
	all, _ := os.ReadDir(cache)
	for _, e := range all {
		info, err := e.Info()
		if err != nil {
			continue // another test sweeps too
		}
		lives := debianRests
		if filepath.Join(cache, e.Name()) == dir {
			lives = debianLives
		}
		if time.Since(info.ModTime()) > lives {
			_ = os.RemoveAll(filepath.Join(cache, e.Name()))
		}
	}
}

// block is an indented part of a document.
type block struct {
	page, before string // the paragraph before it
	lines        []string
}

var (
	remark    = regexp.MustCompile(`(\S)\s{2,}\S.*`) // behind a command
	continued = regexp.MustCompile(`\s*\\\n\s*`)     // a command on two lines
)

// blocks are those of a section of an installed document, in their order.
func blocks(t *testing.T, root, page, section string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, documents, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut("\n"+string(text), "\n"+section+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", page, section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	before := ""
	for _, paragraph := range strings.Split(fenced.ReplaceAllString(rest, ""), "\n\n") {
		paragraph = strings.Trim(paragraph, "\n")
		if !strings.HasPrefix(paragraph, "    ") {
			before = paragraph
			continue
		}
		lines := strings.Split(continued.ReplaceAllString(paragraph, " "), "\n")
		margin := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], strings.Repeat(" ", margin))
		}
		all = append(all, block{page: page, before: before, lines: lines})
	}
	return all
}

// fileBlock is how the paragraph before a block says that the block belongs into a file.
var fileBlock = regexp.MustCompile("in `(/[^`]+)`")

// follow does what a block says: it writes the file, or runs the commands one after the other.
func (g *guest) follow(b block) {
	g.t.Helper()
	if m := fileBlock.FindStringSubmatch(b.before); m != nil {
		g.write(m[1], strings.Join(b.lines, "\n")+"\n")
		return
	}
	for _, line := range b.lines {
		command := remark.ReplaceAllString(line, "$1")
		if strings.Contains(line, "as soon as") {
			g.until(command, func() bool { _, err := g.types(command); return err == nil })
			continue
		}
		out, err := g.types(command)
		if err != nil {
			journal, _ := g.say("journalctl", "--no-pager", "-n", "30")
			g.t.Fatalf("%s has people run\n  %s\n%v\n%s\n%s", b.page, command, err, out, journal)
		}
		g.said = append(g.said, "# "+command, out)
	}
}

// types has root's shell run a line, and says yes to what it asks.
func (g *guest) types(line string) (string, error) {
	cmd := g.command("bash", "-c", "cd /root && "+line)
	cmd.Stdin = strings.NewReader("y\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (g *guest) write(name, text string) {
	g.t.Helper()
	cmd := g.command("tee", name)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// wire puts a cable between two guests.
func wire(t *testing.T, a, b *guest) {
	t.Helper()
	run(t, "ip", "link", "add", "eth0", "netns", a.pid, "type", "veth", "peer", "name", "eth0", "netns", b.pid)
	for g, address := range map[*guest]string{a: "10.0.0.1/24", b: "10.0.0.2/24"} {
		run(t, "nsenter", "--target", g.pid, "--net", "ip", "address", "add", address, "dev", "eth0")
		run(t, "nsenter", "--target", g.pid, "--net", "ip", "link", "set", "eth0", "up")
	}
}

// TestDocumentsFromNothing: two hosts with a fresh Debian and only the package reach a chat through ejabberd by the
// documents. Every block of the two sections is followed, except the building of the package; a person only chooses the
// host, copies the secret from one to the other, and answers yes.
func TestDocumentsFromNothing(t *testing.T) {
	t.Parallel()
	base := debian(t)
	edgeHost, server := boot(t, base), boot(t, base)
	wire(t, edgeHost, server)
	deb := one(t, shared, older, "deb")
	both := []*guest{edgeHost, server}
	for _, g := range both {
		g.run("cp", deb, "/root/")
	}
	root := t.TempDir()
	run(t, "dpkg-deb", "-x", deb, root)
	install := blocks(t, root, "install.md", "## From the package")
	ejabberd := blocks(t, root, "ejabberd.md", "# ejabberd")
	if len(install) != 7 || len(ejabberd) != 1 {
		t.Fatalf("%d and %d blocks: say below whose the new ones are", len(install), len(ejabberd))
	}

	if made, ok := strings.CutPrefix(install[0].lines[0], "make package "); !ok {
		t.Fatalf("the package is made by %q", made)
	}
	install[0].lines = install[0].lines[1:]
	for _, g := range both {
		g.follow(install[0])
	}
	server.follow(ejabberd[0])
	edgeHost.write("/root/secret", server.run("cat", "/root/secret")) // scp
	for i, g := range []*guest{edgeHost, edgeHost, edgeHost, server, edgeHost} {
		g.follow(install[1+i])
	}
	edgeHost.wants(strings.Join(edgeHost.said, "\n"), "sessions: 10 reached, 0 failed, 0 lost")
	edgeHost.wants(strings.Join(edgeHost.said, "\n"), "nothing was lost, duplicated or out of order")
	server.wants(server.run("ejabberdctl", "megaphone_links"), "10.0.0.1") // and not from within the server's host
	server.follow(install[6])
	if users := strings.TrimSpace(server.run("ejabberdctl", "registered_users", "example.org")); users != "" {
		t.Errorf("accounts stay: %s", users)
	}

	// More of them, by the next section.
	stock := server.run("sha256sum", "/etc/default/ejabberd")
	more := blocks(t, root, "ejabberd.md", "## Set up for a number of sessions")
	if len(more) != 1 {
		t.Fatalf("%d blocks", len(more))
	}
	server.follow(more[0])
	doctor := server.said[len(server.said)-1]
	for line := range strings.Lines(doctor) {
		if !strings.HasPrefix(line, "ok ") && line != "This node fits 200000 sessions.\n" {
			t.Errorf("the doctor says %s", line)
		}
	}
	if n := strings.Count(doctor, "\nok "); n < 10 {
		t.Errorf("the doctor says\n%s", doctor)
	}

	// What else the page promises, and the package.
	server.wants(server.run("dpkg", "-i", one(t, shared, newer, "deb")), "ejabberd has the module of the old version")
	server.wants(server.run("megaphone-ejabberd-install", "--ip", "10.0.0.2", "--secret-file", "/root/secret"),
		"nothing to do")
	server.wants(server.run("dpkg", "-r", "megaphone"), "mod_megaphone stays in ejabberd")
	server.run("dpkg", "-i", deb)
	server.run("megaphone-ejabberd-install", "--uninstall")
	if now := server.run("sha256sum", "/etc/default/ejabberd"); now != stock {
		t.Errorf("ejabberdctl.cfg is not as it was:\n%s", server.run("cat", "/etc/default/ejabberd"))
	}
	server.run("systemctl", "restart", "ejabberd")
	if out, err := server.say("ejabberdctl", "megaphone_links"); err == nil {
		t.Errorf("without the module there is the command megaphone_links: %s", out)
	}
}
